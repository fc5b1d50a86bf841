"""What train.py, predict.py, export.py and compare.py have in common."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from nnrec.errors import NnrecError


@contextmanager
def report_errors() -> Iterator[None]:
    """Turns an `NnrecError` into a message on stderr and exit status 1."""
    try:
        yield
    except NnrecError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("Interrupted.")
