"""Tests of the properties that every impression model of conf/model/ must have."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from nnrec.batches.impressions import blocks
from nnrec.core.config.compose import compose
from nnrec.core.devices import backend
from nnrec.core.errors import TrainingError
from nnrec.data.readers.impression_columns import Meaning, from_columns
from nnrec.evaluation.impressions import ImpressionEvaluation
from nnrec.models.base.build import build_model
from nnrec.runs.folder import RunFolder
from nnrec.splits.impressions import RandomRows, fitted
from nnrec.training.settings import Trainer
from tests.impression_rows import SCHEMA
from tests.learning import learning
from tests.models.trials import IMPRESSION_NAMES

pytestmark = pytest.mark.neural

TINY = {"embedding_dim": 4, "initial_spread": 0.1}
NOISY = {"dropout": 0.2, "batch_normalization": True, "numeric": "raw", "l2": 1e-3}
TRAINER = Trainer(epochs=12, batch_size=32, learning_rate=0.02, refit=False)
CASES = [*((name, {}) for name in IMPRESSION_NAMES), ("deepfm", NOISY), ("deepfm", {"task": "rating"})]
# All that differs between cases for what takes several trainings.
FEW = [("deepfm", NOISY), ("linear", {})]


@pytest.fixture(scope="module", autouse=True)
def _started():
    backend.start()


@cache
def rows():
    """250 rows; each kind of device clicks mostly one of two genres, more so with age."""
    rng = np.random.default_rng(0)
    device, genre = rng.integers(0, 2, 250), rng.integers(0, 2, 250)
    age = rng.integers(20, 60, 250).astype(float)
    chance = 1 / (1 + np.exp(-np.where(device == genre, 2, -2) - (age - 40) / 20))
    columns = {
        "label": (rng.random(250) < chance).astype(float),
        "user": rng.integers(0, 9, 250),
        "item": 10 * genre + rng.integers(0, 4, 250),
        "device": np.array(["phone", "tablet"])[device],
        "genres": [f"g{number}|all" for number in genre],
        "age": age,
    }
    impressions = from_columns(columns, Meaning(SCHEMA), "the frame")
    return fitted(impressions, np.arange(250))


def settings_of(case):
    name, changes = case
    settings = dict(compose("train", [f"model={name}"]).model) | TINY
    settings |= {"hidden_units": [8, 4]} if settings["hidden_units"] else {}
    return settings | changes


def fresh(case, seed=0, trainer=TRAINER):
    from nnrec.training.loop import compile_model

    model = build_model(settings_of(case), seed, rows().sizes)
    model.adapt(rows())
    compile_model(model, trainer)
    return model


def trained(case, seed=0):
    from nnrec.training.loop import Stage

    model = fresh(case, seed)
    progress = Stage("refit", TRAINER, model, rows(), seed=seed, epochs=TRAINER.epochs).run()
    return model, [row["loss"] for row in progress.history]


READY = {}


def ready(case):
    """Returns a trained model that tests share; they must not change it."""
    key = json.dumps(case)
    if key not in READY:
        READY[key] = trained(case)
    return READY[key]


def estimates(model, size=250):
    return np.concatenate([model.estimate(batch)[batch["weight"] > 0] for batch in blocks(rows(), size)])


def name_of(case):
    return "-".join([case[0], *case[1]])


@pytest.fixture(params=CASES, ids=name_of)
def case(request):
    return request.param


@pytest.fixture(params=FEW, ids=name_of)
def few(request):
    return request.param


def test_estimates_are_finite_in_range_and_the_loss_falls(case):
    model, losses = ready(case)
    found = estimates(model)
    assert found.shape == (250,) and found.dtype == np.float32
    assert (found >= 0).all() and (found <= 1).all() and found.std() > 0.05
    assert losses[-1] < 0.97 * losses[0]


def test_padding_changes_no_estimate(case):
    model, _ = ready(case)
    np.testing.assert_allclose(estimates(model, 64), estimates(model), rtol=1e-5, atol=1e-6)


def test_saved_weights_and_settings_give_the_same_estimates(case, tmp_path):
    model, _ = ready(case)
    folder = RunFolder.create(tmp_path / "run")
    folder.write_arrays("weights.npz", model.state())
    config = json.loads(json.dumps(model.get_config()))
    copy = type(model).from_config(config)
    assert json.loads(json.dumps(copy.get_config())) == config
    copy.load_state(folder.read_arrays("weights.npz"))
    np.testing.assert_array_equal(estimates(copy), estimates(model))


def test_the_seed_decides(few):
    model, losses = ready(few)
    again, same = trained(few)
    assert same == losses
    np.testing.assert_array_equal(estimates(again), estimates(model))
    other, _ = trained(few, seed=1)
    assert np.abs(estimates(other) - estimates(model)).max() > 1e-3


def test_what_interacts_is_told_by_models_that_multiply(case):
    """The label depends on the combination of device and genre, which no sum of weights can represent."""
    model, _ = ready(case)
    devices, genres = (np.asarray(rows().impressions.codes[:, place]) for place in (2, 1))
    genre = np.char.startswith(rows().items.ids[genres].astype(str), "1")
    alike = genre == (np.array(rows().impressions.levels["device"].strings)[devices] == "tablet")
    gap = estimates(model)[alike].mean() - estimates(model)[~alike].mean()
    assert (gap > 0.2) == (case[0] != "linear")


def test_an_interrupted_training_resumes_bit_for_bit(few, tmp_path):
    from nnrec.training.loop import Stage

    trainer = replace(TRAINER, monitor="val_auc", checkpoint_seconds=0)

    def stage(folder, seed, die_in=None):
        def validate(model):
            if made.progress.epoch == die_in:
                raise KeyboardInterrupt
            return {"auc": [0.6, 0.8, 0.7, 0.75][made.progress.epoch]}

        options = {"seed": 5, "epochs": 4, "validate": validate, "folder": RunFolder(tmp_path / folder)}
        made = Stage("select", trainer, fresh(few, seed, trainer), rows(), **options)
        return made

    whole = stage("whole", seed=0)
    whole.run()
    with pytest.raises(KeyboardInterrupt):
        stage("cut", seed=0, die_in=2).run()
    # Other initial weights: whatever the checkpoint does not restore shows.
    resumed = stage("cut", seed=9)
    resumed.run(resumed.folder.read_arrays("checkpoint.npz"))
    assert [row["loss"] for row in resumed.progress.history] == [row["loss"] for row in whole.progress.history]
    for kept, copy in zip(whole.model.get_weights(), resumed.model.get_weights(), strict=True):
        np.testing.assert_array_equal(kept, copy)


def test_nothing_sees_the_labels_that_are_held_out(tmp_path):
    impressions = rows().impressions
    split = RandomRows(0.2, 0.1)(impressions, 0)
    label = np.array(impressions.label)
    label[split.test.which] = np.random.default_rng(3).permutation(label[split.test.which])
    changed = RandomRows(0.2, 0.1)(replace(impressions, label=label), 0)

    def learnt(split, folder):
        config = compose("train", ["model=deepfm", "trainer.monitor=val_auc", "trainer.refit=false"])
        config.model = settings_of(("deepfm", NOISY))
        trial = learning(config, replace(TRAINER, monitor="val_auc", epochs=2), ImpressionEvaluation(), split)
        figures = trial.run(RunFolder.create(tmp_path / folder))
        return figures, trial.model.estimate(next(blocks(split.test, len(split.test))))

    figures, found = learnt(split, "whole")
    told, again = learnt(changed, "changed")
    np.testing.assert_array_equal(again, found)
    assert told["validation"] == figures["validation"]
    assert told["test"] != figures["test"]


def test_a_diverging_training_names_step_and_rows():
    from nnrec.training.loop import Stage

    trainer = replace(TRAINER, learning_rate=1e38)
    model = fresh(("deepfm", {}), trainer=trainer)
    with pytest.raises(TrainingError, match=r"The loss is (nan|inf) at step \d+ of epoch 1 \(rows of the data"):
        Stage("refit", trainer, model, rows(), seed=0, epochs=2).run()


def test_tensorflow_reads_what_it_compiles(caplog):
    """TensorFlow would log an AutoGraph warning about source code that it cannot read; users could not act on it."""
    model = fresh(("deepfm", {}))
    logging.getLogger("tensorflow").addHandler(caplog.handler)
    model.estimate(next(blocks(rows(), 8)))
    logging.getLogger("tensorflow").removeHandler(caplog.handler)
    assert "AutoGraph" not in caplog.text
