"""What the trainer's options do to an epoch: precision, XLA, several steps in one go.

    python benchmarks/options.py --case large|small|all [--repeats 3] [--epochs 4]

| case  | users | items | ratings   | hidden | batch | a step                                                |
|-------|-------|-------|-----------|--------|-------|-------------------------------------------------------|
| large | 6,040 | 3,706 | 1,000,209 | 500    | 128   | 2.4 GFLOP in products of large matrices: 12 ms        |
| small | 6,040 | 500   | 100,000   | 16     | 16    | next to none: what Python and TensorFlow do around it |

User-based AutoRec with dense arithmetic and Adam on TensorFlow. "nnrec" is float32, a step at a time, without XLA; the
others differ in one option each. How it is measured: benchmarks/frame.py.
"""

from __future__ import annotations

from typing import Any

import frame
from frame import Case, Contender, Outcome

OPTIONS: dict[str, dict[str, Any]] = {
    "nnrec": {},
    "bfloat16": {"precision": "mixed_bfloat16"},
    "float16": {"precision": "mixed_float16"},
    "xla": {"xla": True},
    "steps-8": {"steps_per_execution": 8},
}
PEERS = tuple(OPTIONS)
CASES = {
    "large": Case(6_040, 3_706, 1_000_209, 500, 128, peers=PEERS),
    "small": Case(6_040, 500, 100_000, 16, 16, peers=PEERS),
}


def contender(settings: dict[str, Any]) -> Contender:
    """AutoRec trained with these settings of the trainer."""

    def run(case: Case, arrays: dict, epochs: int) -> Outcome:
        def make():
            from nnrec.models.autoencoders.autorec import AutoRec

            return AutoRec(case.num_users, case.num_items, by="user", hidden_units=(case.hidden,), arithmetic="dense")

        return frame.fit_nnrec(make, case, arrays, epochs, **settings)

    return run


if __name__ == "__main__":
    frame.main("Options", CASES, {name: contender(settings) for name, settings in OPTIONS.items()})
