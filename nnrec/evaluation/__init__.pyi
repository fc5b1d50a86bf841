from .course import CourseEvaluation as CourseEvaluation
from .impressions import ImpressionEvaluation as ImpressionEvaluation
from .ratings import Evaluation as Evaluation
from .sessions import NextItemEvaluation as NextItemEvaluation
