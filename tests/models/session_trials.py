"""Settings, data, training and scoring with which the contract suite tests every session model.

A model has an entry in `MODELS` if its defaults are too large, too slow, or not sufficient for a test.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from hydra.utils import get_class

from nnrec.batches.whole_sessions import blocks
from nnrec.core.config.compose import compose
from nnrec.data.sessions import Sessions
from nnrec.data.vocabulary import Vocabulary
from nnrec.models.base.build import build_model
from nnrec.models.base.fitted import Fitted
from nnrec.models.base.session_scorer import SessionScorer
from nnrec.training.settings import Trainer
from tests.models.trials import SESSION_NAMES, Trial

MODELS = {
    "cnn3d": Trial(
        tiny={
            "texts": ["id"],
            "characters": 4,
            "character_units": 4,
            "clicks": 4,
            "embedding_dim": 8,
            "convolutions": [
                {"filters": 8, "kernel": [1, 2, 1], "pool": [1, 2, 1]},
                {"filters": 8, "kernel": [2, 2, 1], "pool": [2, 1, 1]},
            ],
            "hidden_units": [12],
            "n_sample": 8,
            "id_dropout": 0.0,
            "dropout": 0.0,
        },  # fmt: skip
        noise={"id_dropout": 0.2, "dropout": 0.1},
        trainer={"batch_size": 16, "learning_rate": 0.02},
    ),
    "gru4rec": Trial(
        tiny={"hidden_units": [12], "n_sample": 8, "dropout_p_embed": 0.0},
        noise={"dropout_p_embed": 0.1, "dropout_p_hidden": 0.1},
        variants={
            "default": {},
            "bpr-max": {"loss": "bpr-max", "bpreg": 0.1, "constrained_embedding": False, "embedding": 6},
        },
        trainer={"optimizer": "adagrad", "learning_rate": 0.2},
    ),
    "item2vec": Trial(tiny={"embedding_dim": 8, "window": 2}, trainer={"batch_size": 64}),
}
# Models that score by popularity or repetition, and do not learn which items belong together.
NO_NEIGHBOURS = ("session_popularity",)
CASES = [(name, variant) for name in SESSION_NAMES for variant in MODELS.get(name, Trial()).variants]
TRAINER = Trainer(epochs=6, batch_size=8, learning_rate=0.05, refit=False)
ITEMS_PER_GROUP = 8


@cache
def clicks(num_sessions: int = 160, first: int = 0) -> Sessions:
    """Sessions that stay in one of two groups of items; most steps go to the group's next item in cyclic order.

    Item i is of group i % 2; raw ids are i0 ... and s0 ...
    """
    rng = np.random.default_rng(first)
    session, item = [], []
    for number in range(num_sessions):
        group, place = number % 2, rng.integers(ITEMS_PER_GROUP)
        for _ in range(rng.integers(2, 9)):
            session.append(number)
            item.append(2 * place + group)
            step = 1 if rng.random() < 0.8 else rng.integers(ITEMS_PER_GROUP)
            place = (place + step) % ITEMS_PER_GROUP
    return Sessions.build(
        Vocabulary(f"s{first + number}" for number in range(num_sessions)),
        np.array(session),
        items=Vocabulary(f"i{number}" for number in range(2 * ITEMS_PER_GROUP)),
        item=np.array(item, np.int32),
        time=np.arange(len(item), dtype=np.float64) * 60,
        time_kind="timestamp",
    )


def settings_of(case: tuple[str, str], **more: Any) -> dict[str, Any]:
    name, variant = case
    tested = MODELS.get(name, Trial())
    settings = dict(compose("train", [f"model={name}"]).model)
    return settings | tested.tiny | tested.variants[variant] | more


def is_neural(case: tuple[str, str]) -> bool:
    return not issubclass(get_class(settings_of(case)["_target_"]), Fitted)


def trainer_of(case: tuple[str, str]) -> Trainer:
    return replace(TRAINER, **MODELS.get(case[0], Trial()).trainer)


def untrained(case: tuple[str, str], sessions: Sessions, seed: int = 0, **more: Any) -> Any:
    return build_model(settings_of(case, **more), seed, sessions.sizes)


def fresh(case: tuple[str, str], sessions: Sessions, seed: int = 0, trainer: Trainer | None = None, **more: Any) -> Any:
    """A neural model ready to be trained."""
    from nnrec.training.loop import compile_model

    model = untrained(case, sessions, seed, **more)
    model.adapt(sessions)
    compile_model(model, trainer or trainer_of(case))
    return model


def trained(case: tuple[str, str], sessions: Sessions, seed: int = 0, **more: Any) -> tuple[Any, list[float]]:
    """A trained model and the loss of each epoch."""
    if not is_neural(case):
        model = untrained(case, sessions, seed)
        model.fit(sessions)
        return model, []
    from nnrec.training.loop import Stage

    trainer, model = trainer_of(case), fresh(case, sessions, seed, **more)
    progress = Stage("refit", trainer, model, sessions, seed=seed, epochs=trainer.epochs).run()
    return model, [row["loss"] for row in progress.history]


@cache
def ready(case: tuple[str, str]) -> tuple[Any, list[float]]:
    """Returns a trained model that tests share; they must not change it."""
    return trained(case, clicks(), **MODELS.get(case[0], Trial()).noise)


def queries_of(model: SessionScorer, items: np.ndarray) -> np.ndarray:
    """(B, T, ...) of sessions side by side, (B, T) items, -1 behind their end."""
    return np.asarray(model.encode({"item": items, "time": np.zeros(items.shape)}))


def scores_of(model: SessionScorer, sessions: Sessions) -> np.ndarray:
    """(n, num_items), after every event."""
    scores = np.empty((len(sessions), sessions.num_items), np.float32)
    for batch in blocks(sessions, 256):
        row, step = np.nonzero(batch["item"] >= 0)
        found = model.score(np.asarray(model.encode(batch))[row, step])
        scores[sessions.offsets[batch["session"][row]] + step] = np.asarray(found)
    return scores
