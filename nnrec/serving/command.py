"""An export from its configuration to a folder that has been checked."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

import nnrec
from nnrec import backend
from nnrec.console import console, show_table
from nnrec.errors import ConfigError, RunError
from nnrec.runs import atomic

if TYPE_CHECKING:
    from nnrec.api import Run
    from nnrec.serving.check import Agreement, Checked
    from nnrec.serving.graph import Graph

FORMATS = ("savedmodel", "onnx")


def execute(config: Any) -> None:
    """Does what a composed export configuration asks for.

    Args:
        config: the configuration, composed from conf/export.yaml.

    Raises:
        NnrecError: whatever stands in the way, in words for the user; lists that are not nnrec's.
    """
    from omegaconf import OmegaConf

    for key, what in (("run", "Which run? Give the folder of a finished training"), ("output", "Where to")):
        if OmegaConf.is_missing(config, key):
            raise ConfigError(f"{what}: {key}=<folder>.")
    if config.format not in FORMATS:
        raise ConfigError(f"format must be one of {', '.join(FORMATS)}. Received: {config.format}")
    if not (isinstance(config.exclude_seen, bool) or config.exclude_seen == "auto"):
        raise ConfigError(f"exclude_seen must be true, false or auto. Received: {config.exclude_seen!r}")
    write(Path(str(config.run)), Path(str(config.output)), config.format, config.top_n, config.exclude_seen)


def write(path: Path, output: Path, file_format: str, n: int, exclude_seen: Any = "auto") -> list[Agreement]:
    """Writes a run's model, reads it back and compares its lists with nnrec's own.

    Args:
        path: of the run folder.
        output: a folder that is not there yet; it appears when it is whole and has been checked.
        file_format: "savedmodel" or "onnx".
        n: length of the lists.
        exclude_seen: whether the default signature leaves out what is in the history, or "auto".

    Returns:
        How the lists compare.

    Raises:
        RunError: the folder is there, or cannot be written; lists differ.
        ConfigError: the model cannot be exported; packages are missing.
    """
    if output.exists():
        raise RunError(f"{output} is already there. Choose another output, or remove it.")
    _start()
    from nnrec.api import load
    from nnrec.serving import formats
    from nnrec.serving.check import check

    if file_format == "onnx":
        formats.import_onnx()
    plan = _plan(load(path), file_format, n, exclude_seen)
    with atomic(output) as folder:
        folder.mkdir(parents=True)
        if file_format == "savedmodel":
            formats.write_savedmodel(plan.graphs, folder)
            functions = formats.read_savedmodel(folder)
        else:
            functions = {}
            for name, graph in plan.graphs.items():
                formats.write_onnx(graph, folder / f"{name}.onnx")
                functions[name] = formats.read_onnx(folder / f"{name}.onnx")
            for name in plan.vocabularies:
                shutil.copyfile(path / name, folder / name)
        for name, content in plan.more.items():
            (folder / name).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        checked = check(load(path), plan.graphs, functions)
        _write_about(plan, folder, file_format, path, checked)
        _show(plan, output, folder, checked)
        for graph, agreement in ((found.graph, found.agreement) for found in checked):
            if agreement.different:
                raise RunError(
                    f"{output} was not written: by {graph}, {agreement.different} of {agreement.number} "
                    f"({agreement.what}) differ from nnrec's. {agreement.where}"
                )
    return [found.agreement for found in checked]


def _start() -> None:
    """Starts TensorFlow quietly.

    Raises:
        ConfigError: Keras runs on something else.
    """
    backend.start(devices="cpu")
    import keras

    if keras.backend.backend() != "tensorflow":
        raise ConfigError(
            "Graphs are written with TensorFlow: set KERAS_BACKEND=tensorflow. A run that was trained on JAX can be "
            "exported like any other."
        )
    import tensorflow as tf

    tf.get_logger().setLevel(logging.ERROR)
    logging.getLogger("tf2onnx").setLevel(logging.ERROR)


@dataclass
class Plan:
    """What is written of a run.

    Attributes:
        model: its name.
        graphs: by the name of the signature, or of the ONNX file.
        n: length of the lists.
        vocabularies: files of the run that go along.
        more: JSON files by name.
        notes: what people should know, a line each.
    """

    model: str
    family: str
    graphs: Mapping[str, Graph]
    n: int
    vocabularies: tuple[str, ...] = ()
    more: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def _plan(run: Run, file_format: str, n: int, exclude_seen: Any) -> Plan:
    if run.family == "impressions":
        return _plan_rows(run, file_format, n, exclude_seen)
    from nnrec.serving.lists import Lists

    made = Lists(run, n)
    default = run.family != "sessions" if exclude_seen == "auto" else exclude_seen
    vocabularies = ("items.parquet", "users.parquet") if made.by_user else ("items.parquet",)
    notes = ()
    if not run.model.serves_strangers:
        notes = (
            f"People from outside the training get the popular items: {run.model.name} fits them in many steps, which "
            "a graph does not hold. A user-based model (model.by=user) needs no such fit.",
        )
    about = (run.model.name, run.family)
    if file_format == "onnx":
        return Plan(*about, {"top_n": made.by_index(None)}, made.n, vocabularies, notes=notes)
    graphs = {"unseen": made.by_id(True), "all": made.by_id(False)}
    graphs["serving_default"] = graphs["unseen" if default else "all"]
    graphs |= {"unseen_by_index": made.by_index(True), "all_by_index": made.by_index(False)}
    return Plan(*about, graphs, made.n, notes=notes)


def _plan_rows(run: Run, file_format: str, n: int, exclude_seen: Any) -> Plan:
    from nnrec.serving.encoding import described
    from nnrec.serving.rows import Rows

    made = Rows(run, n)
    about = (run.model.name, run.family)
    if file_format == "onnx":
        graphs = {"rows": made.by_code()} | ({"top_n": made.top_n_by_code()} if made.lists else {})
        more = {"encoder.json": described(run.sides.encoder)}
        return Plan(*about, graphs, n, ("items.parquet",) if made.lists else (), more)
    graphs = {"serving_default": made.by_column()}
    if made.lists:
        graphs |= {"all": made.top_n(False), "unseen": made.top_n(True)}
    return Plan(*about, graphs, n)


def _write_about(plan: Plan, folder: Path, file_format: str, path: Path, checked: list[Checked]) -> None:
    """Writes about.json: what goes in and comes out, with examples, and what was compared."""

    def ports(found: Mapping[str, Any]) -> dict[str, Any]:
        return {
            name: {"dtype": port.dtype.name, "shape": list(port.shape), "about": port.about}
            for name, port in found.items()
        }

    about = {
        "model": plan.model,
        "family": plan.family,
        "format": file_format,
        "nnrec": nnrec.__version__,
        "run": str(path),
        "top_n": plan.n,
        "notes": list(plan.notes),
        "graphs": {
            name: {"about": graph.about, "inputs": ports(graph.inputs), "outputs": ports(graph.outputs)}
            | ({"columns": dict(graph.columns)} if graph.columns else {})
            | {"example": next(found.example for found in checked if found.graph == name)}
            for name, graph in plan.graphs.items()
        },
        "compared": [
            {
                "graph": name, "what": found.what, "number": found.number, "equal": found.equal, "tied": found.tied,
                "largest_difference": found.difference,
            }
            for name, found in ((found.graph, found.agreement) for found in checked)
        ],
    }  # fmt: skip
    (folder / "about.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


def _show(plan: Plan, output: Path, folder: Path, checked: list[Checked]) -> None:
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    title = f"{plan.model} as {output} ({size / 1e6:.1f} MB), compared with nnrec's own:"
    table = Table(title=escape(title), title_justify="left", title_style="bold")
    for column in ("graph", "compared", "equal", "equal but for rounding", "different", "largest difference of scores"):
        table.add_column(column, justify="left" if column == "graph" else "right")
    for name, found in ((found.graph, found.agreement) for found in checked):
        numbers = (found.equal, found.tied, found.different)
        table.add_row(name, f"{found.number} {found.what}", *map(str, numbers), f"{found.difference:.1e}")
    show_table(table)
    for note in plan.notes:
        console.print(note, soft_wrap=True)
