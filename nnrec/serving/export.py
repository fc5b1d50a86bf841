"""Writes a model for serving and checks it."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from nnrec.core.devices import backend
from nnrec.core.errors import ConfigError, RunError
from nnrec.core.files import atomic
from nnrec.serving.plan import plan

if TYPE_CHECKING:
    from nnrec.serving.check import Checked

FORMATS = ("savedmodel", "onnx")


def write(
    path: str | Path, output: Path, file_format: str, n: int = 10, exclude_seen: bool | Literal["auto"] = "auto"
) -> list[Checked]:
    """Writes a run's model, reads it back and compares its lists with nnrec's own.

    Args:
        path: the run folder.
        output: a folder that does not exist yet; it appears when it is complete and checked.
        file_format: "savedmodel" or "onnx".
        n: length of the lists.
        exclude_seen: whether the default signature leaves out the items of the history; "auto" = true if histories are
            ratings.

    Returns:
        The results of the check.

    Raises:
        RunError: the folder exists, or cannot be written; lists differ.
        ConfigError: the model cannot be exported; packages are missing.
    """
    if output.exists():
        raise RunError(f"{output} is already there. Choose another output, or remove it.")
    start()
    from nnrec.runs.trained import load_run
    from nnrec.serving import about, formats
    from nnrec.serving.check import check

    if file_format == "onnx":
        formats.import_onnx()
    run = load_run(path)
    made = plan(run, file_format, n, exclude_seen)
    with atomic(output) as folder:
        folder.mkdir(parents=True)
        functions = (formats.write_onnx if file_format == "onnx" else formats.write_savedmodel)(made.graphs, folder)
        for name in made.vocabularies:
            shutil.copyfile(run.folder[name], folder / name)
        for name, content in made.more.items():
            (folder / name).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        checked = check(load_run(run.folder.path), made.graphs, functions)
        about.write(run, made, file_format, checked, folder)
        about.show(run, made, checked, folder, output)
        for found in checked:
            if found.agreement.different:
                raise RunError(f"{output} was not written: {found.described}")
    return checked


def start() -> None:
    """Starts TensorFlow quietly.

    Raises:
        ConfigError: Keras runs on another backend.
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
