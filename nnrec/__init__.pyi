from .api import Run as Run
from .api import compare as compare
from .api import load as load
from .api import train as train
from .core.errors import NnrecError as NnrecError
from .data.impressions import Impressions as Impressions
from .data.ratings import Ratings as Ratings
from .data.sessions import Sessions as Sessions
from .models.base.baseline import Baseline as Baseline
from .models.base.neural import Recommender as Recommender

__version__: str
