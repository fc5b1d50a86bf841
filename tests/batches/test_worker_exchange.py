"""Several workers divide the preparation of batches, and train on the same batches as a single process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pyarrow import flight

import nnrec.batches.rows as batches_module
from nnrec.batches import session_parallel, worker_exchange
from nnrec.batches.device_parts import parts_for
from nnrec.batches.rows import RowBatches
from nnrec.batches.session_parallel import SessionParallelBatches
from nnrec.batches.worker_exchange import Exchange, exchange_of
from nnrec.core.devices import cluster, strategy
from nnrec.core.devices.cluster import Cluster
from nnrec.core.stored_arrays import StoredArray
from nnrec.data.rows import Rows
from tests.batches.test_session_parallel import random_sessions
from tests.models.test_devices import free_ports

ROOT = Path(__file__).resolve().parents[2]
WORKERS = 3


class Told:
    """Batches that record which of their pools are made."""

    def __init__(self, batches):
        self.batches, self.made = batches, []
        self.axes, self.varying, self.num_pools = batches.axes, batches.varying, batches.num_pools
        self.num_examples, self.where, self.epoch = batches.num_examples, batches.where, batches.epoch

    def __len__(self):
        return len(self.batches)

    def pools(self, epoch, numbers):
        for number, pool in zip(numbers, self.batches.pools(epoch, numbers), strict=True):
            self.made.append((epoch, number))
            yield pool


@pytest.fixture
def workers(monkeypatch):
    """Returns a function that runs the exchanges of all workers in threads of this process, with two devices each."""
    turn, meeting, said = threading.local(), threading.Barrier(WORKERS), [0] * WORKERS

    def all_gather(number):
        said[turn.index] = number
        meeting.wait()
        return list(said)

    monkeypatch.setattr(
        cluster, "cluster", lambda: Cluster(tuple(f"localhost:{n}" for n in range(WORKERS)), turn.index)
    )
    monkeypatch.setattr(strategy, "all_gather", all_gather)
    monkeypatch.setattr(worker_exchange, "num_parts", lambda: 2 * WORKERS)

    def together(batches, epochs):
        def work(index):
            turn.index = index
            found = Exchange(batches[index])
            parts = [list(found.epoch(epoch)) for epoch in epochs]
            meeting.wait()
            found.close()
            return parts

        with ThreadPoolExecutor(WORKERS) as pool:
            return list(pool.map(work, range(WORKERS)))

    return together


@pytest.fixture
def made_by_rows(tmp_path, monkeypatch):
    """Batches of sparse rows in files, in several pools."""
    monkeypatch.setattr(batches_module, "POOL_ENTRIES", 60)
    monkeypatch.setattr(batches_module, "BLOCK_ENTRIES", 15)
    rng = np.random.default_rng(0)
    offsets = np.concatenate([[0], np.cumsum(rng.integers(1, 9, 100))])
    arrays = []
    for name, array in (("id", rng.integers(0, 50, offsets[-1])), ("value", rng.random(offsets[-1]))):
        array = array.astype(np.int32 if name == "id" else np.float32)
        array.tofile(tmp_path / name)
        arrays.append(StoredArray(tmp_path / name, array.dtype, array.shape))
    rows = Rows(offsets, *arrays, None, 50)
    return lambda: RowBatches(rows, 12, seed=5, unique_ids=True, negatives=(8, 0.5))


@pytest.fixture
def made_by_clicks(monkeypatch):
    """Session-parallel host calls, in several pools."""
    monkeypatch.setattr(session_parallel, "POOL_EVENTS", 60)
    train = random_sessions(80, 30)
    return lambda: SessionParallelBatches(train, 12, seed=5, n_sample=4, steps_per_call=2, random_order=True)


@pytest.mark.parametrize("name", ["made_by_rows", "made_by_clicks"])
def test_each_worker_makes_a_share_and_gets_its_parts_of_all(name, workers, request):
    make = request.getfixturevalue(name)
    batches = [Told(make()) for _ in range(WORKERS)]
    assert batches[0].num_pools > 2 * WORKERS
    epochs = (0, 1, 2)
    found = workers(batches, epochs)
    for epoch in epochs:
        whole = list(make().epoch(epoch))
        for index, parts in enumerate(found):
            numbers = range(2 * index, 2 * index + 2)
            expected = [part for batch in whole for part in parts_for(batch, make().axes, numbers, 2 * WORKERS)]
            assert len(parts[epoch]) == len(expected) == 2 * len(whole)
            for part, other in zip(parts[epoch], expected, strict=True):
                assert part.keys() == other.keys()
                for key, array in other.items():
                    np.testing.assert_array_equal(part[key], array, strict=True, err_msg=key)
    for index, one in enumerate(batches):
        mine = range(index, one.num_pools, WORKERS)
        assert one.made == [(epoch, pool) for epoch in epochs for pool in mine]


def test_pools_may_be_asked_for_in_any_order(made_by_rows, monkeypatch):
    monkeypatch.setattr(cluster, "cluster", lambda: Cluster(("localhost:1", "localhost:2"), 1))
    monkeypatch.setattr(strategy, "all_gather", lambda number: [number, number])
    monkeypatch.setattr(worker_exchange, "num_parts", lambda: 2)
    found = Exchange(made_by_rows())
    expected = {number: list(pool) for number, pool in zip((1, 3, 5), made_by_rows().pools(0, [1, 3, 5]), strict=True)}
    for number in (5, 1, 3):
        for worker in (1, 0):
            parts = found.given(0, number, worker)
            for part, batch in zip(parts, expected[number], strict=True):
                numbers = range(worker, worker + 1)
                np.testing.assert_array_equal(
                    part["index"], parts_for(batch, found.batches.axes, numbers, 2)[0]["index"]
                )
    found.close()


def test_there_is_nothing_to_share_alone_or_in_one_pool(made_by_rows, monkeypatch):
    assert exchange_of(made_by_rows()) is None, "a process by itself"
    monkeypatch.setattr(cluster, "cluster", lambda: Cluster(("localhost:1", "localhost:2"), 0))
    monkeypatch.setattr(batches_module, "POOL_ENTRIES", 2**20)
    assert exchange_of(made_by_rows()) is None


def test_a_worker_that_does_not_answer_is_noticed(workers, made_by_rows, monkeypatch):
    class Broken(Told):
        def pools(self, epoch, numbers):
            raise OSError("gone")

    noticed = []
    monkeypatch.setattr(strategy, "note_loss", lambda: noticed.append(True))
    with pytest.raises((OSError, flight.FlightError)):
        workers([Broken(made_by_rows()), *(Told(made_by_rows()) for _ in range(WORKERS - 1))], (0,))
    assert noticed


# train.py with pools so small that there are many.
SMALL_POOLS = """
import runpy, sys
from nnrec.batches import rows as batches
from nnrec.batches import session_parallel
batches.POOL_ENTRIES, batches.BLOCK_ENTRIES, session_parallel.POOL_EVENTS = 1000, 100, 400
sys.argv[0] = "train.py"
runpy.run_path("train.py", run_name="__main__")
"""
OF_RATINGS = ("data=simulated_ratings", "split=hashed", "data.source.num_users=600", "data.source.num_ratings=20000")
OF_CLICKS = (
    "data=simulated_clicks",
    "split=last_sessions",
    "data.source.num_sessions=400",
    "data.source.num_events=2000",
)
MODELS = {
    "autorec": (OF_RATINGS, "model.arithmetic=sparse", "model.by=user", "trainer.batch_size=24"),
    "mult_dae": (OF_RATINGS, "evaluation=top_n", "trainer.batch_size=24"),
    "gru4rec": (OF_CLICKS, "trainer.batch_size=24"),
}


class Trainings:
    """Trainings on shards, started from the command line.

    Args:
        folder: folder for all files.
        model: one of `MODELS`.
        backend: the Keras backend.
    """

    def __init__(self, folder: Path, model: str, backend: str) -> None:
        data, *settings = MODELS[model]
        self.folder, self.backend = folder, backend
        self.settings = [f"model={model}", "data=shards", "split=prepared", "trainer.epochs=3", *settings]
        self.settings += [f"data.source.path={folder / 'shards'}", f"data.source.cache={folder / 'cache'}"]
        command = [sys.executable, "prepare.py", *data, f"output={folder / 'shards'}"]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)

    def start(self, *settings: str, **environment: str) -> subprocess.Popen[str]:
        whole = settings if settings[0].startswith("resume=") else (*self.settings, *settings)
        command = [sys.executable, "-c", SMALL_POOLS, *whole]
        environment = {**os.environ, "KERAS_BACKEND": self.backend, **environment}
        return subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)

    def start_two(self, *settings: str) -> list[subprocess.Popen[str]]:
        cluster = {"worker": [f"localhost:{port}" for port in free_ports(2)]}
        tasks = [{"cluster": cluster, "task": {"type": "worker", "index": index}} for index in (0, 1)]
        return [self.start(*settings, TF_CONFIG=json.dumps(task)) for task in tasks]

    def history(self, name: str) -> pd.DataFrame:
        return pd.read_csv(self.folder / name / "history.csv")


def ended(*processes: subprocess.Popen[str]) -> None:
    for process in processes:
        errors = process.communicate()[1]
        assert process.returncode == 0, errors[-3000:]


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
@pytest.mark.parametrize("model", MODELS)
def test_workers_train_on_shards_as_one_process_does(model, backend, tmp_path):
    trainings = Trainings(tmp_path, model, backend)
    ended(trainings.start(f"run_dir={tmp_path / 'one'}"))
    ended(*trainings.start_two(f"run_dir={tmp_path / 'two'}"))
    np.testing.assert_allclose(trainings.history("two")["loss"], trainings.history("one")["loss"], rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_training_on_shards_that_lost_a_worker_resumes_to_the_same_result(victim, tmp_path):
    trainings = Trainings(tmp_path, "gru4rec", "tensorflow")
    often = ("trainer.checkpoint_seconds=0", "trainer.epochs=6")
    ended(*trainings.start_two(*often, f"run_dir={tmp_path / 'whole'}"))
    processes = trainings.start_two(*often, f"run_dir={tmp_path / 'cut'}")
    while not (tmp_path / "cut" / "checkpoint.npz").is_file():
        assert processes[0].poll() is None
        time.sleep(0.1)
    processes[victim].send_signal(signal.SIGKILL)
    assert "error: Another worker is gone" in processes[1 - victim].communicate(timeout=120)[1]
    assert not (tmp_path / "cut" / "metrics.json").is_file()
    ended(*trainings.start_two(f"resume={tmp_path / 'cut'}"))
    pd.testing.assert_series_equal(
        trainings.history("cut")["loss"], trainings.history("whole")["loss"], check_exact=True
    )
