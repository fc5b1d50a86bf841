from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from nnrec.evaluation.outcomes.ratings import Outcome
from nnrec.evaluation.ratings import Evaluation
from nnrec.runs.folder import RunFolder
from nnrec.splits.split import HeldOut, Split
from tests.evaluation.fixed import HELD_OUT, HISTORY, TARGET, Fixed, Unscaled

NAN = math.nan

SPLIT = Split(HISTORY, HELD_OUT, HELD_OUT, "by hand")


def measured(model=None, held_out=HELD_OUT) -> Outcome:
    return Evaluation((1, 2))(model or Fixed(), HISTORY, held_out)


def test_added_figures_are_means_over_the_users_who_have_one():
    found = Outcome(np.arange(3))
    found.add({"recall@1": np.array([1.0, NAN, 0.5]), "diversity@1": np.full(3, NAN)})
    assert found.figures == {"recall@1": 0.75}
    assert set(found.per_user) == {"recall@1", "diversity@1"}
    assert found.intervals(0).keys() == {"recall@1"}


def test_errors_are_kept_as_sums_by_user():
    # errors: user 0 0 and 1, user 1 0, user 2 2
    per_user = measured().per_user
    assert per_user["squared_error"].tolist() == [1, 0, 4]
    assert per_user["absolute_error"].tolist() == [1, 0, 2]
    assert per_user["weight"].tolist() == [2, 1, 1]


def test_intervals_hold_the_figures():
    found = measured()
    intervals = found.intervals(seed=0)
    assert intervals.keys() == found.figures.keys() - {
        *(f"{name}@{k}" for name in ("catalogue_coverage", "gini") for k in (1, 2)),
        "responsiveness@1",
        "lists_changed@1",
    }
    for name, (low, high) in intervals.items():
        assert low <= found.figures[name] <= high, name
    # Three users: at best three times user 1 (no error), at worst three times user 2 (2).
    assert intervals["rmse"] == pytest.approx([0, 2])
    assert intervals["recall@1"] == pytest.approx([0, 1])


def test_an_interval_is_narrower_than_all_there_is():
    rng = np.random.default_rng(0)
    found = Outcome(np.arange(400))
    found.add({"recall@10": rng.random(400)})
    low, high = found.intervals(0)["recall@10"]
    # Of the mean of 400 uniform values: 2 * 1.96 * sqrt(1 / 12 / 400) = .057
    assert high - low == pytest.approx(0.057, abs=0.01)
    assert low < found.figures["recall@10"] < high


def test_the_seed_decides_intervals():
    rng = np.random.default_rng(0)
    found = Outcome(np.arange(50))
    found.add({"recall@10": rng.random(50)})
    assert found.intervals(3) == found.intervals(3)
    assert found.intervals(3) != found.intervals(4)


def test_one_user_has_an_interval_of_one_point():
    found = measured(held_out=HeldOut(HISTORY, TARGET.take(TARGET.user == 0)))
    # errors 0 and 1
    assert found.intervals(0)["rmse"] == pytest.approx([math.sqrt(1 / 2)] * 2)
    for name, bounds in found.intervals(0).items():
        assert bounds == pytest.approx([found.figures[name]] * 2), name


def test_saved_and_read_back(tmp_path):
    found, folder = measured(), RunFolder.create(tmp_path / "run")
    folder.write_tables(found.tables(SPLIT))
    arrays = folder.read_arrays("test_lists.npz")
    np.testing.assert_array_equal(arrays["users"], [0, 1, 2])
    np.testing.assert_array_equal(arrays["items"], [[1, 2], [4, 2], [0, 1]])
    np.testing.assert_array_equal(arrays["scores"], [[4, 3], [7, 3], [3, 3]])
    told = pd.read_parquet(folder["test_ratings.parquet"])
    expected = {"user": [0, 0, 1, 2], "item": [1, 4, 4, 1], "value": [4, 2, 5, 1], "prediction": [4, 1, 5, 3]}
    pd.testing.assert_frame_equal(told, pd.DataFrame(expected), check_dtype=False)
    users = pd.read_parquet(folder["test_users.parquet"]).set_index("user")
    assert users.index.tolist() == [0, 1, 2]
    assert users["recall@1"].tolist() == [0.5, 1, 0]
    assert math.sqrt(users["squared_error"].sum() / users["weight"].sum()) == pytest.approx(found.figures["rmse"])


def test_scores_that_are_no_ratings_are_saved_without_predictions(tmp_path):
    folder = RunFolder.create(tmp_path / "run")
    folder.write_tables(measured(Unscaled()).tables(SPLIT))
    assert list(pd.read_parquet(folder["test_ratings.parquet"])) == ["user", "item", "value"]
