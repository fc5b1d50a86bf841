"""The row-sparse step: each row that occurs in a batch is updated once, and no other row changes."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from nnrec.batches.rows import RowBatches
from nnrec.data.ratings import Ratings
from nnrec.data.vocabulary import Vocabulary
from nnrec.models.autoencoders.autorec import AutoRec
from nnrec.training.feeding import feed
from nnrec.training.loop import compile_model
from nnrec.training.settings import Trainer

RATE = 0.1
# Users 0 and 1 over items 1, 3, 4, 6, 8; items 0, 2, 5, 7 never occur.
TOUCHED = [1, 3, 4, 6, 8]
RATINGS = Ratings.build(
    users=Vocabulary(range(2)),
    items=Vocabulary(range(9)),
    user=np.array([0, 0, 0, 1, 1, 1], np.int32),
    item=np.array([1, 3, 4, 4, 6, 8], np.int32),
    value=np.array([1, 2, 5, 4, 1, 3], np.float32),
)


@pytest.fixture
def steps():
    """Trains for some epochs of one step each; returns tables and their moments before and after."""

    def train(epochs: int) -> list[tuple[np.ndarray, np.ndarray]]:
        keras.utils.set_random_seed(0)
        model = AutoRec(2, 9, by="user", hidden_units=(3,), l2=1.0, arithmetic="sparse")
        model.adapt(RATINGS)
        model.decoder.assign(np.random.default_rng(0).normal(size=(9, 3)))
        compile_model(model, Trainer(learning_rate=RATE))
        stores = [*model.row_tables, *(moment for moments in model.optimizer.row_moments for moment in moments)]
        before = [keras.ops.convert_to_numpy(store).copy() for store in stores]
        batches = RowBatches(model.training_rows(RATINGS), 2, seed=0, unique_ids=True)
        batch = next(batches.epoch())
        assert len(batch["unique_ids"]) > len(TOUCHED), "the batch has to hold padding for this test to test something"
        for epoch in range(epochs):
            model.fit(feed(batches, epoch), steps_per_epoch=1, shuffle=False, verbose=0)
        return list(zip(before, (keras.ops.convert_to_numpy(store) for store in stores), strict=True))

    return train


def test_in_the_first_step_every_touched_row_moves_by_the_learning_rate(steps):
    """Adam's first step is rate * g / (|g| + epsilon): the learning rate wherever there is a gradient."""
    for before, after in steps(1)[:3]:
        np.testing.assert_allclose(np.abs(after - before)[TOUCHED], RATE, rtol=1e-3)


def test_untouched_rows_and_moments_stay_bit_for_bit(steps):
    untouched = np.setdiff1d(np.arange(9), TOUCHED)
    for before, after in steps(3):
        np.testing.assert_array_equal(after[untouched], before[untouched])
        assert (after[TOUCHED] != before[TOUCHED]).all()
