"""The model behind simulated clicks: its probabilities, its draws, and the best reachable metrics."""

from __future__ import annotations

import numpy as np
import pytest

from nnrec.data.simulators.click_model import CUTOFFS, FIGURES, ClickModel, best_figures
from nnrec.data.simulators.sessions import draw_shop


@pytest.fixture
def tiny() -> ClickModel:
    """Three items in one category, two intents; the successor of 0 is 1, of 1 is 2, of 2 is 0."""
    return ClickModel(
        start=np.array([[0.5, 0.3, 0.2], [0.1, 0.3, 0.6]]),
        browse=np.array([[[0.5, 0.3, 0.2]], [[0.1, 0.3, 0.6]]]),
        category=np.zeros(3, np.int64),
        successors=np.array([[1], [2], [0]]),
        weights=np.ones(1),
        share=0.4,
    )


@pytest.fixture(scope="module")
def shop() -> ClickModel:
    return draw_shop(60, 3, 4, 3, 0.3, 0.8, 0.7, 0.6, np.random.default_rng(0))[0]


def test_probabilities_by_hand(tiny):
    # After item 0: P(z | 0) = .5 : .1 = 5/6, 1/6. Without item 0 browsing gives (.3, .2) / .5 = (.6, .4) to items 1
    # and 2 under intent 0, and (.3, .6) / .9 = (1/3, 2/3) under intent 1.
    belief = tiny.begin(np.array([0]))
    assert belief == pytest.approx(np.array([[5 / 6, 1 / 6]]))
    # P(1) = .4 + .6 (5/6 * .6 + 1/6 * 1/3) = .4 + .6 * .555556 = .733333; P(2) = .6 (5/6 * .4 + 1/6 * 2/3) = .266667
    assert tiny.following(belief, np.array([0])) == pytest.approx(np.array([[0, 0.733333, 0.266667]]), abs=1e-6)
    # After 0, 2: 5/6 * .6 * .4 = .2 against 1/6 * .6 * 2/3 = .066667, that is 3/4 and 1/4.
    belief = tiny.update(belief, np.array([0]), np.array([2]))
    assert belief == pytest.approx(np.array([[3 / 4, 1 / 4]]))
    # P(0 | 0, 2) = .4 + .6 (3/4 * .5/.8 + 1/4 * .1/.4) = .4 + .6 * .53125 = .71875
    assert tiny.following(belief, np.array([2])) == pytest.approx(np.array([[0.71875, 0.28125, 0]]))


def test_expectation_by_hand(tiny):
    # Sessions (0, 2, 0) and (1, 2): the first as above. In the second, P(z | 1) = 1/2 each, and browsing without
    # item 1 gives item 2 .2/.7 and .6/.7, 4/7 on average: P(2) = .4 + .6 * 4/7 = .742857.
    expected = tiny.expect(np.array([0, 2, 0, 1, 2]), np.array([3, 2]))
    assert np.isnan(expected[[0, 3]]).all()
    assert expected[[1, 2, 4], 0] == pytest.approx([0.733333, 0.71875, 0.742857], abs=1e-6)
    # Three items: five places hold them all. MRR = p + (1 - p) / 2.
    assert expected[[1, 2, 4], 1:4] == pytest.approx(np.ones((3, 3)))
    assert expected[[1, 2, 4], 4] == pytest.approx([0.866667, 0.859375, 0.871429], abs=1e-6)


def test_filtering_agrees_with_the_sum_over_intents(shop):
    """P(next | prefix) = sum_z P(prefix, next | z) / sum_z P(prefix | z), written out item by item."""

    def joint(path: list[int], intent: int) -> float:
        chance = shop.start[intent, path[0]]
        for last, item in zip(path, path[1:], strict=False):
            row = shop.browse[intent, shop.category[last]]
            followed = sum(
                w for successor, w in zip(shop.successors[last], shop.weights, strict=True) if successor == item
            )
            browsed = 0.0 if item == last else row[item] / (1 - row[last])
            chance *= shop.share * followed + (1 - shop.share) * browsed
        return chance

    items, _ = shop.draw(np.array([5] * 6), np.random.default_rng(1))
    for path in items.reshape(6, 5).tolist():
        belief = shop.begin(np.array(path[:1]))
        for length in range(1, 5):
            prefix = path[:length]
            found = shop.following(belief, np.array(prefix[-1:]))[0]
            whole = sum(joint(prefix, z) for z in range(4))
            expected = [sum(joint([*prefix, n], z) for z in range(4)) / whole for n in range(60)]
            assert found == pytest.approx(np.array(expected), abs=1e-12)
            assert found.sum() == pytest.approx(1)
            belief = shop.update(belief, np.array(prefix[-1:]), np.array([path[length]]))


def test_draws_follow_the_probabilities(tiny):
    lengths = np.full(40_000, 3)
    items, intents = tiny.draw(lengths, np.random.default_rng(0))
    paths = items.reshape(-1, 3)
    assert (paths[:, 1:] != paths[:, :-1]).all()
    for z in range(2):
        first = np.bincount(paths[intents == z, 0], minlength=3) / (intents == z).sum()
        assert first == pytest.approx(tiny.start[z], abs=0.015)  # five standard errors of a share of 20,000
        # P(2 | 0, z) = .6 * .4 = .24 under intent 0 and .6 * 2/3 = .4 under intent 1; about 10,000 and 2,000 draws.
        after = paths[(intents == z) & (paths[:, 0] == 0), 1]
        assert (after == 2).mean() == pytest.approx((0.24, 0.4)[z], abs=5 * 0.5 / np.sqrt(len(after)))
    begins = (paths[:, 0] == 0) & (paths[:, 1] == 2)
    assert (paths[begins, 2] == 0).mean() == pytest.approx(0.71875, abs=5 * 0.45 / np.sqrt(begins.sum()))


def test_ranking_by_the_truth_reaches_what_is_expected(shop):
    """Ranking by the last item alone does not reach it."""
    lengths = np.full(4_000, 6)
    items, _ = shop.draw(lengths, np.random.default_rng(2))
    expected = shop.expect(items, lengths, rows=999).reshape(4_000, 6, -1)
    paths = items.reshape(4_000, 6)
    belief, reached, forgetful = shop.begin(paths[:, 0]), [], []
    for step in range(5):
        last, target = paths[:, step], paths[:, step + 1]
        for known, found in ((belief, reached), (shop.begin(last), forgetful)):
            chance = shop.following(known, last)
            rank = (chance > chance[np.arange(4_000), target][:, None]).sum(axis=1)
            found.append(
                np.column_stack([*(rank < k for k in CUTOFFS), np.where(rank < CUTOFFS[-1], 1 / (rank + 1), 0)])
            )
        belief = shop.update(belief, last, target)
    best = expected[:, 1:].reshape(-1, len(FIGURES)).mean(axis=0)
    error = 5 * np.std(np.concatenate(reached), axis=0) / np.sqrt(20_000)
    assert (np.abs(np.mean(reached, axis=(0, 1)) - best) < error).all()
    assert (np.mean(forgetful, axis=(0, 1)) < best - error)[2]  # recall@10; 20 of 60 items are too easy


def test_best_figures_of_a_short_catalogue():
    # 1/1 * .5 + 1/2 * .3 + 1/3 * .2 = .716667
    assert best_figures(np.array([[0.2, 0.5, 0.3]])) == pytest.approx(np.array([[0.5, 1, 1, 1, 0.716667]]), abs=1e-6)
