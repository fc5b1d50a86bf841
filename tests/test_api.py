"""The Python interface, and a user's own loader and model."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import nnrec
from nnrec.core.errors import ConfigError, DataError, RunError
from nnrec.data.ratings import Ratings
from nnrec.data.vocabulary import Vocabulary
from tests.own_loader import read_diary
from tests.own_model import ItemBias

TINY = ("model.hidden_units=[8]", "model.l2=1", "trainer.epochs=3", "trainer.batch_size=8")
FRAME = read_diary(people=30, films=20)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return nnrec.train(*TINY, "split.test=0.2", f"run_dir={tmp_path_factory.mktemp('runs') / 'frame'}", data=FRAME)


def test_training_on_a_data_frame(run):
    assert run.metrics["data"]["name"] == "frame"
    assert (len(run.users), len(run.items)) == (30, 20)
    assert run.metrics["data"]["test_ratings"] == round(0.2 * len(FRAME))
    assert run.config.trainer.epochs == 3
    assert run.metrics["training"]["epochs"] == 3 + run.metrics["training"]["best_epoch"]
    assert "rmse" in repr(run)


def test_the_learning_curve_and_what_the_model_did(run):
    assert run.result.history["epoch"].tolist() == [0, 1, 2]
    assert run.result.history["val_rmse"].min() == pytest.approx(run.metrics["validation"]["rmse"], rel=1e-6)
    assert len(run.result.ratings) == run.metrics["data"]["test_ratings"]


def test_quiet_prints_nothing(tmp_path, capsys):
    settings = ("model=popularity", "data.name=frame")
    nnrec.compare(f"output={tmp_path / 'loud'}", models=["popularity"], data=FRAME)
    assert "popularity" in capsys.readouterr().out
    run = nnrec.train(*settings, f"run_dir={tmp_path / 'run'}", data=FRAME, quiet=True)
    nnrec.compare(f"output={tmp_path / 'quiet'}", runs=[run], quiet=True)
    assert capsys.readouterr() == ("", "")


def test_a_loaded_run_is_the_same(run):
    loaded = nnrec.load(run.folder.path)
    assert loaded.metrics == run.metrics
    assert loaded.users == run.users
    for kept, weight in zip(run.model.get_weights(), loaded.model.get_weights(), strict=True):
        np.testing.assert_array_equal(kept, weight)
    pd.testing.assert_frame_equal(loaded.recommend(top_n=3), run.recommend(top_n=3))


def test_evaluating_again_gives_the_figures_of_the_training(run):
    assert nnrec.load(run.folder.path).evaluate(FRAME) == pytest.approx(run.metrics["test"], rel=1e-6)


def test_evaluating_a_run_on_a_named_data_set(run_folder):
    loaded = nnrec.load(str(run_folder))
    assert loaded.evaluate() == pytest.approx(loaded.metrics["test"], rel=1e-6)


def test_evaluating_on_other_data_is_refused(run):
    with pytest.raises(DataError, match="The data are not those that the run began with"):
        run.evaluate(FRAME.assign(rating=6 - FRAME["rating"]))


def test_recommending(run):
    frame = run.recommend(user="person 3", top_n=4)
    assert frame["user_id"].unique().tolist() == ["person 3"]
    seen = set(FRAME.loc[FRAME["user"] == "person 3", "item"])
    tested = set(frame["item_id"]) & seen  # only what was held out for the test may come back
    assert len(tested) <= round(0.2 * len(FRAME))
    history = run.histories.take(run.users.indices(["person 3"]))
    assert not set(frame["item_id"]) & set(run.items.ids[history.ids])
    new = run.recommend(history={"film 1": 1.5, "film 18": 5}, top_n=2)
    assert new["source"].tolist() == ["model", "model"]


def test_training_on_ratings(tmp_path):
    ratings = Ratings.build(
        users=Vocabulary(range(12)),
        items=Vocabulary(range(9)),
        user=np.repeat(np.arange(12, dtype=np.int32), 9),
        item=np.tile(np.arange(9, dtype=np.int32), 12),
        value=np.tile(np.linspace(1, 5, 9, dtype=np.float32), 12),
    )
    run = nnrec.train(
        *TINY, "trainer.refit=false", "evaluation.cutoffs=[3]", f"run_dir={tmp_path / 'run'}", data=ratings
    )
    assert run.metrics["training"]["epochs"] == 3
    assert "recall@3" in run.metrics["test"] and "recall@10" not in run.metrics["test"]


def test_what_cannot_be_trained_on(tmp_path):
    with pytest.raises(DataError, match="The data frame has no column 'user'"):
        nnrec.train(f"run_dir={tmp_path}", data=FRAME.rename(columns={"user": "who"}))
    with pytest.raises(ConfigError, match=r"no setting trainer\.epoch\. Did you mean trainer\.epochs\?"):
        nnrec.train("trainer.epoch=3")
    with pytest.raises(RunError, match="There is no run folder"):
        nnrec.load(tmp_path / "gone")


@pytest.fixture
def own_configuration(tmp_path):
    """A configuration folder with a model and a data set of the user's own, in addition to conf/."""
    folder = tmp_path / "own"
    files = {
        "model/item_bias.yaml": ["_target_: tests.own_model.ItemBias", "name: item_bias", "strength: 2.0"],
        "data/diary.yaml": [
            "name: diary",
            "family: ratings",
            "source: {_target_: tests.own_loader.read_diary, people: 30, films: 20}",
        ],
    }
    for name, lines in files.items():
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text("\n".join(lines))
    return f"hydra.searchpath=[file://{folder}]"


def test_own_model_and_loader(own_configuration, tmp_path):
    settings = (
        "model=item_bias",
        "data=diary",
        "trainer.epochs=12",
        "trainer.learning_rate=0.1",
        "trainer.batch_size=8",
    )
    run = nnrec.train(own_configuration, *settings, f"run_dir={tmp_path / 'run'}")
    assert isinstance(run.model, ItemBias)
    assert run.model.strength == 2
    assert run.metrics["data"]["name"] == "diary"
    # The loader's ratings depend on the item alone: one number per item predicts them.
    assert run.metrics["test"]["rmse"] < 0.1
    loaded = nnrec.load(tmp_path / "run")
    assert loaded.evaluate() == pytest.approx(run.metrics["test"], rel=1e-6)
    # Films 18 and 19 are the best; a new user who has seen 19 gets 18.
    assert loaded.recommend(history={"film 19": 5}, top_n=1)["item_id"].tolist() == ["film 18"]


def test_own_settings_that_do_not_fit(own_configuration, tmp_path):
    with pytest.raises(ConfigError, match=r"model \(tests\.own_model\.ItemBias\) cannot be called: .*'depth'"):
        nnrec.train(own_configuration, "model=item_bias", "+model.depth=3", "data=diary", f"run_dir={tmp_path / 'run'}")
    with pytest.raises(
        ConfigError, match=r"data\.source \(tests\.own_loader\.read_dairy\) cannot be called: .*read_dairy"
    ):
        nnrec.train(own_configuration, "data=diary", "data.source._target_=tests.own_loader.read_dairy")


def random_matrix() -> sparse.csr_array:
    """30 users by 20 items; user 4 has rated nothing, and nobody item 7."""
    rng = np.random.default_rng(0)
    values = rng.integers(1, 6, (30, 20)) * (rng.random((30, 20)) < 0.6)
    values[4], values[:, 7] = 0, 0
    return sparse.csr_array(values)


def test_training_on_a_sparse_matrix(tmp_path):
    matrix = random_matrix()
    user, item = matrix.nonzero()
    frame = pd.DataFrame({"user": user, "item": item, "rating": matrix.tocoo().data})
    settings = ("model=bias", "data.filters.min_ratings_per_user=0")
    run = nnrec.train(*settings, f"run_dir={tmp_path / 'run'}", data=matrix, quiet=True)
    same = nnrec.train(*settings, f"run_dir={tmp_path / 'frame'}", data=frame, quiet=True)
    assert run.users.ids.tolist() == list(range(30)) and run.items.ids.tolist() == list(range(20))
    assert len(same.items) == 19
    assert run.metrics["test"]["rmse"] == pytest.approx(same.metrics["test"]["rmse"], rel=1e-5)
    assert nnrec.load(tmp_path / "run").evaluate(matrix.tocoo()) == pytest.approx(run.metrics["test"], rel=1e-6)
    with pytest.raises(DataError, match="not those that the run began with"):
        run.evaluate(matrix[:, :19])
    assert len(run.recommend(user=4, top_n=3)) == 3


def test_histories_in_a_sparse_matrix(tmp_path):
    run = nnrec.train("model=ease", f"run_dir={tmp_path / 'run'}", data=random_matrix(), quiet=True)
    history = sparse.csr_array(([5, 4, 3], ([0, 0, 2], [1, 11, 3])), shape=(3, 20))
    frame = run.recommend(history=history, top_n=4)
    assert frame["user_id"].tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert frame.groupby("user_id")["source"].first().tolist() == ["model", "popular", "model"]
    one = run.recommend(history={1: 5, 11: 4}, top_n=4)
    pd.testing.assert_frame_equal(frame[:4].drop(columns="user_id"), one.drop(columns="user_id"))


def test_comparing_on_a_sparse_matrix(tmp_path):
    models = ["popularity", "ease"]
    table = nnrec.compare(f"output={tmp_path}", models=models, data=random_matrix(), quiet=True)
    assert sorted(table["model"]) == ["ease", "popularity"]


def test_models_of_sessions_take_no_matrix(tmp_path):
    with pytest.raises(ConfigError, match="must return Sessions or a data frame .* Received: csr_array"):
        nnrec.train("model=session_popularity", f"run_dir={tmp_path}", data=random_matrix(), quiet=True)
