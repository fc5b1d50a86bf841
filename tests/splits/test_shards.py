"""Shards are read as they were written, and ratings in files give the same results as in memory."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nnrec.batches import rows as batches
from nnrec.batches.rows import RowBatches
from nnrec.core.errors import ConfigError, DataError
from nnrec.data.ratings import Ratings
from nnrec.data.stored import ratings
from nnrec.data.stored.ratings import StoredRatings
from nnrec.data.summary import summarise
from nnrec.data.vocabulary import Vocabulary
from nnrec.evaluation.ratings import check_disjoint
from nnrec.runs.folder import RunFolder
from nnrec.splits.shards import shard_files
from nnrec.splits.shards.folder import Prepared, read_shards, write_shards
from nnrec.splits.shards.ratings import schema_of
from nnrec.splits.shards.shard_files import write_shard
from nnrec.splits.split import HeldOut
from nnrec.splits.users import HeldOutUsers, UserTimeSplit

USERS, ITEMS = 50, 30


def made(**more) -> Ratings:
    """800 different pairs of 50 users and 30 items; the last user has none."""
    rng = np.random.default_rng(0)
    pairs = rng.permutation((USERS - 1) * ITEMS)[:800]
    fields = {
        "users": Vocabulary([f"u{number:02d}" for number in range(USERS)]),
        "items": Vocabulary(np.arange(ITEMS) * 10),
        "user": (pairs // ITEMS).astype(np.int32),
        "item": (pairs % ITEMS).astype(np.int32),
        "value": rng.integers(1, 6, 800).astype(np.float32),
        "time": rng.integers(0, 1000, 800),
        "time_kind": "timestamp",
        "item_table": pd.DataFrame({"title": [f"t{number}" for number in range(ITEMS)]}),
        "notes": ("Read.",),
    }
    return Ratings.build(**fields | more)


@pytest.fixture
def small(monkeypatch):
    """Makes shards, chunks, pools and blocks so small that there are many of each."""
    monkeypatch.setattr(shard_files, "SHARD_ROWS", 100)
    monkeypatch.setattr(shard_files, "GROUP_ROWS", 37)
    monkeypatch.setattr(ratings, "CHUNK_ENTRIES", 64)
    monkeypatch.setattr(ratings, "SORTED_ENTRIES", 90)
    monkeypatch.setattr(batches, "POOL_ENTRIES", 150)
    monkeypatch.setattr(batches, "BLOCK_ENTRIES", 40)


def same(found: Ratings, expected: Ratings) -> None:
    for name in Ratings.PER_ENTRY:
        one, other = getattr(found, name), getattr(expected, name)
        assert (one is None) == (other is None), name
        if one is not None:
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(np.asarray(one), other, err_msg=name)
    assert found.users == expected.users and found.items == expected.items


@pytest.fixture
def folder(small, tmp_path):
    place = tmp_path / "shards"
    write_shards(UserTimeSplit(0.2, 0.1)(made(), 0), place, "made")
    return place


def stored(folder, tmp_path) -> Ratings:
    train = read_shards(folder, tmp_path / "cache").train
    assert train.stored
    return train


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("splitter", [UserTimeSplit(0.2, 0.1), HeldOutUsers(0.2, 0.2)])
def test_a_split_comes_back(small, tmp_path, splitter, cached):
    weight = np.linspace(0.5, 2, 800, dtype=np.float32)
    event = (np.arange(800) % 2).astype(np.int16)
    split = splitter(made(weight=weight, event=event, event_names=("click", "purchase")), 3)
    write_shards(split, tmp_path / "shards", "made")
    assert len(list((tmp_path / "shards" / "train").iterdir())) == -(-len(split.train) // 100)
    found = Prepared()(read_shards(tmp_path / "shards", tmp_path / "cache" if cached else None), 0)
    train = found.train
    assert train.stored == cached
    assert (found.definition, found.new_users) == (split.definition, split.new_users)
    assert train.event_names == ("click", "purchase") and train.time_kind == "timestamp"
    assert train.item_table.equals(split.train.item_table)
    same(found.train, split.train)
    for part in ("validation", "test"):
        same(getattr(found, part).target, getattr(split, part).target)
        same(getattr(found, part).history, getattr(split, part).history)
        check_disjoint(getattr(found, part))
    same(found.merged().train, split.merged().train)
    same(found.in_memory().train, split.train)


def test_what_is_made_of_ratings_in_files(folder, tmp_path):
    train = stored(folder, tmp_path)
    whole = train.in_memory()
    same(train.at_least(4), whole.take(whole.value >= 4))
    assert train.count_at_least(4) == np.count_nonzero(whole.value >= 4) and train.count_at_least(None) == len(whole)
    assert train.at_least(None) is train and train.at_least(1) is train
    same(train.take(np.array([570, 3, 5])), whole.take(np.array([570, 3, 5])))
    same(train.take(whole.value == 2), whole.take(whole.value == 2))
    assert train.mean == pytest.approx(whole.mean, rel=1e-6)
    for name in ("scale", "sizes", "nbytes"):
        assert getattr(train, name) == getattr(whole, name), name
    for name in ("levels", "support", "activity"):
        np.testing.assert_array_equal(getattr(train, name), getattr(whole, name), err_msg=name)
    for by in ("user", "item"):
        rows, expected = train.rows(by), whole.rows(by)
        assert rows.stored and not expected.stored
        which = np.array([7, 2, 2, 0])
        for some in (which, np.arange(len(rows))):
            for name in ("offsets", "ids", "values"):
                np.testing.assert_array_equal(getattr(rows.take(some), name), getattr(expected.take(some), name))
            np.testing.assert_array_equal(
                rows.counts(some), np.bincount(expected.take(some).ids, minlength=50)[: rows.num_columns]
            )
    few = train.sample(200)
    assert 100 < len(few) < 300
    first = few.user[0]
    same(few.take(few.user == first), whole.take(whole.user == first))


def test_fingerprint_and_summary_do_not_depend_on_where_ratings_lie(folder, tmp_path):
    splits = read_shards(folder, tmp_path / "cache"), read_shards(folder, None)
    in_files, whole = (split.train for split in splits)
    assert in_files.stored and not whole.stored
    assert splits[0].fingerprint() == splits[1].fingerprint() != whole.fingerprint() == in_files.fingerprint()
    assert summarise(replace(in_files, notes=())) == summarise(replace(whole, notes=()))
    assert in_files.notes[0] == "Read." and "more ratings are for validation" in in_files.notes[1]


def test_what_is_shown_of_ratings_in_files_is_looked_at(folder, tmp_path):
    split = Prepared()(read_shards(folder, tmp_path / "cache"), 0)
    shown = split.train.take(np.array([0, 300, 500]))
    with pytest.raises(DataError, match=r"1 of 1 held-out ratings are in the histories"):
        check_disjoint(HeldOut(split.train, shown.take(np.array([1]))))
    with pytest.raises(DataError, match=r"3 of 3 held-out ratings are in the histories"):
        check_disjoint(HeldOut(split.train, shown))


def test_histories_are_written_from_files_as_from_memory(folder, tmp_path):
    train = stored(folder, tmp_path)
    for name, part in (("a", train), ("b", train.in_memory())):
        RunFolder(tmp_path / name).write_histories(part.rows("user"))
    for file in (tmp_path / "a" / "histories").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / "histories" / file.name).read_bytes()


@pytest.mark.parametrize("by", ["user", "item"])
@pytest.mark.parametrize("options", [{}, {"unique_ids": True}, {"unique_ids": True, "negatives": (5, 0.5)}])
def test_batches_from_files_hold_every_row_once(folder, tmp_path, by, options):
    train = stored(folder, tmp_path)
    rows, whole = train.rows(by), train.in_memory().rows(by)
    which = np.flatnonzero(rows.lengths)
    found = RowBatches(rows, 4, which=which, seed=1, **options)
    orders = []
    for epoch in (0, 1):
        order = []
        for step, batch in enumerate(found.epoch(epoch)):
            chosen = batch["index"][batch["index"] >= 0]
            np.testing.assert_array_equal(chosen, found.chosen(epoch, step))
            # The same batch as from memory, had it been drawn there.
            drawn = found._drawn(epoch, 4 * step) if "negatives" in options else None
            keys = batch["key"][: len(chosen)]
            expected = RowBatches(whole, 4, which=which, seed=1, **options)._batch(
                whole.take(chosen), chosen, keys, drawn
            )
            assert batch.keys() == expected.keys()
            for name, array in batch.items():
                np.testing.assert_array_equal(array, expected[name], err_msg=name)
            order += chosen.tolist()
        assert sorted(order) == which.tolist()
        orders.append(order)
    assert orders[0] != orders[1]
    assert [batch["index"].tolist() for batch in found.epoch(0)] == [
        batch["index"].tolist() for batch in found.epoch(0)
    ]


def test_a_pool_of_an_epoch_is_a_few_blocks_of_neighbours(folder, tmp_path):
    rows = stored(folder, tmp_path).rows("user")
    found = RowBatches(rows, 4, which=np.flatnonzero(rows.lengths), seed=0)
    # 49 users with some 11 ratings in the training part: 150 entries are 12 rows, 40 entries 3.
    order = found.order(0)
    assert found._pool_rows == 12
    for start in range(0, 48, 12):
        assert len(np.unique(order[start : start + 12] // 3)) <= 5
    assert (np.diff(order) != 1).mean() > 0.8


def test_shards_are_read_once_into_a_cache_that_a_change_renews(folder, tmp_path):
    arrays = stored(folder, tmp_path).item.path
    before = arrays.stat().st_mtime_ns
    assert stored(folder, tmp_path).item.path == arrays and arrays.stat().st_mtime_ns == before
    shard = folder / "train" / "part-00000.parquet"
    shard.write_bytes(shard.read_bytes())
    assert stored(folder, tmp_path).item.path != arrays
    arrays.write_bytes(b"")
    shard.touch()
    with pytest.raises(DataError, match=r"missing or damaged: remove its folder"):
        StoredRatings.open(arrays.parent, stored(folder, tmp_path).in_memory())


def rewritten(path, change) -> None:
    pq.write_table(change(pq.read_table(path)), path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: path.unlink(), r"part-00002\.parquet is missing: the folder of shards is not complete"),
        (lambda path: path.write_bytes(b"PAR1"), r"part-00002\.parquet is not a Parquet file, or is damaged"),
        (
            lambda path: rewritten(path, lambda table: table.rename_columns(["user", "thing", "value", "time"])),
            r"part-00002\.parquet has no column 'item'\. Found: user, thing, value, time",
        ),
        (
            lambda path: rewritten(path, lambda table: table.set_column(2, "value", table["value"].cast(pa.float64()))),
            r"column 'value' holds double, and should hold float",
        ),
        (lambda path: rewritten(path, lambda table: table.slice(1)), r"rows, about\.json says"),
        (
            lambda path: rewritten(path, lambda table: table.take(list(range(len(table)))[::-1])),
            r"part-00002\.parquet is not in the order of users",
        ),
        (
            lambda path: rewritten(
                path, lambda table: table.set_column(1, "item", pa.array([30] * len(table), pa.int32()))
            ),
            r"column 'item' holds an index that items\.parquet does not have",
        ),
    ],
)
@pytest.mark.parametrize("cached", [False, True])
def test_shards_that_cannot_be_used(folder, tmp_path, change, message, cached):
    change(folder / "train" / "part-00002.parquet")
    with pytest.raises(DataError, match=message):
        read_shards(folder, tmp_path / "cache" if cached else None)
    assert not list(tmp_path.glob("cache/*"))


def test_folders_that_cannot_be_used(folder, tmp_path):
    with pytest.raises(DataError, match=r"is no folder of shards.*python prepare\.py"):
        read_shards(tmp_path)
    about = json.loads((folder / "about.json").read_text())
    for change, message in [
        ({"version": 2}, "is of version 2 of the format, and this nnrec reads version 1"),
        ({"family": "impressions"}, "holds impressions, and data=shards reads ratings and sessions"),
        ({"items": 31}, r"items\.parquet holds 30 ids, about\.json says 31"),
    ]:
        (folder / "about.json").write_text(json.dumps(about | change))
        with pytest.raises(DataError, match=message):
            read_shards(folder, None)
    for key in about.keys() - {"version", "family"}:
        (folder / "about.json").write_text(json.dumps({name: value for name, value in about.items() if name != key}))
        with pytest.raises(DataError, match=rf"about\.json is damaged: it does not say '{key}'"):
            read_shards(folder, None)
    (folder / "about.json").write_text("{")
    with pytest.raises(DataError, match=r"about\.json is damaged"):
        read_shards(folder, None)
    with pytest.raises(ConfigError, match="come without a split"):
        Prepared()(None, 0)


def test_a_shard_appears_whole_or_not_at_all(small, tmp_path):
    def chunks():
        yield {"user": np.zeros(50, np.int32)}
        raise ValueError

    with pytest.raises(ValueError):
        write_shard(tmp_path / "part.parquet", schema_of(["user"]), chunks())
    assert not list(tmp_path.iterdir())
    # Row groups do not depend on how the rows come.
    values = np.arange(100, dtype=np.int32)
    for name, cut in (("a", [50]), ("b", [1, 36, 74, 99])):
        write_shard(tmp_path / name, schema_of(["user"]), ({"user": part} for part in np.split(values, cut)))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert [pq.ParquetFile(tmp_path / "a").metadata.row_group(n).num_rows for n in range(3)] == [37, 37, 26]
