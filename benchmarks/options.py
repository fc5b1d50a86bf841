"""Effect of the trainer's options on the time of an epoch: precision, XLA, several steps per call.

    python benchmarks/options.py --case large|small|all [--repeats 3] [--epochs 4]

| case  | users | items | ratings   | hidden | batch | cost of a step                                        |
|-------|-------|-------|-----------|--------|-------|-------------------------------------------------------|
| large | 6,040 | 3,706 | 1,000,209 | 500    | 128   | 2.4 GFLOP in products of large matrices: 12 ms        |
| small | 6,040 | 500   | 100,000   | 16     | 16    | mostly the overhead of Python and TensorFlow          |

User-based AutoRec with dense arithmetic and Adam on TensorFlow. "nnrec" is float32, one step per call, without XLA; the
others differ in one option each. benchmarks/frame.py describes the measurement.
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
