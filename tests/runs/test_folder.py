"""Run folders: files appear whole or not at all, and nothing in them is unpickled."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nnrec.core.errors import RunError
from nnrec.core.files import atomic
from nnrec.data.ratings import Ratings
from nnrec.data.vocabulary import Vocabulary
from nnrec.runs.folder import RunFolder


def content(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_when_it_is_whole(tmp_path):
    path = tmp_path / "new" / "file.txt"
    with atomic(path) as temporary:
        temporary.write_text("whole")
        assert temporary.suffix == ".txt"  # some writers go by it
        assert not path.exists()
    assert path.read_text() == "whole"
    assert content(path.parent) == ["file.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError])
def test_a_failure_leaves_the_old_file(tmp_path, error):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(error), atomic(path) as temporary:
        temporary.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert content(tmp_path) == ["file.txt"]


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "the disk is full. Free some space and try again."),
        (errno.EFBIG, "files may not be that large here (ulimit -f). Raise the limit and try again."),
        (errno.EACCES, "permission denied. Choose a folder you may write to and try again."),
        (errno.EROFS, "the file system is read-only. Choose another folder and try again."),
    ],
)
def test_why_it_cannot_be_written(tmp_path, number, advice):
    folder = RunFolder.create(tmp_path / "run")
    folder.write_json("metrics.json", {"rmse": 1})
    with pytest.raises(RunError) as told, atomic(folder["metrics.json"]) as temporary:
        temporary.write_text("half")
        raise OSError(number, os.strerror(number))
    assert str(told.value) == f"Cannot write {folder['metrics.json']}: {advice}"
    assert folder.read_json("metrics.json") == {"rmse": 1}
    assert content(folder.path) == ["metrics.json"]


def test_arrays_on_a_full_disk(tmp_path, monkeypatch):
    folder = RunFolder.create(tmp_path / "run")
    folder.write_arrays("checkpoint.npz", {"a": np.arange(3)})

    def full(file, *_, **__):
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np.lib.format, "write_array", full)
    with pytest.raises(RunError, match=r"Cannot write .*checkpoint\.npz: the disk is full\. Free some space"):
        folder.write_arrays("checkpoint.npz", {"a": np.arange(9)})
    assert folder.read_arrays("checkpoint.npz")["a"].tolist() == [0, 1, 2]
    assert content(folder.path) == ["checkpoint.npz"]


def test_a_path_through_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="part of its path is a file, not a folder"), atomic(tmp_path / "file" / "x.txt"):
        pass


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="no folder in which nothing can be made")
@pytest.mark.parametrize("path", ["/proc/x.txt", "/proc/folder/x.txt"])
def test_a_folder_in_which_nothing_can_be_made(path):
    with (
        pytest.raises(RunError, match=f"Cannot write {path}: the system does not permit it"),
        atomic(Path(path)) as place,
    ):
        place.write_text("")


def test_what_is_missing_elsewhere_stays_what_it_is(tmp_path):
    for lacking in (OSError(errno.ENOENT, "none"), OSError(errno.ENOENT, "none", str(tmp_path / "other"))):
        with pytest.raises(FileNotFoundError, match="none"), atomic(tmp_path / "x.txt"):
            raise lacking


def test_create(tmp_path):
    assert RunFolder.create(tmp_path / "a" / "b").path.is_dir()
    (tmp_path / "empty").mkdir()
    RunFolder.create(tmp_path / "empty")
    for used in ("a", "file"):
        (tmp_path / "file").write_text("")
        with pytest.raises(
            RunError, match=rf"The run folder .*/{used} is already in use\. .* continue it with resume="
        ):
            RunFolder.create(tmp_path / used)
    with pytest.raises(RunError, match=r"Cannot make the run folder .*: Not a directory\. Choose another run_dir\."):
        RunFolder.create(tmp_path / "file" / "run")


def test_open(tmp_path):
    with pytest.raises(RunError, match=r"There is no run folder /.*/gone\."):
        RunFolder.open(tmp_path / "gone")
    with pytest.raises(RunError, match=r"is no run folder: it holds no config\.yaml"):
        RunFolder.open(tmp_path)
    (tmp_path / "config.yaml").write_text("")
    assert RunFolder.open(str(tmp_path)).path == tmp_path


def test_arrays_come_back(tmp_path):
    folder = RunFolder.create(tmp_path)
    arrays = {"0": np.eye(2, dtype=np.float32), "model/1": np.array("text"), "e": np.zeros((0, 3), np.int64)}
    folder.write_arrays("weights.npz", arrays)
    found = folder.read_arrays("weights.npz")
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array, strict=True)


def test_missing_files(tmp_path):
    folder = RunFolder.create(tmp_path)
    for read in (folder.read_arrays, folder.read_json):
        with pytest.raises(
            RunError, match=r"has no file\.x: the run did not finish\. Continue it with `python train\.py re"
        ):
            read("file.x")
    with pytest.raises(RunError, match=r"has no users\.parquet"):
        folder.read_catalogue()


@pytest.mark.parametrize("damage", ["cut", "empty", "text"])
def test_damaged_arrays(tmp_path, damage):
    folder = RunFolder.create(tmp_path)
    folder.write_arrays("weights.npz", {"a": np.arange(1000)})
    whole = folder["weights.npz"].read_bytes()
    folder["weights.npz"].write_bytes({"cut": whole[: len(whole) // 2], "empty": b"", "text": b"hello" * 100}[damage])
    with pytest.raises(RunError, match=r"weights\.npz is damaged: "):
        folder.read_arrays("weights.npz")


def test_damaged_json(tmp_path):
    folder = RunFolder.create(tmp_path)
    folder.write_text("metrics.json", '{"rmse": ')
    with pytest.raises(RunError, match=r"metrics\.json is damaged: "):
        folder.read_json("metrics.json")


class Bomb:
    """Leaves a trace when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_nothing_is_unpickled(tmp_path):
    folder = RunFolder.create(tmp_path / "run")
    trace = tmp_path / "trace"
    np.savez(folder["weights.npz"], a=np.array([Bomb(trace)], dtype=object))
    with pytest.raises(RunError, match="weights.npz is damaged: Object arrays cannot be loaded"):
        folder.read_arrays("weights.npz")
    (folder.path / "histories").mkdir()
    for name in ("offsets", "ids", "values"):
        np.save(folder["histories"] / f"{name}.npy", np.array([Bomb(trace)], dtype=object))
    with pytest.raises(RunError, match=r"offsets\.npy is missing or damaged"):
        folder.read_histories(3)
    assert not trace.exists()
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        folder.write_arrays("new.npz", {"a": np.array([Bomb(trace)], dtype=object)})
    assert "new.npz" not in content(folder.path)


@pytest.mark.parametrize("table", [None, pd.DataFrame({"title": ["A", None], "year": [1999, 2000]})])
def test_the_catalogue_comes_back(tmp_path, table):
    empty = np.zeros(0, np.int32)
    ratings = Ratings(
        users=Vocabulary(["ann", "bob", "eve"]),
        items=Vocabulary([7, 9]),
        user=empty,
        item=empty,
        value=empty.astype(np.float32),
        item_table=table,
    )
    folder = RunFolder.create(tmp_path)
    folder.write_catalogue(ratings)
    users, items, found = folder.read_catalogue()
    assert (users, items) == (ratings.users, ratings.items)
    if table is None:
        assert found is None
    else:
        pd.testing.assert_frame_equal(found, table)


def test_the_user_table_comes_back(tmp_path):
    nothing = np.zeros(0, np.int32)
    table = pd.DataFrame({"gender": ["female", None], "age": pd.array([31, None], "Int16")})
    without = Ratings(Vocabulary(["ann", "bob"]), Vocabulary([7]), nothing, nothing, nothing.astype(np.float32))
    folder = RunFolder.create(tmp_path)
    folder.write_catalogue(without)
    assert folder.read_user_table() is None
    folder.write_catalogue(replace(without, user_table=table))
    pd.testing.assert_frame_equal(folder.read_user_table(), table)
    assert len(folder.read_catalogue()) == 3
