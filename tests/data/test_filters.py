from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnrec.core.errors import ConfigError, DataError
from nnrec.data.filters.ratings import apply_filters
from nnrec.data.ratings import Ratings
from nnrec.data.vocabulary import Vocabulary


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
    for value in ("4", True, float("nan")):
        with pytest.raises(ConfigError, match="filters.min_value must be a number, or null. Received: "):
            apply_filters(ratings, min_value=value)
    for name in ("outlier_users", "outlier_items"):
        for value in (0, -1, "3", True, float("inf")):
            with pytest.raises(ConfigError, match=f"filters.{name} is a number of standard deviations, above 0, or nu"):
                apply_filters(ratings, **{name: value})


def test_low_ratings_go_after_duplicates():
    # A user rates i0 with 5 and later with 2: the later rating is kept, and is then removed as low.
    rows = [(0, 0, 5, 1), (0, 0, 2, 2), (0, 1, 4, 3), (1, 0, 3, 4), (1, 2, 4.5, 5)]
    kept = apply_filters(ratings_of(rows), min_value=4)
    assert list(zip(kept.user, kept.items.ids[kept.item], kept.value, strict=True)) == [
        (0, "i001", 4),
        (1, "i002", 4.5),
    ]
    assert kept.notes == (
        "Duplicates: removed 1 ratings, kept the last of each pair.",
        "Values below 4: removed 2 ratings.",
        "Left without a rating: removed 0 users and 1 items.",
    )
    with pytest.raises(DataError, match="filters.min_value=4.6 leaves no rating: the highest is 4.5. Lower it"):
        apply_filters(ratings_of(rows), min_value=4.6)


def with_counts(counts, role) -> Ratings:
    """Ratings of users (or items) with these numbers of ratings."""
    pairs = [(one, other) for one, count in enumerate(counts) for other in range(count)]
    rows = [(*(pair if role == "user" else pair[::-1]), 3) for pair in pairs]
    sizes = {f"num_{role}s": len(counts)}
    ratings = ratings_of(rows, **sizes)
    table = pd.DataFrame({"name": [f"User {index}" for index in range(ratings.num_users)]})
    return replace(ratings, user_table=table)


@pytest.mark.parametrize("role", ["user", "item"])
def test_outliers_on_either_side(role):
    # Counts 1, 5, 5, 5, 5, 9; the user without a rating is excluded: mean 30/6 = 5, variance (16 + 16)/6,
    # standard deviation 2.309; with 1.5 of them the bounds are 1.536 and 8.464.
    ratings = with_counts([5, 1, 5, 9, 5, 5, 0], role)
    kept = apply_filters(ratings, 0, 0, **{f"outlier_{role}s": 1.5})
    ids = getattr(kept, f"{role}s").ids
    assert [int(name[1:]) for name in ids] == [0, 2, 4, 5, 6]
    assert len(kept) == 20
    assert kept.notes == (
        f"Outlier {role}s: removed 2 of 6 {role}s with 10 ratings; kept those with 1.5 to 8.5 ratings (mean 5.0, "
        "1.5 standard deviations of 2.3).",
    )
    assert kept.item_table["title"].tolist() == [f"Item {int(name[1:])}" for name in kept.items.ids]
    assert kept.user_table["name"].tolist() == [f"User {int(name[1:])}" for name in kept.users.ids]
    assert len(getattr(apply_filters(ratings, 0, 0, **{f"outlier_{role}s": 1.8}), f"{role}s")) == 7
    with pytest.raises(DataError, match=f"filters.outlier_{role}s=0.1 leaves none of the 10 ratings: raise it"):
        apply_filters(with_counts([1, 9], role), **{f"outlier_{role}s": 0.1})


def test_outliers_are_taken_once_and_items_after_users():
    # 1, 1, 1, 1, 6: mean 2, deviation 2, so 6 goes at 1.9; were it taken again (1, 1, 1, 1), nothing more would go.
    # Users: u4 alone rates i1 to i5, so that without u4 only i0 is left: 4 ratings, no spread, no outlier.
    kept = apply_filters(with_counts([1, 1, 1, 1, 6], "user"), outlier_users=1.9, outlier_items=0.5)
    assert (kept.num_users, kept.items.ids.tolist()) == (4, ["i000"])
    assert "Outlier items: removed 0 of 1 items with 0 ratings; kept those with 4.0 to 4.0 ratings" in kept.notes[1]
    # 1, 1, 1, 7, 13: mean 4.6, deviation 4.8: up to 10.8, once. Taken again, 7 would go too (mean 2.5, deviation 2.6).
    assert apply_filters(with_counts([1, 1, 1, 7, 13], "user"), outlier_users=1.3).num_users == 4


def test_a_stoplist_goes_before_everything_else():
    # The words catch i0 and the unrated i3; u0 has rated only i0, and u1's repeated pair is of i0.
    ratings = ratings_of([(0, 0, 5), (1, 0, 5), (1, 0, 4), (1, 1, 2), (2, 2, 3)], num_items=5)
    kept = apply_filters(ratings, 0, 0, duplicates="error", stoplist=["0", "3"])
    assert kept.items.ids.tolist() == ["i001", "i002", "i004"]
    assert kept.item_table["title"].tolist() == ["Item 1", "Item 2", "Item 4"]
    assert list(zip(kept.user, kept.item, kept.value, strict=True)) == [(1, 0, 2), (2, 1, 3)]
    assert (kept.num_users, kept.notes) == (3, ("Stoplist (0, 3): removed 2 items with 3 ratings.",))
    assert kept.stopped.values.tolist() == [[0, "i000", "Item 0", "0"], [3, "i003", "Item 3", "3"]]
    assert apply_filters(ratings, stoplist=["0"]).num_users == 2


def test_stoplists_that_catch_nothing_or_everything():
    ratings = ratings_of([(0, 0, 5), (1, 1, 5)])
    nothing = apply_filters(ratings, stoplist=["gore"])
    assert (len(nothing), nothing.notes, len(nothing.stopped)) == (2, ("Stoplist (gore): caught no item.",), 0)
    assert apply_filters(ratings).stopped is None
    with pytest.raises(DataError, match=r"filters.stoplist \(items\) leaves none of the 2 ratings"):
        apply_filters(ratings, stoplist=["items"])
    with pytest.raises(ConfigError, match="filters.stoplist is empty"):
        apply_filters(ratings, stoplist=[])
    with pytest.raises(DataError, match="filters.stoplist matches words .* no item table"):
        apply_filters(replace(ratings, item_table=None), stoplist=["gore"])


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
