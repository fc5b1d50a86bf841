"""Chooses what an export of a run contains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from nnrec.runs.trained import TrainedRun
    from nnrec.serving.graph import Graph


@dataclass
class Plan:
    """The content of an export.

    Attributes:
        graphs: by the name of the signature, or of the ONNX file.
        vocabularies: names of the run's vocabulary files to copy.
        more: content of further JSON files, by name.
        notes: remarks for the user, one line each.
    """

    graphs: Mapping[str, Graph]
    vocabularies: Sequence[str] = ()
    more: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()


def plan(run: TrainedRun, file_format: str, n: int, exclude_seen: bool | Literal["auto"] = "auto") -> Plan:
    """Plans the export of a run; arguments as in `nnrec.serving.export.write`.

    Raises:
        ConfigError: the model cannot be exported.
    """
    if run.family.encoded:
        return _plan_rows(run, file_format, n)
    from nnrec.serving.lists import Lists

    made, notes = Lists(run, n), []
    if not run.model.serves_unseen_users:
        notes.append(
            f"People from outside the training get the popular items: {run.model.name} fits them in many steps, which "
            "no graph holds. A user-based model (model.by=user) needs no such fit."
        )
    if file_format == "onnx":
        vocabularies = ("items.parquet", "users.parquet") if made.by_user else ("items.parquet",)
        return Plan({"top_n": made.by_index(None)}, vocabularies, notes=notes)
    graphs = {"unseen": made.by_id(True), "all": made.by_id(False)}
    default = run.family.exclude_seen if exclude_seen == "auto" else exclude_seen
    graphs["serving_default"] = graphs["unseen" if default else "all"]
    graphs |= {"unseen_by_index": made.by_index(True), "all_by_index": made.by_index(False)}
    return Plan(graphs, notes=notes)


def _plan_rows(run: TrainedRun, file_format: str, n: int) -> Plan:
    from nnrec.serving.encoding import described
    from nnrec.serving.rows import Rows

    made = Rows(run, n)
    if file_format == "onnx":
        graphs = {"rows": made.by_code()} | ({"top_n": made.top_n_by_code()} if made.lists else {})
        vocabularies = ("items.parquet",) if made.lists else ()
        return Plan(graphs, vocabularies, {"encoder.json": described(run.sides.encoder)})
    graphs = {"serving_default": made.by_column()}
    if made.lists:
        graphs |= {"all": made.top_n(False), "unseen": made.top_n(True)}
    return Plan(graphs)
