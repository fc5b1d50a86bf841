"""Sections on impressions: the data, and the calibration of predicted probabilities."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nnrec.evaluation.metrics.ctr import Calibration, calibration
from nnrec.reports.comparison import Comparison, Entry
from nnrec.reports.html import plots
from nnrec.reports.html.page import Cell, Facts, Plot, Section, Table
from nnrec.reports.html.plots import Line, lines_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def impressions_section(comparison: Comparison) -> Section:
    """The data for training and evaluation."""
    result = comparison.best.first
    data, counts = result.data, result.figures["data"]
    labels = data["labels"]
    facts = [("rows", f"{data['rows']:,}"), ("mean label", f"{labels['mean']:.4g}")]
    facts += [(name.replace("_", " "), f"{counts[name]:,}") for name in ("training_rows", "test_rows", "fields", "ids")]
    splits = dict.fromkeys(r.figures["data"]["split"] for entry in comparison.entries for r in entry.results)
    facts += [("split", split) for split in splits]
    facts += [("note", note) for note in data.get("notes", [])]
    rows = [
        [
            Cell(column["name"]),
            Cell(column["kind"]),
            Cell(f"{column['values']:,}" if "values" in column else "", column.get("values")),
            Cell(f"{column['missing']:.1%}", column["missing"]),
        ]
        for column in data["columns"]
    ]
    return Section(
        "data", "The data", [], [Facts(facts), Table("Columns", ["name", "kind", "values", "missing"], rows)]
    )


def calibration_section(comparison: Comparison) -> Section | None:
    """Predicted probabilities against observed click-through rates, for each entry."""

    def points(entry: Entry) -> Calibration | None:
        rows = entry.first.impressions
        if rows is None or "auc" not in entry.first.test:
            return None
        bins = entry.first.config["evaluation"].get("bins", 20)
        return calibration(rows["label"].to_numpy(), rows["prediction"].to_numpy(np.float64), bins)

    lines = lines_of(comparison.entries, points)
    if not lines:
        return None
    svg = plots.draw("calibration", lambda axes: _draw(axes, lines))
    told = "; ".join(f"{label}: error {data.error:.4f}" for _, label, data in lines)
    caption = (
        "Test rows in the order of the predicted probability, in bins of equally many: the mean prediction of each and "
        "the share that was clicked. On the dashed line predictions can be taken at their word."
    )
    text = f"Mean difference between what was predicted and what was observed: {told}."
    return Section("calibration", "Calibration", [text], [Plot(svg, text, caption)])


def _draw(axes: Axes, lines: list[Line]) -> None:
    highest = max(float(max(data.predicted.max(), data.observed.max())) for _, _, data in lines)
    axes.plot([0, highest], [0, highest], color=plots.MUTED, dashes=(4, 2))
    for number, label, data in lines:
        axes.plot(data.predicted, data.observed, marker=plots.marker(number), color=plots.color(number), label=label)
    axes.set_xlim(0)
    axes.set_ylim(0)
    if len(lines) > 1:
        axes.legend(fontsize=9.5)
    axes.set_xlabel("predicted probability")
    axes.set_ylabel("share observed")
