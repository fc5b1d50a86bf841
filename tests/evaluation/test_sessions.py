from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnrec.core.errors import ConfigError, DataError, TrainingError
from nnrec.data.sessions import Sessions
from nnrec.data.vocabulary import Vocabulary
from nnrec.evaluation.sessions import NextItemEvaluation, predictable
from nnrec.models.base.session_scorer import SessionScorer
from nnrec.ranking.top_items import competing_ranks
from nnrec.runs.folder import RunFolder
from nnrec.splits.sessions import SessionSplit

LOG2_3 = math.log2(3)


def sessions(*rows: list[int], num_items: int = 5, first: int = 0, **fields) -> Sessions:
    """Sessions of these items, with raw ids from `first` on."""
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    ids = Vocabulary(np.arange(first, first + len(rows)))
    return Sessions(ids, Vocabulary(np.arange(num_items)), offsets, np.concatenate(rows).astype(np.int32), **fields)


# Items 0 to 3 occur in training; item 4 does not.
TRAIN = sessions([0, 1, 2], [3, 0, 1], [0, 2])
HELD_OUT = sessions([0, 1, 2], [3, 0], first=10)


class Table(SessionScorer):
    """Scores the next item by the table's row of the last item."""

    name, notes = "table", ()

    def __init__(self, *rows: list[float]) -> None:
        self.rows, self.prefixes = np.array(rows, np.float32), set()

    def encode(self, batch):
        return batch["item"]

    def score(self, queries, items=None):
        return self.rows[queries] if items is None else self.rows[queries][:, items]


#              0  1  2  3  4
MODEL = Table([1, 5, 4, 3, 9],
              [4, 3, 2, 1, 9],
              [0, 0, 0, 0, 9],
              [2, 2, 2, 1, 9],
              [0, 0, 0, 0, 9])  # fmt: skip


def measured(held_out=HELD_OUT, model=MODEL, train=TRAIN, depth="all", **options):
    return NextItemEvaluation(**{"cutoffs": [1, 2, 3], **options})(model, train, held_out, depth)


def test_figures_by_hand():
    # 0 -> 1: scores 1 5 4 3, place 1. 1 -> 2: 4 3 2 1, place 3. 3 -> 0: 2 2 2 1, place 1 of three that tie.
    # Item 4, which has no training event, is never ranked.
    found = measured(depth="ranking").figures
    assert [found[f"recall@{k}"] for k in (1, 2, 3)] == pytest.approx([2 / 3, 2 / 3, 1])
    assert [found[f"mrr@{k}"] for k in (1, 2, 3)] == pytest.approx([2 / 3, 2 / 3, (1 + 1 / 3 + 1) / 3])
    assert found["ndcg@3"] == pytest.approx((1 + 1 / 2 + 1) / 3)


def test_ties_are_told_apart_where_they_matter():
    # The tie 3 -> 0 has place 1, 2 or 3.
    found = measured().figures
    assert found["recall_conservative@2"] == pytest.approx(1 / 3)
    assert found["recall_median@2"] == pytest.approx(2 / 3)
    assert found["mrr_median@3"] == pytest.approx((1 + 1 / 3 + 1 / 2) / 3)
    assert found["ndcg_median@3"] == pytest.approx((1 + 1 / 2 + 1 / LOG2_3) / 3)
    by = {ties: measured(ties=ties).figures["mrr@3"] for ties in ("standard", "median", "conservative")}
    assert by["standard"] == found["mrr@3"]
    assert [by[ties] for ties in ("median", "conservative")] == [found["mrr_median@3"], found["mrr_conservative@3"]]
    apart = measured(sessions([0, 1, 2], first=10)).figures
    assert not [name for name in apart if "conservative" in name]


def test_a_model_that_scores_everything_alike_is_not_perfect():
    found = measured(model=Table(*[[0.0] * 5] * 5)).figures
    assert found["recall@1"] == 1
    assert found["recall_median@2"] == 0  # place 2.5 of 4 items
    assert found["recall_conservative@3"] == 0


def test_a_place_of_k_is_within_k():
    # 1 -> 2 is in place 3: `rank < k` would miss it.
    found = measured(sessions([1, 2], first=10))
    assert (found.figures["recall@2"], found.figures["recall@3"]) == (0, 1)


def test_items_of_the_session_compete():
    # 1 -> 0 -> 1: after 0 item 1, already in the session, is first.
    assert measured(sessions([1, 0, 1], first=10)).places[0].tolist() == [0, 1, 1]


def test_events_of_unknown_items_are_left_out_and_told():
    # 0 4 1: item 4 is dropped, and 0 -> 1 is in place 1; 4 0: only one event is left, so nothing can be predicted.
    found = measured(sessions([0, 4, 1], [4, 0], first=10))
    assert found.figures["recall@1"] == 1 and len(found.sessions) == 2
    assert found.notes[0].startswith("Left out: 3 of 5 held-out events")
    assert measured().notes == []


def test_a_model_of_new_items_competes_with_all():
    class Content(Table):
        capabilities = frozenset({"new_items"})

    # Item 4 scores 9: 0 -> 1 falls to place 2.
    found = measured(sessions([0, 4, 1], first=10), Content(*MODEL.rows))
    assert found.places[0].tolist() == [0, 2]


def test_long_and_short_sessions_and_an_order_that_changes_nothing():
    rng = np.random.default_rng(0)
    rows = [rng.integers(0, 4, size).tolist() for size in (2, 30, 3, 7, 2, 300, 5)]
    whole = measured(sessions(*rows, first=10))
    assert len(whole.places[0]) == sum(map(len, rows))
    alone = [measured(sessions(row, first=10)).places for row in rows]
    np.testing.assert_array_equal(whole.places, np.concatenate(alone, axis=1))


def test_lists_follow_the_last_but_one_event():
    found = measured()
    assert found.lists.tolist() == [[0, 1, 2], [0, 1, 2]]
    assert found.figures["catalogue_coverage@3"] == pytest.approx(3 / 5)


def test_per_session_values_average_to_the_figure():
    found = measured()
    # two events and one: sums of recall@1 are 1 and 1, mean events 1.5
    assert found.per_user["recall@1"].tolist() == pytest.approx([1 / 1.5, 1 / 1.5])
    for name in ("recall@2", "mrr@3", "ndcg@1"):
        assert found.per_user[name].mean() == pytest.approx(found.figures[name])
        low, high = found.intervals(0)[name]
        assert low <= found.figures[name] <= high


def test_saved_and_read_back(tmp_path):
    folder = RunFolder.create(tmp_path / "run")
    folder.write_tables(measured().tables(SessionSplit(TRAIN, HELD_OUT, HELD_OUT, "by hand")))
    events = pd.read_parquet(folder["test_sessions.parquet"])
    assert events["session_id"].tolist() == [10, 10, 10, 11, 11]
    assert events["place"].tolist() == [0, 1, 3, 0, 1]
    assert folder.read_arrays("test_lists.npz")["items"].shape == (2, 3)
    assert pd.read_parquet(folder["test_users.parquet"])["recall@1"].mean() == pytest.approx(2 / 3)


def test_the_best_reachable_counts_the_events_that_are_measured():
    expected = np.array([[math.nan], [0.5], [0.7], [math.nan], [0.2], [0.4]], np.float32)
    held_out = sessions([0, 1, 2], [4, 3, 0], first=10, expected=expected, expected_names=("recall@2",))
    # item 4 goes, so that 3 is the first of its session: .5, .7 and .4 are left
    best = NextItemEvaluation().best_reachable(TRAIN, held_out)
    assert best == {"recall@2": pytest.approx((0.5 + 0.7 + 0.4) / 3)}
    assert NextItemEvaluation().best_reachable(TRAIN, HELD_OUT) == {}


def test_a_session_that_was_trained_on_is_refused():
    with pytest.raises(DataError, match="1 of 2 held-out sessions are in the training part, for example session 2:"):
        measured(sessions([0, 1], [1, 2], first=2))


def test_nothing_to_predict():
    with pytest.raises(DataError, match="Nothing can be predicted"):
        measured(sessions([4, 0], [1], first=10))
    with pytest.raises(DataError, match="No held-out session has two events"):
        NextItemEvaluation().check(sessions([0], [1]))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"cutoffs": []}, r"evaluation\.cutoffs must list whole numbers"),
        ({"cutoffs": [0]}, r"evaluation\.cutoffs must list whole numbers"),
        ({"ties": "lucky"}, r"evaluation\.ties must be standard, median or conservative\. Received: 'lucky'"),
    ],
)
def test_bad_settings_are_named(wrong, message):
    with pytest.raises(ConfigError, match=message):
        NextItemEvaluation(**wrong)


def test_scores_that_are_no_numbers():
    with pytest.raises(TrainingError, match="scores are not a number"):
        measured(model=Table(*[[math.nan] * 5] * 5))


@settings(deadline=None)  # compiled at the first call
@given(st.integers(0, 2**32 - 1))
def test_places_are_those_of_a_sort(seed):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 4, (6, 9)).astype(np.float32)
    target, catalogue = rng.integers(0, 9, 6), rng.random(9) < 0.7
    ranks = competing_ranks(scores, target, catalogue)
    for row in range(6):
        others = scores[row, np.flatnonzero(catalogue & (np.arange(9) != target[row]))]
        own = scores[row, target[row]]
        assert ranks[:, row].tolist() == [1 + (others > own).sum(), 1 + (others >= own).sum()]


def test_what_can_be_predicted():
    kept = predictable(sessions([0, 4, 4, 1], [4, 2], [3, 3]), TRAIN.support > 0)
    assert kept.ids.ids.tolist() == [0, 2]
    assert kept.item.tolist() == [0, 1, 3, 3]


class Content(Table):
    capabilities = frozenset({"new_items"})


def test_new_items_are_predicted_by_who_can():
    # 0 -> 4: scores 1 5 4 3 9, place 1; 4 -> 1: 0 0 0 0 9, place 2 of five, four of which tie; 2 -> 4: place 1
    held_out = sessions([0, 4, 1], [2, 4], first=10)
    found = measured(held_out, Content(*MODEL.rows), new_items=True)
    assert found.places.tolist() == [[0, 1, 2, 0, 1], [0, 1, 5, 0, 1]]
    assert [found.figures[f"recall{part}@1"] for part in ("", "_new", "_known")] == pytest.approx([2 / 3, 1, 0])
    assert found.figures["mrr_known@3"] == pytest.approx(1 / 2)
    for name in ("recall@2", "recall_new@1", "mrr_known@3"):
        assert found.per_user[name].mean() == pytest.approx(found.figures[name])
        low, high = found.intervals(0)[name]
        assert low <= found.figures[name] <= high
    assert found.notes == []


def test_new_items_are_missed_by_who_cannot():
    # It is shown 0 1: 0 -> 4 is missed; 0 -> 1 (item 4 between them) is in place 1.
    # [4] 1: nothing is shown, so items rank by their training events: 0 3 times, 1 and 2 twice, 3 once; place 2, tied.
    held_out = sessions([0, 4, 1], [4, 1], [2, 4], first=10)
    found = measured(held_out, new_items=True)
    assert found.places.tolist() == [[0, 5, 1, 0, 2, 0, 5], [0, 5, 1, 0, 3, 0, 5]]
    assert found.figures["recall_new@3"] == 0 and found.figures["recall_known@3"] == 1
    assert found.notes[0].startswith("2 of 4 events are of items without a training event, which table cannot score")
    assert found.lists[1].tolist() == [0, 1, 2]  # the most popular


def test_without_new_items_both_ways_agree():
    rng = np.random.default_rng(0)
    held_out = sessions(*[rng.integers(0, 4, size).tolist() for size in (2, 30, 3, 7)], first=10)
    plain, asked = measured(held_out), measured(held_out, new_items=True)
    np.testing.assert_array_equal(plain.places, asked.places)
    np.testing.assert_array_equal(plain.lists, asked.lists)
    assert asked.figures["recall_known@2"] == plain.figures["recall@2"]
    assert not [name for name in asked.figures if "new" in name]


def test_one_kind_of_events_is_predicted_from_all():
    kinds = np.array([0, 0, 1, 0, 1, 0, 0], np.int16)
    held_out = sessions([0, 1, 2], [3, 0], [1, 0], first=10, event=kinds, event_names=("click", "buy"))
    found = measured(held_out, event="buy")
    # 1 -> 2 in place 3, 3 -> 0 in place 1; the third session has no such event
    assert found.places[0].tolist() == [0, 0, 3, 0, 1]
    assert found.figures["recall@1"] == 0.5 and found.sessions.num_sessions == 2
    with pytest.raises(ConfigError, match="no events of the kind 'cart'. There: click, buy"):
        measured(held_out, event="cart")
    clicks = sessions([0, 1], first=10, event=np.zeros(2, np.int16), event_names=("click", "buy"))
    with pytest.raises(DataError, match="no held-out event is of the kind 'buy'"):
        measured(clicks, event="buy")
