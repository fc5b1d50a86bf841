"""nnrec: recommenders that turn a history into a score per item.

run = nnrec.train("model=autorec", "data=ml-1m")     # as `python train.py model=autorec data=ml-1m`
run = nnrec.load("runs/autorec/ml-1m/...")           # a finished run, from its folder
run.recommend(user=42)

Names are imported when they are asked for, so that `--help` does not wait for them.
"""

from typing import TYPE_CHECKING, Any

import lazy_loader

if TYPE_CHECKING:
    from nnrec.api import Run as Run
    from nnrec.api import compare as compare
    from nnrec.api import load as load
    from nnrec.api import train as train
    from nnrec.core.errors import NnrecError as NnrecError
    from nnrec.data.impressions import Impressions as Impressions
    from nnrec.data.ratings import Ratings as Ratings
    from nnrec.data.sessions import Sessions as Sessions
    from nnrec.models.base.baseline import Baseline as Baseline
    from nnrec.models.base.neural import Recommender as Recommender

_imported, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "api": ["Run", "compare", "load", "train"],
        "core.errors": ["NnrecError"],
        "data": ["Impressions", "Ratings", "Sessions"],
        "models": ["Baseline", "Recommender"],
    },
)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("nnrec")
    return _imported(name)
