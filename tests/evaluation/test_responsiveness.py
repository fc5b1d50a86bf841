from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nnrec.evaluation import responsiveness as module
from nnrec.evaluation.responsiveness import responsiveness
from nnrec.models.base.scorer import Scorer
from nnrec.splits.split import HeldOut
from tests.evaluation.fixed import HELD_OUT, Fixed, ratings


class NextInLine(Scorer):
    """Recommends the items after the last one of the history, in cyclic order."""

    def __init__(self, num_items=6):
        self.num_items, self.weights = num_items, []

    def encode(self, batch):
        last = np.zeros(len(batch["index"]), int)
        for row, column, weight in zip(batch["row"], batch["column"], batch["weight"], strict=True):
            if weight > 0:
                last[row] = column
                self.weights.append(float(weight))
        return last

    def score(self, queries, items=None):
        return -((np.arange(self.num_items) - queries[:, None] - 1) % self.num_items).astype(np.float32)


HISTORY = ratings([(0, 0, 3), (1, 2, 3), (2, 1, 3)], num_items=6)
TARGET = ratings([(0, 1, 2), (0, 3, 5), (1, 3, 4), (2, 3, 4)], num_items=6)


def test_a_model_that_looks_at_the_last_event():
    # Item 3 is appended to each history (user 0 liked it more than 1). Seen items are excluded from both lists:
    # user 0: 1, 2 -> 4, 5: all new; user 1: 4, 5 -> 4, 5: no change; user 2: 2, 4 -> 4, 5: half is new.
    found = responsiveness(NextInLine(), HeldOut(HISTORY, TARGET), k=2)
    assert found == pytest.approx({"responsiveness@2": (1 + 0 + 1 / 2) / 3, "lists_changed@2": 2 / 3})


def test_the_order_counts_as_a_change_of_lists():
    # Four items are left: 1, 2, 4, 5 -> 4, 5, 1, 2. No item is new, but every place changes.
    found = responsiveness(NextInLine(), HeldOut(HISTORY, TARGET.take(TARGET.value == 5)), k=4)
    assert found == {"responsiveness@4": 0, "lists_changed@4": 1}


def test_a_model_that_does_not_look_at_the_history():
    model = Fixed()
    found = responsiveness(model, HELD_OUT, k=2)
    assert found == {"responsiveness@2": 0, "lists_changed@2": 0}
    assert model.asked == [0, 1, 2] * 2  # by their own indices, before and after


def test_the_event_weighs_1():
    model, history = NextInLine(), replace(HISTORY, weight=np.full(3, 0.5, np.float32))
    found = responsiveness(model, HeldOut(history, TARGET), k=2)
    assert found == responsiveness(NextInLine(), HeldOut(HISTORY, TARGET), k=2)
    assert sorted(model.weights) == [0.5] * 6 + [1.0] * 3


def test_a_sample_of_the_users(monkeypatch):
    monkeypatch.setattr(module, "SAMPLE", 1)
    model = Fixed()
    assert responsiveness(model, HELD_OUT, k=2) == {"responsiveness@2": 0, "lists_changed@2": 0}
    assert len(set(model.asked)) == 1


def test_nothing_is_left_to_recommend():
    # One item beside the history: once it is seen, both lists are empty.
    history, target = ratings([(0, 0, 3)], num_items=2), ratings([(0, 1, 3)], num_items=2)
    assert responsiveness(NextInLine(2), HeldOut(history, target), k=2) == {}
