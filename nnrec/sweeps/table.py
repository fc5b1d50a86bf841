"""Prints trials: a line when a trial ends, and a table of the best at the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from optuna.trial import FrozenTrial, TrialState
from rich.table import Table

from nnrec.core.console import console, show_table
from nnrec.sweeps.space import Space

WORDS = {TrialState.COMPLETE: "", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}
HEAD = 10


class Rows:
    """Prints a line for each trial that ends, under a heading.

    Args:
        space: the searched space.
        monitor: the figure that trials are compared by.
        lower: whether lower values of it are better.
    """

    def __init__(self, space: Space, monitor: str, lower: bool) -> None:
        self.keys, self.sign = list(space.dimensions), 1 if lower else -1
        self.best: float | None = None
        names = short_names(self.keys)
        self.widths = [max(len(name), 11) for name in names]
        self._print(["trial", monitor, "best", "epochs", "seconds"], names, "")

    def add(self, trial: FrozenTrial) -> None:
        """Prints the trial's line."""
        told, value = trial.user_attrs, trial.value if trial.state == TrialState.COMPLETE else None
        better = value is not None and (self.best is None or self.sign * value < self.sign * self.best)
        self.best = value if better else self.best
        shown = [str(trial.number), written(trial.user_attrs.get("value")), written(self.best)]
        shown += [str(told.get("epochs", "")), written(told.get("seconds"))]
        remark = "*" if better else WORDS[trial.state]
        remark += f": {told['error']}" if told.get("error") else ""
        self._print(shown, [written(trial.params.get(key)) for key in self.keys], remark)

    def _print(self, first: Sequence[str], values: Sequence[str], remark: str) -> None:
        cells = [f"{cell:>{width}}" for cell, width in zip(first, (5, 12, 10, 6, 7), strict=True)]
        cells += [f"{cell:>{width}}" for cell, width in zip(values, self.widths, strict=True)]
        console.print("  ".join(cells) + f"  {remark}".rstrip(), markup=False, soft_wrap=True)


def show_best(trials: Sequence[FrozenTrial], monitor: str, space: Space) -> None:
    """Prints the first of these trials, which are sorted, best first."""
    keys = list(space.dimensions)
    table = Table(title="The best trials", title_justify="left", title_style="bold")
    for column in ("trial", monitor, "epoch", *short_names(keys)):
        table.add_column(column, justify="right")
    for trial in trials[:HEAD]:
        cells = [written(trial.value), str(trial.user_attrs["best_epoch"] or "")]
        table.add_row(str(trial.number), *cells, *(written(trial.params.get(key)) for key in keys))
    console.print()
    show_table(table)


def short_names(keys: Sequence[str]) -> list[str]:
    """Short names of the keys: the last component, where it is unique."""
    last = [key.rpartition(".")[2] for key in keys]
    return [name if last.count(name) == 1 else key for name, key in zip(last, keys, strict=True)]


def written(value: Any) -> str:
    """A value as short text."""
    return "" if value is None else f"{value:.5g}" if isinstance(value, float) else str(value)
