"""Resolution of "latest", given instead of a run folder, to the newest run."""

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
    """Returns the path of a run folder; resolves "latest" and prints the path that it found.

    The latest run is the one that finished last below the default folder of runs (see `run_dir`). The winner of a
    sweep counts as a run, its trials do not.

    Args:
        name: a path or "latest". A folder that is itself called latest is given as `./latest` or as a `Path`.
        unfinished: whether "latest" means the most recently active run among those that can be resumed.

    Raises:
        RunError: "latest" finds no run.
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
    """The default parent folder of all runs: the leading part of `run_dir` in conf/train.yaml."""
    from omegaconf import OmegaConf

    settings = Choice(config_folder() / "train.yaml").own_settings()
    default = next(s.value.strip("'\"") for s in settings if isinstance(s, Setting) and s.key == "run_dir")
    begins = re.split(r"\$\{(?!oc\.env:)", default)[0].rpartition("/")[0]
    return Path(OmegaConf.create({"folder": begins or "."}).folder).expanduser()


def _runs(root: Path, unfinished: bool) -> Iterator[Path]:
    """Yields the run folders below a folder.

    Of a sweep only the winner counts, and only if it is finished: resuming the sweep finishes the winner itself.
    """
    for place, folders, files in os.walk(root):
        if "config.yaml" in files:
            folders.clear()  # subfolders of a run folder belong to that run
            yield Path(place)
        elif "sweep.json" in files:
            folders[:] = [name for name in folders if name.startswith("best_") and not unfinished]


def _time(path: Path, unfinished: bool) -> float | None:
    """The time at which a run finished, or was last active if unfinished; None for a run of the other kind."""
    finished = path / "metrics.json"
    if finished.is_file() == unfinished:
        return None
    if not unfinished:
        return finished.stat().st_mtime
    steps = [path / name for name in ("data.json", "config.yaml", "selection.json", "checkpoint.npz")]
    there = [step.stat().st_mtime for step in steps if step.is_file()]
    return max(there) if (path / "data.json").is_file() else None
