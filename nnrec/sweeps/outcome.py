"""Writes the results of a sweep: a table, a page with plots, and the best settings as a file for conf/experiment."""

from __future__ import annotations

import platform
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path
from textwrap import wrap
from typing import Any

import optuna
import pandas as pd
from optuna.trial import FrozenTrial, TrialState

from nnrec.core.calling import typed
from nnrec.core.console import console
from nnrec.core.files import atomic
from nnrec.reports.html.page import Cell, Facts, Plot, Section, Table, render
from nnrec.runs.folder import RunFolder
from nnrec.runs.result import Result, flat
from nnrec.sweeps import plots
from nnrec.sweeps.space import Space
from nnrec.sweeps.table import WORDS, short_names, show_best, written


@dataclass(frozen=True)
class SearchResult:
    """The results of a search.

    Attributes:
        folder: of the sweep.
        study: all trials.
        space: the searched space.
        monitor: the figure that trials are compared by.
        command: the command that started the sweep.
        folds: number of validation parts that each trial averages over; None = one validation part.
        compose: overrides -> the composed configuration, as plain dicts.
    """

    folder: RunFolder
    study: optuna.Study
    space: Space
    monitor: str
    command: str
    folds: int | None
    compose: Callable[[Sequence[str]], dict[str, Any]]


# The minimum number of trials for estimates of importance.
LEAST = 10


def show(study: optuna.Study, monitor: str, space: Space) -> None:
    """Prints the best trials, and how many were completed, pruned and failed."""
    show_best(ranked(study), monitor, space)
    trials = study.get_trials(deepcopy=False)
    counts = {state: sum(trial.state == state for trial in trials) for state in WORDS}
    console.print(
        f"{counts[TrialState.COMPLETE]} trials to their end, {counts[TrialState.PRUNED]} pruned, "
        f"{counts[TrialState.FAIL]} failed; {sum(_epochs(trial) for trial in trials):,} epochs."
    )


def ranked(study: optuna.Study) -> list[FrozenTrial]:
    """The completed trials, best first."""
    ended = study.get_trials(states=[TrialState.COMPLETE])
    return sorted(ended, key=lambda trial: trial.value or 0.0, reverse=study.direction.name == "MAXIMIZE")


def write(search: SearchResult, best: FrozenTrial, run: RunFolder) -> None:
    """Writes trials.csv, sweep.html and <model>_<data>.yaml to the sweep's folder, and prints their paths."""
    result, folder = Result(run), search.folder
    with atomic(folder["trials.csv"]) as path:
        _frame(search.study, search.space).to_csv(path, index=False)
    name = f"{result.name}_{result.config['data']['name']}.yaml"
    folder.write_text(name, experiment(search, best, result))
    folder.write_text("sweep.html", _page(search, best, result))
    for label, place in (
        ("Trials", folder["trials.csv"]),
        ("Look", folder["sweep.html"]),
        ("Watch", f"tensorboard --logdir {folder['trials']}"),
        ("Best run", run.path),
        ("Settings", f"{folder[name]} (for conf/experiment)"),
    ):
        console.print(f"{label + ':':12}{place}", markup=False, soft_wrap=True)


def experiment(search: SearchResult, best: FrozenTrial, result: Result) -> str:
    """The text of a file for conf/experiment: the winner's model and trainer settings that differ from the defaults."""
    from omegaconf import OmegaConf

    data, trials = result.config["data"]["name"], search.study.get_trials(deepcopy=False)
    choices = _choices(search, best)
    given = [line for line in choices if _key(line) not in ("model", "data", "seed")]
    values = [line for line in search.space.fixed if "." in _key(line)]
    given += [line for line in values if not _key(line).startswith(("model.", "trainer."))]
    command = [f"model={result.name}", f"data={data}", *given, f"seed={result.repeat.seed}"]
    metric = search.monitor.removeprefix("val_")
    shown = {name: result.test[name] for name in (metric, *result.test) if name in result.test}
    figures = "   ".join(f"{name} {value:.4f}" for name, value in list(shown.items())[:6])
    seconds = sum(trial.user_attrs.get("seconds") or 0 for trial in trials)
    spent = f"{result.training['seconds']:.0f} s, after {seconds:.0f} s of trials"
    lines = [
        f"{result.name} on {data}. In conf/experiment, used automatically by: {_command(command[:2])}",
        "",
        f"Command:  {_command(command)}",
        f"Split:    {result.figures['data']['split']}",
        f"Result:   test {figures}",
        f"          ({_judged_by(search)} {best.value:.4f}, which chose trial {best.number} of {len(trials)})",
        f"Hardware: {_hardware()}",
        f"Time:     {spent}, on {date.today().isoformat()}",
        "",
        f"Found by: {search.command}",
        *(f"  {key}: {text}" for key, text in search.space.told.items()),
    ]
    header = [part for line in lines for part in wrap(line, 118, subsequent_indent=" " * 10) or [""]]
    usual, own = (
        search.compose(overrides) for overrides in ([*choices, "~experiment"], search.space.overrides(best.params))
    )
    settings = OmegaConf.to_yaml(_differing(usual, own))
    return "\n".join(["# @package _global_", *(f"# {line}".rstrip() for line in header), settings])


def _judged_by(search: SearchResult) -> str:
    folds = search.folds
    return f"mean {search.monitor} over {folds} folds" if folds else f"validation {search.monitor}"


def _choices(search: SearchResult, best: FrozenTrial) -> list[str]:
    """The choices of whole groups by the command line or the winner, such as trainer/schedule=steps."""
    return [
        line for line in search.space.overrides(best.params) if "." not in _key(line) and _key(line) != "experiment"
    ]


def _key(line: str) -> str:
    return line.lstrip("+~").partition("=")[0]


def _command(overrides: Sequence[str]) -> str:
    return " ".join([typed("train"), *map(shlex.quote, overrides)])


def _differing(usual: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of model and trainer in `own` that differ from `usual`."""
    found: dict[str, Any] = {}
    for group in ("model", "trainer"):
        before = flat(usual[group])
        for key, value in flat(own[group]).items():
            if before.get(key, ...) == value:
                continue
            place = found.setdefault(group, {})
            *above, last = key.split(".")
            for part in above:
                place = place.setdefault(part, {})
            place[last] = value
    return found


def _frame(study: optuna.Study, space: Space) -> pd.DataFrame:
    """One row per trial: state, value, epochs, seconds, settings, all figures on validation data."""
    rows = []
    for trial in study.get_trials(deepcopy=False):
        told = trial.user_attrs
        row = {"trial": trial.number, "state": trial.state.name.lower(), "value": told.get("value")}
        row |= {key: told.get(key) for key in ("best_epoch", "epochs", "seconds", "error")}
        row |= {key: trial.params.get(key) for key in space.dimensions}
        rows.append(row | {f"val_{name}": value for name, value in (told.get("figures") or {}).items()})
    return pd.DataFrame(rows)


def _page(search: SearchResult, best: FrozenTrial, result: Result) -> str:
    study, monitor, keys = search.study, search.monitor, list(search.space.dimensions)
    trials, metric = study.get_trials(deepcopy=False), search.monitor.removeprefix("val_")
    ended = ranked(study)
    sections = []
    if len(ended) > 1:
        caption = f"A line for each trial that came to its end; the better its {monitor}, the stronger it is drawn."
        drawn = [Plot(plots.parallel(study, search.space, ended, monitor), caption, caption, wide=True)]
        sections.append(Section("settings", "What the good trials have in common", [], drawn))
    shares = importances(study)
    if shares:
        caption = f"How much each setting has to do with good trials, by {monitor} (PED-ANOVA, Watanabe et al. 2023)."
        drawn = [Plot(plots.bars(shares), caption, caption)]
        sections.append(Section("importance", "Which settings matter", [], drawn))
    curves = f"{monitor} after each epoch; trials that were pruned end early."
    progress = f"{monitor} of each trial, and the best so far."
    drawn = [Plot(plots.progress(study, monitor), progress, progress)]
    if any(len(trial.intermediate_values) > 1 for trial in trials):
        drawn.append(Plot(plots.curves(trials, best.number, monitor), curves, curves))
    sections.append(Section("trials", "How the search went", [], [*drawn, _table(trials, keys, monitor, best)]))
    facts = [("command", search.command), *search.space.told.items()]
    sections.append(Section("space", "What was searched", [], [Facts(facts)]))
    tiles = [
        (_judged_by(search).replace("val_", ""), f"{best.value:.4f}", f"trial {best.number}"),
        (f"test {metric}", f"{result.test[metric]:.4f}" if metric in result.test else "", "trained anew, tested once"),
        ("trials", str(len(trials)), f"{sum(trial.state == TrialState.PRUNED for trial in trials)} pruned"),
        ("epochs", f"{sum(map(_epochs, trials)):,}", ""),
    ]
    title = f"Sweep of {result.name} on {result.config['data']['name']}"
    return render(title, result.figures["data"]["split"], tiles, sections)


def importances(study: optuna.Study) -> dict[str, float]:
    """The share of each setting in the variance of the figure; empty if there are too few trials."""
    if len({trial.value for trial in ranked(study)}) < LEAST:
        return {}
    return dict(optuna.importance.get_param_importances(study))


def _table(trials: list[FrozenTrial], keys: list[str], monitor: str, best: FrozenTrial) -> Table:
    rows = []
    for trial in trials:
        value = trial.user_attrs.get("value")
        cells = [
            Cell(str(trial.number), trial.number),
            Cell(written(value), value, trial.number == best.number),
            Cell(WORDS.get(trial.state, "running")),
            Cell(str(_epochs(trial)), _epochs(trial)),
        ]
        for key in keys:
            setting = trial.params.get(key)
            cells.append(Cell(written(setting), setting if isinstance(setting, (int, float)) else None))
        rows.append(cells)
    return Table("Every trial", ["trial", monitor, "state", "epochs", *short_names(keys)], rows)


def _epochs(trial: FrozenTrial) -> int:
    return trial.user_attrs.get("epochs") or len(trial.intermediate_values)


def _hardware() -> str:
    """The processor, and the versions of the main libraries."""
    from nnrec.sweeps.processes import cores

    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
        name = (names or [name])[0]
    return f"{cores()} cores of {name}; TensorFlow {version('tensorflow')}, Keras {version('keras')}"
