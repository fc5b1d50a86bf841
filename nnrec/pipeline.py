"""A training from its configuration to its run folder: data, split, selection, refit, test."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from nnrec import backend, data, distribution
from nnrec.calling import typed
from nnrec.config import build, check_seed
from nnrec.console import console, results_table, show_table
from nnrec.course import Course, CourseEvaluation
from nnrec.data.shards import Prepared
from nnrec.data.summary import print_summary, summarise
from nnrec.errors import ConfigError, DataError, Interrupted, RunError, TrainingError
from nnrec.latest import LATEST, run_named
from nnrec.learning import Learning
from nnrec.models.scorer import Scorer
from nnrec.report import write_report
from nnrec.runs import RunFolder
from nnrec.trainer import Report

# What an epoch goes through, and what is ranked, by the family of the data.
WORDS = {"ratings": ("rows", "users"), "sessions": ("events", "sessions"), "impressions": ("rows", "rows")}
# What to choose, by the family of the data.
EVALUATIONS = {"ratings": "default", "sessions": "next_item", "impressions": "clicks"}
SPLITS = {
    "ratings": "random, ...",
    "sessions": "last_sessions, last_days or given_sessions",
    "impressions": "usual_rows, random_rows, last_rows or given_rows",
}
DATA = {"ratings": "ml-1m", "sessions": "simulated_clicks, data=yoochoose1_64", "impressions": "simulated_impressions"}


def execute(config: Any, frame: pd.DataFrame | data.Data | None = None) -> RunFolder:
    """Runs a composed training configuration to its end, or resumes the run that it names.

    Args:
        config: the configuration, composed from conf/train.yaml.
        frame: ratings, sessions or impressions instead of `config.data`.

    Returns:
        The folder of the finished run.

    Raises:
        NnrecError: whatever stands in the way, in words for the user.
    """
    from omegaconf import OmegaConf

    if config.get("sweep") is not None:
        raise ConfigError(f"A sweep takes many runs: say {typed('train')} -m ... sweep=...")
    folder = None
    if config.resume:
        folder = RunFolder.open(run_named(config.resume, unfinished=True))
        if folder["metrics.json"].is_file():
            raise RunError(f"The run {folder.path} has finished: there is nothing to resume.")
        config = OmegaConf.load(folder["config.yaml"])
    if not distribution.is_chief():
        with TemporaryDirectory() as scratch:
            return _work(config, frame, folder, scratch)
    if folder is None:
        RunFolder.check_free(config.run_dir)
    else:
        folder.remove_leftovers()
    return _execute(config, frame, folder)


def try_out(config: Any, folder: RunFolder, report: Report | None = None) -> dict[str, Any]:
    """Trains and validates as a configuration says, for a sweep; see `Learning.try_out`."""
    return learning_of(config).try_out(folder, report)


def look(config: Any) -> dict[str, str]:
    """What trials are compared by, `monitor`, and the `fingerprint` of their data, for a sweep."""
    learning, fingerprint = _plan_trial(config)
    return {"monitor": learning.trainer.monitor, "fingerprint": fingerprint}


def learning_of(config: Any) -> Learning:
    """What is about to learn, with nothing trained yet.

    Raises:
        ConfigError: nothing in the configuration is chosen on validation data.
        NnrecError: whatever else stands in the way.
    """
    return _plan_trial(config)[0]


def _plan_trial(config: Any) -> tuple[Learning, str]:
    """The same, and the fingerprint of the data."""
    check_seed(config.seed)
    ratings = load_data(config, None)
    start_backend(config)
    learning = plan(config, ratings)
    if isinstance(learning, Course):
        raise ConfigError("evaluation=course chooses nothing on validation data, which a sweep needs.")
    return learning, ratings.fingerprint()


def _execute(config: Any, frame: Any, folder: RunFolder | None) -> RunFolder:
    """The same of a configuration that is settled; a folder that is there holds what to go on from."""
    from omegaconf import OmegaConf

    check_seed(config.seed)
    for group in ("trainer", "evaluation", "split"):
        build(config[group], group)  # what is wrong there is told before the data are read
    ratings = load_data(config, frame)
    summary = summarise(ratings)
    print_summary(summary, console)
    start_backend(config)
    learning = plan(config, ratings)
    if folder is None:
        folder = RunFolder.create(config.run_dir)
        folder.write_json("data.json", summary | {"fingerprint": ratings.fingerprint()})
        folder.write_catalogue(ratings)
        folder.write_text("config.yaml", OmegaConf.to_yaml(config, resolve=True))
    else:
        check_same(ratings, folder.read_json("data.json")["fingerprint"])
    console.print(f"Run folder: {folder.path}", soft_wrap=True)
    try:
        figures = learning.run(folder)
    except KeyboardInterrupt:
        raise Interrupted(f"Interrupted. Continue with: {typed('train')} resume={folder.path}") from None
    except Exception as error:
        if not distribution.is_lost(error):
            raise
        raise TrainingError(
            "Another worker is gone, or cannot be reached any more. Start all of them again, with resume="
            + (str(folder.path) if distribution.is_chief() else "<the run folder of the first one>")
        ) from error
    distribution.meet()
    if not distribution.is_chief():
        return folder
    _print_result(config, folder, figures)
    console.print(f"Look:       {write_report(folder)}", soft_wrap=True)
    console.print(f"Done. The run is in {folder.path}", soft_wrap=True)
    return folder


def _work(config: Any, frame: Any, chiefs: RunFolder | None, scratch: str) -> RunFolder:
    """Runs as one of several workers, but for the chief: says nothing, and what it writes is in a folder to be lost."""
    console.quiet = True
    config.run_dir, folder = f"{scratch}/run", None
    if chiefs is not None:
        folder = RunFolder.create(config.run_dir)
        for name in ("config.yaml", "data.json", "selection.json", "checkpoint.npz"):
            if chiefs[name].is_file():
                shutil.copy(chiefs[name], folder[name])
    _execute(config, frame, folder)
    return chiefs or RunFolder(config.run_dir)


def plan(config: Any, ratings: Any) -> Learning | Course:
    """What a configuration does with its data: learning from one split, or the course's protocol."""
    from omegaconf import OmegaConf

    if isinstance(runs := config.model.get("runs"), Sequence) and not isinstance(runs, str):  # of a blend, which
        # has the same members for good, whichever run is the latest later
        config.model.runs = [str(run_named(run)) if run == LATEST else run for run in runs]
    model = _model_class(config, ratings)
    if model is not None:
        for key, value in model.trainer_settings(config.model).items():
            OmegaConf.update(config.trainer, key, value, merge=False, force_add=True)
    trainer, evaluation = build(config.trainer, "trainer"), build(config.evaluation, "evaluation")
    if evaluation.family != ratings.family:
        raise ConfigError(
            f"{type(evaluation).__name__} measures models of {evaluation.family}, and data={config.data.name} are "
            f"{ratings.family}. Choose evaluation={EVALUATIONS[ratings.family]}."
        )
    if isinstance(evaluation, CourseEvaluation):
        if ratings.given is not None:
            raise ConfigError(f"evaluation=course splits by itself, and data={config.data.name} come split.")
        course = Course(config, trainer, evaluation, ratings)
        console.print(f"Split: {course.definition}", soft_wrap=True)
        return course
    split = splitter_of(config, ratings)(ratings, config.seed)
    console.print(f"Split: {split.definition}", soft_wrap=True)
    return Learning(config, trainer, evaluation, split)


def splitter_of(config: Any, data: data.Data) -> Any:
    """What splits the data as the configuration says.

    Raises:
        ConfigError: it cannot split such data.
    """
    splitter = build(config.split, "split")
    if isinstance(splitter, Prepared):
        return splitter
    if getattr(data, "given", None) is not None:
        raise ConfigError(f"data={config.data.name} come split: choose split=prepared.")
    if getattr(splitter, "family", "ratings") != data.family:
        raise ConfigError(
            f"{type(splitter).__name__} does not split {data.family}, which data={config.data.name} are. Choose "
            f"split={SPLITS[data.family]}."
        )
    return splitter


def _model_class(config: Any, data: data.Data) -> Any:
    """The class of the model, None where it is none of ours.

    Raises:
        ConfigError: it does not learn from such data.
    """
    from hydra.utils import get_class

    try:
        model: Any = get_class(config.model.get("_target_", ""))
    except Exception:  # what is wrong with the path is told where the model is built
        return None
    if not issubclass(model, Scorer):
        return None
    learns = "ratings" if model.family == "implicit" else model.family
    if learns != data.family:
        raise ConfigError(
            f"model={config.model.name} learns from {learns}, and data={config.data.name} are {data.family}. Choose "
            f"data={DATA[learns]}, ..., or a model of {data.family} ({typed('train')} --help lists them)."
        )
    return model


def start_backend(config: Any, to_train: bool = True) -> None:
    """Prepares Keras as the configuration says; what a model trained on several devices predicts, one can."""
    trainer = config.trainer
    backend.start(
        trainer.devices if to_train else distribution.one_of(trainer.devices),
        trainer.precision,
        trainer.xla,
        config.verbose,
        config.model.get("_target_"),
        to_train and trainer.get("shard_tables", False),  # runs of before have no such setting
    )


def load_data(config: Any, frame: pd.DataFrame | data.Data | None) -> data.Data:
    """The ratings, sessions or impressions of a configuration, or those given instead."""
    from omegaconf import OmegaConf

    loaded = data.load(config.data, frame)
    if getattr(loaded, "given", None) is not None:
        OmegaConf.update(config.data, "family", loaded.family, force_add=True)  # the folder says it
    return loaded


def check_same(ratings: data.Data, fingerprint: str) -> None:
    """Refuses data that are not those of the run.

    Raises:
        DataError: they differ.
    """
    if ratings.fingerprint() != fingerprint:
        raise DataError(
            "The data are not those that the run began with: files or filters have changed. Restore them, or start a "
            "new run."
        )


def _print_result(config: Any, folder: RunFolder, figures: dict[str, Any]) -> None:
    best = figures["data"].get("best_reachable", {})
    words = WORDS[config.data.get("family", "ratings")]
    training = figures["training"]
    console.print()
    show_table(
        results_table(
            f"{config.model.name} on {config.data.name}",
            figures["test"],
            figures["validation"],
            figures["test_intervals"],
            best,
        )
    )
    for kind, found in figures["test_by_rating"].items():
        rates = ", ".join(f"{float(value):g}: {rate:.4f} ({users:,})" for value, (rate, users) in found.items())
        cutoff = config.evaluation.cutoffs[0]
        console.print(f"Hit rate@{cutoff} by {kind} rating (users): {rates}", soft_wrap=True)
    for note in figures["test_notes"]:
        console.print(note, style="bold red", soft_wrap=True)
    if "epochs" in training:
        rate = f"{training['examples_per_second']:,.0f} {words[0]}/s"
        speed = f"{training['epochs']} epochs in {training['seconds']:.0f} s ({rate})"
    else:
        speed = f"Fitted in {training['seconds']:.1f} s"
    console.print(f"{speed}; {training['users_per_second']:,.0f} {words[1]}/s scored and ranked.")
    if "rmse" in best and "rmse" in figures["test"]:
        excess = 100 * (figures["test"]["rmse"] / best["rmse"] - 1)
        console.print(f"The test rmse is {excess:.1f}% above the best that anybody could reach on these data.")
    for name in (f"recall@{max(config.evaluation.get('cutoffs') or [0])}", "auc"):
        if name not in best:
            continue
        share = 100 * figures["test"][name] / best[name]
        console.print(f"The test {name} is {share:.1f}% of the best that anybody could reach on these data.")
    events = folder["tensorboard"] if folder["tensorboard"].is_dir() else folder.path
    console.print(f"Watch:      tensorboard --logdir {events}", soft_wrap=True)
    console.print(f"Recommend:  {typed('predict')} run={folder.path} output=recommendations.csv", soft_wrap=True)
