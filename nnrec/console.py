"""What people see: a progress bar, tables, messages."""

from __future__ import annotations

import time
from collections.abc import Mapping

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

console = Console(highlight=False)
# Without a terminal (a log file), a line this often replaces the bar.
SECONDS_BETWEEN_LINES = 5.0


class ProgressBar:
    """A bar on a terminal, an occasional line elsewhere.

    Args:
        label: what is going on.
        total: how many steps it takes.
        transient: whether the bar goes away at the end.
    """

    def __init__(self, label: str, total: int, transient: bool = False) -> None:
        self.label, self.total, self.done = label, total, 0
        self.status = ""
        self._last_line = time.monotonic()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[status]}"),
            console=console,
            transient=transient,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task(label, total=total, status="")

    def __enter__(self) -> ProgressBar:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def advance(self, steps: int = 1) -> None:
        """So many steps are done."""
        self.done += steps
        self._bar.update(self._task, advance=steps)

    def report(self, status: str, final: bool = False) -> None:
        """Shows how things stand."""
        self.status = status
        self._bar.update(self._task, status=status)
        if not console.is_terminal and (final or time.monotonic() - self._last_line >= SECONDS_BETWEEN_LINES):
            console.print(f"{self.label}  {self.done}/{self.total}  {status}", soft_wrap=True)
            self._last_line = time.monotonic()


def figures(values: Mapping[str, float]) -> str:
    """`name value` pairs on one line."""
    return "  ".join(f"{name} {value:.4g}" for name, value in values.items())


def metrics_table(title: str, columns: Mapping[str, Mapping[str, float]]) -> Table:
    """A table with a row per metric and a column per part of the data."""
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("metric")
    for column in columns:
        table.add_column(column, justify="right")
    for name in dict.fromkeys(name for column in columns.values() for name in column):
        table.add_row(name, *(f"{column[name]:.4f}" if name in column else "" for column in columns.values()))
    return table
