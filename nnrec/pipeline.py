"""A training from its configuration to its run folder: data, split, selection, refit, test."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from nnrec import backend, data
from nnrec.config import build, check_seed
from nnrec.console import console, metrics_table
from nnrec.data.ratings import Ratings
from nnrec.data.summary import print_summary, summarise
from nnrec.errors import DataError, RunError
from nnrec.runs import RunFolder

if TYPE_CHECKING:
    from nnrec.data.splits import Split
    from nnrec.evaluation import Evaluation
    from nnrec.models.base import Recommender
    from nnrec.tensorboard import EventWriter
    from nnrec.training import Progress, Trainer


def execute(config: Any, frame: pd.DataFrame | Ratings | None = None) -> RunFolder:
    """Runs a composed training configuration to its end, or resumes the run that it names.

    Args:
        config: the configuration, composed from conf/train.yaml.
        frame: ratings instead of `config.data`.

    Returns:
        The folder of the finished run.

    Raises:
        NnrecError: whatever stands in the way, in words for the user.
    """
    from omegaconf import OmegaConf

    folder = None
    if config.resume:
        folder = RunFolder.open(config.resume)
        if folder["metrics.json"].is_file():
            raise RunError(f"The run {folder.path} has finished: there is nothing to resume.")
        config = OmegaConf.load(folder["config.yaml"])
        folder.remove_leftovers()
    else:
        RunFolder.check_free(config.run_dir)
    check_seed(config.seed)
    ratings = load_data(config, frame)
    summary = summarise(ratings)
    print_summary(summary)
    split = build(config.split, "split")(ratings, config.seed)
    console.print(f"Split: {split.definition}", soft_wrap=True)
    start_backend(config)
    trainer, evaluation = build(config.trainer, "trainer"), build(config.evaluation, "evaluation")
    training = Training(config, trainer, evaluation, split)
    if folder is None:
        folder = RunFolder.create(config.run_dir)
        folder.write_json("data.json", summary | {"fingerprint": ratings.fingerprint()})
        folder.write_catalogue(ratings)
        folder.write_text("config.yaml", OmegaConf.to_yaml(config, resolve=True))
    else:
        check_same(ratings, folder.read_json("data.json")["fingerprint"])
    console.print(f"Run folder: {folder.path}", soft_wrap=True)
    try:
        figures = training.run(folder)
    except KeyboardInterrupt:
        raise RunError(f"Interrupted. Continue with: python train.py resume={folder.path}") from None
    _print_result(config, folder, figures)
    return folder


class Training:
    """What happens between a split and a finished run folder.

    Selection: train on the training part, watch the validation part, keep the best epoch. Refit
    (`trainer.refit`): train anew on both parts for that many epochs at the same learning rates.
    The test part is looked at once, at the end.

    Args:
        config: the whole configuration.
        trainer, evaluation: built from it.
        split: of the data.
    """

    def __init__(self, config: Any, trainer: Trainer, evaluation: Evaluation, split: Split) -> None:
        self.config, self.trainer, self.evaluation, self.split = config, trainer, evaluation, split
        self.model = self._fresh_model(split)

    def run(self, folder: RunFolder) -> dict[str, Any]:
        """Trains, tests and writes the finished run's files; returns its figures."""
        from nnrec.tensorboard import EventWriter

        checkpoint = folder.read_arrays("checkpoint.npz") if folder["checkpoint.npz"].is_file() else None
        done = 0 if checkpoint is None else json.loads(str(checkpoint["about"]))["logged"]
        with EventWriter(folder["tensorboard"], first_step=done + 1 if done else 0) as events:
            events.hparams(_hyper_parameters(self.config))
            selection = self._select(folder, events, checkpoint)
            split, seconds, epochs = self.split, selection["seconds"], len(selection["history"])
            if self.trainer.refit:
                split = self.split.merged()
                refit = self._refit(folder, events, checkpoint, split, selection)
                seconds, epochs = seconds + refit.seconds, epochs + refit.epoch
            self.model.prepare(split.train)
            test = self.evaluation(self.model, split.test)
            for part, values in (("validation", selection["validation"]), ("test", test)):
                for name, value in values.items():
                    events.scalar(f"{part}/{name}", value, epochs)
        speeds = sorted(row["examples_per_second"] for row in selection["history"])
        figures = {
            "validation": selection["validation"],
            "test": test,
            "training": {
                "epochs": epochs,
                "best_epoch": selection["best_epoch"],
                "seconds": round(seconds, 3),
                "examples_per_second": round(speeds[len(speeds) // 2], 1),
            },
            "data": _data_figures(self.config, split),
        }
        folder.write_arrays("weights.npz", _weights(self.model))
        histories = split.train.rows("user")
        folder.write_arrays("item_counts.npz", {"count": np.bincount(histories.ids, minlength=split.train.num_items)})
        if self.config.keep_histories:
            folder.write_histories(histories)
        folder.write_json("metrics.json", figures)
        folder["checkpoint.npz"].unlink(missing_ok=True)
        return figures

    def _select(self, folder: RunFolder, events: EventWriter, checkpoint: Mapping | None) -> dict[str, Any]:
        """The history, best epoch and validation figures; taken from the folder where they are there."""
        from nnrec.training import Stage

        if folder["selection.json"].is_file() and self.trainer.refit:
            return folder.read_json("selection.json")

        def validate(model: Recommender, ranking: bool = "@" in self.trainer.monitor) -> dict[str, float]:
            model.prepare(self.split.train)
            return self.evaluation(model, self.split.validation, ranking=ranking)

        stage = Stage(
            "select",
            self.trainer,
            self.model,
            self.split.train,
            seed=self.config.seed,
            epochs=self.trainer.epochs,
            validate=validate,
            folder=folder,
            events=events,
        )
        progress = stage.run(checkpoint)
        selection = vars(progress) | {"validation": validate(self.model, ranking=True)}
        folder.write_text("history.csv", pd.DataFrame(progress.history).rename_axis("epoch").to_csv())
        folder.write_json("selection.json", selection)
        return selection

    def _refit(
        self,
        folder: RunFolder,
        events: EventWriter,
        checkpoint: Mapping | None,
        split: Split,
        selection: dict[str, Any],
    ) -> Progress:
        """Trains a new model on training and validation part."""
        from nnrec.training import Stage

        self.model = self._fresh_model(split)
        stage = Stage(
            "refit",
            self.trainer,
            self.model,
            split.train,
            seed=self.config.seed,
            epochs=selection["best_epoch"],
            rates=[row["learning_rate"] for row in selection["history"]],
            folder=folder,
            events=events,
            logged=len(selection["history"]),
        )
        return stage.run(checkpoint)

    def _fresh_model(self, split: Split) -> Recommender:
        backend.seed(self.config.seed)
        model = build_model(self.config, split.train.num_users, split.train.num_items)
        model.adapt(split.train)
        self.trainer.compile(model)
        return model


def start_backend(config: Any) -> None:
    """Prepares Keras as the configuration says."""
    trainer = config.trainer
    backend.start(trainer.devices, trainer.precision, trainer.xla, config.verbose)


def build_model(config: Any, num_users: int, num_items: int) -> Recommender:
    """The model of a configuration, untrained."""
    return build(config.model, "model", num_users=num_users, num_items=num_items)


def load_weights(model: Recommender, arrays: dict[str, np.ndarray]) -> None:
    """Gives a model the weights of a run folder.

    Raises:
        RunError: they belong to a model of another shape.
    """
    shapes = [tuple(weight.shape) for weight in model.weights]
    found = [arrays[name].shape for name in sorted(arrays, key=int)]
    if shapes != found:
        raise RunError(f"weights.npz does not fit {model.name}. Expected shapes {shapes}. Received: {found}")
    for number, weight in enumerate(model.weights):
        weight.assign(arrays.pop(str(number)))  # popped, so that large weights are not in memory twice for long


def load_data(config: Any, frame: pd.DataFrame | Ratings | None) -> Ratings:
    """The ratings of a configuration, or those given instead."""
    return data.load(config.data, frame)


def check_same(ratings: Ratings, fingerprint: str) -> None:
    """Refuses data that are not those of the run.

    Raises:
        DataError: they differ.
    """
    if ratings.fingerprint() != fingerprint:
        raise DataError(
            "The data are not those that the run began with: files or filters have changed. Restore them, or start a "
            "new run."
        )


def _weights(model: Recommender) -> dict[str, np.ndarray]:
    import keras

    return {str(number): keras.ops.convert_to_numpy(weight) for number, weight in enumerate(model.weights)}


def _hyper_parameters(config: Any) -> dict[str, Any]:
    from omegaconf import OmegaConf

    plain: Any = OmegaConf.to_container(config, resolve=True)
    return {"seed": config.seed, "data": config.data.name, "model": plain["model"], "trainer": plain["trainer"]}


def _data_figures(config: Any, split: Split) -> dict[str, Any]:
    from nnrec.evaluation import best_rmse

    train, target = split.train, split.test.target
    figures = {
        "name": config.data.name,
        "users": train.num_users,
        "items": train.num_items,
        "training_ratings": len(train),
        "test_ratings": len(target),
        "split": split.definition,
    }
    floor = best_rmse(target)
    return figures if floor is None else figures | {"best_reachable_rmse": floor}


def _print_result(config: Any, folder: RunFolder, figures: dict[str, Any]) -> None:
    columns = {part: figures[part] for part in ("validation", "test")}
    floor = figures["data"].get("best_reachable_rmse")
    if floor is not None:
        columns["best reachable"] = {"rmse": floor}
    training = figures["training"]
    console.print()
    console.print(metrics_table(f"{config.model.name} on {config.data.name}", columns))
    console.print(
        f"{training['epochs']} epochs in {training['seconds']:.0f} s ({training['examples_per_second']:.0f} rows/s)."
    )
    if floor is not None:
        excess = 100 * (figures["test"]["rmse"] / floor - 1)
        console.print(f"The test rmse is {excess:.1f}% above the best that anybody could reach on these data.")
    console.print(f"Watch:      tensorboard --logdir {folder.path}/tensorboard", soft_wrap=True)
    console.print(f"Recommend:  python predict.py run={folder.path} output=recommendations.csv", soft_wrap=True)
    console.print(f"Done. The run is in {folder.path}", soft_wrap=True)
