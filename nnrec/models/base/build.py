"""Building a model from its settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nnrec.core.config.build import build
from nnrec.core.devices import backend


def build_model(settings: Mapping[str, Any], seed: int, sizes: Mapping[str, Any], **chosen: Any) -> Any:
    """Builds the untrained model that `_target_` and the other settings describe.

    Args:
        settings: as in a file of conf/model.
        seed: seed of the run; it determines the initial weights.
        sizes: sizes of the data as keyword arguments of the model: num_items and, for ratings, num_users.
        chosen: settings that override those of `settings`.
    """
    backend.seed(seed)
    return build(settings, "model", **sizes, **chosen)
