"""Settings, data sets, training and scoring with which the contract suites test every model.

A model has an entry in `MODELS`: settings that make it tiny, switch its penalties off or its random draws
on, and the variants that are tested in addition to its defaults.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hydra.utils import get_class
from omegaconf import OmegaConf

from nnrec.batches.rows import RowBatches
from nnrec.core.config.compose import compose, config_folder
from nnrec.data.ratings import Ratings
from nnrec.data.vocabulary import Vocabulary
from nnrec.evaluation.ratings import Evaluation
from nnrec.models.base.baseline import Baseline
from nnrec.models.base.build import build_model
from nnrec.models.base.scorer import Scorer
from nnrec.runs.folder import RunFolder
from nnrec.splits.ratings import RandomSplit
from nnrec.splits.split import Split
from nnrec.training.settings import Trainer
from tests.learning import learning


@dataclass(frozen=True)
class Trial:
    """How a model is tested; each part holds settings of the model.

    Attributes:
        tiny: settings of a small and fast model, without random draws.
        no_penalty: settings that remove all penalties from the loss.
        noise: settings that switch on random draws in training.
        variants: name -> settings, each tested like a separate model.
        trainer: trainer settings that differ from `TRAINER`.

    Among the settings, `runs` lists cases; the model gets finished runs of these cases on its training data.
    """

    tiny: Mapping[str, Any] = field(default_factory=dict)
    no_penalty: Mapping[str, Any] = field(default_factory=dict)
    noise: Mapping[str, Any] = field(default_factory=dict)
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {"default": {}})
    trainer: Mapping[str, Any] = field(default_factory=dict)


HALVES = [1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5]
KNN = {"sum": {"neighbours": 12}, "mean": {"scoring": "mean", "neighbours": 3, "l2_user": 0.0, "l2_item": 0.0}}
MODELS = {
    "autorec": Trial(
        tiny={"hidden_units": [8], "l2": 0.1, "input_dropout": 0.0},
        no_penalty={"l2": 0.0},
        noise={"dropout": 0.2, "input_dropout": 0.3},
        variants={"item": {}, "user": {"by": "user"}, "sparse": {"arithmetic": "sparse"}},
    ),
    "blend": Trial(
        tiny={"runs": (("ease", "default"), ("item_knn", "sum"))},
        variants={
            "zscore": {},
            "rank": {"combine": "rank"},
            "rating": {"combine": "rating", "runs": (("item_knn", "mean"), ("user_knn", "mean"))},
        },
    ),
    "als": Trial(tiny={"factors": 2, "l2": 1.0, "alpha": 2.0, "iterations": 3}),
    "content_knn": Trial(
        tiny={"neighbours": 12, "title": 0.0, "l2_user": 0.0, "l2_item": 0.0, "form": "centered"},
        variants={"sum": {}, "mean": {"scoring": "mean"}},
    ),
    "dsstne": Trial(
        tiny={"hidden_units": [8], "denoising": 0.0},
        noise={"dropout": 0.2, "denoising": 0.3, "sparseness_beta": 0.01},
        variants={
            "default": {},
            "sampled": {"sampled": 12},
            "levels": {"input": "levels", "levels": HALVES, "batch_normalization": True, "error": "l2"},
            "softmax": {"output_activation": "softmax", "error": "cross_entropy", "input": "analog"},
        },
        trainer={"epochs": 12, "learning_rate": 0.05},
    ),
    "ease": Trial(tiny={"l2": 10.0}),
    "item_knn": Trial(variants=KNN),
    "rbm": Trial(
        tiny={"hidden_units": 60, "gibbs_steps": [[0, 1], [2, 3]], "conditional": False, "rank": 0},
        no_penalty={"weight_decay": 0.0},
        noise={"sparsity_penalty": 0.01},
        variants={
            "item": {},
            "user": {"by": "user"},
            "sparse": {"arithmetic": "sparse", "conditional": True, "rank": 4, "by": "user"},
            "conditional": {"conditional": True, "rank": 8, "bias_learning_rate": 0.5},
        },
        trainer={"epochs": 8, "learning_rate": 0.05},
    ),
    "mult_dae": Trial(
        tiny={"hidden_units": [8], "denoising": 0.0},
        noise={"denoising": 0.3, "dropout": 0.2},
        variants={"default": {}, "rated": {"input": "rated", "relevant": 4.0, "length_discount": 0.5}},
        trainer={"epochs": 12, "learning_rate": 0.05},
    ),
    "mult_vae": Trial(
        tiny={"hidden_units": [8], "latent_units": 4, "denoising": 0.0, "annealing_steps": 10},
        no_penalty={"kl_weight": 0.0},
        noise={"denoising": 0.3},
        trainer={"epochs": 12, "learning_rate": 0.05},
    ),
    "slim": Trial(tiny={"l1": 1.0, "l2": 1.0}),
    "svd": Trial(tiny={"factors": 8}),
    "svdpp": Trial(tiny={"factors": 8}),
    "user_knn": Trial(variants=KNN),
}

ALL_NAMES = sorted(path.stem for path in (config_folder() / "model").glob("[!_]*.yaml"))
FILES = {name: (config_folder() / f"model/{name}.yaml").read_text() for name in ALL_NAMES}
SESSION_NAMES = [name for name in ALL_NAMES if "- _sessions\n" in FILES[name]]
IMPRESSION_NAMES = [name for name in ALL_NAMES if "evaluation: ctr" in FILES[name] or "- deepfm\n" in FILES[name]]
NAMES = [name for name in ALL_NAMES if name not in (*SESSION_NAMES, *IMPRESSION_NAMES)]
CASES = [(name, variant) for name in NAMES for variant in MODELS.get(name, Trial()).variants]
# Their steps take longest to compile: tests that train them several times are in the slow suite.
COSTLY = {
    ("autorec", "sparse"),
    ("dsstne", "levels"),
    ("dsstne", "sampled"),
    ("gru4rec", "bpr-max"),
    ("rbm", "conditional"),
    ("rbm", "sparse"),
}
TRAINER = Trainer(epochs=4, batch_size=8, learning_rate=0.02, refit=False)


# Data


def taste_ratings(num_users: int = 40, num_items: int = 24, seed: int = 0) -> Ratings:
    """Each user likes every other item; raw ids are u0 ... and i0 ...; an item's genre shows which users like it."""
    rng = np.random.default_rng(seed)
    user, item = np.nonzero(rng.random((num_users, num_items)) < 0.5)
    value = np.clip(3 + 1.5 * np.where((user + item) % 2, 1, -1) + rng.integers(-1, 2, len(user)), 1, 5)
    return Ratings.build(
        users=Vocabulary(f"u{number}" for number in range(num_users)),
        items=Vocabulary(f"i{number}" for number in range(num_items)),
        user=user.astype(np.int32),
        item=item.astype(np.int32),
        value=value.astype(np.float32),
        item_table=genres(num_items),
    )


def genres(num_items: int) -> pd.DataFrame:
    """Even items are of one genre, odd ones of the other."""
    number = np.arange(num_items)
    return pd.DataFrame({"title": [f"Film {n}" for n in number], "genres": np.where(number % 2, "Odd", "Even")})


PER_GROUP, ITEMS_PER_GROUP = 30, 12


@cache
def checkerboard() -> tuple[Ratings, np.ndarray]:
    """Ratings of two groups that like different items, and a withheld item of each user's own group.

    User u and item i belong to the groups u % 2 and i % 2. Users rate three quarters of their own
    group's items 4 or 5 and a third of the other group's items 1 or 2.
    """
    rng = np.random.default_rng(1)
    user, item = (grid.ravel() for grid in np.indices((2 * PER_GROUP, 2 * ITEMS_PER_GROUP)))
    own = user % 2 == item % 2
    rated = rng.random(len(user)) < np.where(own, 0.75, 0.33)
    value = np.where(own, 4, 1) + rng.integers(0, 2, len(user))
    withheld = np.array([rng.choice(np.flatnonzero((user == u) & own & rated)) for u in range(2 * PER_GROUP)])
    rated[withheld] = False
    ratings = Ratings.build(
        users=Vocabulary(range(2 * PER_GROUP)),
        items=Vocabulary(range(2 * ITEMS_PER_GROUP)),
        user=user[rated].astype(np.int32),
        item=item[rated].astype(np.int32),
        value=value[rated].astype(np.float32),
        item_table=genres(2 * ITEMS_PER_GROUP),
    )
    return ratings, item[withheld]


DATA = {"ratings": taste_ratings, "implicit": taste_ratings}


# Training and scoring


def settings_of(case: tuple[str, str], **more: Any) -> dict[str, Any]:
    """The model's settings: its file, made tiny, varied; ratings of 4 and 5 are liked."""
    name, variant = case
    tested = MODELS.get(name, Trial())
    settings = dict(compose("train", [f"model={name}"]).model)
    settings |= {"relevant": 4} if "relevant" in settings else {}
    return settings | tested.tiny | tested.variants[variant] | more


RUNS = TemporaryDirectory()


@cache
def finished_run(case: tuple[str, str], split: Split) -> str:
    """The folder of a run of a case on a split, without a refit."""
    folder = RunFolder.create(mkdtemp(dir=RUNS.name))
    config = compose("train", [f"model={case[0]}", "trainer.refit=false", f"run_dir={folder.path}"])
    config.model = settings_of(case)
    folder.write_catalogue(split.train)
    folder.write_text("config.yaml", OmegaConf.to_yaml(config, resolve=True))
    learning(config, TRAINER, Evaluation((5,)), split).run(folder)
    return str(folder.path)


def settings_on(case: tuple[str, str], data: Ratings | Split, **more: Any) -> dict[str, Any]:
    """The model's settings where it learns from these data."""
    settings = settings_of(case, **more)
    if "runs" in settings:
        split = data if isinstance(data, Split) else split_of(data)
        settings["runs"] = [finished_run(run, split) for run in settings["runs"]]
    return settings


SPLITS: dict[str, Split] = {}


def split_of(ratings: Ratings) -> Split:
    """A split of ratings that a model learns from as a whole."""
    return SPLITS.setdefault(ratings.fingerprint(), RandomSplit(test=0.1, validation=0.1)(ratings, 0))


def trained_anew(
    cases: Sequence[tuple[str, str]], is_neural: Callable[[tuple[str, str]], bool]
) -> pytest.MarkDecorator:
    """Parametrises a test that trains `case` several times."""
    marks = [([pytest.mark.neural] * is_neural(case)) + ([pytest.mark.slow] * (case in COSTLY)) for case in cases]
    params = [pytest.param(case, marks=mark) for case, mark in zip(cases, marks, strict=True)]
    return pytest.mark.parametrize("case", params, ids="-".join)


def is_neural(case: tuple[str, str]) -> bool:
    return not issubclass(get_class(settings_of(case)["_target_"]), Baseline)


def data_of(case: tuple[str, str]) -> Ratings:
    return DATA[get_class(settings_of(case)["_target_"]).family]()


def untrained(case: tuple[str, str], ratings: Ratings, seed: int = 0, **more: Any) -> Any:
    settings = settings_on(case, ratings, **more)
    settings |= {"seed": seed} if "seed" in settings else {}
    return build_model(settings, seed, ratings.sizes)


def fresh(case: tuple[str, str], ratings: Ratings, seed: int = 0, trainer: Trainer = TRAINER, **more: Any):
    """A neural model ready to be trained."""
    from nnrec.training.loop import compile_model

    model = untrained(case, ratings, seed, **more)
    model.adapt(ratings)
    compile_model(model, trainer)
    return model


def trained(case, ratings, seed: int = 0, trainer: Trainer | None = None, **more) -> tuple[Any, list[float]]:
    """A trained model, prepared to score the users it was trained on, and the loss of each epoch."""
    if is_neural(case):
        from nnrec.training.loop import Stage

        trainer = trainer or replace(TRAINER, **MODELS.get(case[0], Trial()).trainer)
        model = fresh(case, ratings, seed, trainer, **more)
        progress = Stage("refit", trainer, model, ratings, seed=seed, epochs=trainer.epochs).run()
        losses = [row["loss"] for row in progress.history]
    else:
        model, losses = untrained(case, ratings, seed), []
        model.fit(ratings)
    model.prepare(ratings)
    return model, losses


@cache
def ready(case) -> tuple[Any, list[float]]:
    """Returns a trained model that tests share; they must not change it."""
    return trained(case, data_of(case), **MODELS.get(case[0], Trial()).noise)


@cache
def solver(case) -> Any:
    """A model trained longer, on the checkerboard."""
    return trained(case, checkerboard()[0], trainer=replace(TRAINER, epochs=15, learning_rate=0.05))[0]


def batch_of(ratings: Ratings, size: int | None = None, which: np.ndarray | None = None):
    return next(RowBatches(ratings.rows("user"), size or ratings.num_users, which=which).epoch())


def scores_of(model: Scorer, ratings: Ratings, size: int | None = None) -> np.ndarray:
    return np.asarray(model.score(model.encode(batch_of(ratings, size))))
