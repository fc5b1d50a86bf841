"""From a split to a run folder, without Keras."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import nnrec
from nnrec.commands import inputs
from nnrec.core.errors import DataError
from nnrec.data.age_weighting import age_weighted
from nnrec.splits.ratings import RandomSplit

DAY = 86_400
FRAME = pd.DataFrame(
    [(user, item, 1 + (user * item) % 5, DAY * (user + 7 * item)) for user in range(20) for item in range(12)],
    columns=["user", "item", "rating", "time"],
)


def test_each_rating_is_weighted_once_by_its_age(tmp_path):
    # A refit learns from the training and the validation part, whose ages count from the latest of both.
    run = nnrec.train("model=popularity", "data.half_life_days=30", f"run_dir={tmp_path / 'run'}", data=FRAME)
    ratings = inputs.load_data(run.config.data, FRAME).data
    train = age_weighted(RandomSplit()(ratings, 0).merged().train, 30)
    expected = np.bincount(train.item, train.weight, ratings.num_items)
    np.testing.assert_allclose(run.folder.read_arrays("weights.npz")["count"], expected, rtol=1e-5)
    assert train.weight is not None and train.weight.min() < 0.2


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("evaluation.relevant=6", r"No held-out rating reaches evaluation\.relevant=6: the highest is 5\."),
        ("evaluation.diversity=content", r"evaluation\.diversity=content compares items by genres and title"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_there_is_a_run(setting, message, tmp_path):
    with pytest.raises(DataError, match=message):
        nnrec.train("model=popularity", setting, f"run_dir={tmp_path / 'run'}", data=FRAME)
    assert not (tmp_path / "run").exists()
