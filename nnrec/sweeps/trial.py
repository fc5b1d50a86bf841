"""The process of a worker, `python -m nnrec.sweeps.trial`: each trial runs in a fork of it, so that nothing leaks.

Common imports happen once, before the first fork. The backend is not initialised before the fork; devices, precision
and seeds are set in the fork. The worker and the sweep exchange lines of JSON. On standard input the worker receives
the model's class and then the trials to train. After each epoch it writes the monitored figure to standard output and
receives the answer whether to continue.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from contextlib import suppress
from typing import Any, NoReturn, TextIO


def main() -> None:
    """Runs one trial after the other until the sweep closes standard input or ends."""
    told = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # printed output goes to stderr, not into the messages
    _import(json.loads(sys.stdin.readline()))
    while line := sys.stdin.readline():
        task = json.loads(line)
        number = os.fork()
        if not number:
            _run(task, told)
        code = os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])
        if code:
            why = f"was ended by signal {-code}" if code < 0 else f"ended with status {code}"
            _say(told, error=f"The trial {why}: see {task['log']}")


def _import(target: str) -> None:
    """Imports the libraries of a model's class; ignores errors, which the trial will report."""
    from importlib import import_module

    from nnrec.core.config.build import locate
    from nnrec.core.devices import backend
    from nnrec.sweeps import planning  # noqa: F401

    backend.quiet()
    with suppress(Exception):
        locate(target)
        if "keras" in sys.modules:
            import_module("nnrec.training.loop")


def _run(task: dict[str, Any], told: TextIO) -> NoReturn:
    """Runs a task, sends its result, and ends this process."""
    from nnrec.core.errors import NnrecError

    with open(task["log"], "ab") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    status = 0
    try:
        done = _do(task, told)
        sys.stdout.flush()
        _say(told, done=done)
    except NnrecError as error:
        _say(told, error=str(error))
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _do(task: dict[str, Any], told: TextIO) -> dict[str, Any]:
    """The result of the training, or of `nnrec.sweeps.planning.look` if the task has no folder."""
    from omegaconf import OmegaConf

    from nnrec.runs.folder import RunFolder
    from nnrec.sweeps import planning

    config = OmegaConf.create(task["config"])
    if task["folder"] is None:
        return planning.look(config)

    def report(epoch: int, value: float) -> bool:
        _say(told, epoch=epoch, value=value)
        answer = sys.stdin.readline()
        if not answer:  # the sweep has ended
            os._exit(0)
        return bool(json.loads(answer))

    selection = planning.try_out(config, RunFolder(task["folder"]), report)
    kept = {name: selection[name] for name in ("value", "best_epoch", "stopped")}
    return kept | {
        "epochs": len(selection["history"]),
        "seconds": round(selection["seconds"], 3),
        "figures": selection["validation"],
    }


def _say(told: TextIO, **what: Any) -> None:
    with suppress(BrokenPipeError):  # the sweep has ended
        print(json.dumps(what), file=told, flush=True)


if __name__ == "__main__":
    main()
