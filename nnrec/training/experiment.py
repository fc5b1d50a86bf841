"""From a split to a tested model: selection on validation data, refit, test."""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd

from nnrec.core.console import console
from nnrec.core.devices import strategy
from nnrec.core.errors import ConfigError
from nnrec.evaluation.outcomes.ratings import Outcome
from nnrec.models.base.build import build_model
from nnrec.models.base.fitted import Fitted
from nnrec.models.base.scorer import Scorer
from nnrec.runs.folder import RunFolder
from nnrec.runs.side_features import Sides
from nnrec.splits.weighted import weighted_by_age
from nnrec.training.settings import Progress, Report, Settings, Trainer

if TYPE_CHECKING:
    from nnrec.runs.tensorboard import EventWriter

# Ratings, sessions or impressions; evaluation, split and model are of the same kind (see `nnrec.commands.train.plan`).
AnySplit: TypeAlias = Any
AnyEvaluation: TypeAlias = Any


class Learning:
    """Trains and tests a model on a split, and writes the run folder.

    Selection: train on the training part, evaluate on the validation part after each epoch, keep the best epoch.
    Refit (`trainer.refit`): train from scratch on both parts for that many epochs at the same learning rates. A
    baseline is fitted to the training part and then to both. The test part is used once, at the end.

    Args:
        settings: of the training.
        split: of the data.

    Attributes:
        settings: the same, with `trainer.monitor=auto` replaced by the metric's name, and files named in the model's
            settings replaced by their content.
    """

    def __init__(self, settings: Settings, split: AnySplit) -> None:
        for part in (split.validation, split.test):
            settings.evaluation.check(part)
        self.settings, self.evaluation = settings, settings.evaluation
        self.unweighed, self.split = split, weighted_by_age(split, settings.data.get("half_life_days"))
        self.model: Any = self._fresh_model(self.split)
        self.settings = self.settings.changed("model", **self.model.inlined_config)
        if getattr(split.train, "stored", False) and not self.model.reads_files:
            self.unweighed = self.split = _in_memory(split, self.model.name)
        if self.trainer.monitor == "auto":
            self.settings = self.settings.changed("trainer", monitor=f"val_{self.evaluation.monitor(self.model)}")
        if isinstance(self.model, Fitted):
            self.model.check_split(self.split)

    @property
    def trainer(self) -> Trainer:
        """The trainer's settings."""
        return self.settings.trainer

    def run(self, folder: RunFolder) -> dict[str, Any]:
        """Trains and tests, writes the finished run's files, and returns its figures."""
        checkpoint, curves = self._begun(folder)
        with curves as events:
            selection = self._select(folder, events, checkpoint)
            split, seconds, epochs = self.split, selection["seconds"], len(selection["history"])
            if self.trainer.refit:
                split = weighted_by_age(self.unweighed.merged(), self.settings.data.get("half_life_days"))
                self.model = None  # frees large tables before the next model creates its own
                gc.collect()
                self.model = self._fresh_model(split, **selection.get("chosen", {}))
                refit = self._learn("refit", split.train, folder, events, checkpoint, selection=selection)
                seconds, epochs = seconds + refit.seconds, epochs + refit.epoch
            test = self._test(folder, split)
            _log(events, epochs, validation=selection["validation"], test=test.figures)
        figures = {
            "validation": selection["validation"],
            "test": test.figures,
            "test_intervals": test.intervals(self.settings.seed),
            "test_by_rating": test.by_rating,
            "test_notes": list(dict.fromkeys([*selection.get("notes", []), *self.model.notes, *test.notes])),
            "training": {"seconds": round(seconds, 3), "users_per_second": round(test.users_per_second, 1)},
            "data": self._data_figures(split),
        }
        if epochs:
            speed = float(np.median([row["examples_per_second"] for row in selection["history"]]))
            told = {"epochs": epochs, "best_epoch": selection["best_epoch"], "examples_per_second": round(speed, 1)}
            figures["training"] |= told
        if selection.get("chosen"):
            figures["training"]["chosen"] = selection["chosen"]
        self._keep(folder, split)
        folder.write_json("metrics.json", figures)
        folder["checkpoint.npz"].unlink(missing_ok=True)
        return figures

    def try_out(self, folder: RunFolder, report: Report | None = None) -> dict[str, Any]:
        """Trains and validates a sweep's trial: no refit, and the test part is not used.

        Args:
            folder: for the history and the curves. An interrupted trial resumes from it; a finished one is read.
            report: may end the training after any epoch.

        Returns:
            The content of selection.json, and as "value" the monitored figure of the best epoch.
        """
        if folder["selection.json"].is_file():
            selection = folder.read_json("selection.json")
        else:
            checkpoint, curves = self._begun(folder)
            with curves as events:
                selection = self._select(folder, events, checkpoint, report)
                _log(events, len(selection["history"]), validation=selection["validation"])
            folder["checkpoint.npz"].unlink(missing_ok=True)
        monitor, history = self.trainer.monitor, selection["history"]
        best = history[selection["best_epoch"] - 1] if history else {}
        found = {f"val_{name}": value for name, value in selection["validation"].items()} | best
        if monitor not in found:
            raise ConfigError(f"trainer.monitor={monitor} is not measured. Choose one of: {', '.join(found)}.")
        return selection | {"value": float(found[monitor])}

    def _begun(self, folder: RunFolder) -> tuple[Mapping | None, EventWriter]:
        """The checkpoint to resume from, if any, and an event writer that has logged the hyper-parameters."""
        from nnrec.runs.tensorboard import EventWriter

        checkpoint = folder.read_arrays("checkpoint.npz") if folder["checkpoint.npz"].is_file() else None
        done = 0 if checkpoint is None else json.loads(str(checkpoint["about"]))["logged"]
        events = EventWriter(folder["tensorboard"], first_step=done + 1 if done else 0)
        events.hparams(_hyper_parameters(self.settings))
        return checkpoint, events

    def _select(
        self, folder: RunFolder, events: EventWriter, checkpoint: Mapping | None, report: Report | None = None
    ) -> dict[str, Any]:
        """The history, best epoch and validation figures; read from the folder if selection is already finished."""
        if folder["selection.json"].is_file() and self.trainer.refit:
            return folder.read_json("selection.json")
        progress = self._learn("select", self.split.train, folder, events, checkpoint, report=report)
        blind = not (isinstance(self.model, Fitted) and self.model.saw_validation)
        selection = asdict(progress) | {"validation": self._validate(self.model, "ranking") if blind else {}}
        selection["notes"] = list(self.model.notes)
        if progress.history:
            folder.write_text("history.csv", pd.DataFrame(progress.history).rename_axis("epoch").to_csv())
        folder.write_json("selection.json", selection)
        return selection

    def _validate(self, model: Scorer, depth: Any = None) -> dict[str, float]:
        """Figures on the validation part; the default depth is the cheapest that includes the monitored figure."""
        depth = depth or ("ranking" if "@" in self.trainer.monitor else "accuracy")
        model.prepare(self.split.train)
        train, held_out = self.split.train, self.split.validation
        return _steadily(model, lambda: self.evaluation(model, train, held_out, depth)).figures

    def _learn(
        self,
        stage: str,
        train: Any,
        folder: RunFolder,
        events: EventWriter,
        checkpoint: Mapping | None,
        selection: dict[str, Any] | None = None,
        report: Report | None = None,
    ) -> Progress:
        """Trains the model on `train`, with validation after each epoch, or (with `selection`) for its best epoch."""
        if isinstance(self.model, Fitted):
            started = time.perf_counter()
            self.model.fit(train)
            chosen = {} if selection else self.model.calibrate(train, self.split.validation, self.evaluation)
            return Progress(seconds=time.perf_counter() - started, chosen=chosen)
        plan: dict[str, Any] = {"epochs": self.trainer.epochs, "validate": self._validate, "report": report}
        if selection is not None:
            rates = [row["learning_rate"] for row in selection["history"]]
            plan = {"epochs": selection["best_epoch"], "rates": rates, "logged": len(rates)}
        watched = self.split.validation if selection is None else None
        plan["diagnose"] = lambda model: model.diagnostics(train, watched)
        from nnrec.training.loop import Stage

        seed = self.settings.seed
        return Stage(stage, self.trainer, self.model, train, seed=seed, folder=folder, events=events, **plan).run(
            checkpoint
        )

    def _test(self, folder: RunFolder, split: AnySplit) -> Outcome:
        """Evaluates the model on the test part and writes its lists, predictions and per-user metrics."""
        self.model.prepare(split.train)
        test = _steadily(self.model, lambda: self._measure(split))
        if self.settings.config["keep_histories"]:
            folder.write_tables(test.tables(split))
        return test

    def _measure(self, split: AnySplit) -> Outcome:
        return self.evaluation(self.model, split.train, split.test)

    def _keep(self, folder: RunFolder, split: AnySplit) -> None:
        """Writes the files that predictions need."""
        folder.write_arrays("weights.npz", self.model.state())
        folder.write_arrays("item_counts.npz", {"count": split.train.support})
        if self.evaluation.family.encoded:
            Sides.of(split.train).write(folder)
        histories = split.train.histories() if self.settings.config["keep_histories"] else None
        if histories is not None:
            folder.write_histories(histories)

        vectors = self.model.item_vectors()
        if vectors is not None:
            from nnrec.runs.projector import write_projector

            train = split.train
            write_projector(folder["tensorboard"], vectors, train.items, train.support, train.item_table)

    def _data_figures(self, split: AnySplit) -> dict[str, Any]:
        figures = {"name": self.settings.data["name"], **split.counts(), "split": split.definition}
        best = self.evaluation.best_reachable(split.train, split.test)
        return figures | {"best_reachable": best} if best else figures

    def _fresh_model(self, split: AnySplit, **chosen: Any) -> Scorer:
        with strategy.scope():
            model = build_model(self.settings.model, self.settings.seed, split.train.sizes, **chosen)
            if isinstance(model, Fitted):
                model.check_memory(split.train)
            else:
                from nnrec.training.loop import compile_model

                model.adapt(split.train)
                compile_model(model, self.trainer)
        return model


def _in_memory(split: AnySplit, model: str) -> AnySplit:
    """The split with its training part in memory, for a model that cannot learn from files.

    Raises:
        ConfigError: the training part does not fit in the available memory.
    """
    import psutil

    needed, free = split.train.nbytes, psutil.virtual_memory().available
    if needed > free:
        raise ConfigError(
            f"{model} learns from memory: the training part takes {needed / 1e9:.2g} GB, and {free / 1e9:.2g} GB are "
            "free. Prepare fewer data, use a larger machine, or a model that learns from files (docs/big-data.md)."
        )
    console.print(f"{model} learns from memory: the training part is read into it.", soft_wrap=True)
    return split.in_memory()


def _steadily(model: Scorer, measure: Callable[[], Outcome]) -> Outcome:
    """The evaluation outcome of one unchanged model.

    A model that drops a part of itself during the evaluation adds a note; the evaluation is then repeated.
    """
    while True:
        known = len(model.notes)
        measured = measure()
        if len(model.notes) == known:
            return measured


def _log(events: EventWriter, epoch: int, **parts: Mapping[str, float]) -> None:
    """Logs the figures of each part at the end of a run."""
    for part, values in parts.items():
        for name, value in values.items():
            events.scalar(f"{part}/{name}", value, epoch)


def _hyper_parameters(settings: Settings) -> dict[str, Any]:
    plain = settings.config
    return {"seed": settings.seed, "data": plain["data"]["name"], "model": plain["model"], "trainer": plain["trainer"]}
