"""Operations that ONNX and TensorFlow define differently give the same results."""

from __future__ import annotations

import os

import numpy as np
import pytest

if os.environ.get("KERAS_BACKEND") == "jax":
    pytest.skip("graphs are written with TensorFlow", allow_module_level=True)
tf = pytest.importorskip("tensorflow")
pytest.importorskip("onnxruntime")
pytest.importorskip("tf2onnx")

from nnrec.core.devices import backend
from nnrec.serving import formats
from nnrec.serving.graph import (
    Graph,
    Port,
    best,
    kept,
)


@pytest.fixture(scope="module", autouse=True)
def _started():
    backend.start()


def test_operations_that_the_converter_takes_otherwise(tmp_path):
    """Scattered values are summed, a one-hot index below 0 gives zeros, and infinite scores mean no item."""

    excluded = kept(np.array([0, 0, 0, -np.inf], np.float32))

    def compute(place, number, scores):
        return {
            "sums": tf.scatter_nd(place[:, None], number, [3]),
            "codes": tf.one_hot(place - 1, 2),
            "best": best(scores, 3, place[None], True, excluded)[1],
        }

    inputs = {
        "place": Port(tf.int32, (None,), ""), "number": Port(tf.float32, (None,), ""),
        "scores": Port(tf.float32, (None, 4), ""),
    }  # fmt: skip
    read = formats.write_onnx({"some": Graph(inputs, {}, compute, "")}, tmp_path)["some"]
    arrays = {
        "place": np.array([2, 0, 2, 0], np.int32),
        "number": np.array([1, 2, 3, 4], np.float32),
        "scores": np.array([[-1, 5, -2, 3]], np.float32),
    }
    found = read(arrays)
    assert found["sums"].tolist() == [6, 0, 4]  # 2 + 4 and 1 + 3
    assert found["codes"].tolist() == [[0, 1], [0, 0], [0, 1], [0, 0]]
    assert found["best"].tolist() == [[5, 0, 0]]  # items 0 and 2 are seen, 3 is excluded


def test_weights_that_no_onnx_file_holds(tmp_path, monkeypatch):
    monkeypatch.setattr(formats, "MOST_BYTES", 2**20)
    weights = kept(np.zeros(2**19, np.float32))
    inputs = {"place": Port(tf.int32, (None,), "")}
    graph = Graph(inputs, {}, lambda place: {"found": tf.gather(weights, place)}, "")
    with pytest.raises(formats.ConfigError, match="use format=savedmodel"):
        formats.write_onnx({"some": graph}, tmp_path)


def test_what_computes_outside_a_graph_says_so(tmp_path):
    inputs = {"place": Port(tf.int32, (None,), "")}
    graph = Graph(inputs, {}, lambda place: {"found": tf.constant(np.asarray(place) + 1)}, "")
    with pytest.raises(formats.ConfigError, match="cannot be exported: .* define `export_scores`"):
        formats.write_savedmodel({"some": graph}, tmp_path / "model")


def test_what_onnx_does_not_know_says_so(tmp_path):
    inputs = {"text": Port(tf.string, (None,), "")}
    graph = Graph(inputs, {}, lambda text: {"found": tf.strings.to_hash_bucket_fast(text, 10)}, "")
    with pytest.raises(formats.ConfigError, match="ONNX does not hold this model: use format=savedmodel"):
        formats.write_onnx({"some": graph}, tmp_path)
