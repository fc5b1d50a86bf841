"""An export from its configuration to a folder that has been checked."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from nnrec import backend
from nnrec.errors import ConfigError, RunError
from nnrec.runs import atomic

if TYPE_CHECKING:
    from nnrec.api import Run
    from nnrec.serving.check import Checked
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

    for key, what in (("run", "Which run? Give the folder of a finished training, or latest"), ("output", "Where to")):
        if OmegaConf.is_missing(config, key):
            raise ConfigError(f"{what}: {key}=<folder>.")
    if config.format not in FORMATS:
        raise ConfigError(f"format must be one of {', '.join(FORMATS)}. Received: {config.format}")
    if not (isinstance(config.exclude_seen, bool) or config.exclude_seen == "auto"):
        raise ConfigError(f"exclude_seen must be true, false or auto. Received: {config.exclude_seen!r}")
    write(str(config.run), Path(str(config.output)), config.format, config.top_n, config.exclude_seen)


@dataclass
class Plan:
    """What is written of a run.

    Attributes:
        graphs: by the name of the signature, or of the ONNX file.
        vocabularies: files of the run that go along.
        more: JSON files by name.
        notes: what people should know, a line each.
    """

    graphs: Mapping[str, Graph]
    vocabularies: Sequence[str] = ()
    more: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()


def write(
    path: str | Path, output: Path, file_format: str, n: int = 10, exclude_seen: bool | Literal["auto"] = "auto"
) -> list[Checked]:
    """Writes a run's model, reads it back and compares its lists with nnrec's own.

    Args:
        path: of the run folder.
        output: a folder that is not there yet; it appears when it is whole and has been checked.
        file_format: "savedmodel" or "onnx".
        n: length of the lists.
        exclude_seen: whether the default signature leaves out what is in the history; "auto" = where that are ratings.

    Returns:
        How the lists compare.

    Raises:
        RunError: the folder is there, or cannot be written; lists differ.
        ConfigError: the model cannot be exported; packages are missing.
    """
    if output.exists():
        raise RunError(f"{output} is already there. Choose another output, or remove it.")
    start()
    from nnrec.api import load
    from nnrec.serving import about, formats
    from nnrec.serving.check import check

    if file_format == "onnx":
        formats.import_onnx()
    run = load(path)
    made = plan(run, file_format, n, exclude_seen)
    with atomic(output) as folder:
        folder.mkdir(parents=True)
        functions = (formats.write_onnx if file_format == "onnx" else formats.write_savedmodel)(made.graphs, folder)
        for name in made.vocabularies:
            shutil.copyfile(run.folder[name], folder / name)
        for name, content in made.more.items():
            (folder / name).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        checked = check(load(run.folder.path), made.graphs, functions)
        about.write(run, made, file_format, checked, folder)
        about.show(run, made, checked, folder, output)
        for found in checked:
            if found.agreement.different:
                raise RunError(f"{output} was not written: {found.described}")
    return checked


def start() -> None:
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


def plan(run: Run, file_format: str, n: int, exclude_seen: bool | Literal["auto"] = "auto") -> Plan:
    """What is written of a run; arguments as of `write`.

    Raises:
        ConfigError: the model cannot be exported.
    """
    if run.family == "impressions":
        return _plan_rows(run, file_format, n)
    from nnrec.serving.lists import Lists

    made, notes = Lists(run, n), []
    if not run.model.serves_strangers:
        notes.append(
            f"People from outside the training get the popular items: {run.model.name} fits them in many steps, which "
            "no graph holds. A user-based model (model.by=user) needs no such fit."
        )
    if file_format == "onnx":
        vocabularies = ("items.parquet", "users.parquet") if made.by_user else ("items.parquet",)
        return Plan({"top_n": made.by_index(None)}, vocabularies, notes=notes)
    graphs = {"unseen": made.by_id(True), "all": made.by_id(False)}
    default = run.family != "sessions" if exclude_seen == "auto" else exclude_seen
    graphs["serving_default"] = graphs["unseen" if default else "all"]
    graphs |= {"unseen_by_index": made.by_index(True), "all_by_index": made.by_index(False)}
    return Plan(graphs, notes=notes)


def _plan_rows(run: Run, file_format: str, n: int) -> Plan:
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
