"""A trial in a process of its own, `python -m nnrec.sweeps.trial`: nothing of one reaches another.

It speaks with the sweep in lines of JSON: is told what to train on standard input, tells the monitored figure after
each epoch on standard output, and is answered there whether to go on. What it prints goes to standard error.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any, TextIO


def main() -> None:
    """Does what the first line of standard input asks for, and says what came of it."""
    # Whatever prints to standard output, in Python or below, is not part of the talk.
    told = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    from nnrec.errors import NnrecError

    try:
        _say(told, done=_do(json.loads(sys.stdin.readline()), told))
    except NnrecError as error:
        _say(told, error=str(error))


def _do(task: dict[str, Any], told: TextIO) -> dict[str, Any]:
    """The monitored figure's name where nothing is to be trained, otherwise what the training came to."""
    from omegaconf import OmegaConf

    from nnrec import pipeline
    from nnrec.runs import RunFolder

    config = OmegaConf.create(task["config"])
    if task["folder"] is None:
        return {"monitor": pipeline.prepare(config).trainer.monitor}
    stopped = False

    def report(epoch: int, value: float) -> bool:
        nonlocal stopped
        _say(told, epoch=epoch, value=value)
        answer = sys.stdin.readline()
        if not answer:  # the sweep has gone
            os._exit(1)
        stopped = not json.loads(answer)
        return not stopped

    selection = pipeline.try_out(config, RunFolder(task["folder"]), report)
    history = selection["history"]
    kept = {"value": selection["value"], "best_epoch": selection["best_epoch"], "epochs": len(history)}
    return kept | {"seconds": round(selection["seconds"], 3), "stopped": stopped, "figures": selection["validation"]}


def _say(told: TextIO, **what: Any) -> None:
    print(json.dumps(what), file=told, flush=True)


if __name__ == "__main__":
    main()
