"""Training: epochs, learning rates, early stopping, checkpoints."""

from __future__ import annotations

import json
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from nnrec.batches.worker_exchange import exchange_of
from nnrec.core.console import ProgressBar, figures
from nnrec.core.devices import strategy
from nnrec.core.devices.collectives import num_parts
from nnrec.core.errors import ConfigError, RunError, TrainingError
from nnrec.models.base.neural import Recommender
from nnrec.runs.folder import RunFolder
from nnrec.runs.tensorboard import EventWriter
from nnrec.training import optimizers
from nnrec.training.feeding import check_parts, feed
from nnrec.training.profiler import _profiler
from nnrec.training.settings import Progress, Report, Trainer
from nnrec.training.step import training_step

LOWER_IS_BETTER = ("loss", "rmse", "mae", "log_loss", "calibration_error")


def compile_model(model: Recommender, trainer: Trainer) -> None:
    """Compiles the model with its optimizer and builds all optimizer state.

    Raises:
        ConfigError: the optimizer or precision does not support row-sparse updates, or the optimizer does not support
            the model's different learning rates, or XLA or several steps per call are set on several devices.
    """
    optimizer = optimizers.create(trainer.optimizer, trainer.learning_rate, **trainer.optimizer_options)
    own = isinstance(optimizer, tuple(optimizers.OWN.values()))
    if model.row_sparse and not own:
        raise ConfigError(
            f"{model.name} updates only the rows of its tables that a batch touches, which works with "
            f"trainer.optimizer=adam, adagrad or sgd. Received: {trainer.optimizer}. Use these, or, where the model "
            "has it, dense arithmetic (model.arithmetic=dense, or model.sampled=null)."
        )
    if model.row_sparse and trainer.precision == "mixed_float16":
        raise ConfigError("Row-sparse updates do not scale the loss: use trainer.precision=mixed_bfloat16.")
    # On TensorFlow a dense step is faster without XLA on CPU, and the row-sparse step compiles its own parts.
    compiled = keras.backend.backend() == "jax" or (trainer.xla and not model.row_sparse)
    if num_parts() > 1 and (trainer.xla or trainer.steps_per_execution > 1):
        raise ConfigError(
            "On several TensorFlow devices Keras neither compiles whole steps nor makes several in one go: leave "
            "trainer.xla=false and trainer.steps_per_execution=1."
        )
    model.make_step = training_step
    model.compile(optimizer=optimizer, jit_compile=compiled, steps_per_execution=trainer.steps_per_execution)
    model.optimizer.build(model.trainable_variables)
    if model.row_sparse:
        model.optimizer.build_rows(model.row_tables)
    factors = [model.rate_factor(variable) for variable in model.trainable_variables]
    if own:
        model.optimizer.rate_factors = tuple(factors)
    elif set(factors) > {1.0}:
        raise ConfigError(
            f"Different learning rates within {model.name} work with trainer.optimizer=adam, adagrad or sgd. Received: "
            f"{trainer.optimizer}."
        )


class Stage:
    """One training of one model from its initial weights: on the training part, or the refit.

    Args:
        name: "select" or "refit"; stored in checkpoints.
        trainer: the settings.
        model: adapted and compiled.
        train: the training data.
        seed: for the order of the rows and all draws.
        epochs: maximum number of epochs.
        validate: evaluates the model after each epoch; None = no validation, no early stopping.
        diagnose: returns further figures after each epoch, for the log only.
        rates: the learning rate of each epoch; None = from the schedule.
        folder, events: where checkpoints and TensorBoard's figures are written; None = nowhere.
        logged: number of epochs that earlier stages have logged.
        report: called with the monitored figure after each epoch; False ends the training. None = not called.
    """

    def __init__(
        self,
        name: str,
        trainer: Trainer,
        model: Recommender,
        train: Any,
        *,
        seed: int,
        epochs: int,
        validate: Callable[[Recommender], dict[str, float]] | None = None,
        diagnose: Callable[[Recommender], dict[str, float]] | None = None,
        rates: Sequence[float] | None = None,
        folder: RunFolder | None = None,
        events: EventWriter | None = None,
        logged: int = 0,
        report: Report | None = None,
    ) -> None:
        self.logged, self.report = logged, report
        self.name, self.trainer, self.model, self.epochs = name, trainer, model, epochs
        self.validate, self.diagnose, self.rates = validate, diagnose, rates
        self.folder, self.events = folder, events
        with strategy.scope():
            check_parts(trainer.batch_size)
            self.batches = model.training_batches(train, trainer.batch_size, seed)
            self.exchange = exchange_of(self.batches)
        self.progress = Progress()
        self.best: list[np.ndarray] | None = None  # weights of an earlier best epoch; None = the model holds the best
        self.interrupted = False
        self._saved_at = time.monotonic()

    def run(self, checkpoint: Mapping[str, np.ndarray] | None = None) -> Progress:
        """Trains, resuming from a checkpoint of this stage if given, and leaves the best weights in the model."""
        if checkpoint is not None and json.loads(str(checkpoint["about"]))["stage"] == self.name:
            self.restore(checkpoint)
        progress = self.progress
        steps = len(self.batches)
        title = {"select": "training", "refit": "refitting"}[self.name]
        with self._heeding_interrupts(), ProgressBar(title, self.epochs * steps) as bar:
            bar.advance(progress.epoch * steps)
            while progress.epoch < self.epochs and not (progress.stopped or self._is_over()):
                row = self._epoch(progress.epoch, bar)
                self._log(row)
                at = self.trainer.monitor.partition("@")[2]
                shown = {name: value for name, value in row.items() if name.partition("@")[2] in ("", at)}
                bar.report(figures({"epoch": progress.epoch, **shown}), final=progress.epoch == self.epochs)
                if self.report is not None:
                    progress.stopped = not self.report(progress.epoch, row[self.trainer.monitor])
                if time.monotonic() - self._saved_at >= self.trainer.checkpoint_seconds:
                    self.save()
                self.check_interrupted()
        if self.exchange is not None:
            self.exchange.close()
        self.save()
        if self.best is not None:
            self.model.set_weights(self.best)
        return progress

    @contextmanager
    def _heeding_interrupts(self) -> Iterator[None]:
        """Records Ctrl-C in `interrupted`: Python drops a KeyboardInterrupt that is raised inside a finalizer."""
        before = signal.getsignal(signal.SIGINT)

        def note(number: int, frame: Any) -> None:
            self.interrupted = True
            before(number, frame)  # type: ignore[operator, misc]

        heard = callable(before) and threading.current_thread() is threading.main_thread()
        if heard:
            signal.signal(signal.SIGINT, note)
        try:
            yield
        finally:
            if heard:
                signal.signal(signal.SIGINT, before)

    def check_interrupted(self) -> None:
        """Raises KeyboardInterrupt if Ctrl-C was pressed."""
        if self.interrupted:
            raise KeyboardInterrupt

    def _epoch(self, epoch: int, bar: ProgressBar) -> dict[str, float]:
        """Trains one epoch; appends its row to the history and returns it."""
        progress, trainer = self.progress, self.trainer
        rate = self._rate(epoch)
        if self.validate is not None and 0 < epoch == progress.best_epoch:
            self.best = self.model.get_weights()
        self.model.begin_epoch(epoch)
        self.model.optimizer.learning_rate = rate
        started = time.perf_counter()
        with _profiler(self.events, active=trainer.profile and epoch == 1):
            logs = self.model.fit(
                self.feed(epoch),
                epochs=epoch + 1,
                initial_epoch=epoch,
                steps_per_epoch=len(self.batches),
                shuffle=False,
                verbose=0,
                callbacks=[_Watch(self, epoch, bar)],
            ).history
        seconds = time.perf_counter() - started
        _share_reads(self.model)
        row = {"loss": float(logs["loss"][0]), "learning_rate": rate}
        if self.diagnose is not None:
            row |= self.diagnose(self.model)
        if self.validate is not None:
            row |= {f"val_{name}": value for name, value in self.validate(self.model).items()}
        row["examples_per_second"] = self.batches.num_examples / seconds
        progress.seconds += time.perf_counter() - started
        progress.history.append(row)
        if self.validate is None or self._best_epoch() == epoch + 1:
            progress.best_epoch, self.best = epoch + 1, None
        return row

    def feed(self, epoch: int) -> Any:
        """The batches of an epoch in the form that `fit` expects."""
        with strategy.scope():
            return feed(self.batches, epoch, self.exchange)

    def _rate(self, epoch: int) -> float:
        if self.rates is not None:
            return self.rates[epoch]
        return self.trainer.learning_rate * self.trainer.schedule(epoch, self.epochs, self.progress.history)

    def _best_epoch(self) -> int:
        """The epoch (from 1) with the best monitored figure."""
        monitor, history = self.trainer.monitor, self.progress.history
        if monitor not in history[-1]:
            choices = [name for name in history[-1] if name not in ("learning_rate", "examples_per_second")]
            raise ConfigError(f"trainer.monitor={monitor} is not measured. Choose one of: {', '.join(choices)}.")
        values = [row[monitor] for row in history]
        lower = monitor.removeprefix("val_") in LOWER_IS_BETTER
        return 1 + int(np.argmin(values) if lower else np.argmax(values))

    def _is_over(self) -> bool:
        """Whether `patience` epochs have passed since the best one."""
        patience, progress = self.trainer.patience, self.progress
        if patience is None or self.validate is None or not progress.history:
            return False
        return progress.epoch - self._best_epoch() >= patience

    def _log(self, row: dict[str, float]) -> None:
        if self.events is None:
            return
        epoch = self.logged + self.progress.epoch
        for name, value in row.items():
            self.events.scalar(f"{self.name}/{name}", value, epoch)
        if self.trainer.histograms:
            for variable in [*self.model.trainable_variables, *self.model.row_tables]:
                self.events.histogram(f"{self.name}/{variable.path}", keras.ops.convert_to_numpy(variable), epoch)
        self.events.flush()

    def save(self) -> None:
        """Writes the whole state of the stage to the run folder."""
        self._saved_at = time.monotonic()
        if self.folder is None:
            return
        self.folder.write_arrays("checkpoint.npz", self._arrays())

    def _arrays(self) -> Iterator[tuple[str, np.ndarray]]:
        """The arrays of a checkpoint, one by one."""
        yield "about", np.array(json.dumps(self._about()))
        for kind, variables in self._state().items():
            for number, variable in enumerate(variables):
                yield f"{kind}/{number}", keras.ops.convert_to_numpy(variable)
        for number, array in enumerate(self.best or ()):
            yield f"best/{number}", array

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Restores the state that `save` wrote.

        Raises:
            RunError: the checkpoint belongs to a model with other shapes.
        """
        self.progress = Progress(**json.loads(str(arrays["about"]))["progress"])
        for kind, variables in self._state().items():
            for number, variable in enumerate(variables):
                array = arrays.get(f"{kind}/{number}")
                if array is None or array.shape != tuple(variable.shape):
                    raise RunError(
                        f"The checkpoint does not fit the model at {variable.path}: made by another version?"
                    )
                variable.assign(array)
        best = [array for name, array in arrays.items() if name.startswith("best/")]
        self.best = best or None

    def _about(self) -> dict[str, Any]:
        logged = self.logged + self.progress.epoch
        return {"stage": self.name, "logged": logged, "progress": vars(self.progress)}

    def _state(self) -> dict[str, list[keras.Variable]]:
        return {"model": self.model.weights, "optimizer": self.model.optimizer.variables}


class _Watch(keras.callbacks.Callback):
    """Advances the progress bar and raises TrainingError if the loss is not finite."""

    def __init__(self, stage: Stage, epoch: int, bar: ProgressBar) -> None:
        super().__init__()
        self.stage, self.epoch, self.bar, self.done = stage, epoch, bar, 0

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        self.bar.advance(batch + 1 - self.done)
        self.done = batch + 1
        self.stage.check_interrupted()
        loss = float((logs or {})["loss"])
        if not math.isfinite(loss):
            raise TrainingError(
                f"The loss is {loss} at step {batch + 1} of epoch {self.epoch + 1} "
                f"({self.stage.batches.where(self.epoch, batch)}). "
                f"Lower trainer.learning_rate (now {self.stage._rate(self.epoch):g}) or trainer.batch_size, try "
                "trainer.optimizer_options.clipnorm=1, or look for extreme values among these."
            )


def _share_reads(model: Recommender) -> None:
    """Disables copy-on-read of the model's row tables until the next step updates their rows.

    Otherwise TensorFlow copies the whole variable at each read once its rows were updated in place outside XLA.
    """
    if not model.row_sparse or model.fuses_step or keras.backend.backend() != "tensorflow":
        return
    with strategy.scope():
        if num_parts() > 1:
            return
    import tensorflow as tf

    for variable in [*model.row_tables, *(moment for moments in model.optimizer.row_moments for moment in moments)]:
        tf.raw_ops.DisableCopyOnRead(resource=variable.value.handle)
