"""Runs a training from its configuration to the run folder: data, split, selection, refit, test."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from nnrec.commands.inputs import Loaded, check_families, load_data, resolve, split_data, with_trainer_of_model
from nnrec.core.calling import typed
from nnrec.core.console import console, results_table, show_table
from nnrec.core.devices import backend, cluster, strategy
from nnrec.core.errors import ConfigError, Interrupted, RunError, TrainingError
from nnrec.data.families import family_named
from nnrec.data.ratings import Ratings
from nnrec.data.summary import print_summary, summarise
from nnrec.evaluation.course import CourseEvaluation
from nnrec.reports.html.write import write_report
from nnrec.runs.folder import RunFolder
from nnrec.runs.latest import run_named
from nnrec.training.experiment import Learning
from nnrec.training.kane_protocol import Course
from nnrec.training.settings import Settings

if TYPE_CHECKING:
    from nnrec.data.load import Given


def execute(config: Any, frame: Given | None = None) -> RunFolder:
    """Trains as configured, or resumes the run given by `config.resume`.

    Args:
        config: the configuration, composed from conf/train.yaml.
        frame: ratings, sessions or impressions instead of `config.data`.

    Returns:
        The folder of the finished run.

    Raises:
        NnrecError: the training cannot start or fails.
    """
    if config.get("sweep") is not None:
        raise ConfigError(f"A sweep takes many runs: say {typed('train')} -m ... sweep=...")
    folder = None
    if config.resume:
        folder = RunFolder.open(run_named(config.resume, unfinished=True))
        if folder["metrics.json"].is_file():
            raise RunError(f"The run {folder.path} has finished: there is nothing to resume.")
        config = folder.read_config()
    if not cluster.is_chief():
        with TemporaryDirectory() as scratch:
            return _work(config, frame, folder, Path(scratch) / "run")
    if folder is None:
        RunFolder.check_free(config.run_dir)
    else:
        folder.remove_leftovers()
    return _execute(config, frame, folder, config.run_dir)


def _execute(config: Any, frame: Any, folder: RunFolder | None, run_dir: str | Path) -> RunFolder:
    """Trains with a final configuration.

    Args:
        folder: the run folder to resume; None = start a new run.
        run_dir: the folder of a new run.
    """
    settings = resolve(config)
    loaded = load_data(settings.data, frame)
    summary = summarise(loaded.data)
    print_summary(summary, console)
    start_backend(settings)
    learning = plan(settings, loaded)
    settings = learning.settings
    if folder is None:
        folder = RunFolder.create(run_dir)
        folder.write_json("data.json", summary | {"fingerprint": loaded.fingerprint()})
        folder.write_catalogue(loaded.data)
        folder.write_config(settings.config)
    else:
        loaded.check_fingerprint(folder.read_json("data.json")["fingerprint"])
    console.print(f"Run folder: {folder.path}", soft_wrap=True)
    try:
        figures = learning.run(folder)
    except KeyboardInterrupt:
        raise Interrupted(f"Interrupted. Continue with: {typed('train')} resume={folder.path}") from None
    except Exception as error:
        if not strategy.is_lost(error):
            raise
        raise TrainingError(
            "Another worker is gone, or cannot be reached any more. Start all of them again, with resume="
            + (str(folder.path) if cluster.is_chief() else "<the run folder of the first one>")
        ) from error
    strategy.barrier()
    if not cluster.is_chief():
        return folder
    _print_result(settings, folder, figures)
    console.print(f"Look:       {write_report(folder)}", soft_wrap=True)
    console.print(f"Done. The run is in {folder.path}", soft_wrap=True)
    return folder


def _work(config: Any, frame: Any, chiefs: RunFolder | None, run_dir: Path) -> RunFolder:
    """Trains as a worker that is not the chief: prints nothing and writes to a temporary folder."""
    console.quiet = True
    folder = None
    if chiefs is not None:
        folder = RunFolder.create(run_dir)
        for name in ("config.yaml", "data.json", "selection.json", "checkpoint.npz"):
            if chiefs[name].is_file():
                shutil.copy(chiefs[name], folder[name])
    _execute(config, frame, folder, run_dir)
    return chiefs or RunFolder(run_dir)


def start_backend(settings: Settings) -> None:
    """Prepares Keras for the training, if the model needs it."""
    trainer = settings.trainer
    backend.start(
        trainer.devices,
        trainer.precision,
        trainer.xla,
        settings.config["verbose"],
        settings.model.get("_target_"),
        trainer.shard_tables,
    )


def plan(settings: Settings, loaded: Loaded) -> Learning | Course:
    """The training to run on the data: from one split, or by the course's protocol."""
    name = settings.data["name"]
    check_families(settings, loaded.data.family)
    settings = with_trainer_of_model(settings)
    if loaded.split is not None:
        settings = settings.changed("data", family=loaded.data.family.name)  # from the folder of shards
    if isinstance(settings.evaluation, CourseEvaluation):
        if loaded.split is not None:
            raise ConfigError(f"evaluation=course splits by itself, and data={name} come split.")
        assert isinstance(loaded.data, Ratings)
        course = Course(settings, loaded.data)
        console.print(f"Split: {course.definition}", soft_wrap=True)
        return course
    split = split_data(loaded, settings.splitter, settings.seed, name)
    console.print(f"Split: {split.definition}", soft_wrap=True)
    return Learning(settings, split)


def _print_result(settings: Settings, folder: RunFolder, figures: dict[str, Any]) -> None:
    best = figures["data"].get("best_reachable", {})
    family = family_named(settings.data.get("family"))
    training = figures["training"]
    console.print()
    show_table(
        results_table(
            f"{settings.model['name']} on {settings.data['name']}",
            figures["test"],
            figures["validation"],
            figures["test_intervals"],
            best,
        )
    )
    for kind, found in figures["test_by_rating"].items():
        rates = ", ".join(f"{float(value):g}: {rate:.4f} ({users:,})" for value, (rate, users) in found.items())
        cutoff = settings.config["evaluation"]["cutoffs"][0]
        console.print(f"Hit rate@{cutoff} by {kind} rating (users): {rates}", soft_wrap=True)
    for note in figures["test_notes"]:
        console.print(note, style="bold red", soft_wrap=True)
    if "epochs" in training:
        rate = f"{training['examples_per_second']:,.0f} {family.trained_on}/s"
        speed = f"{training['epochs']} epochs in {training['seconds']:.0f} s ({rate})"
    else:
        speed = f"Fitted in {training['seconds']:.1f} s"
    console.print(f"{speed}; {training['users_per_second']:,.0f} {family.ranked}/s scored and ranked.")
    if "rmse" in best and "rmse" in figures["test"]:
        excess = 100 * (figures["test"]["rmse"] / best["rmse"] - 1)
        console.print(f"The test rmse is {excess:.1f}% above the best that anybody could reach on these data.")
    for name in (f"recall@{max(settings.config['evaluation'].get('cutoffs') or [0])}", "auc"):
        if name not in best:
            continue
        share = 100 * figures["test"][name] / best[name]
        console.print(f"The test {name} is {share:.1f}% of the best that anybody could reach on these data.")
    events = folder["tensorboard"] if folder["tensorboard"].is_dir() else folder.path
    console.print(f"Watch:      tensorboard --logdir {events}", soft_wrap=True)
    console.print(f"Recommend:  {typed('predict')} run={folder.path} output=recommendations.csv", soft_wrap=True)
