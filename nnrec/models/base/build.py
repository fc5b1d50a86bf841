"""A model from its settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nnrec.core.config.build import build
from nnrec.core.devices import backend


def build_model(settings: Mapping[str, Any], seed: int, sizes: Mapping[str, Any], **chosen: Any) -> Any:
    """The model that `_target_` and the other settings describe, untrained; the seed decides its initial weights.

    Args:
        settings: as in a file of conf/model.
        seed: of the run.
        sizes: of the data, as its models take them: num_items and, of ratings, num_users.
        chosen: settings that take the place of those.
    """
    backend.seed(seed)
    return build(settings, "model", **sizes, **chosen)
