"""Selection of processes and devices."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nnrec.core.devices import strategy
from nnrec.core.devices.cluster import Cluster
from nnrec.core.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]


def told(cluster, kind="worker", index=0):
    return {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})}


def test_a_process_by_itself_has_no_cluster():
    assert Cluster.of_environment({}) is None
    assert Cluster.of_environment(told({"worker": ["a:1"]})) is None
    assert Cluster.of_environment({"SLURM_NTASKS": "4"}) is None, "within an allocation, but not started by srun"


def test_tf_config_says_who_is_who():
    workers = {"worker": ["a:1", "b:2", "c:3"]}
    assert Cluster.of_environment(told(workers, index=2)) == Cluster(("a:1", "b:2", "c:3"), 2)
    # A chief is the first of all.
    chief = {"chief": ["a:1"], "worker": ["b:2", "c:3"]}
    assert Cluster.of_environment(told(chief, "chief")) == Cluster(("a:1", "b:2", "c:3"), 0)
    assert Cluster.of_environment(told(chief, index=1)) == Cluster(("a:1", "b:2", "c:3"), 2)


def test_slurm_says_the_same():
    slurm = {
        "SLURM_STEP_NUM_TASKS": "6",
        "SLURM_PROCID": "3",
        "SLURM_STEP_NODELIST": "n[09-10],m[1,4].x,k",
        "SLURM_STEP_TASKS_PER_NODE": "2,1(x4)",
    }
    found = Cluster.of_environment(slurm)
    assert found == Cluster(("n09:8888", "n09:8889", "n10:8888", "m1.x:8888", "m4.x:8888", "k:8888"), 3)


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": 2}}',
             '{"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "evaluator", "index": 0}}',
             '{"cluster": {"worker": ["a:1", "b:2"]}, "task": {}}'],
)  # fmt: skip
def test_a_tf_config_that_makes_no_sense_is_refused(text):
    with pytest.raises(ConfigError, match="TF_CONFIG"):
        Cluster.of_environment({"TF_CONFIG": text})


@pytest.mark.parametrize("devices", [0, -1, True, 1.5, "two", None])
def test_devices_are_counted_or_named(devices):
    with pytest.raises(ConfigError, match="trainer.devices must be auto, cpu, all, or a number"):
        strategy.check(devices)
    for good in (1, 4, "auto", "cpu", "all"):
        strategy.check(good)


def run(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, "train.py", "model=autorec", "trainer.epochs=4", *arguments]
    environment = {**os.environ, **environment}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def refused(*arguments: str, **environment: str) -> str:
    process = run(*arguments, **environment)
    _, errors = process.communicate()
    assert process.returncode == 1
    return errors


def test_what_cannot_be_divided_is_refused(tmp_path):
    errors = refused("trainer.devices=2", "trainer.batch_size=25", f"run_dir={tmp_path}/run")
    assert "error: trainer.batch_size=25 cannot be divided by 2 devices. Choose a multiple, such as 26." in errors
    assert "Traceback" not in errors


def test_tables_are_cut_on_jax_alone(tmp_path):
    errors = refused("trainer.shard_tables=true", f"run_dir={tmp_path}/run", KERAS_BACKEND="tensorflow")
    assert "error: trainer.shard_tables works on JAX alone" in errors


def workers(ports: list[int], *arguments: str) -> list[subprocess.Popen[str]]:
    cluster = {"worker": [f"localhost:{port}" for port in ports]}
    return [run(*arguments, **told(cluster, index=index)) for index in range(len(ports))]


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_job_that_lost_a_worker_resumes_to_the_same_result(tmp_path, victim):
    from tests.core.test_devices import free_ports

    settings = ("trainer.batch_size=60", "trainer.checkpoint_seconds=0")
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    chief, other = workers(free_ports(2), *settings, f"run_dir={whole}")
    assert chief.wait() == other.wait() == 0
    processes = workers(free_ports(2), *settings, f"run_dir={cut}")
    while not (cut / "checkpoint.npz").is_file():
        assert processes[0].poll() is None
        time.sleep(0.1)
    processes[victim].send_signal(signal.SIGKILL)
    _, errors = processes[1 - victim].communicate(timeout=120)
    assert "error: Another worker is gone" in errors
    assert not (cut / "metrics.json").is_file()
    for process in workers(free_ports(2), f"resume={cut}"):
        assert process.wait() == 0
    found, expected = (json.loads((run / "metrics.json").read_text()) for run in (cut, whole))
    assert found["test"] == expected["test"] and found["validation"] == expected["validation"]
