from __future__ import annotations

import numpy as np
import pytest

from nnrec.core.errors import ConfigError, DataError
from nnrec.data.sources.movielens import read_movielens, read_users

GENRES = ["unknown", "Action", "Comedy", "Drama"]
ITEMS_DAT = (["Misérables: Part 2 (1995)", '"Odd Man" (1931-)'], ["Drama|Musical", "Film-Noir"], [1995, 1931])


def ml_100k(folder):
    folder.mkdir(exist_ok=True)
    (folder / "u.data").write_text("2\t10\t3\t881250949\n1\t30\t5\t881250950\n1\t10\t1\t881250951\n")
    (folder / "u.genre").write_text("".join(f"{name}|{index}\n" for index, name in enumerate(GENRES)) + "\n")
    lines = [
        "10|Café Odd (1995)|01-Jan-1995||http://a/b?c|0|1|1|0",
        "20|Unrated (1990)||||0|0|0|1",
        "30|unknown||||1|0|0|0",
    ]
    (folder / "u.item").write_bytes("\n".join(lines).encode("latin-1") + b"\n")
    return folder


def ml_dat(folder, half=""):
    folder.mkdir(exist_ok=True)
    (folder / "ratings.dat").write_text(f"1::30::5::978300760\n1::10::3{half}::978300700\n2::10::1::978300600\n")
    lines = [
        "10::Misérables: Part 2 (1995)::Drama|Musical",
        '20::"Unrated" (1990)::Drama',
        '30::"Odd Man" (1931-)::Film-Noir',
    ]
    (folder / "movies.dat").write_bytes("\n".join(lines).encode("utf-8" if half else "latin-1") + b"\n")
    return folder


def ml_csv(folder):
    folder.mkdir(exist_ok=True)
    (folder / "ratings.csv").write_text("userId,movieId,rating,timestamp\n1,30,0.5,964982703\n1,10,4.5,964981247\n")
    lines = [
        "movieId,title,genres",
        '10,"American President, The (1995)",Comedy|Drama',
        "20,Unrated,Drama",
        "30,Odd,(no genres listed)",
    ]
    (folder / "movies.csv").write_text("\n".join(lines) + "\n", "utf-8")
    return folder


def columns(ratings):
    table = ratings.item_table
    return table["title"].tolist(), table["genres"].tolist(), table["year"].astype(object).fillna(0).tolist()


def test_ml_100k(tmp_path):
    ratings = read_movielens("ml-100k", ml_100k(tmp_path / "ml-100k"))
    assert ratings.users.ids.tolist() == [1, 2]
    assert ratings.items.ids.tolist() == [10, 30]
    assert (ratings.user.tolist(), ratings.item.tolist()) == ([0, 0, 1], [1, 0, 0])
    assert (ratings.value.tolist(), ratings.time.tolist()) == ([5, 1, 3], [881250950, 881250951, 881250949])
    assert (ratings.time_kind, ratings.folder) == ("timestamp", str(tmp_path / "ml-100k"))
    assert columns(ratings) == (["Café Odd (1995)", "unknown"], ["Action|Comedy", ""], [1995, 0])


def test_ml_1m(tmp_path):
    ratings = read_movielens("ml-1m", ml_dat(tmp_path / "ml-1m"))
    assert ratings.value.tolist() == [3, 5, 1]
    assert columns(ratings) == ITEMS_DAT


@pytest.mark.parametrize("name", ["ml-10m", "ml-10M100K"])
def test_ml_10m_is_found_under_either_name_and_has_half_stars(tmp_path, name):
    ml_dat(tmp_path / name, half=".5")
    ratings = read_movielens("ml-10m", tmp_path / "ml-10m")
    assert ratings.value.tolist() == [3.5, 5, 1]
    assert columns(ratings) == ITEMS_DAT


@pytest.mark.parametrize("release", ["ml-20m", "ml-25m", "ml-32m", "ml-latest-small"])
def test_csv_releases(tmp_path, release):
    ratings = read_movielens(release, ml_csv(tmp_path / release))
    assert ratings.value.tolist() == [4.5, 0.5]
    assert columns(ratings) == (["American President, The (1995)", "Odd"], ["Comedy|Drama", ""], [1995, 0])


def test_ratings_can_be_used_without_the_item_file(tmp_path):
    (ml_csv(tmp_path / "ml-25m") / "movies.csv").unlink()
    assert read_movielens("ml-25m", tmp_path / "ml-25m").item_table is None


def test_bad_input(tmp_path):
    with pytest.raises(ConfigError, match="no MovieLens release 'ml1m'. Did you mean ml-1m"):
        read_movielens("ml1m", tmp_path)
    with pytest.raises(DataError) as raised:
        read_movielens("ml-1m", tmp_path / "ml-1m")
    for part in (f"ml-1m is not in {tmp_path / 'ml-1m'}", "ratings.dat", "data_root=", "NNREC_DATA", "download=true"):
        assert part in str(raised.value)
    folder = ml_dat(tmp_path / "ml-1m")
    (folder / "ratings.dat").write_text("1::30::5::978300760\n1::10::6::978300700\n")
    with pytest.raises(DataError, match="ratings.dat, line 2: the rating is 6; it must be between 1 and 5"):
        read_movielens("ml-1m", folder)
    (folder / "ratings.dat").write_text("1::30::5::978300760\n")
    (folder / "movies.dat").write_text("30::Odd::Drama\n\n40::Broken\n")
    with pytest.raises(DataError, match="movies.dat, line 3: 2 fields separated by '::' instead of 3"):
        read_movielens("ml-1m", folder)


def test_users_of_ml_100k(tmp_path):
    folder = ml_100k(tmp_path / "ml-100k")
    assert read_movielens("ml-100k", folder).user_table is None
    (folder / "u.user").write_text("2|56|F|writer|00000\n1|17|M|student|E9\n3|24|F|other|1\n")
    assert read_movielens("ml-100k", folder).user_table.to_dict("list") == {
        "gender": ["male", "female"],
        "age": [17, 56],
        "age_group": ["under 18", "56 and over"],
        "occupation": ["student", "writer"],
    }
    (folder / "u.user").write_text("1|?|X|student|E9\n2|24|F|other|1\n")
    table = read_movielens("ml-100k", folder).user_table
    assert table["age"].isna().tolist() == table["age_group"].isna().tolist() == [True, False]
    assert table["gender"].tolist() == ["X", "female"]
    (folder / "u.user").write_text("1|17|M|student\n")
    with pytest.raises(DataError, match=r"u.user, line 1: 4 fields separated by '\|' instead of 5"):
        read_movielens("ml-100k", folder)


def test_users_of_ml_1m(tmp_path):
    folder = ml_dat(tmp_path / "ml-1m")
    assert read_movielens("ml-1m", folder).user_table is None
    (folder / "users.dat").write_text("1::F::1::10::00000\n2::M::45::0::00000-1\n3::F::99::20::1\n")
    assert read_movielens("ml-1m", folder).user_table.to_dict("list") == {
        "gender": ["female", "male"],
        "age_group": ["under 18", "45-49"],
        "occupation": ["K-12 student", "other or not specified"],
    }
    users = read_users("ml-1m", folder)
    assert users.iloc[2].tolist() == ["3", "female", "99", "writer"]  # 99 is not one of the publisher's codes


@pytest.mark.parametrize(
    ("release", "groups"),
    [("ml-100k", {"gender": 2, "age_group": 7, "occupation": 21}),
     ("ml-1m", {"gender": 2, "age_group": 7, "occupation": 21})],
)  # fmt: skip
def test_real_users(real_data, release, groups):
    ratings = read_movielens(release, real_data(release))
    table = ratings.user_table
    assert len(table) == ratings.num_users
    assert table.notna().all().all()
    assert {name: table[name].nunique() for name in groups} == groups
    assert not table["occupation"].str.fullmatch(r"\d+").any()
    assert not any("user table" in note for note in ratings.notes)


@pytest.mark.parametrize(
    ("release", "counts", "scale", "kind", "first_title"),
    [
        ("ml-100k", (943, 1682, 100_000), (1, 5), "timestamp", "Toy Story (1995)"),
        ("ml-1m", (6040, 3706, 1_000_209), (1, 5), None, "Toy Story (1995)"),
        ("ml-latest-small", (610, 9724, 100_836), (0.5, 5), "timestamp", "Toy Story (1995)"),
    ],
)
def test_real_data(real_data, release, counts, scale, kind, first_title):
    ratings = read_movielens(release, real_data(release))
    assert (ratings.num_users, ratings.num_items, len(ratings)) == counts
    assert ratings.scale == scale
    assert kind is None or ratings.time_kind == kind  # copies of ml-1m differ: some hold an order only
    assert ratings.item_table["title"][0] == first_title
    assert ratings.item_table["title"].notna().all()
    assert len(ratings.item_table) == ratings.num_items
    starts = np.flatnonzero(np.diff(ratings.user) == 0)
    assert (ratings.time[starts] <= ratings.time[starts + 1]).all()
