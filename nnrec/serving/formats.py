"""Writes graphs as SavedModel or ONNX, and reads them back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from nnrec.core.devices.compilation import unfused
from nnrec.core.errors import ConfigError, NnrecError
from nnrec.serving.graph import Graph

Arrays = Mapping[str, np.ndarray]
Function = Callable[[Arrays], dict[str, np.ndarray]]

# An ONNX file is a protocol buffer, which holds less than 2 GiB; 64 MiB are reserved for everything but weights.
MOST_BYTES = 2**31 - 2**26
OPSET = 18


def write_savedmodel(graphs: Mapping[str, Graph], folder: Path) -> dict[str, Function]:
    """Writes a SavedModel with a signature for each graph; of the model it holds only what these use.

    Args:
        graphs: by the name of the signature.
        folder: the folder to write to.

    Returns:
        The signatures, read back, as functions of NumPy arrays.
    """
    module, signatures = tf.Module(), {}
    traced = {id(graph): _traced(graph) for graph in graphs.values()}
    signatures = {name: traced[id(graph)].get_concrete_function(**graph.specs) for name, graph in graphs.items()}
    # Only variables, tables and constants are tracked, without the bookkeeping of Keras.
    module.kept = [list(function.graph.variables) for function in signatures.values()]
    module.tables = [graph.tables for graph in graphs.values()]
    tf.saved_model.save(module, str(folder), signatures=signatures)
    loaded = tf.saved_model.load(str(folder))
    return {name: partial(_call, loaded, name) for name in graphs}


def _call(loaded: Any, name: str, arrays: Arrays) -> dict[str, np.ndarray]:
    found = loaded.signatures[name](**{key: tf.constant(array) for key, array in arrays.items()})
    return {key: tensor.numpy() for key, tensor in found.items()}


def write_onnx(graphs: Mapping[str, Graph], folder: Path) -> dict[str, Function]:
    """Writes an ONNX file for each graph.

    Args:
        graphs: by the name of the file.
        folder: the folder to write to.

    Returns:
        The files, read back, as functions of NumPy arrays.

    Raises:
        ConfigError: the packages are missing, the model is too large for a file, or it uses an operation or a precision
            that the converter or ONNX Runtime do not support.
    """
    try:
        for name, graph in graphs.items():
            _write_onnx(graph, folder / f"{name}.onnx")
        return {name: _read_onnx(folder / f"{name}.onnx") for name in graphs}
    except NnrecError:
        raise
    except Exception as error:  # both raise exceptions of many types
        reason = " ".join(str(error).split())[:300]
        raise ConfigError(f"ONNX does not hold this model: use format=savedmodel. ({reason})") from error


def _write_onnx(graph: Graph, path: Path) -> None:
    import tf2onnx

    function = _traced(graph)
    weights = function.get_concrete_function(**graph.specs).graph.variables
    size = sum(variable.dtype.size * int(np.prod(variable.shape)) for variable in weights)
    if size > MOST_BYTES:
        raise ConfigError(
            f"The weights are {size / 2**30:.1f} GiB, and an ONNX file holds less than 2: use format=savedmodel."
        )
    names, specs = list(graph.inputs), list(graph.specs.values())
    positional = tf.function(lambda *tensors: function(**dict(zip(names, tensors, strict=True))), autograph=False)
    rules: Any = {"ScatterNd": (_scatter_nd, []), "OneHot": (_one_hot, [])}
    tf2onnx.convert.from_function(positional, specs, opset=OPSET, custom_op_handlers=rules, output_path=str(path))


def _read_onnx(path: Path) -> Function:
    onnxruntime = import_onnx()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda arrays: dict(zip(names, session.run(None, dict(arrays)), strict=True))


def _traced(graph: Graph) -> Any:
    """The graph as a TensorFlow function.

    Raises:
        ConfigError: the model computes outside TensorFlow.
    """
    function = tf.function(graph.compute, autograph=False)
    try:
        with unfused():
            function.get_concrete_function(**graph.specs)
    except (NotImplementedError, tf.errors.OperatorNotAllowedInGraphError) as error:
        raise ConfigError(
            f"The model cannot be exported: what it computes with is not known while a graph is made ({error}). "
            "A model of your own can define `export_scores`; see nnrec.models.base.scorer."
        ) from error
    return function


def import_onnx() -> Any:
    """Imports ONNX Runtime.

    Raises:
        ConfigError: it or the converter is not installed.
    """
    try:
        import onnxruntime
        import tf2onnx  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f"format=onnx needs packages that are not installed ({error}): pip install 'nnrec[onnx]'"
        ) from error
    return onnxruntime


def _scatter_nd(context: Any, node: Any, *_: Any) -> None:
    """Converts ScatterNd: TensorFlow adds up values with equal indices, the converter's rule keeps the last one."""
    from tf2onnx.onnx_opset.tensor import ScatterND

    node.type = "ScatterND"
    ScatterND.version_11(context, node)
    node.set_attr("reduction", "add")


def _one_hot(context: Any, node: Any, *_: Any) -> None:
    """Converts OneHot: TensorFlow returns zeros for an index below 0, ONNX counts it from the end."""
    from onnx import TensorProto
    from tf2onnx.onnx_opset.tensor import OneHot

    def whole(tensor: str) -> str:
        return context.make_node("Cast", [tensor], attr={"to": TensorProto.INT64}).output[0]

    index, depth = whole(node.input[0]), whole(node.input[1])
    zero = context.make_const(f"{node.name}_zero", np.array(0, np.int64)).output[0]
    below = context.make_node("Less", [index, zero]).output[0]
    beyond = context.make_node("Where", [below, depth, index], dtypes=[TensorProto.INT64]).output[0]
    context.replace_input(node, node.input[0], beyond, 0)
    OneHot.version_11(context, node)
