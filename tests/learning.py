"""Trainings from a composed configuration whose trainer and evaluation a test brings itself."""

from __future__ import annotations

from typing import Any

from omegaconf import OmegaConf

from nnrec.training.experiment import Learning
from nnrec.training.settings import Settings, Trainer


def learning(config: Any, trainer: Trainer, evaluation: Any, split: Any) -> Learning:
    """What is about to learn from a split, whatever splitter the configuration names."""
    plain: Any = OmegaConf.to_container(config, resolve=True)
    return Learning(Settings(plain, trainer, evaluation, None), split)
