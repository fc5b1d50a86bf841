"""Tests of the properties that every neural model must have in addition: its loss, its batches, its checkpoints."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from nnrec.core.devices import backend
from nnrec.core.errors import TrainingError
from nnrec.data.ratings import Ratings
from nnrec.models.base.neural import Recommender
from nnrec.runs.folder import RunFolder
from nnrec.training.loop import Stage
from nnrec.training.schedules import Plateau
from tests.models.trials import CASES, MODELS, TRAINER, Trial, data_of, fresh, is_neural, ready, trained, trained_anew

pytestmark = pytest.mark.neural


@pytest.fixture(scope="module", autouse=True)
def _started():
    backend.start()


@pytest.fixture(params=[case for case in CASES if is_neural(case)], ids="-".join)
def case(request):
    return request.param


def loss_of(model: Recommender, batch: Mapping[str, np.ndarray]) -> float:
    model(batch, training=False)
    return float(sum(model.losses))


def training_batch(model: Recommender, ratings: Ratings, size: int | None = None):
    """All training rows in one batch."""
    rows = model.training_rows(ratings)
    return next(model.batches(rows, size or len(rows)).epoch())


def test_loss_falls(case):
    _, losses = ready(case)
    assert losses[-1] < 0.9 * losses[0]


def test_config_round_trips(case):
    model, _ = ready(case)
    config = json.loads(json.dumps(model.get_config()))
    copy = type(model).from_config(config)
    assert json.loads(json.dumps(copy.get_config())) == config
    assert [weight.shape for weight in copy.weights] == [weight.shape for weight in model.weights]


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
    assert max(np.abs(change).max() for change in changes[0]) > 0.001


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


# Validation metrics after each epoch: epoch 2 is the best, the learning rate falls, and training ends four epochs
# later.
VALIDATION = (1.0, 0.8, 0.9, 0.9, 0.85, 0.85, 0.9, 0.9)


@trained_anew(list(filter(is_neural, CASES)), is_neural)
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
    trainer = replace(TRAINER, learning_rate=1e38)
    with pytest.raises(
        TrainingError, match=r"The loss is (nan|inf) at step \d+ of epoch 1 \(rows in the batch: [ui]\d"
    ) as told:
        trained(case, ratings, trainer=trainer)
    assert "Lower trainer.learning_rate (now 1e+38)" in str(told.value)


def test_a_value_that_is_no_number_names_its_row(case):
    ratings = data_of(case)
    model = fresh(case, ratings)
    entry = np.flatnonzero(ratings.value >= 4)[50]
    # Implicit models use only whether a value is high enough.
    field = "weight" if model.family == "implicit" else "value"
    numbers = np.ones(len(ratings), np.float32) if field == "weight" else ratings.value.copy()
    numbers[entry] = np.nan
    bad = replace(ratings, **{field: numbers})
    with pytest.raises(TrainingError, match="The loss is nan") as told:
        Stage("refit", TRAINER, model, bad, seed=0, epochs=1).run()
    by_user = model.training_rows(ratings).num_columns == ratings.num_items
    row = ratings.users.ids[ratings.user[entry]] if by_user else ratings.items.ids[ratings.item[entry]]
    assert row in str(told.value).split("(rows in the batch: ")[1].split(")")[0].split(", ")
