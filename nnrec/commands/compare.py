"""Runs a comparison: trains the models to compare, and writes a table, a CSV file and a page."""

from __future__ import annotations

import gc
import glob
import itertools
import re
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnrec.core.config.compose import compose
from nnrec.core.config.old_names import with_current_names
from nnrec.core.console import console
from nnrec.core.errors import ConfigError, Interrupted, NnrecError, RunError
from nnrec.core.files import atomic
from nnrec.reports.comparison import Comparison, Failure
from nnrec.runs.folder import RunFolder
from nnrec.runs.latest import run_named
from nnrec.runs.result import NOT_PART, Result, flat

if TYPE_CHECKING:
    from nnrec.data.load import Given

# Settings of the comparison itself, which are not passed on to the trainings.
OWN = ("runs", "models", "seeds", "folds", "sort_by", "people", "output")
# Settings of a training that are replaced by other settings in a comparison.
INSTEAD = {
    "model": "models=[...], which names the models to train",
    "run_dir": "output=<folder>, which holds the runs",
    "resume": "the same command with the same output, which goes on where it was interrupted",
}


def execute(config: Any, overrides: Sequence[str], data: Given | None = None) -> Comparison:
    """Runs a comparison as configured.

    Args:
        config: the configuration, composed from conf/compare.yaml.
        overrides: the command line that it was composed from.
        data: ratings to train on instead of a named data set.

    Raises:
        NnrecError: the comparison cannot be run. A model that cannot be trained is reported in the table, and the
            other models are trained.
    """
    from nnrec.reports.html.write import write_comparison
    from nnrec.reports.table import show

    if not config.runs and not config.models:
        raise ConfigError(
            "What to compare? Give finished runs, runs=[runs/ease/ml-1m/...], or models to train, "
            "models=[popularity,ease]."
        )
    results = [Result(folder) for folder in _finished(config.runs or [])]
    output = Path(config.output)
    failures: list[Failure] = []
    if config.models:
        members = _members(config, overrides, output / "runs", named=data is None)
        trained, failures = _train(members, data, output)
        results += trained
    if not results:
        raise RunError(
            "No model could be trained:\n  " + "\n  ".join(f"{failure.label}: {failure.reason}" for failure in failures)
        )
    comparison = Comparison.of(results, config.sort_by, failures)
    with atomic(output / "comparison.csv") as path:
        comparison.frame().to_csv(path, index=False)
    show(comparison)
    console.print(f"Every figure:  {output / 'comparison.csv'}", soft_wrap=True)
    console.print(f"With plots:    {write_comparison(comparison, output, config.people)}", soft_wrap=True)
    return comparison


@dataclass
class _Member:
    """A model to train: its label, configuration and run folder."""

    label: str
    config: Any
    folder: RunFolder


def _finished(patterns: Sequence[Any]) -> list[RunFolder]:
    """The run folders of paths, and the finished run folders that match glob patterns, each once."""
    if isinstance(patterns, str):
        raise ConfigError(f"runs must be a list, such as runs=[{patterns}].")
    found: dict[Path, RunFolder] = {}
    for pattern in map(str, patterns):
        paths: list[str | Path] = [run_named(pattern)]
        if glob.has_magic(pattern) and not Path(pattern).is_dir():
            paths = [path for path in sorted(glob.glob(pattern)) if (Path(path) / "metrics.json").is_file()]
            if not paths:
                raise RunError(f"runs: no finished run is found by {pattern} in {Path.cwd()}.")
        for path in paths:
            found.setdefault(Path(path).resolve(), RunFolder.open(path))
    return list(found.values())


def _members(config: Any, overrides: Sequence[str], folder: Path, named: bool) -> list[_Member]:
    """The models to train: each of `models` with each of `seeds` and `folds`.

    Raises:
        ConfigError: settings do not compose or are not allowed in a comparison, a model is listed twice, or the folder
            holds another comparison.
    """
    from omegaconf import OmegaConf

    if isinstance(config.models, str):
        raise ConfigError(f"models must be a list, such as models=[{config.models}].")
    shared = []
    for override in overrides:
        key = override.lstrip("+~").partition("=")[0].partition("@")[0]
        if key in INSTEAD:
            raise ConfigError(f"{override} has no place in a comparison. Give {INSTEAD[key]}.")
        if key not in OWN:
            shared.append(override)
    seeds = [f"seed={seed}" for seed in config.seeds or []]
    folds = [f"split.fold={fold}" for fold in config.folds or []]
    members: list[_Member] = []
    for model, *repeat in itertools.product(map(str, config.models), seeds or [""], folds or [""]):
        name, *own = " ".join([model, *repeat]).split()
        label = " ".join([name, *own])
        place = RunFolder(folder / re.sub(r"[^\w.+-]+", "-", label).strip("-"))
        if any(member.folder.path == place.path for member in members):
            raise ConfigError(f"models lists {label} twice.")
        try:
            composed = compose("train", [*shared, f"model={name}", *own, *([] if named else ["data.name=frame"])])
        except ConfigError as error:
            raise ConfigError(f"models: {label}: {error}") from error
        members.append(_Member(label, OmegaConf.merge(composed, {"run_dir": str(place.path)}), place))
    for member in members:
        _check_same(member)
    return members


def _check_same(member: _Member) -> None:
    """Checks that an existing member of the folder has the same settings; writes the settings of a new one.

    Raises:
        ConfigError: the settings differ.
    """
    from omegaconf import OmegaConf

    path = member.folder.path.with_name(f"{member.folder.path.name}.yaml")
    if not path.is_file():
        RunFolder(path.parent).write_text(path.name, OmegaConf.to_yaml(member.config, resolve=True))
        return
    plain: Any = (OmegaConf.to_container(config, resolve=True) for config in (OmegaConf.load(path), member.config))
    there, wanted = (
        {key: value for key, value in flat(with_current_names(config)).items() if key not in NOT_PART}
        for config in plain
    )
    for key in dict.fromkeys([*wanted, *there]):
        if there.get(key) != wanted.get(key):
            raise ConfigError(
                f"{member.folder.path} holds {member.label} with {key}={there.get(key)}, and {key}={wanted.get(key)} "
                "is asked for. Choose another output."
            )


def _train(members: Sequence[_Member], data: Any, output: Path) -> tuple[list[Result], list[Failure]]:
    """Trains the members that are not finished.

    Raises:
        Interrupted: Ctrl-C.
    """
    from omegaconf import OmegaConf

    from nnrec.commands import train

    results, failures = [], []
    for number, member in enumerate(members, start=1):
        console.rule(f"{number} of {len(members)}: {member.label}", style="dim")
        try:
            if member.folder["metrics.json"].is_file():
                console.print(f"Already there: {member.folder.path}", soft_wrap=True)
            else:
                begun = member.folder["config.yaml"].is_file()
                more = {"resume": str(member.folder.path)} if begun else {}
                train.execute(OmegaConf.merge(member.config, more), data)
            results.append(Result(member.folder))
        except (KeyboardInterrupt, Interrupted):
            raise Interrupted(f"Interrupted. The same command goes on from here if it says output={output}") from None
        except NnrecError as error:
            failures.append(Failure(member.label, str(error)))
        except Exception as error:
            name = f"{member.folder.path.name}.error.txt"
            RunFolder(output).write_text(name, traceback.format_exc())
            failures.append(Failure(member.label, f"{type(error).__name__}: {error} (more in {name})"))
        if failures and failures[-1].label == member.label:
            console.print(f"Failed: {failures[-1].reason}", soft_wrap=True, markup=False, style="red")
        _release()
    return results, failures


def _release() -> None:
    """Frees the memory of the last model."""
    if "keras" in sys.modules:
        sys.modules["keras"].utils.clear_session()
    gc.collect()
