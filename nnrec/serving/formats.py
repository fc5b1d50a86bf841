"""Writing graphs, and reading them back: SavedModel and ONNX."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from nnrec.errors import ConfigError
from nnrec.fused import unfused
from nnrec.serving.graph import Graph

Arrays = Mapping[str, np.ndarray]
Function = Callable[[Arrays], dict[str, np.ndarray]]

# A protocol buffer, which an ONNX file is, holds less than 2 GiB; something is left for what is no weight.
MOST_BYTES = 2**31 - 2**26
OPSET = 18


def write_savedmodel(graphs: Mapping[str, Graph], folder: Path) -> None:
    """Writes a SavedModel with a signature for each graph, and nothing of the model but what these use.

    Args:
        graphs: by the name of the signature.
        folder: to be made.
    """
    module, signatures = tf.Module(), {}
    for name, graph in graphs.items():
        with unfused():
            signatures[name] = tf.function(graph.compute, autograph=False).get_concrete_function(**graph.specs)
    # Keras's own bookkeeping stays out: variables, tables and constants are all that is needed.
    module.kept = [list(function.graph.variables) for function in signatures.values()]
    module.tables = [graph.tables for graph in graphs.values()]
    tf.saved_model.save(module, str(folder), signatures=signatures)


def read_savedmodel(folder: Path) -> dict[str, Function]:
    """What `write_savedmodel` wrote, as functions of NumPy arrays."""
    loaded = tf.saved_model.load(str(folder))

    def function(signature: Any) -> Function:
        def call(arrays: Arrays) -> dict[str, np.ndarray]:
            found = signature(**{name: tf.constant(array) for name, array in arrays.items()})
            return {name: tensor.numpy() for name, tensor in found.items()}

        call.loaded = loaded  # type: ignore[attr-defined]  # variables live as long as what holds them
        return call

    return {name: function(signature) for name, signature in loaded.signatures.items()}


def write_onnx(graph: Graph, path: Path) -> None:
    """Writes an ONNX file.

    Raises:
        ConfigError: the packages are missing, or the model is larger than a file can be.
    """
    import_onnx()
    import tf2onnx

    names = list(graph.inputs)

    def positional(*tensors: Any) -> dict[str, Any]:
        return graph.compute(**dict(zip(names, tensors, strict=True)))

    with unfused():
        function = tf.function(positional, autograph=False, input_signature=list(graph.specs.values()))
        weights = function.get_concrete_function().graph.variables
        size = sum(variable.dtype.size * int(np.prod(variable.shape)) for variable in weights)
        if size > MOST_BYTES:
            raise ConfigError(
                f"The weights are {size / 2**30:.1f} GiB, and an ONNX file holds less than 2: use format=savedmodel."
            )
        tf2onnx.convert.from_function(
            function,
            input_signature=list(graph.specs.values()),
            opset=OPSET,
            custom_op_handlers={"ScatterNd": (_scatter_nd, [])},
            output_path=str(path),
        )


def _scatter_nd(context: Any, node: Any, *_: Any) -> None:
    """TensorFlow adds up what is scattered to one place; the converter's own rule keeps the last of it."""
    from tf2onnx.onnx_opset.tensor import ScatterND

    node.type = "ScatterND"
    ScatterND.version_11(context, node)
    node.set_attr("reduction", "add")


def read_onnx(path: Path) -> Function:
    """What `write_onnx` wrote, as a function of NumPy arrays."""
    onnxruntime = import_onnx()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda arrays: dict(zip(names, session.run(None, dict(arrays)), strict=True))


def import_onnx() -> Any:
    """ONNX Runtime.

    Raises:
        ConfigError: it is not installed, or the converter is not.
    """
    try:
        import onnxruntime
        import tf2onnx  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f"format=onnx needs packages that are not installed ({error}): pip install 'nnrec[onnx]'"
        ) from error
    return onnxruntime
