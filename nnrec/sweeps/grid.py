"""Shows the runs of a plain grid, `train.py -m model=autorec,rbm`, in one table."""

from __future__ import annotations

from collections.abc import Sequence

from nnrec.core.console import console
from nnrec.core.errors import ConfigError
from nnrec.reports.comparison import Comparison
from nnrec.reports.table import show
from nnrec.runs.folder import RunFolder
from nnrec.runs.result import Result


def show_runs(paths: Sequence[str | None]) -> None:
    """Prints the table of these runs, or why they cannot be compared."""
    results = [Result(RunFolder.open(path)) for path in paths if path]
    if len(results) < 2:
        return
    try:
        show(Comparison.of(results))
    except ConfigError as error:
        console.print(str(error), markup=False, soft_wrap=True)
