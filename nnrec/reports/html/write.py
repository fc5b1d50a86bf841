"""Writes the pages on finished runs: report.html for one run, comparison.html for several."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnrec.core.files import atomic
from nnrec.runs.folder import RunFolder

if TYPE_CHECKING:
    from nnrec.reports.comparison import Comparison


def write_report(folder: RunFolder) -> Path:
    """Writes report.html, the page on a finished run, to its folder, and returns its path.

    The page needs no other file and no network. Sections without data in the run are left out.

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
        folder: the folder to write to.
        people: raw ids of test users whose lists are shown; None = a few, from short to long histories.

    Raises:
        ConfigError: no run has test results of one of these users.
        RunError: a file is damaged, or the page cannot be written.
    """
    from nnrec.reports.html.sections import report

    path = folder / "comparison.html"
    page = report(comparison, people, beside=folder)
    with atomic(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path
