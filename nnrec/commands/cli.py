"""What train.py, predict.py, export.py, prepare.py and compare.py have in common."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from nnrec.core.errors import NnrecError


@contextmanager
def report_errors() -> Iterator[None]:
    """Turns an `NnrecError` into a message on stderr and exit status 1."""
    try:
        yield
    except NnrecError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("Interrupted.")


def run(application: Callable[[], Any], name: str) -> None:
    """Calls a Hydra application; a mistake in the command line ends in a message that says what was meant.

    Args:
        application: what `hydra.main` made of a function.
        name: of its configuration, such as "train".
    """
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from nnrec.core.config.compose import check_choices, explain, hide_bases, quoted

    hide_bases()
    sys.argv[1:] = [text if text.startswith("-") else quoted(text) for text in sys.argv[1:]]
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # Hydra raises its errors instead of printing them
    with report_errors():
        check_choices(sys.argv[1:])
        try:
            application()
        except (HydraException, OmegaConfBaseException) as error:
            overrides = [text for text in sys.argv[1:] if "=" in text and not text.startswith("-")]
            sys.exit(f"error: {explain(error, name, overrides)}")
