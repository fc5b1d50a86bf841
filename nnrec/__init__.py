"""nnrec: recommenders that turn a history into a score per item."""

from __future__ import annotations


def __getattr__(name: str) -> str:
    """Look up `__version__` only when it is asked for: reading package metadata costs start-up time."""
    if name == "__version__":
        from importlib.metadata import version

        return version("nnrec")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
