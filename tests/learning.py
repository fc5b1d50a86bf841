"""Trainings from a composed configuration, with the trainer and the evaluation of a test."""

from __future__ import annotations

from typing import Any

from omegaconf import OmegaConf

from nnrec.training.experiment import Learning
from nnrec.training.settings import Settings, Trainer


def learning(config: Any, trainer: Trainer, evaluation: Any, split: Any) -> Learning:
    """Returns a training on a given split; the splitter in the configuration is ignored."""
    plain: Any = OmegaConf.to_container(config, resolve=True)
    return Learning(Settings(plain, trainer, evaluation, None), split)
