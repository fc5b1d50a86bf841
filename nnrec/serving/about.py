"""The description of an export: about.json, and the summary on the screen."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from nnrec.core.console import console, show_table
from nnrec.runs.trained import TrainedRun
from nnrec.serving.check import Checked
from nnrec.serving.graph import Port

if TYPE_CHECKING:
    from nnrec.serving.plan import Plan


def write(run: TrainedRun, plan: Plan, file_format: str, checked: list[Checked], folder: Path) -> None:
    """Writes about.json: inputs and outputs of the graphs, with examples, and the results of the check."""
    examples = {name: found.example for found in reversed(checked) for name in found.graphs}
    graphs = {}
    for name, graph in plan.graphs.items():
        about: dict[str, Any] = {"about": graph.about, "inputs": _ports(graph.inputs), "outputs": _ports(graph.outputs)}
        if graph.columns:
            about["columns"] = dict(graph.columns)
        graphs[name] = about | ({"example": examples[name]} if name in examples else {})
    compared = [
        {
            "graphs": list(found.graphs),
            "compared": f"{found.agreement.number} {found.agreement.what}",
            "equal": found.agreement.equal,
            "tied": found.agreement.tied,
            "largest_difference": found.agreement.difference,
        }
        for found in checked
    ]
    whole = {
        "model": run.model.name,
        "family": "implicit" if run.model.implicit else run.family.name,
        "format": file_format,
        "nnrec": version("nnrec"),
        "run": str(run.folder.path),
        "notes": list(plan.notes),
        "graphs": graphs,
        "compared": compared,
    }
    (folder / "about.json").write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")


def _ports(ports: Mapping[str, Port]) -> dict[str, Any]:
    return {
        name: {"dtype": port.dtype.name, "shape": list(port.shape), "about": port.about} for name, port in ports.items()
    }


def show(run: TrainedRun, plan: Plan, checked: list[Checked], folder: Path, output: Path) -> None:
    """Prints the results of the check and the remarks."""
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    title = f"{run.model.name} as {output} ({size / 1e6:.1f} MB), compared with nnrec's own"
    table = Table(title=escape(title), title_justify="left", title_style="bold")
    for column in ("graph", "compared", "equal", "equal but for rounding", "different", "scores differ by"):
        table.add_column(column, justify="left" if column == "graph" else "right")
    for found in checked:
        own = found.agreement
        cells = (f"{own.number} {own.what}", str(own.equal), str(own.tied), str(own.different))
        table.add_row("\n".join(found.graphs), *cells, f"{own.difference:.1e}")
    show_table(table)
    if not checked:
        console.print(
            "Nothing was compared: the run keeps no histories (keep_histories=false), and the model has lists for its "
            "own users alone.",
            soft_wrap=True,
        )
    for note in plan.notes:
        console.print(note, soft_wrap=True)
