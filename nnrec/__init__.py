"""nnrec: recommenders that turn a history into a score per item.

run = nnrec.train("model=autorec", "data=ml-1m")     # as `python train.py model=autorec data=ml-1m`
run = nnrec.load("runs/autorec/ml-1m/...")           # a finished run, from its folder
run.recommend(user=42)
"""

from __future__ import annotations

from typing import Any

__all__ = ["Run", "compare", "load", "train"]


def __getattr__(name: str) -> Any:
    """Looks names up only when they are asked for, so that `--help` does not wait for them."""
    if name in __all__:
        from nnrec import api

        return getattr(api, name)
    if name == "__version__":
        from importlib.metadata import version

        return version("nnrec")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
