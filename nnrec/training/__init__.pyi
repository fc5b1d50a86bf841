from .schedules import Constant as Constant
from .schedules import Cosine as Cosine
from .schedules import Plateau as Plateau
from .schedules import Steps as Steps
from .settings import Trainer as Trainer
