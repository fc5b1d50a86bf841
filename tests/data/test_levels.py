from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnrec.data.levels import Levels, as_text, hashed

columns = st.lists(st.one_of(st.none(), st.text(max_size=6)), max_size=60)


@settings(deadline=None)  # compiles on the first call
@given(st.lists(columns, max_size=4))
def test_codes_count_values_in_the_order_of_arrival(parts):
    levels, known = Levels(), {}
    for part in parts:
        codes = levels.add(pa.array(part, pa.string()))
        expected = [-1 if value is None else known.setdefault(value, len(known)) for value in part]
        assert codes.tolist() == expected and codes.dtype == np.int32
    assert levels.strings.to_pylist() == list(known) and len(levels) == len(known)
    wanted = [*known, "no such level", None]
    assert levels.find(pa.array(wanted, pa.string())).tolist() == [*range(len(known)), -1, -1]


@settings(deadline=None)
@given(st.lists(st.text(max_size=5), unique=True, max_size=30))
def test_arrays_and_back(names):
    back = Levels.from_arrays(Levels(pa.array(names, pa.string())).arrays())
    assert back.strings.to_pylist() == names
    assert back.find(pa.array(names[::-1], pa.string())).tolist() == list(range(len(names)))[::-1]


def test_hash_is_fnv_1a_finished_like_murmur():
    def by_hand(text: bytes) -> int:
        bits, mask = 0xCBF29CE484222325, 2**64 - 1
        for byte in text:
            bits = (bits ^ byte) * 0x100000001B3 & mask
        for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53, 1):
            bits = (bits ^ bits >> 33) * factor & mask
        return bits

    names = ["", "a", "abc", "Zürich", "x" * 100]
    assert hashed(pa.array(names)).tolist() == [by_hand(name.encode()) for name in names]


def test_a_slice_of_a_column_has_the_same_hashes():
    column = pa.array(["a", None, "bc", "", "d"])
    assert hashed(column[2:]).tolist() == hashed(pa.array(["bc", "", "d"])).tolist()
    levels = Levels()
    assert levels.add(column[1:4]).tolist() == [-1, 0, 1]
    assert levels.strings.to_pylist() == ["bc", ""]


def test_many_levels_stay_apart():
    levels, number = Levels(), 300_000
    for start in range(0, number, 100_000):
        part = pa.array([f"id{code}" for code in range(start, start + 100_000)])
        assert np.array_equal(levels.add(part), np.arange(start, start + 100_000))
    assert len(np.unique(levels.hashes)) == number
    assert levels.find(pa.array(["id299999", "id300000"])).tolist() == [number - 1, -1]


def test_take_renumbers():
    levels = Levels(pa.array(["a", "b", "c"])).take(np.array([2, 0]))
    assert levels.strings.to_pylist() == ["c", "a"] and levels.find(pa.array(["c", "b"])).tolist() == [0, -1]


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (pa.array([3, None, 12]), ["3", None, "12"]),
        (pa.array([3.0, np.nan, 12.0]), ["3", None, "12"]),
        (pa.array([0.5, None]), ["0.5", None]),
        (pa.array([True, False]), ["true", "false"]),
        (pa.array(["a", None, "a"]).dictionary_encode(), ["a", None, "a"]),
        (pa.chunked_array([["a"], ["b"]], pa.large_string()), ["a", "b"]),
    ],
)
def test_any_column_as_text(raw, text):
    assert as_text(raw).to_pylist() == text and as_text(raw).type == pa.string()


def test_vocabulary_holds_numbers_where_all_levels_are_written_like_one():
    assert Levels(pa.array(["7", "10"])).vocabulary.ids.tolist() == [7, 10]
    assert Levels(pa.array(["7", "010"])).vocabulary.ids.tolist() == ["7", "010"]
    assert len(Levels().vocabulary) == 0
