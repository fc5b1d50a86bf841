"""`run=latest`: the newest run, wherever a run folder is named."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from nnrec.core.calling import typed
from nnrec.core.config.choices import Choice, Setting
from nnrec.core.config.compose import config_folder
from nnrec.core.console import console
from nnrec.core.errors import RunError

LATEST = "latest"


def run_named(name: str | Path, unfinished: bool = False) -> str | Path:
    """The path of a run folder as a user names it: a path, or "latest", and then it is said which one that is.

    The latest run is the one that finished last below the folder in which runs are kept (`run_dir`); the winner of a
    sweep is one too, its trials are none.

    Args:
        name: what the user gave; a folder of the name latest is `./latest`, or a `Path`.
        unfinished: whether "latest" is the run that got on last among those that training can go on with.

    Raises:
        RunError: there is no run.
    """
    if name != LATEST or isinstance(name, Path):
        return name
    root = folder_of_runs()
    found = [(when, str(path)) for path in _runs(root, unfinished) if (when := _time(path, unfinished)) is not None]
    if not found:
        place = f"below {root.absolute()}"
        if unfinished:
            raise RunError(f"There is no unfinished run {place} to resume. Name a folder elsewhere: resume=<folder>.")
        raise RunError(
            f"There is no finished run {place}, so that latest names none. Train a model ({typed('train')} --help), "
            "or name a folder elsewhere."
        )
    path = Path(max(found)[1])
    console.print(f"The latest {'unfinished ' if unfinished else ''}run: {path}", soft_wrap=True, markup=False)
    return path


def folder_of_runs() -> Path:
    """The folder that all runs lie in by default: what `run_dir` of conf/train.yaml begins with."""
    from omegaconf import OmegaConf

    settings = Choice(config_folder() / "train.yaml").own_settings()
    default = next(s.value.strip("'\"") for s in settings if isinstance(s, Setting) and s.key == "run_dir")
    begins = re.split(r"\$\{(?!oc\.env:)", default)[0].rpartition("/")[0]
    return Path(OmegaConf.create({"folder": begins or "."}).folder).expanduser()


def _runs(root: Path, unfinished: bool) -> Iterator[Path]:
    """The run folders below a folder. Of a sweep only the winner counts, which a sweep that goes on finishes itself."""
    for place, folders, files in os.walk(root):
        if "config.yaml" in files:
            folders.clear()  # what lies in a run folder are parts of it
            yield Path(place)
        elif "sweep.json" in files:
            folders[:] = [name for name in folders if name.startswith("best_") and not unfinished]


def _time(path: Path, unfinished: bool) -> float | None:
    """When a run finished, or got on last; None of one that is not asked for."""
    finished = path / "metrics.json"
    if finished.is_file() == unfinished:
        return None
    if not unfinished:
        return finished.stat().st_mtime
    steps = [path / name for name in ("data.json", "config.yaml", "selection.json", "checkpoint.npz")]
    there = [step.stat().st_mtime for step in steps if step.is_file()]
    return max(there) if (path / "data.json").is_file() else None
