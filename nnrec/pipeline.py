"""A training from its configuration to its run folder: data, split, selection, refit, test."""

from __future__ import annotations

from typing import Any

import pandas as pd

from nnrec import backend, data
from nnrec.config import build, check_seed
from nnrec.console import console, results_table, show_table
from nnrec.course import Course, CourseEvaluation
from nnrec.data.ratings import Ratings
from nnrec.data.summary import print_summary, summarise
from nnrec.errors import DataError, Interrupted, RunError
from nnrec.learning import Learning
from nnrec.report import write_report
from nnrec.runs import RunFolder


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
        raise Interrupted(f"Interrupted. Continue with: python train.py resume={folder.path}") from None
    _print_result(config, folder, figures)
    console.print(f"Look:       {write_report(folder)}", soft_wrap=True)
    console.print(f"Done. The run is in {folder.path}", soft_wrap=True)
    return folder


def plan(config: Any, ratings: Ratings) -> Learning | Course:
    """What a configuration does with ratings: learning from one split, or the course's protocol."""
    trainer, evaluation = build(config.trainer, "trainer"), build(config.evaluation, "evaluation")
    if isinstance(evaluation, CourseEvaluation):
        course = Course(config, trainer, evaluation, ratings)
        console.print(f"Split: {course.definition}", soft_wrap=True)
        return course
    split = build(config.split, "split")(ratings, config.seed)
    console.print(f"Split: {split.definition}", soft_wrap=True)
    return Learning(config, trainer, evaluation, split)


def start_backend(config: Any) -> None:
    """Prepares Keras as the configuration says."""
    trainer = config.trainer
    backend.start(trainer.devices, trainer.precision, trainer.xla, config.verbose, config.model.get("_target_"))


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


def _print_result(config: Any, folder: RunFolder, figures: dict[str, Any]) -> None:
    floor = figures["data"].get("best_reachable_rmse")
    training = figures["training"]
    console.print()
    show_table(
        results_table(
            f"{config.model.name} on {config.data.name}",
            figures["test"],
            figures["validation"],
            figures["test_intervals"],
            {} if floor is None else {"rmse": floor},
        )
    )
    for kind, found in figures["test_by_rating"].items():
        rates = ", ".join(f"{float(value):g}: {rate:.4f} ({users:,})" for value, (rate, users) in found.items())
        cutoff = config.evaluation.cutoffs[0]
        console.print(f"Hit rate@{cutoff} by {kind} rating (users): {rates}", soft_wrap=True)
    for note in figures["test_notes"]:
        console.print(note, style="bold red", soft_wrap=True)
    if "epochs" in training:
        speed = (
            f"{training['epochs']} epochs in {training['seconds']:.0f} s ({training['examples_per_second']:.0f} rows/s)"
        )
    else:
        speed = f"Fitted in {training['seconds']:.1f} s"
    console.print(f"{speed}; {training['users_per_second']:,.0f} users/s scored and ranked.")
    if floor is not None and "rmse" in figures["test"]:
        excess = 100 * (figures["test"]["rmse"] / floor - 1)
        console.print(f"The test rmse is {excess:.1f}% above the best that anybody could reach on these data.")
    events = folder["tensorboard"] if folder["tensorboard"].is_dir() else folder.path
    console.print(f"Watch:      tensorboard --logdir {events}", soft_wrap=True)
    console.print(f"Recommend:  python predict.py run={folder.path} output=recommendations.csv", soft_wrap=True)
