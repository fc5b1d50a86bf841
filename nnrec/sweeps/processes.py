"""The processes that trials run in, and the lock that keeps two sweeps out of one folder."""

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

# How long the trials of a killed sweep may take to notice that it has gone.
SECONDS_TO_WAIT = 20.0


class Worker:
    """A process that runs trials one after the other, and tells how they go; see `nnrec.sweeps.trial`.

    Args:
        log: what it prints goes there; what a trial prints, to the trial's own.
        threads: how many it may use.
        shares: whether other workers use the same devices.
        lock: a file descriptor that is to stay open as long as the process lives.
        target: the class of the model, which it imports at once.
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
                start_new_session=True,  # Ctrl-C is for the sweep, which then ends its trials
            )
        self.log, self.alive = log, True
        self._tell(target)

    def run(self, config: str, folder: Path | None, log: Path) -> Iterator[dict[str, Any]]:
        """What a trial says, to its end; the last message has "done" or "error".

        Args:
            config: the trial's, as YAML.
            folder: the trial's; None = nothing is trained, and what `nnrec.sweeps.planning.look` finds is told.
            log: what it prints goes there.
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
        """Says whether to train on, after an epoch."""
        self._tell(go_on)

    def kill(self) -> None:
        """Ends it, and the trial that it runs."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _tell(self, what: Any) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it has ended: `run` says how
            self._process.stdin.write(json.dumps(what) + "\n")
            self._process.stdin.flush()


def _environment(threads: int, shares: bool) -> dict[str, str]:
    """This process's, with as many threads as a trial may use."""
    names = ("OMP", "OPENBLAS", "MKL", "NUMBA")
    found = os.environ | {"PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
    found |= {f"{name}_NUM_THREADS": str(threads) for name in names}
    found |= {"TF_NUM_INTRAOP_THREADS": str(threads), "TF_NUM_INTEROP_THREADS": str(threads)}
    if threads == 1:  # JAX on a CPU has no other switch
        found["XLA_FLAGS"] = f"{found.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false".strip()
    if shares:  # one GPU's memory
        found |= {"TF_FORCE_GPU_ALLOW_GROWTH": "true", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    return found


@contextmanager
def locked(folder: Path) -> Iterator[int]:
    """Keeps a folder for one sweep and its trials; gives the lock's file descriptor.

    Raises:
        RunError: another sweep has it.
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
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
