"""Figures by hand for a model whose scores are fixed; `fixed.py` has the data."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from nnrec.core.errors import ConfigError, DataError
from nnrec.evaluation.ratings import Evaluation, check_disjoint
from nnrec.models.basic.popularity import Popularity
from nnrec.ranking import blocks
from nnrec.splits.ratings import RandomSplit
from nnrec.splits.split import HeldOut
from tests.evaluation.fixed import HELD_OUT, HISTORY, ONE_EACH, SCORES, TARGET, Fixed, Unscaled, ratings


def figures(held_out=HELD_OUT, model=None, depth="all", **settings):
    return measured(held_out, model, depth, **settings).figures


def measured(held_out=HELD_OUT, model=None, depth="all", **settings):
    return Evaluation(**{"cutoffs": (1, 2)} | settings)(model or Fixed(), held_out.history, held_out, depth)


# Accuracy


def test_rating_accuracy():
    # predictions: 4, 1, 7 (clipped to 5), 3: errors 0, 1, 0, 2
    model = Fixed()
    assert figures(model=model, depth="accuracy") == pytest.approx({"rmse": math.sqrt(5 / 4), "mae": 3 / 4})
    assert model.asked == [0, 1, 2]


def test_weights_count():
    # squared errors 0, 1, 0, 4 weigh 1, 2, 1, 1: 6 / 5; absolute ones 4 / 5
    weighted = replace(TARGET, weight=np.array([1, 2, 1, 1], np.float32))
    found = figures(HeldOut(HISTORY, weighted), depth="accuracy")
    assert found == pytest.approx({"rmse": math.sqrt(6 / 5), "mae": 4 / 5})


def test_a_model_that_predicts_no_ratings_has_no_accuracy():
    assert figures(model=Unscaled(), depth="accuracy") == {}
    assert not {"rmse", "mae"} & set(figures(model=Unscaled()))


def test_the_best_reachable_rmse():
    # errors 1, 0.5: (1 + .25) / 2
    known = ratings([(0, 1, 4), (1, 4, 2)], expected=[3, 2.5])
    best = [Evaluation().best_reachable(HISTORY, HeldOut(HISTORY, target)) for target in (known, TARGET)]
    assert best == [{"rmse": pytest.approx(math.sqrt(0.625))}, {}]
    assert Evaluation().best_reachable(HISTORY, HeldOut(HISTORY, ratings([], expected=[]))) == {}


# Ranking


def test_ranking():
    # Without what they have seen: user 0 gets 1, 2 (wants 1, 4); user 1 gets 4, 2 (wants 4); user 2 gets 0, 1 by
    # index, all alike (wants 1). User 3 wants nothing.
    second = 1 / math.log2(3)
    expected = {
        "recall@1": (1 / 2 + 1 + 0) / 3,
        "recall@2": (1 / 2 + 1 + 1) / 3,
        "precision@1": (1 + 1 + 0) / 3,
        "precision@2": (1 / 2 + 1 / 2 + 1 / 2) / 3,
        "ndcg@1": (1 + 1 + 0) / 3,
        "ndcg@2": (1 / (1 + second) + 1 + second) / 3,
        # precision down to the hits 1 / 1, 1 / 1, 1 / 2, over as many relevant items as fit: 2, 1, 1
        "map@1": (1 + 1 + 0) / 3,
        "map@2": (1 / 2 + 1 + 1 / 2) / 3,
        "mrr@1": 2 / 3,
        "mrr@2": (1 + 1 + 1 / 2) / 3,
        "hit_rate@1": 2 / 3,
        "hit_rate@2": 1,
        "arhr@1": 2 / 3,
        "arhr@2": (1 + 1 + 1 / 2) / 3,
        # By popularity user 0 would get 1, 2, 3, 4, user 1 0, 1, 2, 4, user 2 0, 1, 2, 3, 4: only 4 is no surprise.
        "serendipity@1": (0 + 1 + 0) / 3,
        "serendipity@2": (0 + 1 / 2 + 0) / 3,
    }
    found = figures(depth="ranking")
    assert {name: found.pop(name) for name in expected} == pytest.approx(expected)
    assert set(found) == {"rmse", "mae"}


def test_arhr_adds_up_all_hits():
    # user 0 gets 1, 2, 3, 4 and wants 1 and 4: 1 / 1 + 1 / 4; user 1 1 / 1; user 2 gets 0, 1: 1 / 2
    found = figures(cutoffs=(4,), depth="ranking")
    assert found["arhr@4"] == pytest.approx((5 / 4 + 1 + 1 / 2) / 3)
    assert found["mrr@4"] == pytest.approx((1 + 1 + 1 / 2) / 3)


def test_only_high_ratings_are_relevant():
    # 4 and more: user 0 wants 1, user 1 wants 4; user 2 wants nothing and is not averaged in. Accuracy is over all.
    found = figures(cutoffs=(1,), relevant=4, depth="ranking")
    assert (found["recall@1"], found["mrr@1"], found["precision@1"]) == (1, 1, 1)
    assert found["rmse"] == pytest.approx(math.sqrt(5 / 4))


def test_truncated_recall():
    # user 0 wants two items, of which one place can hold one: 1 / min(1, 2)
    found = figures(cutoffs=(1,), truncated_recall=True, depth="ranking")
    assert found["recall_min@1"] == pytest.approx((1 + 1 + 0) / 3)
    assert "recall@1" not in found


@pytest.mark.parametrize("seed", range(5))
def test_identities_with_one_relevant_item(seed):
    rng = np.random.default_rng(seed)
    target = ratings([(user, rng.integers(15), 3) for user in range(30)], 30, 15)
    history = ratings([(user, (target.item[user] + 1) % 15, 3) for user in range(30)], 30, 15)
    found = figures(HeldOut(history, target), Fixed(rng.random((30, 15))), cutoffs=(1, 5, 10))
    assert 0 < found["hit_rate@5"] < 1
    for k in (1, 5, 10):
        assert found[f"recall@{k}"] == found[f"hit_rate@{k}"] == pytest.approx(k * found[f"precision@{k}"])
        assert found[f"mrr@{k}"] == found[f"arhr@{k}"] == pytest.approx(found[f"map@{k}"])


# Lists as a whole


def test_whole_lists():
    # The lists are 1, 2; 4, 2; 0, 1. Three users have training ratings. By popularity the items have the ranks 1 to 5.
    found, rare, common = figures(), math.log2(3 / 1), math.log2(3 / 2)
    expected = {
        "catalogue_coverage@1": 3 / 5,
        "catalogue_coverage@2": 4 / 5,
        # times listed, ascending, times -4, -2, 0, 2, 4: (1 * 0 + 1 * 2 + 1 * 4) / (3 * 4)
        "gini@1": 6 / 12,
        # 0, 1, 1, 2, 2: (-2 + 0 + 4 + 8) / (6 * 4)
        "gini@2": 10 / 24,
        "novelty@1": (rare + rare + common) / 3,
        "novelty@2": (rare + rare + (common + rare) / 2) / 3,
        "popularity_rank@1": (2 + 5 + 1) / 3,
        "popularity_rank@2": (5 / 2 + 8 / 2 + 3 / 2) / 3,
        # the most popular fifth of the catalogue is item 0
        "popularity_share@1": 1 / 3,
        "popularity_share@2": (1 / 2) / 3,
        # 1 and 2 were rated alike by one user; no user rated 4; cosine of (5, 1) and (0, 2) is 1 / sqrt(26)
        "diversity@2": (0 + 1 + 1 - 1 / math.sqrt(26)) / 3,
        # the model does not use the history
        "responsiveness@1": 0,
        "lists_changed@1": 0,
    }
    assert {name: found.get(name) for name in expected} == pytest.approx(expected)
    others = {name for name in found if name.partition("@")[0] in {each.partition("@")[0] for each in expected}}
    assert others == set(expected)  # no diversity of lists of one


GENRES = ["Crime|Drama", "Crime", "Drama", "Crime", "Crime|Drama"]
TITLES = ["Alpha (1990)", "Beta (1991)", "Gamma (1992)", "Delta (1990)", "Omega"]


@pytest.mark.parametrize(
    ("table", "share"),
    [({"genres": GENRES}, 1), ({"genres": GENRES, "title": TITLES}, 1 / 2), ({"title": TITLES}, 0)],
)
def test_diversity_of_content(table, share):
    # Genres: 1 and 2 have none in common; (1, 1) and (0, 1) have the cosine 1 / sqrt(2), as have (1, 1) and (1, 0).
    # Titles have no word in common, and count as much as the genres.
    history = replace(HISTORY, item_table=pd.DataFrame(table))
    target = replace(TARGET, item_table=history.item_table)
    found = figures(HeldOut(history, target), diversity="content")
    assert found["diversity@2"] == pytest.approx((1 + 2 * (1 - share / math.sqrt(2))) / 3)


def test_content_that_is_not_there():
    message = r"evaluation\.diversity=content compares items by genres and title, and these data have neither\. Use"
    with pytest.raises(DataError, match=message):
        Evaluation(diversity="content").check(HELD_OUT)
    with pytest.raises(DataError, match=message):
        Evaluation(diversity="content").check(
            HeldOut(HISTORY, replace(TARGET, item_table=pd.DataFrame({"year": range(5)})))
        )


def test_describe():
    # User 3 has seen 0, 1, 2 and gets 4, 3; user 0 gets 1, 2; user 1 gets 4, 2. User 2 has no training rating.
    measured = Evaluation(cutoffs=(2,), threshold=5).describe(Fixed(), HISTORY)
    assert measured.users.tolist() == [0, 1, 3]
    assert measured.lists.tolist() == [[1, 2], [4, 2], [4, 3]]
    assert measured.predictions is None
    rare = math.log2(3)
    expected = {
        "catalogue_coverage@2": 4 / 5,
        "gini@2": 10 / 24,  # 0, 1, 1, 2, 2
        "diversity@2": (0 + 1 + 1) / 3,
        "novelty@2": rare,
        "popularity_rank@2": (5 / 2 + 8 / 2 + 9 / 2) / 3,
        "popularity_share@2": 0,
        "user_coverage@2": 2 / 3,  # the best predictions are 4, 7 and 9
    }
    assert measured.figures == pytest.approx(expected)


def test_describe_somebody_who_has_seen_all():
    measured = Evaluation(cutoffs=(2,)).describe(Fixed(), ratings([(0, item, 3) for item in range(5)]))
    assert measured.lists.tolist() == [[-1, -1]]
    assert measured.figures == {"catalogue_coverage@2": 0}


# Thresholds on predicted ratings


def test_user_coverage():
    # the best predictions are 4, 7 and 3
    assert figures(threshold=4)["user_coverage@1"] == pytest.approx(2 / 3)
    assert figures(threshold=3)["user_coverage@1"] == 1
    assert "user_coverage@1" not in figures()


def test_cumulative_hit_rate():
    # The held-out items are predicted 4, 5 and 3. The lists are 1, 2 (hit at 1), 4, 2 (hit at 1), 0, 1 (hit at 2).
    low, high = figures(ONE_EACH, threshold=3), figures(ONE_EACH, threshold=4)
    assert (low["cumulative_hit_rate@1"], high["cumulative_hit_rate@1"]) == (pytest.approx(2 / 3), 1)
    assert (low["cumulative_hit_rate@2"], high["cumulative_hit_rate@2"]) == (1, 1)
    assert "cumulative_hit_rate@1" not in figures(ONE_EACH)
    assert "cumulative_hit_rate@1" not in figures(HELD_OUT, threshold=3)  # user 0 has two held-out items


def test_thresholds_are_refused_where_scores_are_no_ratings():
    found = measured(ONE_EACH, Unscaled(), threshold=4.0)
    assert not {name.partition("@")[0] for name in found.figures} & {"user_coverage", "cumulative_hit_rate"}
    assert found.notes == [
        "No user coverage and no cumulative hit rate: evaluation.threshold=4 is a rating, and the scores of fixed are "
        "not."
    ]
    assert measured(ONE_EACH, threshold=4.0).notes == []


# One held-out item per user


def test_ties():
    # Ranks: 1, 1, and for user 2, all of whose scores are equal, 1, 3 or 5 of 5. In the list ties go to the lower
    # index: item 1 is the second.
    found = figures(ONE_EACH, cutoffs=(2, 4, 5))
    expected = {
        "hit_rate_standard@2": 1,
        "hit_rate_median@2": 2 / 3,
        "hit_rate_conservative@2": 2 / 3,
        "hit_rate_standard@4": 1,
        "hit_rate_median@4": 1,
        "hit_rate_conservative@4": 2 / 3,
        "hit_rate_conservative@5": 1,
        "mrr_standard@5": 1,
        "mrr_median@5": (1 + 1 + 1 / 3) / 3,
        "mrr_conservative@5": (1 + 1 + 1 / 5) / 3,
        "mrr@5": (1 + 1 + 1 / 2) / 3,
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected)


def tied(found):
    return {name for name in found if "standard" in name or "median" in name or "conservative" in name}


def test_ties_are_told_only_where_they_differ_and_count():
    assert len(tied(figures(ONE_EACH))) == 2 * 3 * 2
    without = HeldOut(HISTORY, ONE_EACH.target.take(ONE_EACH.target.user < 2))
    assert tied(figures(without)) == set()
    assert tied(figures(HELD_OUT)) == set()  # user 0 has two
    assert tied(figures(ONE_EACH, relevant=4)) == set()  # the tied item has a 1


def test_a_model_whose_scores_are_all_equal():
    # All scores are equal: the ranks are 1, the middle, and the number of unseen items (4, 4, 5).
    found = figures(ONE_EACH, Fixed(np.zeros((4, 5))), cutoffs=(4,))
    assert (found["hit_rate_standard@4"], found["hit_rate_median@4"]) == (1, 1)
    assert found["hit_rate_conservative@4"] == pytest.approx(2 / 3)
    assert found["mrr_median@4"] == pytest.approx((1 / 2.5 + 1 / 2.5 + 1 / 3) / 3)
    # In lists, by index: user 0 wants the first of 1, 2, 3, 4, user 1 the last of 0, 1, 2, 4, user 2 the second.
    assert found["mrr@4"] == pytest.approx((1 + 1 / 4 + 1 / 2) / 3)


def test_hit_rate_by_rating():
    # Hits at 1: user 0 (4 stars, predicted 4), user 1 (5, 7), but not user 2 (1, predicted 3: nearer to 4 than to 1).
    found = measured(ONE_EACH).by_rating
    assert found == {"true": {1: (0, 1), 4: (1, 1), 5: (1, 1)}, "predicted": {4: (1 / 2, 2), 5: (1, 1)}}
    assert list(measured(ONE_EACH, Unscaled()).by_rating) == ["true"]
    assert measured(HELD_OUT).by_rating == {}


# Refused inputs, and notes


def test_nothing_is_relevant():
    with pytest.raises(DataError, match=r"No held-out rating reaches evaluation\.relevant=4\.5: the highest is 4\."):
        figures(HeldOut(HISTORY, ratings([(0, 1, 4), (1, 4, 2)])), relevant=4.5)


@pytest.mark.parametrize("cutoffs", [(), (0,), (10, 2.5)])
def test_bad_cutoffs(cutoffs):
    with pytest.raises(ConfigError, match=r"evaluation\.cutoffs must list whole numbers from 1 on\. Received: \["):
        Evaluation(cutoffs)


def test_bad_diversity():
    with pytest.raises(ConfigError, match=r"evaluation\.diversity must be training or content\. Received: 'genres'"):
        Evaluation(diversity="genres")


def test_what_is_predicted_may_not_be_in_the_histories():
    shown = ratings([(0, 0, 5), (1, 3, 2), (1, 4, 2)])
    message = (
        r"1 of 4 held-out ratings are in the histories that the model is shown, for example user u1 and item i4: "
        r"figures would mean nothing\. Mend the split\."
    )
    with pytest.raises(DataError, match=message):
        figures(HeldOut(shown, TARGET), depth="accuracy")


@pytest.mark.parametrize("entry", range(4))
def test_any_overlap_is_found(entry):
    shown = zip(HISTORY.user, HISTORY.item, HISTORY.value, strict=True)
    leaked = TARGET.user[entry], TARGET.item[entry], 1
    with pytest.raises(DataError, match=rf"1 of 4 held-out .* user u{leaked[0]} and item i{leaked[1]}:"):
        check_disjoint(HeldOut(ratings([*shown, leaked]), TARGET))


def test_too_good_to_be_true():
    rng = np.random.default_rng(0)
    seen = rng.random((30, 60)) < 0.3
    whole = ratings([(user, item, rng.integers(1, 6)) for user, item in np.argwhere(seen)], 30, 60)
    test = RandomSplit(test=0.15)(whole, 0).test
    told = np.zeros((30, 60))
    told[test.target.user, test.target.item] = 1
    popularity = Popularity(30, 60)
    popularity.fit(test.history)
    found = measured(test, Unscaled(told), cutoffs=(10,))
    assert found.figures["ndcg@10"] == pytest.approx(1)
    assert found.notes == [
        "Nearly every list begins with exactly the items that were held out. No honest model does that: has it seen "
        "them?"
    ]
    assert measured(test, popularity, cutoffs=(10,)).notes == []


# Sizes


def test_blocks_of_any_size_give_the_same(monkeypatch):
    whole = {name: figures(part, threshold=4) for name, part in (("several", HELD_OUT), ("one", ONE_EACH))}
    for entries in (5, 10):
        monkeypatch.setattr(blocks, "BLOCK_ENTRIES", entries)  # one user at a time, then two
        assert figures(HELD_OUT, threshold=4) == pytest.approx(whole["several"])
        assert figures(ONE_EACH, threshold=4) == pytest.approx(whole["one"])


def test_lists_longer_than_the_catalogue():
    found = figures(cutoffs=(50,))
    assert found["recall@50"] == 1
    assert found["precision@50"] == pytest.approx((2 + 1 + 1) / 50 / 3)
    assert found["catalogue_coverage@50"] == 1
    # all but what each has seen: ranks 2 ... 5; 1, 2, 3, 5; 1 ... 5
    assert found["popularity_rank@50"] == pytest.approx((14 / 4 + 11 / 4 + 15 / 5) / 3)


def test_users_without_history():
    # user 2, who has seen nothing, is given 0 and 1, and wants 1
    alone = HeldOut(HISTORY, TARGET.take(TARGET.user == 2))
    found = figures(alone)
    assert (found["recall@1"], found["recall@2"], found["mrr@2"]) == (0, 1, 1 / 2)
    nobody = HeldOut(HISTORY.take(np.zeros(0, int)), alone.target)
    assert Evaluation((2,))(Fixed(), HISTORY, nobody).figures["recall@2"] == 1


def test_one_user_only():
    model, alone = Fixed(), HeldOut(HISTORY, TARGET.take(TARGET.user == 1))
    found = measured(alone, model)
    assert model.asked[:1] == [1] and set(model.asked) == {1}
    assert found.lists.tolist() == [[4, 2]]
    expected = {"rmse": 0, "recall@1": 1, "precision@2": 1 / 2, "catalogue_coverage@2": 2 / 5, "diversity@2": 1}
    assert {name: found.figures[name] for name in expected} == pytest.approx(expected)


CASES = {
    "several": HELD_OUT,
    "one each": ONE_EACH,
    "one user": HeldOut(HISTORY, ONE_EACH.target.take(np.array([1]))),
    "without history": HeldOut(HISTORY, ONE_EACH.target.take(np.array([2]))),
}


@pytest.mark.parametrize("cutoffs", [(1,), (2, 50)])
@pytest.mark.parametrize("model", [Fixed(), Unscaled(), Fixed(np.zeros((4, 5))), Fixed(np.full_like(SCORES, -np.inf))])
@pytest.mark.parametrize("case", CASES)
def test_whatever_is_measured_goes_into_a_file(case, model, cutoffs):
    found = measured(CASES[case], model, cutoffs=cutoffs, threshold=4)
    described = Evaluation(cutoffs, threshold=4).describe(model, HISTORY)
    for each in (found, described):
        text = json.dumps([each.figures, each.intervals(0), each.by_rating, each.notes], allow_nan=False)
        assert json.loads(text)[0] == each.figures
