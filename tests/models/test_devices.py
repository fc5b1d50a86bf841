"""The same losses on one device and on several, of every neural model."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest

PROGRAM = Path(__file__).with_name("first_losses.py")
STEPS = 20
# What couples the rows of a batch, or moves rows of tables: batch statistics, mean activations, shared negatives.
FEW = ("dsstne-levels", "gru4rec-default")
ALL = ()


def started(
    devices: int | str, *arguments: str, backend: str = "tensorflow", **environment: str
) -> subprocess.Popen[str]:
    command = [sys.executable, str(PROGRAM), str(devices), str(STEPS), *arguments]
    environment = {**os.environ, "KERAS_BACKEND": backend, **environment}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def printed(process: subprocess.Popen[str]) -> dict[str, list[float]]:
    output, errors = process.communicate()
    assert process.returncode == 0, errors[-2000:]
    return json.loads(output.splitlines()[-1])


@cache
def on_one(backend: str, cases: tuple[str, ...]) -> dict[str, list[float]]:
    return printed(started(1, *cases, backend=backend))


def check_same(found: dict[str, list[float]], backend: str, cases: tuple[str, ...]) -> None:
    expected = on_one(backend, cases)
    assert found.keys() == expected.keys() and set(cases) <= found.keys()
    for case, losses in expected.items():
        assert len(set(losses)) > STEPS / 2, f"the losses of {case} do not move"
        np.testing.assert_allclose(found[case], losses, rtol=1e-5, err_msg=case)


@pytest.mark.parametrize("backend", ["tensorflow", pytest.param("jax", marks=pytest.mark.slow)])
def test_two_devices_take_the_steps_of_one(backend):
    check_same(printed(started(2, *FEW, backend=backend)), backend, FEW)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
@pytest.mark.parametrize("devices", [2, 4])
def test_every_model_takes_the_steps_of_one_device(devices, backend):
    check_same(printed(started(devices, backend=backend)), backend, ALL)


@pytest.mark.slow
def test_tables_cut_among_devices_take_the_same_steps():
    check_same(printed(started(4, "--sharded", backend="jax")), "jax", ALL)


def free_ports(number: int) -> list[int]:
    sockets = [socket.socket() for _ in range(number)]
    for each in sockets:
        each.bind(("localhost", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def workers(number: int, backend: str, cases: tuple[str, ...]) -> dict[str, list[float]]:
    """Runs several worker processes and returns the losses that the chief prints."""
    addresses = [f"localhost:{port}" for port in free_ports(number)]
    told = [
        json.dumps({"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}})
        for index in range(number)
    ]
    processes = [started("auto", *cases, backend=backend, TF_CONFIG=config) for config in told]
    chief, *others = processes
    found = printed(chief)
    assert [other.wait() for other in others] == [0] * len(others)
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("number", "backend"), [(2, "tensorflow"), (3, "tensorflow"), (2, "jax")])
def test_workers_take_the_steps_of_one_process(number, backend):
    check_same(workers(number, backend, ALL), backend, ALL)
