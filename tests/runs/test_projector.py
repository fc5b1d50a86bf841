"""The embedding projector's files, read back as TensorBoard reads them."""

from __future__ import annotations

import numpy as np
import pandas as pd
from google.protobuf import text_format
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

from nnrec.data.vocabulary import Vocabulary
from nnrec.runs.projector import write_projector

VECTORS = np.array([[1, 2.5], [0, -1e-7], [3, 4], [5, 6]], np.float32)
ITEMS, COUNTS = Vocabulary(["a", "b", "c", "d"]), np.array([2, 7, 0, 7])


def read(folder):
    config = text_format.Parse((folder / "projector_config.pbtxt").read_text(), ProjectorConfig())
    (embedding,) = config.embeddings
    tensor = np.loadtxt(folder / embedding.tensor_path, delimiter="\t", dtype=np.float32, ndmin=2)
    assert list(embedding.tensor_shape) == list(tensor.shape)
    lines = (folder / embedding.metadata_path).read_text(encoding="utf-8").splitlines()
    assert len(lines) == len(tensor) + 1  # more than one column: the first line names them
    return tensor, [line.split("\t") for line in lines]


def test_vectors_and_titles_read_back(tmp_path):
    table = pd.DataFrame(
        {"genres": [["x", "y"], [], ["z"], ["x"]], "title": ["Ärger", "two\twords\nand a line", "never", None]}
    )
    write_projector(tmp_path, VECTORS, ITEMS, COUNTS, table)
    tensor, lines = read(tmp_path)
    np.testing.assert_allclose(tensor, VECTORS[[1, 3, 0]], rtol=1e-5)  # the most frequent first; c has no event
    assert lines == [
        ["title", "item_id", "events", "genres"],
        ["two words and a line", "b", "7", ""],
        ["", "d", "7", "x"],
        ["Ärger", "a", "2", "x, y"],
    ]


def test_whatever_is_missing_is_empty(tmp_path):
    columns = {"year": pd.array([1999, None, 1, 2], "Int16"), "title": pd.array(["a", "b", "c", None], "string")}
    write_projector(tmp_path, VECTORS, ITEMS, COUNTS, pd.DataFrame(columns))
    assert read(tmp_path)[1][1:] == [["b", "b", "7", ""], ["", "d", "7", "2"], ["a", "a", "2", "1999"]]


def test_only_the_most_frequent(tmp_path):
    write_projector(tmp_path / "tensorboard", VECTORS, ITEMS, COUNTS, most=1)
    tensor, lines = read(tmp_path / "tensorboard")
    np.testing.assert_allclose(tensor, VECTORS[[1]])
    assert lines == [["item_id", "events"], ["b", "7"]]


def test_tensorboard_finds_it(tmp_path):
    """TensorBoard's projector plugin finds and reads the files."""
    from tensorboard.plugins.projector import projector_plugin

    write_projector(tmp_path, VECTORS, ITEMS, COUNTS)
    np.testing.assert_allclose(
        projector_plugin._read_tensor_tsv_file(str(tmp_path / "tensor.tsv")), VECTORS[[1, 3, 0]], rtol=1e-5
    )
    plugin = projector_plugin.ProjectorPlugin.__new__(projector_plugin.ProjectorPlugin)
    configs, _ = plugin._read_latest_config_files([(".", str(tmp_path))])
    assert configs["."].embeddings[0].tensor_name == "items"
