"""The evaluation of the course's protocol."""

from __future__ import annotations

from nnrec.evaluation.ratings import Evaluation


class CourseEvaluation(Evaluation):
    """`Evaluation` by the course's protocol: what is measured where, `nnrec.training.kane_protocol` says."""
