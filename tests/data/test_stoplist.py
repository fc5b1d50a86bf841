from __future__ import annotations

import io
import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from nnrec.core.config.compose import compose
from nnrec.core.errors import ConfigError, DataError
from nnrec.data.filters.ratings import apply_filters
from nnrec.data.filters.stoplist import catch, in_words, print_caught, read_words, records
from nnrec.data.sources.movielens import read_movielens
from nnrec.data.summary import print_summary, summarise
from nnrec.data.vocabulary import Vocabulary

KEY = "filters.stoplist"


def caught_titles(titles, *words, **columns) -> dict[str, str]:
    """{title: words that caught it}."""
    table = pd.DataFrame({"title": titles, **columns})
    found = catch(table, Vocabulary(range(10, 10 + len(titles))), words, KEY)
    assert found["item_id"].tolist() == (found["item"] + 10).tolist()
    return dict(zip(found["title"], found["word"], strict=True))


@pytest.mark.parametrize(
    ("word", "caught", "spared"),
    [
        ("drug", ["Drugs", "The DRUG (1999)", "drugged!", "No-Drugs Zone"], ["Drugstore Nights", "Adrug"]),
        ("Sex", ["sex", "The Sexes", "Sex, Again", "Sex's End", "Sex\u2019s End"], ["Essex Tale", "Sexy", "Sexual"]),
        ("running", ["Runs in Rain", "Run!"], ["Runner", "Brun"]),
        ("sci-fi", ["A Sci Fi Night", "sci-fi"], ["Sci and Fi", "Fi Sci"]),
        ("dead men", ["Dead Men Tell"], ["Dead Man", "Men Dead"]),  # irregular plurals have stems of their own
        ("1984", ["Winter 1984"], ["19845", "The 1,984"]),
        ("señor", ["El Señor"], ["Senor"]),
    ],
)
def test_words_match_by_stem_and_whole(word, caught, spared):
    assert caught_titles([*caught, *spared], word) == dict.fromkeys(caught, word)


def test_all_text_columns_are_searched_and_all_words_named():
    found = caught_titles(
        ["Gore and Blood", "Quiet", "Calm", "Bloody", "Untold"],
        "blood",
        "gore",
        genres=["Drama", "Comedy|Gore", None, "Drama", "Blood"],
        year=[1, 2, 3, 4, 5],
    )
    assert found == {"Gore and Blood": "blood, gore", "Quiet": "gore", "Untold": "blood"}


def test_a_phrase_stays_within_one_title_or_category():
    found = caught_titles(["Cold", "War Story", "Cold War"], "cold war", genres=["War|Cold", "Cold|War", "Drama"])
    assert found == {"Cold War": "cold war"}
    assert caught_titles(["A"], "cold war", genres=["Odd|Cold Wars"]) == {"A": "cold war"}


def test_categories_may_be_categorical_and_titles_absent():
    table = pd.DataFrame({"genres": pd.Categorical(["Gore", None, "Calm"]), "length": [1.0, 2.0, 3.0]})
    found = records(catch(table, Vocabulary(["a", "b", "c"]), ["gore"], KEY))
    assert found == [{"item_id": "a", "title": None, "word": "gore"}]
    stream = io.StringIO()
    print_caught(found, "Caught:", Console(file=stream))
    assert stream.getvalue() == "Caught:\n  gore  item a\n"


@given(st.lists(st.text("abc AB-'|.", max_size=12), min_size=1, max_size=8), st.text("abcAB", min_size=1, max_size=3))
def test_every_title_with_the_word_itself_is_caught(titles, word):
    caught = caught_titles(titles, word)
    for title in titles:
        if word.lower() in "".join(mark if mark.isalpha() or mark == "'" else " " for mark in title.lower()).split():
            assert title in caught
        if word.lower()[0] not in title.lower():
            assert title not in caught


def test_files_of_words(tmp_path):
    path = tmp_path / "words.txt"
    path.write_bytes("\ufeff# gone\n\ngore  # always\r\n  cold war \n#x\nC#\n".encode())
    assert read_words(path, KEY) == read_words(str(path), KEY) == ["gore", "cold war", "C#"]
    assert read_words([" gore", 1984], KEY) == ["gore", "1984"]


def test_words_that_cannot_be_used(tmp_path):
    with pytest.raises(ConfigError, match="filters.stoplist is empty: give at least one word, or null"):
        read_words([], KEY)
    for blank in ("", "  ", None, "&|-"):
        with pytest.raises(ConfigError, match="filters.stoplist holds .*, which has no letter or digit"):
            read_words(["gore", blank], KEY)
    for source in (5, {"gore": 1}):
        with pytest.raises(ConfigError, match="filters.stoplist must be a list of words, such as .*Received: "):
            read_words(source, KEY)
    with pytest.raises(DataError, match=r"No such file: /.*/gore\. filters.stoplist is a file .*such as \[gore\]"):
        read_words("gore", KEY)
    path = tmp_path / "words.txt"
    path.write_text("# nothing\n\n")
    with pytest.raises(DataError, match=r"words.txt \(filters.stoplist\) holds no word: give a word or phrase a line"):
        read_words(path, KEY)
    path.write_bytes(b"gore\n\xff\xfe\n")
    with pytest.raises(DataError, match=r"words.txt, line 2: not UTF-8 text. Save the file as UTF-8"):
        read_words(path, KEY)
    path.write_text("gore\n--\n")
    with pytest.raises(ConfigError, match="holds '--', which has no letter"):
        read_words(path, KEY)


def test_nothing_to_match():
    with pytest.raises(DataError, match=r"there is no item table. Give one \(data.source.item_table\)"):
        catch(None, Vocabulary([1]), ["gore"], KEY)
    with pytest.raises(DataError, match="no column of the item table is text. Found: year, price"):
        catch(pd.DataFrame({"year": [1999], "price": [2.5]}), Vocabulary([1]), ["gore"], KEY)


def test_many_words_and_many_titles_are_shortened():
    assert in_words(list("abc"), shown=3) == "a, b, c"
    assert in_words(list("abcd"), shown=3) == "a, b, c, ... (4 words)"
    stream = io.StringIO()
    long = "Long " * 40
    print_caught(
        [{"item_id": n, "title": f"{long}[b]{n}", "word": "long"} for n in range(5)],
        "H",
        Console(file=stream, width=60),
        shown=2,
    )
    assert stream.getvalue() == f"H\n  long  {long}[b]0\n  long  {long}[b]1\n  ... and 3 more\n"


def test_summary_lists_all_and_shows_the_first_fifty(tmp_path):
    from tests.data.test_filters import ratings_of

    ratings = ratings_of([(0, item, 3) for item in range(61)])
    ratings.item_table["title"] = [f"Gore {item:02}" if item else "Calm" for item in range(61)]
    summary = summarise(apply_filters(ratings, stoplist=["gore"]))
    assert summary["stoplist"] == [
        {"item_id": f"i{item:03}", "title": f"Gore {item:02}", "word": "gore"} for item in range(1, 61)
    ]
    assert json.loads(json.dumps(summary)) == summary
    stream = io.StringIO()
    print_summary(summary, Console(file=stream, width=100))
    shown = stream.getvalue().splitlines()
    assert "Stoplist (gore): removed 60 items with 60 ratings." in stream.getvalue()
    assert shown[-51:] == [*(f"  gore  Gore {item:02}" for item in range(1, 51)), "  ... and 10 more"]


def test_real_data(real_data):
    ratings = read_movielens("ml-latest-small", real_data("ml-latest-small"))
    kept = apply_filters(ratings, stoplist=["sex", "drug"])
    titles = ratings.item_table["title"]
    # Without stemming: the words and those of their forms that occur in the titles.
    expected = titles[titles.str.contains(r"\b(?:sex|sexes|drugs?|drugged)\b", case=False)]
    assert 10 < len(expected) < 50
    assert kept.stopped["title"].tolist() == expected.tolist()
    assert kept.stopped["word"].isin(["sex", "drug", "sex, drug"]).all()
    assert not set(kept.item_table["title"]) & (set(expected) - set(titles[~titles.index.isin(expected.index)]))
    assert not set(kept.items.ids) & set(kept.stopped["item_id"])
    lost = np.isin(ratings.item, expected.index).sum()
    assert len(kept) == len(ratings) - lost
    assert f"Stoplist (sex, drug): removed {len(expected)} items with {lost} ratings." in kept.notes
    assert "Drugstore Cowboy (1989)" in set(kept.item_table["title"])


TITLES = ["Sexes at War", "Drugs & Co", "Essex Nights", "The Drugstore", "Quiet Days", "A Long Way", "Rain", "Salt"]


@pytest.fixture
def shop(tmp_path):
    """A table of ratings of 30 users and eight items; two of the titles contain stoplist words."""
    rng = np.random.default_rng(0)
    rows = [(user, item, rng.integers(1, 6)) for user in range(30) for item in rng.permutation(8)[:6]]
    pd.DataFrame(rows, columns=["user", "item", "rating"]).to_csv(tmp_path / "log.csv", index=False)
    pd.DataFrame({"item": range(8), "title": TITLES}).to_csv(tmp_path / "items.csv", index=False)
    return [
        "data=table",
        f"data.source.path={tmp_path}/log.csv",
        f"data.source.item_table.path={tmp_path}/items.csv",
    ]


def test_from_training_to_prediction(shop, tmp_path, capsys):
    from nnrec.api import load
    from nnrec.commands.predict import execute as predict
    from nnrec.commands.train import execute

    settings = ["data.filters.stoplist=[sex,drug]", "trainer.epochs=1", "model.hidden_units=[4]"]
    folder = tmp_path / "run"
    execute(compose("train", [*shop, "model=autorec", *settings, f"run_dir={folder}"]))
    shown = capsys.readouterr().out
    assert "Stoplist (sex, drug): removed 2 items with " in shown
    assert "  sex   Sexes at War\n  drug  Drugs & Co\n" in shown
    assert pd.read_parquet(folder / "items.parquet")["id"].tolist() == [2, 3, 4, 5, 6, 7]
    assert pd.read_parquet(folder / "item_table.parquet")["title"].tolist() == TITLES[2:]
    listed = json.loads((folder / "data.json").read_text())["stoplist"]
    assert [(entry["item_id"], entry["title"], entry["word"]) for entry in listed] == [
        (0, "Sexes at War", "sex"),
        (1, "Drugs & Co", "drug"),
    ]
    output = tmp_path / "recs.csv"
    predict(compose("predict", [f"run={folder}", f"output={output}", "exclude_seen=false"]))
    assert set(pd.read_csv(output)["title"]) == set(TITLES[2:])
    # The emergency stoplist: the item is in the run, but in no list.
    capsys.readouterr()
    predict(compose("predict", [f"run={folder}", f"output={output}", "exclude_seen=false", "stopwords=[quieter,day]"]))
    assert "stopwords (quieter, day) bar 1 of 6 items:\n  day  Quiet Days\n" in capsys.readouterr().out
    assert set(pd.read_csv(output)["title"]) == set(TITLES[2:]) - {"Quiet Days"}
    assert "Quiet Days" not in set(load(folder).recommend(exclude_seen=False, stopwords=["quiet"])["title"])
