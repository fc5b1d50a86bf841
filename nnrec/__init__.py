"""nnrec: recommenders that turn a history into a score per item.

run = nnrec.train("model=autorec", "data=ml-1m")     # as `python train.py model=autorec data=ml-1m`
run = nnrec.load("runs/autorec/ml-1m/...")           # a finished run, from its folder
run.recommend(user=42)

Public names are listed in `__init__.pyi`, and imported when they are asked for: `--help` does not wait for them.
"""

from typing import Any

import lazy_loader

_imported, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("nnrec")
    return _imported(name)
