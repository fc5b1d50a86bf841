"""Evaluation by the protocol of Kane's course Building Recommender Systems with Machine Learning and AI."""

from __future__ import annotations

from nnrec.evaluation.ratings import Evaluation


class CourseEvaluation(Evaluation):
    """`Evaluation` by the course's protocol; `nnrec.training.kane_protocol` defines which split each metric uses."""
