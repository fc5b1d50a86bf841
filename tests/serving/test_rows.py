"""Graphs of impression models encode rows like the encoder, and give the run's predictions and lists."""

from __future__ import annotations

import os

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

if os.environ.get("KERAS_BACKEND") == "jax":
    pytest.skip("graphs are written with TensorFlow", allow_module_level=True)
tf = pytest.importorskip("tensorflow")

import nnrec
from nnrec.core.devices import backend
from nnrec.data.encoding.encoder import Encoder
from nnrec.data.levels import hashed as hashes_of
from nnrec.data.preprocessing import (
    NumericTransform,
    Preprocessing,
)
from nnrec.data.readers.impression_columns import (
    Meaning,
    from_columns,
)
from nnrec.data.schema import Schema
from nnrec.serving import export
from nnrec.serving.encoding import (
    RowEncoder,
    described,
    hashed,
    transformed,
)
from nnrec.serving.samples import (
    columns_as_inputs,
    random_rows,
    used_columns,
)

SCHEMA = Schema(categorical=("user", "device", "size"), multi=("words",), numeric=("age", "price", "clicks"))


@pytest.fixture(scope="module", autouse=True)
def _started():
    backend.start()


@pytest.fixture(scope="module")
def encoder():
    rng = np.random.default_rng(0)
    columns = {
        "label": rng.integers(0, 2, 300).astype(float),
        "user": rng.integers(0, 40, 300),
        "device": rng.choice(["phone", "tablet", "Fernseher\u00e4"], 300),
        "size": rng.choice(["s", "m", "l"], 300),
        "words": ["|".join(rng.choice(["a", "b", "c", "rare"], rng.integers(0, 4))) for _ in range(300)],
        "age": np.where(rng.random(300) < 0.1, np.nan, rng.integers(18, 80, 300)),
        "price": rng.lognormal(2, 2, 300),
        "clicks": rng.integers(0, 6, 300).astype(float),
    }
    settings = Preprocessing(
        ignore=["size"],
        min_count=3,
        hash={"user": 16},
        numeric=["log", "standardise"],
        transforms={"price": ["log_square", "buckets"], "clicks": ["categories"]},
        buckets=8,
    )
    return Encoder.fit(from_columns(columns, Meaning(SCHEMA), "the frame"), np.arange(300), settings)


def test_rows_are_encoded_as_they_were_for_training(encoder):
    columns = used_columns(encoder)
    assert columns == ["user", "device", "words", "age", "price", "clicks"]
    frame = random_rows(encoder, columns)
    expected = encoder.encode_frame(frame)
    given = {name: tf.constant(array) for name, array in columns_as_inputs(encoder, frame).items()}
    found = RowEncoder(encoder)(given, len(frame))
    assert set(found) == set(expected)
    for name, array in expected.items():
        np.testing.assert_allclose(found[name].numpy(), array, rtol=1e-6, atol=1e-6, err_msg=name)
    # Columns that are not given are missing.
    nothing = RowEncoder(encoder)({}, 2)
    for name, array in encoder.encode_frame(pd.DataFrame(index=range(2))).items():
        np.testing.assert_array_equal(nothing[name].numpy(), array)


def test_blanks_between_values_are_none(encoder):
    words = tf.constant([["a", "", "b", "never"], ["", "", "", ""]])
    found = RowEncoder(encoder)({"words": words}, 2)
    expected = encoder.encode_frame(pd.DataFrame({"words": [["a", "b", "never"], []]}))
    np.testing.assert_array_equal(found["multi"].numpy(), expected["multi"])
    np.testing.assert_allclose(found["multi_share"].numpy(), expected["multi_share"])


def test_hashes_are_the_same():
    texts = ["", "a", "user 42", "\u00e4\u00f6\u00fc", "x" * 70]
    np.testing.assert_array_equal(hashed(tf.constant(texts)).numpy(), hashes_of(pa.array(texts)))


STEPS = [[], ["log"], ["log_square", "standardise"], ["buckets"], ["log", "buckets"], ["log", "categories"]]


@pytest.mark.parametrize("steps", STEPS)
def test_numbers_are_transformed_the_same_way(steps):
    values = np.array([0, -3, 1.5, 2, 40, 40, 7, 1e6], np.float32)
    transform = NumericTransform("x", steps, buckets=4)
    transform.observe(values)
    transform.finish()
    asked = np.append(values, [np.nan, 3, -1e9]).astype(np.float32)
    np.testing.assert_allclose(transformed(transform, tf.constant(asked)).numpy(), transform(asked), rtol=1e-6)


def test_what_is_told_of_the_encoder_encodes(encoder):
    told = described(encoder)
    user, device = told["categorical"][:2]
    assert user["hash"] == 16
    row = encoder.encode_frame(pd.DataFrame({"user": ["7"], "device": ["phone"], "words": [["b"]]}))
    assert row["categorical"][0, 0] == user["first_id"] + 1 + int(hashes_of(pa.array(["7"]))[0]) % 16
    assert row["categorical"][0, 1] == device["first_id"] + device["ids"]["phone"]
    assert row["multi"][0, 0] == told["multi"][0]["first_id"] + told["multi"][0]["ids"]["b"]
    assert [field["name"] for field in told["numeric"]] == ["age"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    tiny = (
        "model=deepfm", "model.embedding_dim=4", "model.hidden_units=[8]", "trainer.epochs=1", "trainer.refit=false",
        "data.source.num_rows=2000", "data.source.num_users=60", "data.source.num_items=25",
    )  # fmt: skip
    return nnrec.train(*tiny, f"run_dir={tmp_path_factory.mktemp('impressions') / 'run'}")


def test_a_savedmodel_of_impressions(run, tmp_path):
    checked = export.write(run.folder.path, tmp_path / "served", "savedmodel", 5)
    assert [found.graphs for found in checked] == [("serving_default",), ("all",), ("unseen",)]
    for found in checked:
        assert found.agreement.number == found.agreement.equal + found.agreement.tied == 256
    loaded = tf.saved_model.load(str(tmp_path / "served"))
    names = list(loaded.signatures["all"].structured_input_signature[1])
    assert "user_id" in names and "app" not in names and "hour" in names
    blank = {name: tf.constant([""]) for name in names} | {"interests": tf.constant([[""]])}
    numeric = run.sides.encoder.schema.numeric
    blank |= {name: tf.constant([np.nan], tf.float32) for name in names if name in numeric}
    answer = loaded.signatures["all"](**blank | {"user_id": tf.constant(["7"]), "hour": tf.constant(["18"])})
    expected = run.recommend(user=7, top_n=5, context={"hour": 18}, exclude_seen=False)
    assert [int(item) for item in answer["top_item_ids"][0].numpy()] == expected["item_id"].tolist()
    np.testing.assert_allclose(answer["scores"][0].numpy(), expected["score"], rtol=1e-5)


def test_onnx_of_impressions(run, tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("tf2onnx")
    checked = export.write(run.folder.path, tmp_path / "served", "onnx", 5)
    assert [(found.graphs, found.agreement.different) for found in checked] == [(("rows",), 0), (("top_n",), 0)]
    files = {path.name for path in (tmp_path / "served").iterdir()}
    assert files == {"rows.onnx", "top_n.onnx", "encoder.json", "items.parquet", "about.json"}
