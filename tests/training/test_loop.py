"""Epochs, best weights, early stopping, checkpoints."""

from __future__ import annotations

import contextlib
import math
import signal

import keras
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from nnrec.batches.protocol import rows_per_batch
from nnrec.batches.rows import RowBatches
from nnrec.core.devices import backend
from nnrec.core.errors import ConfigError, RunError, TrainingError
from nnrec.data.ratings import Ratings
from nnrec.data.vocabulary import Vocabulary
from nnrec.models.autoencoders.autorec import AutoRec
from nnrec.runs.folder import RunFolder
from nnrec.runs.tensorboard import EventWriter
from nnrec.training.feeding import feed
from nnrec.training.loop import Stage, compile_model
from nnrec.training.schedules import Steps
from nnrec.training.settings import Trainer


@pytest.fixture(scope="module", autouse=True)
def _started():
    backend.start()


def some_ratings() -> Ratings:
    """Ratings of users 0 to 19 and items 0 to 9; items 3 and 7 have none."""
    user, item = np.nonzero(np.random.default_rng(0).random((20, 10)) < 0.6)
    kept = (item != 3) & (item != 7)
    user, item = user[kept].astype(np.int32), item[kept].astype(np.int32)
    value = (1 + (user + item) % 5).astype(np.float32)
    return Ratings.build(users=Vocabulary(range(20)), items=Vocabulary(range(10)), user=user, item=item, value=value)


RATINGS = some_ratings()


def stage(trainer, name="select", hidden=4, validate=None, arithmetic="auto", **options) -> Stage:
    keras.utils.set_random_seed(0)
    model = AutoRec(20, 10, hidden_units=(hidden,), l2=0.1, arithmetic=arithmetic)
    model.adapt(RATINGS)
    compile_model(model, trainer)
    return Stage(name, trainer, model, RATINGS, seed=0, epochs=trainer.epochs, validate=validate, **options)


def scripted(name, *values):
    """A validation that returns these figures one after the other, and records the weights of each epoch."""
    shown = []

    def validate(model):
        shown.append(model.get_weights())
        return {name: values[len(shown) - 1]}

    return validate, shown


def quick(**settings) -> Trainer:
    return Trainer(**{"epochs": 4, "batch_size": 8, "learning_rate": 0.01, "monitor": "val_rmse"} | settings)


@pytest.mark.parametrize(
    ("name", "values", "best"),
    [("rmse", (0.9, 0.7, 0.7, 0.8), 2), ("recall@5", (0.1, 0.2, 0.4, 0.3), 3), ("mae", (4, 3, 2, 1), 4)],
)
def test_the_best_weights_stay(name, values, best):
    validate, shown = scripted(name, *values)
    made = stage(quick(monitor=f"val_{name}"), validate=validate)
    progress = made.run()
    assert (progress.epoch, progress.best_epoch) == (4, best)
    for kept, weight in zip(shown[best - 1], made.model.get_weights(), strict=True):
        np.testing.assert_array_equal(kept, weight)
    assert any((kept != weight).any() for kept, weight in zip(shown[0], shown[1], strict=True))
    assert [row[f"val_{name}"] for row in progress.history] == list(values)


@pytest.mark.parametrize(("patience", "epochs"), [(None, 6), (1, 3), (2, 6), (3, 6)])
def test_patience(patience, epochs):
    # the lowest are epochs 1, 2, 4: with a patience of 1 it is over after epoch 3, with 2 after epoch 6
    validate, _ = scripted("rmse", 0.9, 0.8, 0.85, 0.7, 0.75, 0.75)
    assert stage(quick(epochs=6, patience=patience), validate=validate).run().epoch == epochs


def test_an_interrupt_whose_exception_is_lost_stops_it_all_the_same():
    def validate(model):
        with contextlib.suppress(KeyboardInterrupt):  # as Python does where a finalizer is running
            signal.raise_signal(signal.SIGINT)
        return {"rmse": 1.0}

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        made = stage(quick(), validate=validate)
        with pytest.raises(KeyboardInterrupt):
            made.run()
        assert made.progress.epoch == 1
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_refit_has_no_validation_and_given_rates():
    made = stage(quick(schedule=Steps(at=(0.5,)), epochs=3), name="refit", rates=[0.03, 0.02, 0.01])
    progress = made.run()
    assert [row["learning_rate"] for row in progress.history] == [0.03, 0.02, 0.01]
    assert (progress.best_epoch, made.best) == (3, None)
    assert set(progress.history[0]) == {"loss", "learning_rate", "examples_per_second"}


def test_the_schedule_sets_the_rate():
    progress = stage(quick(schedule=Steps(at=(0.5,), factor=0.1))).run()
    assert [row["learning_rate"] for row in progress.history] == pytest.approx([0.01, 0.01, 0.001, 0.001])


def test_the_rate_is_what_moves_the_weights():
    def step(rate):
        made = stage(quick(epochs=1, batch_size=32, learning_rate=rate))
        before = keras.ops.convert_to_numpy(made.model.encoder_bias)
        made.run()
        return np.abs(keras.ops.convert_to_numpy(made.model.encoder_bias) - before).max()

    # Adam's first step is the learning rate, whatever the gradient.
    assert (step(0.01), step(0.02)) == (pytest.approx(0.01, rel=1e-2), pytest.approx(0.02, rel=1e-2))


def test_the_loss_is_that_of_the_epoch():
    made = stage(quick(epochs=1, learning_rate=1e-12))
    expected = []
    for batch in made.batches.epoch(0):
        made.model(batch, training=True)
        expected.append(float(sum(made.model.losses)))
    assert made.run().history[0]["loss"] == pytest.approx(np.mean(expected), rel=1e-5)


def test_rows_without_ratings_are_left_out():
    made = stage(quick(batch_size=4))
    assert made.batches.which.tolist() == [0, 1, 2, 4, 5, 6, 8, 9]
    assert len(made.batches) == 2
    assert sorted(made.batches.chosen(0, 0).tolist() + made.batches.chosen(0, 1).tolist()) == [0, 1, 2, 4, 5, 6, 8, 9]


def test_a_model_that_keras_alone_compiled_has_no_step():
    model = AutoRec(3, 2, hidden_units=(2,))
    model.compile(optimizer="adam")
    with pytest.raises(
        TrainingError, match=r"autorec has no training step: compile it with nnrec\.training\.loop\.comp"
    ):
        model.train_step({})


def test_an_unknown_monitor():
    validate, _ = scripted("rmse", 1.0)
    with pytest.raises(
        ConfigError, match=r"trainer\.monitor=val_mae is not measured\. Choose one of: loss, val_rmse\."
    ):
        stage(quick(monitor="val_mae"), validate=validate).run()


def test_checkpoints(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(RunFolder, "write_arrays", lambda self, name, arrays: written.append(name))
    stage(quick(checkpoint_seconds=1000), folder=RunFolder(tmp_path)).run()
    assert written == ["checkpoint.npz"]  # at the end
    written.clear()
    stage(quick(checkpoint_seconds=0), folder=RunFolder(tmp_path)).run()
    assert written == ["checkpoint.npz"] * 5


def test_a_checkpoint_of_another_stage_or_model(tmp_path):
    folder = RunFolder(tmp_path)
    stage(quick(epochs=2), folder=folder).run()
    checkpoint = folder.read_arrays("checkpoint.npz")
    assert stage(quick(epochs=2), name="refit").run(checkpoint).seconds > 0  # begins anew
    done = stage(quick(epochs=2))
    before = done.model.optimizer.iterations + 0
    assert done.run(checkpoint).epoch == 2
    assert int(done.model.optimizer.iterations) == 2 and int(before) == 0
    with pytest.raises(RunError, match="The checkpoint does not fit the model at .*encoder"):
        stage(quick(epochs=2), hidden=5).run(checkpoint)


@pytest.mark.parametrize("done", [1, 2, 3])
def test_the_best_weights_outlive_an_interruption(done, tmp_path):
    """Interrupted before, after and at the best epoch; in the last case the checkpoint holds the weights once."""
    losses, shown, folder = (0.9, 0.7, 0.8, 0.75), {}, RunFolder(tmp_path)

    def resumed(epochs: int, checkpoint=None) -> Stage:
        def validate(model):
            shown[made.progress.epoch] = model.get_weights()
            return {"rmse": losses[made.progress.epoch]}

        made = stage(quick(epochs=epochs), validate=validate, folder=folder)
        made.run(checkpoint)
        return made

    resumed(done)
    checkpoint = folder.read_arrays("checkpoint.npz")
    assert any(name.startswith("best/") for name in checkpoint) == (done == 3)
    made = resumed(4, checkpoint)
    assert (made.progress.epoch, made.progress.best_epoch) == (4, 2)
    for kept, weight in zip(shown[1], made.model.get_weights(), strict=True):
        np.testing.assert_array_equal(kept, weight)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="only TensorFlow's variables copy when read")
def test_tables_changed_by_rows_are_read_in_place():
    def validate(model):
        reads.append([model.row_tables[0].value.read_value() for _ in range(2)])
        return {"rmse": 1.0}

    reads: list = []
    made = stage(quick(epochs=2), validate=validate, arithmetic="sparse")
    made.run()
    first, again, later = (np.from_dlpack(read) for read in (*reads[0], reads[1][0]))
    assert np.shares_memory(first, again)
    assert (first != later).any()  # and the second epoch leaves alone what was read before


def test_tensorboard_counts_on(tmp_path):
    validate, _ = scripted("rmse", 0.9, 0.8)
    with EventWriter(tmp_path) as events:
        stage(quick(epochs=2, histograms=True), validate=validate, events=events).run()
        stage(quick(epochs=2), name="refit", events=events, logged=2).run()
    logged = EventAccumulator(str(tmp_path))
    logged.Reload()
    assert [event.step for event in logged.Scalars("select/loss")] == [1, 2]
    assert [event.value for event in logged.Scalars("select/val_rmse")] == pytest.approx([0.9, 0.8])
    assert [event.step for event in logged.Scalars("refit/loss")] == [3, 4]
    assert any("encoder" in tag for tag in logged.Tags()["tensors"])


def test_a_profile(tmp_path):
    with EventWriter(tmp_path) as events:
        stage(quick(epochs=2, profile=True), events=events).run()
    assert list(tmp_path.glob("plugins/profile/*/*.xplane.pb"))


def test_the_feed_is_the_epoch():
    batches = RowBatches(RATINGS.rows("item"), 4, seed=1, unique_ids=True)
    fed = [batch for (batch,) in feed(batches, 2)]
    for batch, expected in zip(fed, batches.epoch(2), strict=True):
        assert batch.keys() == expected.keys()
        for name, array in expected.items():
            np.testing.assert_array_equal(np.asarray(batch[name]), array, strict=True)


@pytest.mark.parametrize(("rows", "size"), [(10, 16), (479, 16), (600, 20), (6040, 201), (100_000, 512)])
def test_auto_batch_size(rows, size):
    assert rows_per_batch("auto", rows) == size
    assert rows_per_batch(7, rows) == 7


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, r"trainer\.epochs must be at least 1\. Received: 0"),
        ({"batch_size": 0}, r"trainer\.batch_size must be auto or at least 1\. Received: 0"),
        ({"batch_size": "many"}, r"trainer\.batch_size must be auto or at least 1\. Received: many"),
        ({"learning_rate": -1.0}, r"trainer\.learning_rate must be positive\. Received: -1"),
        ({"learning_rate": math.nan}, r"trainer\.learning_rate must be positive\. Received: nan"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(ConfigError, match=message):
        Trainer(**settings)


def test_row_sparse_models_need_an_optimizer_that_follows_rows():
    model = AutoRec(20, 10, hidden_units=(4,), arithmetic="sparse")
    with pytest.raises(
        ConfigError, match=r"works with trainer\.optimizer=adam, adagrad or sgd\. Received: rmsprop\. Use these, or"
    ):
        compile_model(model, Trainer(optimizer="rmsprop"))
    with pytest.raises(ConfigError, match=r"use trainer\.precision=mixed_bfloat16"):
        compile_model(model, Trainer(precision="mixed_float16"))


def test_several_steps_in_one_go_are_the_same_steps():
    """Eight rows in batches of three: two steps in one call, and one remaining step."""
    one, several = (stage(quick(batch_size=3, epochs=2, steps_per_execution=number)) for number in (1, 2))
    for made in (one, several):
        assert len(made.batches) == 3
        made.run()
    for weight, other in zip(one.model.get_weights(), several.model.get_weights(), strict=True):
        np.testing.assert_allclose(weight, other, rtol=1e-6)
    losses = [[row["loss"] for row in made.progress.history] for made in (one, several)]
    np.testing.assert_allclose(*losses, rtol=1e-6)
