"""The processes that run trials, and the lock that prevents two sweeps in one folder."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from nnrec.core.errors import RunError

# How long the trials of a killed sweep may take to notice that it has ended.
SECONDS_TO_WAIT = 20.0


class Worker:
    """A process that runs trials one after the other and reports their progress; see `nnrec.sweeps.trial`.

    Args:
        log: file for the worker's own output; each trial has a log of its own.
        threads: number of threads that it may use.
        shares: whether other workers use the same devices.
        lock: a file descriptor that stays open as long as the process lives.
        target: import path of the model's class, which the worker imports at once.
    """

    def __init__(self, log: Path, threads: int, shares: bool, lock: int, target: str) -> None:
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "nnrec.sweeps.trial"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
                env=_environment(threads, shares),
                pass_fds=(lock,),
                start_new_session=True,  # only the sweep receives Ctrl-C, and then ends its trials
            )
        self.log, self.alive = log, True
        self._tell(target)

    def run(self, config: str, folder: Path | None, log: Path) -> Iterator[dict[str, Any]]:
        """Runs a trial and yields its messages; the last one has the key "done" or "error".

        Args:
            config: the trial's configuration, as YAML.
            folder: the trial's folder; None = train nothing and return the result of `nnrec.sweeps.planning.look`.
            log: file for the trial's output.
        """
        assert self._process.stdout is not None
        self._tell({"config": config, "folder": None if folder is None else str(folder), "log": str(log)})
        for line in self._process.stdout:
            message = json.loads(line)
            yield message
            if "done" in message or "error" in message:
                return
        self.alive = False
        yield {"error": f"The worker ended with status {self._process.wait()}: see {self.log}"}

    def answer(self, go_on: bool) -> None:
        """Answers the message of an epoch: whether to continue training."""
        self._tell(go_on)

    def kill(self) -> None:
        """Kills the worker and the trial that it runs."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _tell(self, what: Any) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it has ended: `run` reports how
            self._process.stdin.write(json.dumps(what) + "\n")
            self._process.stdin.flush()


def _environment(threads: int, shares: bool) -> dict[str, str]:
    """This process's environment, with the thread and memory settings of a trial."""
    names = ("OMP", "OPENBLAS", "MKL", "NUMBA")
    found = os.environ | {"PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
    found |= {f"{name}_NUM_THREADS": str(threads) for name in names}
    found |= {"TF_NUM_INTRAOP_THREADS": str(threads), "TF_NUM_INTEROP_THREADS": str(threads)}
    if threads == 1:  # JAX on CPU has no other setting for this
        found["XLA_FLAGS"] = f"{found.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false".strip()
    if shares:  # workers share the memory of a GPU
        found |= {"TF_FORCE_GPU_ALLOW_GROWTH": "true", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    return found


@contextmanager
def locked(folder: Path) -> Iterator[int]:
    """Locks a folder for one sweep and its trials; yields the lock's file descriptor.

    Raises:
        RunError: another sweep holds the lock, or the folder cannot be created.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise RunError(f"Cannot make the folder {folder}: {error.strerror}. Choose another sweep.folder.") from error
    try:
        until = time.monotonic() + SECONDS_TO_WAIT
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise RunError(
                        f"Another sweep, or a trial of one that was killed, is at work in {folder}. Wait for its end, "
                        "or choose another sweep.folder."
                    ) from None
                time.sleep(0.2)
        yield descriptor
    finally:
        os.close(descriptor)


def cores() -> int:
    """The number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
