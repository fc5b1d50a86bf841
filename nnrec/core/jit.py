"""Loops compiled by Numba."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba


def compiled(function: Callable[..., Any]) -> Any:
    """The function compiled, to run on many threads; kept on disk where there is a folder to keep it in.

    Sums may be reordered, so that they run on vectors; what is not finite stays so.
    """
    options: dict[str, Any] = {"nogil": True, "fastmath": {"reassoc", "contract", "nsz"}}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # no folder that may be written to
        return numba.njit(**options)(function)
