"""Shards of sessions are read as they were written, and sessions in files give the same results as in memory."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nnrec.batches import session_pools
from nnrec.batches.session_parallel import SessionParallelBatches
from nnrec.batches.session_pools import pools
from nnrec.batches.session_windows import WindowBatches
from nnrec.core.errors import DataError
from nnrec.data.load import load
from nnrec.data.sessions import Sessions
from nnrec.data.stored import sessions as stored_sessions
from nnrec.data.summary import summarise
from nnrec.data.vocabulary import Vocabulary
from nnrec.evaluation.sessions import check_apart
from nnrec.splits.sessions import LastSessions, SessionSplit
from nnrec.splits.shards import sessions as session_shards
from nnrec.splits.shards import shard_files
from nnrec.splits.shards.folder import Prepared, read_shards, write_shards

ITEMS = 30


def made(number: int = 120, text: bool = False, **more) -> Sessions:
    """Sessions of 1 to 9 events, which overlap in time."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 10, number)
    session = rng.permutation(np.repeat(np.arange(number), lengths))
    names = [f"ü{n}" if n % 2 else f"visit {n}" for n in range(number)] if text else (np.arange(number) * 7) % 1000
    fields = {
        "items": Vocabulary([f"i{n:02d}" for n in range(ITEMS)]),
        "item": rng.integers(0, ITEMS, len(session)).astype(np.int32),
        "time": 1e9 + np.round(rng.uniform(0, 500, len(session)) + 20 * session, 3),
        "time_kind": "timestamp",
        "event": (np.arange(len(session)) % 3).astype(np.int16),
        "event_names": ("view", "cart", "buy"),
        "item_table": pd.DataFrame({"title": [f"Thing {n}" for n in range(ITEMS)]}),
        "notes": ("Read.",),
    }
    return Sessions.build(Vocabulary(names), session, **fields | more)


@pytest.fixture
def small(monkeypatch):
    """Makes shards, chunks, pools and blocks so small that there are many of each."""
    monkeypatch.setattr(shard_files, "SHARD_ROWS", 100)
    monkeypatch.setattr(shard_files, "GROUP_ROWS", 37)
    monkeypatch.setattr(session_shards, "CHUNK_EVENTS", 20)
    monkeypatch.setattr(stored_sessions, "CHUNK_ENTRIES", 50)
    monkeypatch.setattr(session_pools, "POOL_EVENTS", 60)
    monkeypatch.setattr(session_pools, "BLOCK_EVENTS", 15)


def same(found: Sessions, expected: Sessions) -> None:
    for name in ("offsets", *Sessions.PER_EVENT):
        one, other = getattr(found, name), getattr(expected, name)
        assert (one is None) == (other is None), name
        if one is not None:
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(np.asarray(one), other, err_msg=name)
    assert found.ids.take(np.arange(len(found.ids))) == expected.ids and found.items == expected.items


def split_of(sessions: Sessions) -> SessionSplit:
    return LastSessions(0.2, 0.2)(sessions, 0)


@pytest.fixture
def folder(small, tmp_path):
    place = tmp_path / "shards"
    write_shards(split_of(made()), place, "made")
    return place


def stored(folder, tmp_path) -> Sessions:
    train = read_shards(folder, tmp_path / "cache").train
    assert isinstance(train, Sessions) and train.stored
    return train


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("kind", ["numbers", "text", "bare"])
def test_a_split_comes_back(small, tmp_path, kind, cached):
    bare = {"time": None, "time_kind": None, "event": None, "event_names": (), "item_table": None}
    split = split_of(made(text=kind == "text", **(bare if kind == "bare" else {})))
    write_shards(split, tmp_path / "shards", "made")
    assert len(list((tmp_path / "shards" / "train").iterdir())) == -(-len(split.train) // 100) > 2
    found = Prepared()(read_shards(tmp_path / "shards", tmp_path / "cache" if cached else None), 0)
    train = found.train
    assert train.stored == cached and train.family == "sessions"
    assert found.definition == split.definition
    assert (train.event_names, train.time_kind) == (split.train.event_names, split.train.time_kind)
    same(found.train, split.train)
    for part in ("validation", "test"):
        same(getattr(found, part), getattr(split, part))
        check_apart(found.train, getattr(found, part))
    same(found.merged().train, split.merged().train)
    same(found.in_memory().train, split.train)
    assert found.counts() == split.counts()


def test_a_session_is_in_one_file(folder):
    ids = [set(pq.read_table(file)["session"].to_pylist()) for file in sorted((folder / "train").iterdir())]
    assert sum(map(len, ids)) == len(set().union(*ids))
    sizes = [pq.read_metadata(file).num_rows for file in (folder / "train").iterdir()]
    assert max(sizes) < 150


def test_what_is_made_of_sessions_in_files(folder, tmp_path):
    train = stored(folder, tmp_path)
    whole = train.in_memory()
    which = np.array([70, 3, 5, 4])
    same(train.take(which), whole.take(which))
    np.testing.assert_array_equal(train.support, whole.support)
    assert (train.nbytes, train.sizes, len(train)) == (whole.nbytes, whole.sizes, len(whole))
    assert train.ids.indices([*whole.ids.ids[[40, 3, 40]], -1]).tolist() == [40, 3, 40, -1]
    with pytest.raises(DataError, match="1 of 1 held-out sessions are in the training part"):
        check_apart(train, train.take(np.array([60])))


def test_fingerprint_and_summary_do_not_depend_on_where_sessions_lie(folder, tmp_path):
    splits = read_shards(folder, tmp_path / "cache"), read_shards(folder, None)
    in_files, whole = (split.train for split in splits)
    assert in_files.stored and not whole.stored
    assert splits[0].fingerprint() == splits[1].fingerprint() != whole.fingerprint() == in_files.fingerprint()
    assert summarise(replace(in_files, notes=())) == summarise(replace(whole, notes=()))
    assert in_files.notes[0] == "Read." and "more events are for validation" in in_files.notes[1]


@pytest.mark.parametrize("shuffle", [None, (0, 3)])
def test_pools_hold_every_session_once(folder, tmp_path, shuffle):
    train = stored(folder, tmp_path)
    whole, found = train.in_memory(), list(pools(train, shuffle))
    assert len(found) > 4
    for pool in found:
        for number, start in zip(pool.which, pool.start, strict=True):
            expected = whole.item[whole.offsets[number] : whole.offsets[number + 1]]
            np.testing.assert_array_equal(pool.item[start : start + len(expected)], expected)
    order = np.concatenate([pool.which for pool in found])
    assert sorted(order) == list(range(train.num_sessions))
    assert (order == np.arange(len(order))).all() == (shuffle is None)
    other = np.concatenate([pool.which for pool in pools(train, shuffle and (0, 4))])
    assert (order == other).all() == (shuffle is None)


def test_steps_from_files_are_those_from_memory(folder, tmp_path):
    train = stored(folder, tmp_path)
    options = {"seed": 1, "n_sample": 5, "steps_per_call": 7}
    found, expected = (SessionParallelBatches(part, 4, **options) for part in (train, train.in_memory()))
    assert len(found) == len(expected) > 3
    for one, other in zip(found.epoch(2), expected.epoch(2), strict=True):
        assert one.keys() == other.keys()
        for name, array in one.items():
            np.testing.assert_array_equal(array, other[name], err_msg=name)
    assert found.where(2, 1) == expected.where(2, 1)


def test_a_random_order_of_one_pool_is_that_of_memory(folder, tmp_path, monkeypatch):
    train = stored(folder, tmp_path)
    for events in (10_000, 60):
        monkeypatch.setattr(session_pools, "POOL_EVENTS", events)
        found, expected = (
            SessionParallelBatches(part, 4, seed=1, random_order=True, steps_per_call=7)
            for part in (train, train.in_memory())
        )
        read = [np.concatenate([events for _, events, _ in batches.plan(2)]) for batches in (found, expected)]
        assert (read[0] == read[1]).all() == (events == 10_000)
        assert sorted(read[0][read[0] >= 0]) == sorted(read[1][read[1] >= 0])


@pytest.mark.parametrize("options", [{"cbow": False}, {"cbow": True, "window": None}, {"subsample": 0.01}])
def test_windows_from_files_are_those_from_memory(folder, tmp_path, monkeypatch, options):
    train = stored(folder, tmp_path)
    settings = {"seed": 1, "cbow": False, "window": 2, "negatives": 2, "power": 0.75, "subsample": None} | options

    def batches(sessions: Sessions) -> list[dict[str, np.ndarray]]:
        return list(WindowBatches(sessions, 16, **settings).epoch(1))

    def pairs(found: list[dict[str, np.ndarray]]) -> list[tuple[int, int]]:
        of_one = [(batch["unique_ids"][batch["input"]], batch["scored"][batch["output"][:, 0]]) for batch in found]
        weight = np.concatenate([batch["weight"] for batch in found]) > 0
        inputs, targets = (np.concatenate(arrays)[weight] for arrays in zip(*of_one, strict=True))
        return sorted((*sorted(row), target) for row, target in zip(inputs.tolist(), targets.tolist(), strict=True))

    expected = batches(train.in_memory())
    if not options.get("cbow"):  # the padding of inputs depends on the batch
        assert pairs(batches(train)) == pairs(expected)
    monkeypatch.setattr(session_pools, "POOL_EVENTS", 10_000)
    for one, other in zip(batches(train), expected, strict=True):
        for name, array in one.items():
            np.testing.assert_array_equal(array, other[name], err_msg=name)


def rewritten(path, change) -> None:
    pq.write_table(change(pq.read_table(path)), path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: path.unlink(), r"part-00001\.parquet is missing: the folder of shards is not complete"),
        (lambda path: rewritten(path, lambda table: table.drop_columns("item")), r"has no column 'item'\. Found: se"),
        (
            lambda path: rewritten(
                path, lambda table: table.take(list(range(0, len(table), 2)) + list(range(1, len(table), 2)))
            ),
            "train holds .* sessions, about.json says 77: are the events of each session together|occurs twice",
        ),
        (
            lambda path: rewritten(path, lambda t: t.set_column(1, "item", pa.array([30] * len(t), pa.int32()))),
            r"column 'item' holds an index that items\.parquet does not have",
        ),
    ],
)
@pytest.mark.parametrize("cached", [False, True])
def test_shards_that_cannot_be_used(folder, tmp_path, change, message, cached):
    change(folder / "train" / "part-00001.parquet")
    with pytest.raises(DataError, match=message):
        read_shards(folder, tmp_path / "cache" if cached else None)


@pytest.mark.parametrize("family", [None, "sessions"])  # as configured, and as recorded by the resumed run
def test_shards_are_loaded_as_they_are(folder, tmp_path, family):
    source = {"_target_": "nnrec.splits.read_shards", "path": str(folder), "cache": str(tmp_path / "cache")}
    found = load({"name": "shards", "family": family, "source": source})
    assert found.train.stored and found.fingerprint() == read_shards(folder, None).fingerprint()


def test_about_says_what_there_is(folder):
    about = json.loads((folder / "about.json").read_text())
    assert about["family"] == "sessions" and about["session_id_bytes"] is None
    assert about["columns"] == ["session", "item", "time", "event"]
    assert about["sessions"] == {"train": 77, "validation": 19, "test": 24}
    for key in about.keys() - {"version", "family"}:
        (folder / "about.json").write_text(json.dumps({name: value for name, value in about.items() if name != key}))
        with pytest.raises(DataError, match=rf"about\.json is damaged: it does not say '{key}'"):
            read_shards(folder, None)
