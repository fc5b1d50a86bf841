"""Pages about finished runs: one run's report.html, and comparison.html for several."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnrec.core.files import atomic
from nnrec.runs.folder import RunFolder

if TYPE_CHECKING:
    from nnrec.reports.comparison import Comparison


def write_report(folder: RunFolder) -> Path:
    """Writes report.html, a page about a finished run, into its folder, and returns its path.

    The page needs no other file and no network. What the run did not keep is left out.

    Raises:
        RunError: the run did not finish, a file is damaged, or the page cannot be written.
    """
    from nnrec.reports.comparison import Comparison
    from nnrec.reports.html.sections import report
    from nnrec.runs.result import Result

    path = folder["report.html"]
    with atomic(path) as temporary:
        temporary.write_text(report(Comparison.of([Result(folder)])), encoding="utf-8")
    return path


def write_comparison(comparison: Comparison, folder: Path, people: Sequence[Any] | None = None) -> Path:
    """Writes comparison.html, the same page for several runs, into a folder, and returns its path.

    Args:
        comparison: what to show.
        folder: where to.
        people: raw ids of test users whose lists are shown; None = a few from little to much history.

    Raises:
        ConfigError: none of the runs measured one of these people.
        RunError: a file is damaged, or the page cannot be written.
    """
    from nnrec.reports.html.sections import report

    path = folder / "comparison.html"
    page = report(comparison, people, beside=folder)
    with atomic(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path
