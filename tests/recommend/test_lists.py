"""Top-N lists from a model whose scores are known: the score of item i is 2 * i for every user."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from nnrec.core.errors import ConfigError, DataError, RunError
from nnrec.data.families import IMPRESSIONS, RATINGS, SESSIONS
from nnrec.data.rows import Rows
from nnrec.data.vocabulary import Vocabulary
from nnrec.models.base.scorer import Scorer
from nnrec.ranking import blocks
from nnrec.recommend.lists import audience, recommend
from nnrec.recommend.table_format import TableFormat
from nnrec.recommend.top_n import TopN
from nnrec.recommend.users import known_people
from nnrec.runs.folder import RunFolder


class Doubler(Scorer):
    """Scores 0, 2, 4, 6, 8 for items 0 to 4; ratings go from 1 to 5. Records the batches that it was given."""

    name = "doubler"
    capabilities = frozenset({"new_users", "rating_scale"})
    rating_scale = np.array([1, 5], np.float32)

    def __init__(self):
        self.batches = []

    def encode(self, batch):
        self.batches.append(batch)
        return np.zeros((len(batch["index"]), 1), np.float32)

    def score(self, queries):
        return queries + 2 * np.arange(5, dtype=np.float32)


@pytest.fixture
def run():
    """Users 10 to 13 and items a to e; user 12 has rated nothing, user 13 everything."""
    histories = Rows(
        np.array([0, 2, 3, 3, 8]),
        np.array([4, 0, 3, 0, 1, 2, 3, 4], np.int32),
        np.array([5, 3, 4, 1, 2, 3, 4, 5], np.float32),
        None,
        5,
    )
    return SimpleNamespace(
        family=RATINGS,
        users=Vocabulary([10, 11, 12, 13]),
        items=Vocabulary(list("abcde")),
        item_table=pd.DataFrame({"title": ["A", "B", None, "D", "E"]}),
        item_counts=np.array([3, 1, 3, 2, 0]),
        histories=histories,
        model=Doubler(),
    )


def lists(frame):
    """{user: "items in order"}."""
    return {user: "".join(rows["item_id"]) for user, rows in frame.groupby("user_id", sort=False)}


def test_columns_and_values_of_one_list(run):
    frame = recommend(run, user=10, top_n=2)
    expected = {
        "user_id": [10, 10],
        "item_id": ["d", "c"],
        "rank": [1, 2],
        "score": [5.0, 4.0],  # 6 and 4, clipped to 1..5
        "title": ["D", None],
        "source": ["model", "model"],
    }
    pd.testing.assert_frame_equal(frame, pd.DataFrame(expected), check_dtype=False)
    run.item_table = None
    assert list(recommend(run, user=10).columns) == ["user_id", "item_id", "rank", "score", "source"]


def test_the_order_is_that_of_the_scores_before_clipping(run):
    # e scores 8 and d 6: both are clipped to 5.
    frame = recommend(run, user=10, top_n=2, exclude_seen=False)
    assert frame["item_id"].tolist() == ["e", "d"]
    assert frame["score"].tolist() == [5, 5]
    assert recommend(run, user=10, top_n=5, exclude_seen=False)["score"].tolist() == [5, 5, 4, 2, 1]


def test_everybody_by_default(run):
    # 10 has seen e and a, 11 has seen d, 12 gets the popular ones (3, 3, 2, 1, 0 ratings), 13 has seen all.
    assert lists(recommend(run)) == {10: "dcb", 11: "ecba", 12: "acdbe"}


def test_the_fallback_is_named_and_its_score_counts_ratings(run):
    frame = recommend(run, user=12, top_n=3)
    assert frame["source"].tolist() == ["popular"] * 3
    assert frame["score"].tolist() == [3, 3, 2]


def test_users_come_in_the_order_asked_for_and_once(run):
    assert list(lists(recommend(run, user=[11, "10", 11]))) == [11, 10]


def test_blocks_of_any_size_give_the_same(run, monkeypatch):
    whole = recommend(run)
    monkeypatch.setattr(blocks, "BLOCK_ENTRIES", 5)  # one user at a time
    pd.testing.assert_frame_equal(recommend(run), whole)
    assert {len(batch["index"]) for batch in run.model.batches[1:]} == {1}


def test_a_block_is_scored_when_it_is_asked_for(run, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK_ENTRIES", 5)
    found = TopN(run).blocks(known_people(run))
    assert (next(found).people, len(run.model.batches)) == (1, 1)


def test_stoplist_and_candidates(run):
    assert lists(recommend(run, user=[11, 12], stoplist=["e", "a"])) == {11: "cb", 12: "cdb"}
    assert lists(recommend(run, user=[11, 12], candidates=["e", "a", "d"])) == {11: "ea", 12: "ade"}
    assert lists(recommend(run, user=11, candidates=["e", "a"], stoplist=["e"])) == {11: "a"}


def test_lists_of_ids_from_files(run, tmp_path):
    plain, headed, table = tmp_path / "plain.txt", tmp_path / "headed.txt", tmp_path / "table.csv"
    plain.write_text("e\n\nc\n")
    headed.write_text("item\ne\nc\n")
    table.write_text("reason,item\nsold out,e\nsold out,c\n")
    pd.DataFrame({"item": ["e", "c"]}).to_parquet(tmp_path / "table.parquet")
    for path in (plain, headed, table, tmp_path / "table.parquet"):
        assert lists(recommend(run, user=11, stoplist=path)) == {11: "ba"}, path


def test_unknown_ids_in_lists_are_counted(run, capsys):
    recommend(run, user=11, stoplist=["e", "x", "y"])
    assert "stoplist: left out 2 of 3 ids, which are unknown to the run." in capsys.readouterr().out


def test_nothing_left_to_recommend(run):
    with pytest.raises(DataError, match="Nothing is left to recommend: stoplist left none of the run's 5 items"):
        recommend(run, stoplist=list("abcde"))
    with pytest.raises(DataError, match="stoplist and candidates left none .* It knows, for example, a, b, c"):
        recommend(run, stoplist=["a"], candidates=["a", "x"])


def test_stopwords_bar_items_from_all_lists(run, tmp_path, capsys):
    run.item_table = pd.DataFrame(
        {"title": ["Gore", "Calm", None, "Quiet", "A Gory Day"], "genres": ["X", "Y", "Bloods|Y", "Y", "Y"]}
    )
    # User 11 gets the model's list, user 12 the popular items.
    assert lists(recommend(run, user=[11, 12], stopwords=["gore", "blood"])) == {11: "eb", 12: "dbe"}
    assert "stopwords (gore, blood) bar 2 of 5 items:\n  gore   Gore\n  blood  item c\n" in capsys.readouterr().out
    (tmp_path / "words.txt").write_text("calm # for now\ngory day\n")
    assert lists(recommend(run, user=11, stoplist=["a"], stopwords=tmp_path / "words.txt")) == {11: "c"}
    assert lists(recommend(run, user=11, stopwords=["salt"])) == {11: "ecba"}
    assert "stopwords (salt) bar 0 of 5 items.\n" in capsys.readouterr().out


def test_stopwords_that_cannot_be_used(run, tmp_path):
    with pytest.raises(ConfigError, match="stopwords is empty"):
        recommend(run, stopwords=[])
    with pytest.raises(ConfigError, match="stopwords holds ' ?', which has no letter or digit"):
        recommend(run, stopwords=["a", " "])
    with pytest.raises(DataError, match=r"No such file: .*stopwords is a file .* or a list of words, such as \[x\]"):
        recommend(run, stopwords="x")
    run.item_table["title"] = list("xxxxx")
    with pytest.raises(DataError, match="Nothing is left to recommend: stoplist and stopwords left none"):
        recommend(run, stoplist=["a"], stopwords=["x"])
    run.item_table = None
    with pytest.raises(DataError, match="stopwords matches words against titles and categories, but there is no item"):
        recommend(run, stopwords=["x"])


def test_a_missing_list_of_ids(run, tmp_path):
    with pytest.raises(DataError, match=r"No such file: .*gone\.txt\. Set candidates to a file"):
        recommend(run, candidates=tmp_path / "gone.txt")


def test_a_new_history(run):
    frame = recommend(run, history={"e": 5, "b": 1}, top_n=2)
    assert frame[["user_id", "item_id"]].values.tolist() == [["new", "d"], ["new", "c"]]
    (batch,) = run.model.batches
    assert batch["index"].tolist() == [-1]
    kept = batch["weight"] > 0
    assert sorted(zip(batch["column"][kept], batch["value"][kept], strict=True)) == [(1, 1), (4, 5)]


def test_new_histories_of_several_people(run, capsys):
    frame = pd.DataFrame({"user": ["x", "x", "y", "x"], "item": ["e", "?", "?", "e"], "rating": [5, 1, 2, 4]})
    result = recommend(run, history=frame, top_n=5)
    assert lists(result) == {"x": "dcba", "y": "acdbe"}
    assert result.groupby("user_id")["source"].unique().map(list).to_dict() == {"x": ["model"], "y": ["popular"]}
    assert "Histories: left out 2 of 3 ratings (items unknown to the run: 1)." in capsys.readouterr().out
    (batch,) = run.model.batches
    assert batch["value"][batch["weight"] > 0].tolist() == [4]  # the later of the two ratings of e
    assert lists(recommend(run, user="y", history=frame, top_n=2)) == {"y": "ac"}


@pytest.mark.parametrize("history", [{}, pd.DataFrame({"item": [], "rating": []})])
def test_an_empty_history_gets_the_popular_items(run, history):
    frame = recommend(run, history=history, top_n=2)
    assert (frame["item_id"].tolist(), frame["source"].tolist()) == (["a", "c"], ["popular", "popular"])


def test_unknown_users(run):
    with pytest.raises(DataError, match=r"User 99 is not among the 4 users of the run\. .*histories=<file>"):
        recommend(run, user=99)
    with pytest.raises(DataError, match="2 users are unknown: 98, 99"):
        recommend(run, user=[10, 98, 99])
    with pytest.raises(DataError, match="User 10 is not in the histories"):
        recommend(run, user=10, history={"a": 5})
    with pytest.raises(DataError, match="list of users is empty"):
        recommend(run, user=[])


def test_histories_that_cannot_be_used(run, tmp_path):
    with pytest.raises(DataError, match="no column 'rating'.*doubler goes by ratings, so a history needs them"):
        recommend(run, history=pd.DataFrame({"item": ["a"]}))
    with pytest.raises(DataError, match=r"the rating is 80; it must be between 1 and 5 \(scale\)"):
        recommend(run, history={"a": 80})
    path = tmp_path / "new.csv"
    path.write_text("user,movie,rating\n1,a,5\n")
    with pytest.raises(DataError, match="no column 'item'.*Name the columns with table.user, table.item"):
        recommend(run, history=path)


def test_a_model_of_alike_ratings_needs_none(run):
    run.model.rating_scale = np.array([1, 1], np.float32)
    assert lists(recommend(run, history=pd.DataFrame({"item": ["e"]}))) == {"new": "dcba"}


def test_a_model_without_new_users_says_why(run):
    run.model.capabilities = frozenset({"rating_scale"})
    with pytest.raises(ConfigError, match="doubler cannot recommend to people from outside its training data"):
        recommend(run, history={"a": 5})


@pytest.mark.parametrize("n", [0, -1, 2.5, "ten", True, None])
def test_top_n_must_be_a_count(run, n):
    with pytest.raises(ConfigError, match="top_n must be a whole number, at least 1"):
        TopN(run, n)


def test_exclude_seen_must_be_true_or_false(run):
    with pytest.raises(ConfigError, match="exclude_seen must be true, false or auto. Received: 'no'"):
        TopN(run, exclude_seen="no")


@pytest.mark.parametrize("values", [[5, 0.5, -3], [5, 0.3, 1000]])
def test_stored_histories_come_back(tmp_path, values):
    folder = RunFolder.create(tmp_path / "run")
    rows = Rows(np.array([0, 2, 2, 3]), np.array([1, 0, 2], np.int32), np.array(values, np.float32), None, 4)
    folder.write_histories(rows)
    stored = folder.read_histories(4)
    assert (len(stored), stored.num_columns, stored.lengths.tolist()) == (3, 4, [2, 0, 1])
    taken, expected = stored.take(np.array([2, 0, 1])), rows.take(np.array([2, 0, 1]))
    for name in ("offsets", "ids", "values"):
        assert getattr(taken, name).tolist() == getattr(expected, name).tolist()
    assert taken.values.dtype == np.float32
    assert not isinstance(taken.ids, np.memmap)


def test_histories_missing_or_damaged(tmp_path):
    folder = RunFolder.create(tmp_path / "run")
    with pytest.raises(RunError, match=r"keeps no histories \(keep_histories=false\).*histories=<file>"):
        folder.read_histories(4)
    folder.write_histories(Rows(np.array([0, 1]), np.array([1], np.int32), np.ones(1, np.float32), None, 4))
    folder["histories/ids.npy"].write_bytes(b"\x93NUMPY")
    with pytest.raises(RunError, match=r"ids\.npy is missing or damaged"):
        folder.read_histories(4).take(np.array([0]))


@pytest.mark.parametrize("family", [SESSIONS, IMPRESSIONS])
def test_a_matrix_is_a_history_of_ratings_alone(family):
    run = SimpleNamespace(family=family, model=SimpleNamespace(name="some"))
    with pytest.raises(ConfigError, match=f"A matrix is no history for some: it was trained on {family}."):
        audience(run, sparse.csr_array([[1.0]]), TableFormat())
