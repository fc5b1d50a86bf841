"""Console output: the progress bar, tables and messages."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

console = Console(highlight=False)
# Without a terminal (output to a log file), a progress line is printed this often instead of the bar.
SECONDS_BETWEEN_LINES = 5.0
# In a notebook, the progress line is updated this often.
SECONDS_BETWEEN_UPDATES = 0.5


class NotebookLine:
    """A line in the output of a notebook cell; each new text replaces the last."""

    def __init__(self) -> None:
        self._handle: Any = None

    def show(self, text: str) -> None:
        from IPython.display import display

        content = {"text/plain": text}
        if self._handle is None:
            self._handle = display(content, raw=True, display_id=True)
        else:
            self._handle.update(content, raw=True)

    def clear(self) -> None:
        if self._handle is not None:
            self.show("")


# In a notebook, inside `hushed`: the line that all progress bars share.
_only: NotebookLine | None = None


@contextmanager
def hushed(quiet: bool = True) -> Iterator[None]:
    """Prints nothing inside the block if `quiet`; in a notebook a single line still shows the progress."""
    global _only
    before = console.quiet, _only
    if quiet:
        console.quiet, _only = True, NotebookLine()
    try:
        yield
    finally:
        if quiet and _only is not None:
            _only.clear()
        console.quiet, _only = before


class ProgressBar:
    """Shows progress: a bar on a terminal, one updated line in a notebook, an occasional line elsewhere.

    Args:
        label: name of the task.
        total: number of steps.
        transient: whether the bar disappears at the end.
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
        self._interval = SECONDS_BETWEEN_UPDATES if console.is_jupyter else SECONDS_BETWEEN_LINES
        self._line = _only or NotebookLine()
        self._transient = transient

    def __enter__(self) -> ProgressBar:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()
        if self._transient:
            self._line.clear()

    def advance(self, steps: int = 1) -> None:
        """Adds to the number of finished steps."""
        self.done += steps
        self._bar.update(self._task, advance=steps)

    def report(self, status: str, final: bool = False) -> None:
        """Shows a status text, such as the current metrics; `final` prints it even if the last line is recent."""
        self.status = status
        self._bar.update(self._task, status=status)
        if console.is_terminal or not (final or time.monotonic() - self._last_line >= self._interval):
            return
        line = f"{self.label}  {self.done}/{self.total}  {status}"
        if console.is_jupyter:
            self._line.show(line)
        else:
            console.print(line, soft_wrap=True)
        self._last_line = time.monotonic()


def figures(values: Mapping[str, float]) -> str:
    """Formats `name value` pairs on one line."""
    return "  ".join(f"{name} {value:.4g}" for name, value in values.items())


def results_table(
    title: str,
    test: Mapping[str, float],
    validation: Mapping[str, float],
    intervals: Mapping[str, Sequence[float]],
    best_reachable: Mapping[str, float],
) -> Table:
    """Returns a table with one row per metric; metrics at several cutoffs have one column per cutoff.

    Args:
        title: title of the table.
        test, validation: metric values by name, such as `rmse` or `recall@10`.
        intervals: name -> (low, high), the 95% interval of a metric on test data.
        best_reachable: name -> the best value that any model can reach, where it is known.
    """
    cutoffs = list(dict.fromkeys(name.partition("@")[2] for name in test if "@" in name))
    first, *others = cutoffs or [""]
    table = Table(title=escape(title), title_justify="left", title_style="bold")
    at = f" @{first}" if first else ""
    columns = ["metric", f"validation{at}", f"test{at}", "95% interval", *(f"test @{k}" for k in others)]
    columns += ["best reachable"] if best_reachable else []
    metrics = list(dict.fromkeys(name.partition("@")[0] for name in test))
    for column in columns:
        table.add_column(column, justify="right")
    table.columns[0].justify, table.columns[0].min_width = "left", max(map(len, metrics), default=0)
    for metric in metrics:
        name = metric if metric in test else f"{metric}@{first}"
        interval = intervals.get(name)
        cells = [_cell(validation.get(name)), _cell(test.get(name))]
        cells.append("" if interval is None else " to ".join(_cell(bound) for bound in interval))
        cells += [_cell(test.get(f"{metric}@{k}")) for k in others]
        table.add_row(metric, *cells, *([_cell(best_reachable.get(name))] if best_reachable else []))
    return table


def show_table(table: Table) -> None:
    """Prints a table; without a terminal, at its full width."""
    if not console.is_terminal:
        table.width = Measurement.get(console, console.options.update(max_width=1000), table).maximum
    console.print(table, crop=False)


def _cell(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.4f}" if abs(value) < 100 else f"{value:,.1f}"
