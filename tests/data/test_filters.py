from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnrec.data.filters import apply_filters
from nnrec.data.ratings import Ratings
from nnrec.data.vocabulary import Vocabulary
from nnrec.errors import ConfigError, DataError


def ratings_of(rows, num_users=None, num_items=None, **fields) -> Ratings:
    """Ratings from (user, item, value[, time]) rows; users are called u0, u1 ..., items i0, i1 ..."""
    user, item, value, *time = (np.array(column) for column in zip(*rows, strict=True))
    users = Vocabulary([f"u{index:03}" for index in range(num_users or user.max() + 1)])
    items = Vocabulary([f"i{index:03}" for index in range(num_items or item.max() + 1)])
    table = pd.DataFrame({"title": [f"Item {index}" for index in range(len(items))]})
    times = {"time": time[0], "time_kind": "timestamp"} if time else {}
    return Ratings.build(
        users=users, items=items, user=user.astype(np.int32), item=item.astype(np.int32),
        value=value.astype(np.float32), item_table=table, **times, **fields,
    )  # fmt: skip


def test_the_latest_duplicate_stays(tmp_path):
    rows = [(0, 0, 1, 50), (0, 0, 2, 90), (0, 0, 3, 70), (0, 1, 4, 10), (1, 0, 5, 5), (1, 0, 6, 5)]
    latest = apply_filters(ratings_of(rows))
    # (u0, i0): time 90; (u1, i0): equal times, the later in the file.
    assert sorted(zip(latest.user, latest.item, latest.value, strict=True)) == [(0, 0, 2), (0, 1, 4), (1, 0, 6)]
    assert latest.notes == ("Duplicates: removed 3 ratings, kept the last of each pair.",)
    first = apply_filters(ratings_of(rows), duplicates="first")
    assert sorted(zip(first.user, first.item, first.value, strict=True)) == [(0, 0, 1), (0, 1, 4), (1, 0, 5)]
    with pytest.raises(DataError, match="3 ratings repeat a pair.*user u000 and item i000"):
        apply_filters(ratings_of(rows), duplicates="error")


def test_without_times_the_later_line_stays():
    assert apply_filters(ratings_of([(0, 0, 1), (0, 1, 3), (0, 0, 2)])).value.tolist() == [3, 2]


def test_minimum_counts_are_taken_until_they_hold():
    # i2 has one rating; without it u2 has one; without u2, i1 has one; without that u1 has one: a chain.
    rows = [(2, 2, 1), (2, 1, 2), (1, 1, 3), (1, 0, 4), (0, 0, 5), (0, 3, 6), (3, 0, 7), (3, 3, 8)]
    kept = apply_filters(ratings_of(rows, weight=np.arange(8.0)), 2, 2)
    assert kept.users.ids.tolist() == ["u000", "u003"]
    assert kept.items.ids.tolist() == ["i000", "i003"]
    assert list(zip(kept.user, kept.item, kept.value, strict=True)) == [(0, 0, 5), (0, 1, 6), (1, 0, 7), (1, 1, 8)]
    assert kept.weight.tolist() == [4, 5, 6, 7]
    assert kept.item_table["title"].tolist() == ["Item 0", "Item 3"]
    assert kept.item_table.index.tolist() == [0, 1]
    assert kept.notes == (
        "Minimum counts (2 per user, 2 per item): removed 4 ratings.",
        "Left without a rating: removed 2 users and 2 items.",
    )


def test_unrated_users_and_items_leave_unless_the_minimum_is_zero():
    ratings = ratings_of([(0, 1, 5)], num_users=3, num_items=4)
    kept = apply_filters(ratings)
    assert (kept.num_users, kept.num_items) == (1, 1)
    assert kept.item_table["title"].tolist() == ["Item 1"]
    assert kept.notes == ("Left without a rating: removed 2 users and 3 items.",)
    whole = apply_filters(ratings, 0, 0)
    assert (whole.num_users, whole.num_items, whole.notes) == (3, 4, ())
    assert apply_filters(ratings, 1, 0).num_items == 4


def test_nothing_left_names_the_filter():
    with pytest.raises(DataError, match="filters.min_ratings_per_user=3 and filters.min_ratings_per_item=1 leave none"):
        apply_filters(ratings_of([(0, 0, 1), (0, 1, 1)]), min_ratings_per_user=3)


def test_settings_out_of_range():
    ratings = ratings_of([(0, 0, 1)])
    with pytest.raises(ConfigError, match="filters.duplicates must be one of last, first, error. Received: mean"):
        apply_filters(ratings, duplicates="mean")
    with pytest.raises(ConfigError, match="filters.min_ratings_per_item must be a whole number.*-1"):
        apply_filters(ratings, min_ratings_per_item=-1)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(1, 5), st.integers(0, 9)), min_size=1, max_size=60
    ),
    st.integers(0, 3),
    st.integers(0, 3),
)
def test_what_is_left_fulfils_the_filters_and_was_there_before(rows, per_user, per_item):
    ratings = ratings_of(rows)
    before = set(zip(ratings.users.ids[ratings.user], ratings.items.ids[ratings.item], ratings.value, strict=True))
    try:
        kept = apply_filters(ratings, per_user, per_item)
    except DataError:
        return
    named = list(zip(kept.users.ids[kept.user], kept.items.ids[kept.item], kept.value, strict=True))
    assert set(named) <= before
    assert len({(user, item) for user, item, _ in named}) == len(named)
    assert np.bincount(kept.user, minlength=kept.num_users).min() >= per_user
    assert np.bincount(kept.item, minlength=kept.num_items).min() >= per_item
    assert [f"Item {int(name[1:])}" for name in kept.items.ids] == kept.item_table["title"].tolist()
    again = apply_filters(kept, per_user, per_item)
    assert again.notes == kept.notes  # nothing more to remove
