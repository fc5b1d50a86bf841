"""What every model promises, asked of each file in conf/model/.

A model gets a line in `MODELS`: what makes it tiny here, what switches its penalties off and its random
draws on, and the variants that are tested beside its defaults.
"""

from __future__ import annotations

import json
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
from hydra.utils import get_class

from nnrec import backend, pipeline
from nnrec.batches import RowBatches
from nnrec.config import compose, config_folder
from nnrec.data.ratings import Ratings
from nnrec.data.splits import HeldOut, RandomSplit
from nnrec.data.vocabulary import Vocabulary
from nnrec.errors import TrainingError
from nnrec.evaluation import Evaluation
from nnrec.models.base import Capability, Recommender
from nnrec.runs import RunFolder
from nnrec.schedules import Plateau
from nnrec.training import Stage, Trainer


@dataclass(frozen=True)
class Trial:
    """How a model is tested; each part holds settings of the model.

    Attributes:
        tiny: small and quick, without random draws.
        no_penalty: nothing but the errors in the loss.
        noise: random draws in training.
        variants: name -> settings, each tested like a model of its own.
    """

    tiny: Mapping[str, Any] = field(default_factory=dict)
    no_penalty: Mapping[str, Any] = field(default_factory=dict)
    noise: Mapping[str, Any] = field(default_factory=dict)
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {"default": {}})


MODELS = {
    "autorec": Trial(
        tiny={"hidden_units": [8], "l2": 0.1, "input_dropout": 0.0},
        no_penalty={"l2": 0.0},
        noise={"dropout": 0.2, "input_dropout": 0.3},
        variants={"item": {}, "user": {"by": "user"}, "sparse": {"arithmetic": "sparse"}},
    ),
}

NAMES = sorted(path.stem for path in (config_folder() / "model").glob("*.yaml"))
CASES = [(name, variant) for name in NAMES for variant in MODELS.get(name, Trial()).variants]
TRAINER = Trainer(epochs=4, batch_size=8, learning_rate=0.02, refit=False)


@pytest.fixture(scope="module", autouse=True)
def _started():
    backend.start()


@pytest.fixture(params=CASES, ids="-".join)
def case(request):
    return request.param


# Data


def taste_ratings(num_users: int = 40, num_items: int = 24, seed: int = 0) -> Ratings:
    """Each user likes every other item; raw ids are u0 ... and i0 ..."""
    rng = np.random.default_rng(seed)
    user, item = np.nonzero(rng.random((num_users, num_items)) < 0.5)
    value = np.clip(3 + 1.5 * np.where((user + item) % 2, 1, -1) + rng.integers(-1, 2, len(user)), 1, 5)
    return Ratings.build(
        users=Vocabulary(f"u{number}" for number in range(num_users)),
        items=Vocabulary(f"i{number}" for number in range(num_items)),
        user=user.astype(np.int32),
        item=item.astype(np.int32),
        value=value.astype(np.float32),
    )


PER_GROUP, ITEMS_PER_GROUP = 30, 12


@cache
def checkerboard() -> tuple[Ratings, np.ndarray]:
    """Ratings of two groups with disjoint tastes, and the item of each user's own group that is withheld.

    User u and item i belong to the groups u % 2 and i % 2. Everybody rates three quarters of their own
    group's items 4 or 5 and a third of the other's 1 or 2.
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
    )
    return ratings, item[withheld]


DATA = {"ratings": taste_ratings}


# Training and scoring


def settings_of(case: tuple[str, str], **more: Any) -> dict[str, Any]:
    """The model's settings: its file, made tiny, varied."""
    name, variant = case
    tested = MODELS.get(name, Trial())
    return dict(compose("train", [f"model={name}"]).model) | tested.tiny | tested.variants[variant] | more


def data_of(case: tuple[str, str]) -> Ratings:
    return DATA[get_class(settings_of(case)["_target_"]).family]()


def untrained(case: tuple[str, str], ratings: Ratings, **more: Any) -> Recommender:
    config = SimpleNamespace(model=settings_of(case, **more))
    return pipeline.build_model(config, ratings.num_users, ratings.num_items)


def fresh(case: tuple[str, str], ratings: Ratings, seed: int = 0, trainer: Trainer = TRAINER, **more: Any):
    """A model ready to be trained."""
    backend.seed(seed)
    model = untrained(case, ratings, **more)
    model.adapt(ratings)
    trainer.compile(model)
    return model


def trained(case, ratings, seed: int = 0, trainer: Trainer = TRAINER, **more) -> tuple[Recommender, list[float]]:
    """A trained model, prepared to score the users it was trained on, and the loss of each epoch."""
    model = fresh(case, ratings, seed, trainer, **more)
    progress = Stage("refit", trainer, model, ratings, seed=seed, epochs=trainer.epochs).run()
    model.prepare(ratings)
    return model, [row["loss"] for row in progress.history]


@cache
def ready(case) -> tuple[Recommender, list[float]]:
    """The model that the tests share which change nothing about it."""
    return trained(case, data_of(case), **MODELS.get(case[0], Trial()).noise)


@cache
def solver(case) -> Recommender:
    """A model trained longer, on the checkerboard."""
    return trained(case, checkerboard()[0], trainer=replace(TRAINER, epochs=15, learning_rate=0.05))[0]


def batch_of(ratings: Ratings, size: int | None = None, which: np.ndarray | None = None):
    return next(RowBatches(ratings.rows("user"), size or ratings.num_users, which=which).epoch())


def scores_of(model: Recommender, ratings: Ratings, size: int | None = None) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(model.score(model.encode(batch_of(ratings, size)))))


def loss_of(model: Recommender, batch: Mapping[str, np.ndarray]) -> float:
    model(batch, training=False)
    return float(sum(model.losses))


def training_batch(model: Recommender, ratings: Ratings, size: int | None = None):
    """All training rows in one batch."""
    rows = model.training_rows(ratings)
    return next(RowBatches(rows, size or len(rows), touched=model.row_sparse).epoch())


# The contract


@pytest.mark.parametrize("name", NAMES)
def test_declares_itself(name):
    target = get_class(compose("train", [f"model={name}"]).model._target_)
    assert issubclass(target, Recommender)
    assert target.family in DATA
    assert target.capabilities <= set(typing.get_args(Capability))
    assert compose("train", [f"model={name}"]).model.name == name
    for part in ("Paper:", "In:", "Out:", "Loss:", "Differs:"):
        assert part in target.__doc__, f"the docstring has no {part}"


def test_scores_have_the_promised_shapes_and_are_finite(case):
    ratings, (model, _) = data_of(case), ready(case)
    queries = model.encode(batch_of(ratings))
    assert len(queries) == ratings.num_users
    scores = scores_of(model, ratings)
    assert scores.shape == (ratings.num_users, ratings.num_items)
    assert np.isfinite(scores).all()
    assert scores.std(axis=1).min() > 0


def test_some_items_and_pairs_score_as_the_whole_row_does(case):
    ratings, (model, _) = data_of(case), ready(case)
    queries, scores = model.encode(batch_of(ratings)), scores_of(model, ratings)
    items = np.array([7, 0, 3])
    np.testing.assert_allclose(keras.ops.convert_to_numpy(model.score(queries, items)), scores[:, items], rtol=1e-5)
    rows, items = np.array([5, 0, 5, 39]), np.array([0, 3, 23, 3])
    pairs = model.score_pairs(queries, rows, items)
    assert pairs.shape == (4,)
    np.testing.assert_allclose(pairs, scores[rows, items], rtol=1e-5)


def test_rating_scale_is_that_of_the_training(case):
    ratings, (model, _) = data_of(case), ready(case)
    if "rating_scale" in model.capabilities:
        assert np.asarray(model.rating_scale).tolist() == list(ratings.scale)


def test_loss_falls(case):
    _, losses = ready(case)
    assert losses[-1] < 0.9 * losses[0]


def test_the_seed_decides(case):
    ratings, (model, losses) = data_of(case), ready(case)
    noise = MODELS.get(case[0], Trial()).noise
    again, same_losses = trained(case, ratings, seed=0, **noise)
    assert same_losses == losses
    np.testing.assert_array_equal(scores_of(again, ratings), scores_of(model, ratings))
    other, _ = trained(case, ratings, seed=1, **noise)
    assert np.abs(scores_of(other, ratings) - scores_of(model, ratings)).max() > 1e-3


def test_saved_weights_give_the_same_scores(case, tmp_path):
    ratings, (model, _) = data_of(case), ready(case)
    folder = RunFolder.create(tmp_path / "run")
    folder.write_arrays("weights.npz", pipeline._weights(model))
    reloaded = untrained(case, ratings)
    pipeline.load_weights(reloaded, folder.read_arrays("weights.npz"))
    np.testing.assert_array_equal(scores_of(reloaded, ratings), scores_of(model, ratings))


def test_config_round_trips(case):
    model, _ = ready(case)
    config = json.loads(json.dumps(model.get_config()))
    copy = type(model).from_config(config)
    assert json.loads(json.dumps(copy.get_config())) == config
    assert [weight.shape for weight in copy.weights] == [weight.shape for weight in model.weights]


def test_nothing_sees_what_is_held_out(case, tmp_path):
    """Absurd values of the test part change nothing but the test figures."""
    split = RandomSplit(test=0.2, validation=0.1)(data_of(case), 0)
    target = split.test.target
    poisoned = replace(split, test=HeldOut(split.test.history, replace(target, value=1e6 - target.value)))
    config = compose("train", [f"model={case[0]}", f"run_dir={tmp_path}"])
    config.model = settings_of(case)
    trainer = replace(TRAINER, epochs=2, batch_size=64, refit=True)
    figures, scores = [], []
    for number, part in enumerate((split, poisoned)):
        training = pipeline.Training(config, trainer, Evaluation((5,)), part)
        figures.append(training.run(RunFolder.create(tmp_path / str(number))))
        scores.append(scores_of(training.model, part.test.history))
    np.testing.assert_array_equal(*scores)
    assert figures[0]["validation"] == figures[1]["validation"]
    assert figures[0]["training"]["best_epoch"] == figures[1]["training"]["best_epoch"]
    assert {name: value for name, value in figures[0]["test"].items() if "@" in name} == {
        name: value for name, value in figures[1]["test"].items() if "@" in name
    }
    if "rating_scale" in training.model.capabilities:
        assert figures[1]["test"]["rmse"] > 1e5


def test_evaluation_shows_the_model_no_target(case, monkeypatch):
    split = RandomSplit(test=0.3)(data_of(case), 0)
    model, _ = ready(case)
    seen, encode = [], model.encode
    monkeypatch.setattr(model, "encode", lambda batch: seen.append(batch) or encode(batch), raising=False)
    Evaluation((5,))(model, split.test)
    shown = {
        (int(batch["index"][row]), int(column))
        for batch in seen
        for row, column, weight in zip(batch["row"], batch["column"], batch["weight"], strict=True)
        if weight > 0
    }
    history, target = (
        set(zip(part.user.tolist(), part.item.tolist(), strict=True)) for part in vars(split.test).values()
    )
    assert shown
    assert shown <= history
    assert not shown & target


def other_group(users: np.ndarray) -> np.ndarray:
    """(len(users), ITEMS_PER_GROUP) the items of the group that each user is not in."""
    return 2 * np.arange(ITEMS_PER_GROUP)[None, :] + 1 - users[:, None] % 2


def test_checkerboard(case):
    ratings, withheld = checkerboard()
    scores = scores_of(solver(case), ratings)
    users = np.arange(ratings.num_users)
    seen = np.zeros(scores.shape, bool)
    seen[ratings.user, ratings.item] = True
    others = np.where(seen, -np.inf, scores)[users[:, None], other_group(users)].max(axis=1)
    assert np.mean(scores[users, withheld] > others) >= 0.95
    if "rating_scale" in solver(case).capabilities:
        assert np.mean(scores[users, withheld] > 3) >= 0.95
        assert np.mean(others < 3) >= 0.95


def test_new_users_get_their_groups_items(case):
    model = solver(case)
    if "new_users" not in model.capabilities:
        pytest.skip("declares no new_users")
    rng = np.random.default_rng(2)
    # Six strangers, three of each group, who rated four items of their own group and two of the other.
    user, item, value = [], [], []
    for stranger in range(6):
        own = rng.choice(ITEMS_PER_GROUP, 4, replace=False) * 2 + stranger % 2
        other = rng.choice(ITEMS_PER_GROUP, 2, replace=False) * 2 + 1 - stranger % 2
        user += [stranger] * 6
        item += [*own, *other]
        value += [5, 4, 5, 4, 1, 2]
    history = Ratings.build(
        users=Vocabulary(range(6)),
        items=checkerboard()[0].items,
        user=np.array(user, np.int32),
        item=np.array(item, np.int32),
        value=np.array(value, np.float32),
    )
    batch = batch_of(history, size=8)
    batch["index"][:] = -1
    scores = np.asarray(keras.ops.convert_to_numpy(model.score(model.encode(batch))))[:6]
    assert np.isfinite(scores).all()
    scores[history.user, history.item] = -np.inf
    best = np.argsort(-scores, axis=1)[:, :5]
    assert np.mean(best % 2 == np.arange(6)[:, None] % 2) >= 0.9


def test_padding_changes_no_score(case):
    ratings, (model, _) = data_of(case), ready(case)
    scores, padded = scores_of(model, ratings), scores_of(model, ratings, size=64)
    assert padded.shape == (64, ratings.num_items)
    np.testing.assert_allclose(padded[: ratings.num_users], scores, rtol=1e-5, atol=1e-6)
    batch = batch_of(ratings, size=64)
    empty = batch["weight"] == 0
    assert empty.any()
    batch["column"][empty], batch["value"][empty], batch["row"][empty] = 3, 99.0, ratings.num_users - 1
    np.testing.assert_array_equal(
        np.asarray(keras.ops.convert_to_numpy(model.score(model.encode(batch)))), padded, strict=True
    )


def test_padding_adds_nothing_to_the_loss(case):
    ratings = data_of(case)
    model = fresh(case, ratings, **MODELS.get(case[0], Trial()).no_penalty)
    exact = training_batch(model, ratings)
    size = len(exact["index"])
    loss = loss_of(model, exact)
    batch = training_batch(model, ratings, size=2 * size)
    assert loss_of(model, batch) == pytest.approx(loss / 2, rel=1e-5)
    empty = batch["weight"] == 0
    assert empty.any()
    batch["value"][empty] = 99.0
    batch["row"][empty] = 0
    assert loss_of(model, batch) == pytest.approx(loss / 2, rel=1e-5)


def test_padding_changes_no_step(case):
    """Half of a batch is padding: each step is half as long, whatever the padding holds."""
    ratings = data_of(case)
    changes = []
    for size in (1, 2):
        # With an epsilon this large, Adam's first step is learning_rate / epsilon times the gradient.
        trainer = replace(TRAINER, epochs=1, learning_rate=size * 1e6, optimizer_options={"epsilon": 1e6})
        model = fresh(case, ratings, trainer=trainer, **MODELS.get(case[0], Trial()).no_penalty)
        trainer = replace(trainer, batch_size=size * int((model.training_rows(ratings).lengths > 0).sum()))
        before = model.get_weights()
        Stage("refit", trainer, model, ratings, seed=0, epochs=1).run()
        changes.append([new - old for new, old in zip(model.get_weights(), before, strict=True)])
    for full, padded in zip(*changes, strict=True):
        np.testing.assert_allclose(full, padded, rtol=1e-3, atol=1e-5)
    assert max(np.abs(change).max() for change in changes[0]) > 0.01


def test_weights_count_entries(case):
    """The loss with half of the entries counted twice, and with the other half, is three times the plain loss."""
    ratings = data_of(case)
    model = fresh(case, ratings, **MODELS.get(case[0], Trial()).no_penalty)
    plain = training_batch(model, ratings)
    loss = loss_of(model, plain)
    some = np.random.default_rng(0).random(len(plain["weight"])) < 0.5
    once, other = (
        loss_of(model, plain | {"weight": plain["weight"] * np.where(chosen, 2, 1).astype(np.float32)})
        for chosen in (some, ~some)
    )
    assert once + other == pytest.approx(3 * loss, rel=1e-5)
    assert loss < once < 2 * loss
    assert loss_of(model, plain | {"weight": 2 * plain["weight"]}) == pytest.approx(2 * loss, rel=1e-5)


# What a validation would say after each epoch: the best is epoch 2, the learning rate falls, and four epochs
# later it is over.
VALIDATION = (1.0, 0.8, 0.9, 0.9, 0.85, 0.85, 0.9, 0.9)


def test_an_interrupted_training_resumes_bit_for_bit(case, tmp_path):
    ratings = data_of(case)
    trainer = replace(
        TRAINER,
        epochs=8,
        schedule=Plateau(factor=0.5, patience=1),
        patience=4,
        monitor="val_rmse",
        checkpoint_seconds=0,
    )

    def stage(folder: str, seed: int, die_in: int | None = None) -> Stage:
        def validate(model: Recommender) -> dict[str, float]:
            epoch = made.progress.epoch
            if epoch == die_in:
                raise KeyboardInterrupt
            return {"rmse": VALIDATION[epoch]}

        model = fresh(case, ratings, seed, trainer, **MODELS.get(case[0], Trial()).noise)
        made = Stage(
            "select", trainer, model, ratings, seed=5, epochs=8, validate=validate, folder=RunFolder(tmp_path / folder)
        )
        return made

    whole = stage("whole", seed=0)
    whole.run()
    with pytest.raises(KeyboardInterrupt):
        stage("cut", seed=0, die_in=3).run()
    # Other initial weights: whatever the checkpoint does not restore shows.
    resumed = stage("cut", seed=9)
    resumed.run(resumed.folder.read_arrays("checkpoint.npz"))

    histories = [[{k: v for k, v in row.items() if k != "examples_per_second"} for row in made.progress.history]
                 for made in (whole, resumed)]  # fmt: skip
    assert histories[0] == histories[1]
    assert (len(histories[0]), whole.progress.best_epoch, resumed.progress.best_epoch) == (6, 2, 2)
    assert histories[0][-1]["learning_rate"] < histories[0][0]["learning_rate"]
    checkpoints = [made.folder.read_arrays("checkpoint.npz") for made in (whole, resumed)]
    assert checkpoints[0].keys() == checkpoints[1].keys()
    for name in checkpoints[0].keys() - {"about"}:
        np.testing.assert_array_equal(checkpoints[0][name], checkpoints[1][name], err_msg=name)
    for kept, copy in zip(whole.model.get_weights(), resumed.model.get_weights(), strict=True):
        np.testing.assert_array_equal(kept, copy)


def test_a_diverging_training_names_step_and_rows(case):
    ratings = data_of(case)
    trainer = replace(TRAINER, learning_rate=1e30)
    with pytest.raises(
        TrainingError, match=r"The loss is (nan|inf) at step \d+ of epoch 1 \(rows in the batch: [ui]\d"
    ) as told:
        trained(case, ratings, trainer=trainer)
    assert "Lower trainer.learning_rate (now 1e+30)" in str(told.value)


def test_a_value_that_is_no_number_names_its_row(case):
    ratings = data_of(case)
    model = fresh(case, ratings)
    value = ratings.value.copy()
    value[100] = np.nan
    bad = replace(ratings, value=value)
    with pytest.raises(TrainingError, match="The loss is nan") as told:
        Stage("refit", TRAINER, model, bad, seed=0, epochs=1).run()
    by_user = model.training_rows(ratings).num_columns == ratings.num_items
    row = ratings.users.ids[ratings.user[100]] if by_user else ratings.items.ids[ratings.item[100]]
    assert row in str(told.value).split("(rows in the batch: ")[1].split(")")[0].split(", ")
