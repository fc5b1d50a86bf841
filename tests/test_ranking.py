from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnrec import ranking
from nnrec.data.ratings import Rows
from nnrec.ranking import top_items, user_blocks

# Two people, the second of whom has rated items 0 and 3; the last two entries are padding.
SEEN = {
    "row": np.array([1, 1, 1, 1], np.int32),
    "column": np.array([0, 3, 0, 0], np.int32),
    "weight": np.array([1, 1, 0, 0], np.float32),
}


def tensor(scores):
    return np.array(scores, np.float32)


def test_best_first_and_ties_to_the_lower_index():
    items, values = top_items(tensor([[1, 3, 2, 3], [5, 5, 5, 5]]), 3)
    assert items.tolist() == [[1, 3, 2], [0, 1, 2]]
    assert values.tolist() == [[3, 3, 2], [5, 5, 5]]


def test_seen_items_are_left_out_of_their_row_only():
    items, _ = top_items(tensor([[4, 3, 2, 1], [4, 3, 2, 1]]), 2, seen=SEEN)
    assert items.tolist() == [[0, 1], [1, 2]]


def test_padding_marks_nothing_as_seen():
    padding = {name: array[2:] for name, array in SEEN.items()}
    items, _ = top_items(tensor([[4, 3], [4, 3]]), 1, seen=padding)
    assert items.tolist() == [[0], [0]]


def test_barred_items_are_left_out_everywhere():
    items, _ = top_items(tensor([[4, 3, 2, 1], [1, 2, 3, 4]]), 2, barred=np.array([True, False, False, True]))
    assert items.tolist() == [[1, 2], [2, 1]]


def test_what_is_missing_is_marked():
    # The second person has seen 0 and 3; with 1 barred, only item 2 is left.
    items, values = top_items(
        tensor([[4, 3, 2, 1]] * 2), 4, seen=SEEN, barred=np.array([False, True, False, False])
    )  # fmt: skip
    assert items.tolist() == [[0, 2, 3, -1], [2, -1, -1, -1]]
    assert values[1].tolist() == [2, -np.inf, -np.inf, -np.inf]


def test_a_list_is_no_longer_than_the_catalogue():
    items, values = top_items(tensor([[1, 2]]), 10)
    assert items.shape == values.shape == (1, 2)


@given(st.integers(0, 2**32 - 1), st.integers(1, 12))
@settings(max_examples=20, deadline=None)
def test_like_a_stable_sort(seed, n):
    scores = np.random.default_rng(seed).integers(0, 4, (3, 9)).astype(np.float32)
    items, _ = top_items(scores, n)
    assert (items == np.argsort(-scores, axis=1, kind="stable")[:, :n]).all()


def rows(lengths):
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return Rows(offsets, np.zeros(offsets[-1], np.int32), np.ones(offsets[-1], np.float32), None, 4)


def test_blocks_cover_everybody_once_and_hold_few_scores(monkeypatch):
    monkeypatch.setattr(ranking, "BLOCK_ENTRIES", 12)
    blocks = list(user_blocks(rows([1] * 7), num_items=4))
    assert [len(block["index"]) for block in blocks] == [3, 3, 3]  # 3 x 4 scores are the 12 allowed
    assert np.concatenate([block["index"] for block in blocks]).tolist() == [0, 1, 2, 3, 4, 5, 6, -1, -1]


@pytest.mark.parametrize("which", [[5], [6, 2]])
def test_few_people_make_a_small_block(which):
    (block,) = user_blocks(rows([1] * 7), num_items=4, which=np.array(which))
    assert block["index"].tolist() == which
