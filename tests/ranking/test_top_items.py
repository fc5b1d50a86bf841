from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnrec.data.rows import Rows
from nnrec.ranking import blocks
from nnrec.ranking.blocks import user_blocks
from nnrec.ranking.top_items import top_items

# Two users; the second has rated items 0 and 3; the last two entries are padding.
SEEN = {
    "row": np.array([1, 1, 1, 1], np.int32),
    "column": np.array([0, 3, 0, 0], np.int32),
    "weight": np.array([1, 1, 0, 0], np.float32),
}


def array(scores) -> np.ndarray:
    return np.array(scores, np.float32)


def tensor(scores):
    from nnrec.core.devices import backend

    backend.start()
    from keras import ops

    return ops.convert_to_tensor(array(scores))


@pytest.fixture(params=[array, tensor], ids=["array", "tensor"])
def of(request):
    """Converts scores to the type that NumPy models return, or that Keras models return."""
    return request.param


def test_best_first_and_ties_to_the_lower_index(of):
    items, values = top_items(of([[1, 3, 2, 3], [5, 5, 5, 5]]), 3)
    assert items.tolist() == [[1, 3, 2], [0, 1, 2]]
    assert values.tolist() == [[3, 3, 2], [5, 5, 5]]


def test_seen_items_are_left_out_of_their_row_only(of):
    items, _ = top_items(of([[4, 3, 2, 1], [4, 3, 2, 1]]), 2, seen=SEEN)
    assert items.tolist() == [[0, 1], [1, 2]]


def test_padding_marks_nothing_as_seen(of):
    padding = {name: array[2:] for name, array in SEEN.items()}
    items, _ = top_items(of([[4, 3], [4, 3]]), 1, seen=padding)
    assert items.tolist() == [[0], [0]]


def test_barred_items_are_left_out_everywhere(of):
    items, _ = top_items(of([[4, 3, 2, 1], [1, 2, 3, 4]]), 2, excluded=np.array([True, False, False, True]))
    assert items.tolist() == [[1, 2], [2, 1]]


def test_what_is_missing_is_marked(of):
    # The second user has seen 0 and 3; with 1 excluded, only item 2 is left.
    items, values = top_items(of([[4, 3, 2, 1]] * 2), 4, seen=SEEN, excluded=np.array([False, True, False, False]))
    assert items.tolist() == [[0, 2, 3, -1], [2, -1, -1, -1]]
    assert values[1].tolist() == [2, -np.inf, -np.inf, -np.inf]


def test_a_list_is_no_longer_than_the_catalogue(of):
    items, values = top_items(of([[1, 2]]), 10)
    assert items.shape == values.shape == (1, 2)


def test_zero_is_zero_whatever_its_sign(of):
    items, values = top_items(of([[-0.0, 0.0, -0.0, -1.0]]), 4)
    assert items.tolist() == [[0, 1, 2, 3]]
    assert values.tolist() == [[0, 0, 0, -1]]


def test_negative_scores(of):
    smallest = float(np.finfo(np.float32).smallest_normal)
    items, values = top_items(of([[-3, -1, -2, -1, smallest, -1e30]]), 6)
    assert items.tolist() == [[4, 1, 3, 2, 0, 5]]
    assert values.tolist() == [array([smallest, -1, -1, -2, -3, -1e30]).tolist()]


def test_infinities(of):
    # Minus infinity always excludes an item, also if it is the model's score.
    items, values = top_items(of([[1, np.inf, -np.inf, np.inf], [-np.inf] * 4]), 4)
    assert items.tolist() == [[1, 3, 0, -1], [-1] * 4]
    assert values.tolist() == [[np.inf, np.inf, 1, -np.inf], [-np.inf] * 4]


def test_scores_are_left_as_they_were(of):
    scores = of([[4, -0.0, 2, 1]] * 2)
    top_items(scores, 2, seen=SEEN, excluded=np.array([False, True, False, False]))
    np.testing.assert_array_equal(np.asarray(scores), array([[4, -0.0, 2, 1]] * 2))


def test_double_precision_is_ranked_in_single():
    # The two scores are equal in float32.
    items, values = top_items(np.array([[1.0, 1.0 + 1e-12]]), 2)
    assert items.tolist() == [[0, 1]]
    assert values.dtype == np.float32


EXAMPLES = st.lists(
    st.lists(st.sampled_from([-np.inf, -2.5, -1.0, -0.0, 0.0, 1e-30, 1.0, 1.5, np.inf]), min_size=9, max_size=9),
    min_size=2,
    max_size=2,
)


@given(EXAMPLES, st.integers(1, 12), st.booleans())
@settings(max_examples=60, deadline=None)
def test_like_a_stable_sort(scores, n, leave_out):
    seen = SEEN if leave_out else None
    excluded = np.arange(9) == 5 if leave_out else None
    expected = array(scores)
    if leave_out:
        expected[1, [0, 3]], expected[:, 5] = -np.inf, -np.inf
    order = np.argsort(-expected, axis=1, kind="stable")[:, :n]
    best = np.take_along_axis(expected, order, axis=1)
    for form in (array, tensor):
        items, values = top_items(form(scores), n, seen, excluded)
        np.testing.assert_array_equal(items, np.where(np.isneginf(best), -1, order))
        np.testing.assert_array_equal(values, best)
        assert (items.dtype, values.dtype) == (np.int32, np.float32)


def rows(lengths):
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return Rows(offsets, np.zeros(offsets[-1], np.int32), np.ones(offsets[-1], np.float32), None, 4)


def test_blocks_cover_everybody_once_and_hold_few_scores(monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK_ENTRIES", 12)
    found = list(user_blocks(rows([1] * 7), num_items=4))
    assert [len(block["index"]) for block in found] == [3, 3, 3]  # 3 x 4 scores are the 12 allowed
    assert np.concatenate([block["index"] for block in found]).tolist() == [0, 1, 2, 3, 4, 5, 6, -1, -1]


@pytest.mark.parametrize("which", [[5], [6, 2]])
def test_few_people_make_a_small_block(which):
    (block,) = user_blocks(rows([1] * 7), num_items=4, which=np.array(which))
    assert block["index"].tolist() == which
