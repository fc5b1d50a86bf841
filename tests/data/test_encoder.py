from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from nnrec.core.errors import DataError
from nnrec.data.encoding.encoder import Encoder
from nnrec.data.encoding.fields import Fields
from nnrec.data.levels import hashed
from nnrec.data.preprocessing import Preprocessing
from nnrec.data.schema import Schema
from tests.impression_rows import random_rows, small

TRAIN = np.arange(5)  # the sixth row is not known


def encoder(**settings) -> Encoder:
    return Encoder.fit(small(), TRAIN, Preprocessing(**settings))


def same(one: dict, other: dict) -> None:
    assert one.keys() == other.keys()
    for name in one:
        assert one[name].dtype == other[name].dtype
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def test_rows_by_hand():
    fit = encoder()
    # Ids: user 0 unknown, u1 u2 u3; item 4 unknown, 10 20 30; device 8 unknown, phone tablet; genres 11 unknown, a b c.
    assert fit.fields == Fields(("user", "item", "device"), (4, 4, 3), ("genres",), (4,), (3,), ("age",))
    assert fit.fields.num_ids == 15 and fit.fields.offsets == (0, 4, 8, 11)
    encoded = fit.encode(small().rows(np.arange(6)))
    assert encoded["categorical"].tolist() == [[1, 5, 9], [2, 6, 8], [1, 5, 9], [3, 7, 10], [2, 6, 9], [0, 4, 8]]
    assert encoded["multi"].tolist() == [
        [12, 13, 11], [11, 11, 11], [12, 13, 14], [11, 11, 11], [14, 11, 11], [11, 11, 11]
    ]  # fmt: skip
    third = np.float32(1 / 3)
    assert encoded["multi_share"].tolist() == [
        [0.5, 0.5, 0], [0, 0, 0], [third, third, third], [0, 0, 0], [1, 0, 0], [1, 0, 0]
    ]  # fmt: skip
    # Training ages 20 40 20 40: mean 30, standard deviation 10.
    assert encoded["numeric"].ravel() == pytest.approx([-1, 1, -1, 0, 1, 6.9])


def test_rare_values_are_unknown():
    fit = encoder(min_count=2)
    assert fit.fields.sizes == (3, 3, 2) and fit.fields.multi_sizes == (4,)
    # u3, item 30 and the tablet come once; genre a, b and c twice.
    assert fit.encode(small().rows(np.array([3, 4])))["categorical"].tolist() == [[0, 3, 6], [2, 5, 7]]


def test_hashing_spreads_all_values_the_unseen_ones_too():
    fit = encoder(hash={"user": 1000, "genres": 7})
    assert fit.fields.sizes[0] == 1001 and fit.fields.multi_sizes == (8,)
    ids = fit.encode(small().rows(np.arange(6)))["categorical"][:, 0]
    expected = 1 + hashed(small().levels["user"].strings.combine_chunks()) % np.uint64(1000)
    assert ids.tolist() == expected[[0, 1, 0, 2, 1, 3]].tolist()


def test_ignored_columns_are_not_seen():
    fit = encoder(ignore=["user", "genres", "age"])
    assert fit.fields == Fields(("item", "device"), (4, 3), (), (), (), ())
    encoded = fit.encode(small().rows(np.arange(2)))
    assert encoded["categorical"].tolist() == [[1, 5], [2, 4]]
    assert [encoded[name].shape for name in ("multi", "multi_share", "numeric")] == [(2, 0)] * 3


def test_numbers_as_categories_stand_behind_the_categorical_fields():
    fit = encoder(numeric=["categories"])
    assert fit.fields.categorical == ("user", "item", "device", "age") and fit.fields.sizes == (4, 4, 3, 3)
    assert fit.fields.numeric == () and fit.fields.offsets == (0, 4, 8, 11, 14)
    assert fit.encode(small().rows(np.arange(6)))["categorical"][:, 3].tolist() == [12, 13, 12, 11, 13, 11]


def test_of_many_values_the_first_are_kept():
    fit = encoder(max_values=2)
    assert fit.fields.multi_lengths == (2,)
    encoded = fit.encode(small().rows(np.array([2])))
    assert encoded["multi"].tolist() == [[12, 13]] and encoded["multi_share"].tolist() == [[0.5, 0.5]]


def test_only_training_rows_count():
    data = random_rows(200)
    train = np.arange(0, 200, 3)
    numbers = np.array(data.numbers)
    numbers[1::3] = 1e6  # in rows outside the training part
    other = replace(data, numbers=numbers, codes=np.where(np.isin(np.arange(200), train)[:, None], data.codes, -1))
    one, two = (Encoder.fit(each, train, Preprocessing(min_count=2)) for each in (data, other))
    same(one.arrays(), two.arrays())


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"min_count": 3, "numeric": ["log", "standardise"]},
        {"hash": {"user": 11, "genres": 4}, "numeric": ["buckets"], "buckets": 7},
        {"ignore": ["item"], "transforms": {"age": ["log_square", "categories"]}},
    ],
)
def test_arrays_and_back(settings, tmp_path):
    data = random_rows(300)
    fit = Encoder.fit(data, np.arange(200), Preprocessing(**settings))
    np.savez(tmp_path / "encoder.npz", **fit.arrays())
    with np.load(tmp_path / "encoder.npz", allow_pickle=False) as arrays:
        back = Encoder.from_arrays(dict(arrays))
    assert back.fields == fit.fields and back.schema == fit.schema
    rows = np.arange(300)
    same(back.bound(data).encode(data.rows(rows)), fit.encode(data.rows(rows)))
    assert fit.bound(data) is fit


def test_raw_rows():
    frame = pd.DataFrame(
        {
            "user": ["u3", "stranger", None],
            "item": [10, 20.0, None],
            "genres": [["c", "a"], [], None],
            "age": [40, None, 20],
        }
    )
    back = Encoder.from_arrays(encoder().arrays())
    for fit in (encoder(), back):
        encoded = fit.encode_frame(frame)
        assert encoded["categorical"].tolist() == [[3, 5, 8], [0, 6, 8], [0, 4, 8]]  # the device is missing
        assert encoded["multi"].tolist() == [[14, 12, 11], [11, 11, 11], [11, 11, 11]]
        assert encoded["multi_share"].tolist() == [[0.5, 0.5, 0], [0, 0, 0], [0, 0, 0]]
        assert encoded["numeric"].ravel().tolist() == [1, 0, -1]
    with pytest.raises(DataError, match="Column 'age' must hold numbers"):
        back.encode_frame(pd.DataFrame({"age": ["old"]}))


def test_raw_rows_of_hashed_fields():
    fit = encoder(hash={"user": 1000})
    rows = fit.encode(small().rows(np.arange(6)))["categorical"][:, 0]
    assert fit.encode_frame(pd.DataFrame({"user": ["u1", "u4", None]}))["categorical"][:, 0].tolist() == [
        rows[0],
        rows[5],
        0,
    ]


def test_other_columns_are_refused():
    data = replace(small(), schema=Schema(categorical=("a", "b", "c")))
    with pytest.raises(DataError, match="These data have columns a, b, c; the model was trained on user, item"):
        encoder().bound(data)


def test_fields_to_plain_lists_and_back():
    fields = encoder().fields
    assert Fields.from_dict(fields.to_dict()) == fields
    assert [part for part in fields.multi_slices] == [slice(0, 3)]
    assert math.prod(fields.sizes) == 48
