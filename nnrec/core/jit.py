"""Compilation of loops by Numba."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba


def compiled(function: Callable[..., Any]) -> Any:
    """Compiles a function with Numba; it releases the GIL, so that several threads can run it.

    The machine code is cached on disk if there is a writable folder. Sums may be reordered, so that they can be
    vectorised; infinities and NaN are preserved.
    """
    options: dict[str, Any] = {"nogil": True, "fastmath": {"reassoc", "contract", "nsz"}}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # no writable folder for the cache
        return numba.njit(**options)(function)
