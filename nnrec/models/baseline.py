"""Classical recommenders: NumPy and SciPy, no Keras, trained in one call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from nnrec.batches import Batch
from nnrec.data.ratings import Ratings
from nnrec.errors import ConfigError, DataError, RunError
from nnrec.models.scorer import Scorer

if TYPE_CHECKING:
    from nnrec.data.splits import HeldOut, Split
    from nnrec.evaluation import Evaluation


class Baseline(Scorer):
    """A model that is fitted to the training ratings at once.

    A subclass lists in `learnt` the attributes that `fit` sets and scoring needs: arrays or CSR
    matrices. It implements `fit`, `encode` and `score`; `encode` and `score` work on NumPy arrays.

    Args:
        num_users, num_items: sizes of the data.
        memory_limit: GB that fitting and scoring may take; None = what is free.
        name: as in the configuration.

    Attributes:
        saw_validation: whether it knows the validation part before the refit, so that figures on it mean nothing.
    """

    learnt: tuple[str, ...] = ()
    saw_validation = False

    def __init__(self, num_users: int, num_items: int, *, memory_limit: float | None = None, name: str) -> None:
        if memory_limit is not None and not memory_limit > 0:
            raise ConfigError(f"model.memory_limit must be positive (GB), or null. Received: {memory_limit}")
        self.num_users, self.num_items, self.memory_limit, self.name = num_users, num_items, memory_limit, name

    def fit(self, train: Ratings) -> None:
        """Learns from the training ratings."""
        raise NotImplementedError

    def memory_needed(self, train: Ratings) -> int:
        """Bytes that `fit` will hold at its peak beyond the ratings; 0 where it is no concern."""
        return 0

    def check_memory(self, train: Ratings) -> None:
        """Makes sure that `fit` can finish.

        Raises:
            ConfigError: it needs more memory than there is.
        """
        import psutil

        limit = psutil.virtual_memory().available if self.memory_limit is None else self.memory_limit * 1e9
        needed = self.memory_needed(train)
        if needed > limit:
            source = "are free" if self.memory_limit is None else "are allowed (model.memory_limit)"
            raise ConfigError(
                f"{self.name} on {self.num_users:,} users and {self.num_items:,} items needs about "
                f"{needed / 1e9:.2g} GB of memory; {limit / 1e9:.2g} GB {source}. Drop rare items "
                "(data.filters.min_ratings_per_item), use another model, or a larger machine."
            )

    def check_split(self, split: Split) -> None:
        """Makes sure, before anything is written, that the model can learn from this split. By default it can.

        Raises:
            ConfigError: it cannot.
        """

    def calibrate(self, train: Ratings, held_out: HeldOut, evaluation: Evaluation) -> dict[str, Any]:
        """Chooses what is to be chosen on validation data, after `fit`; the model goes by it at once.

        Returns:
            The settings that were chosen; the model of a refit is built with them.
        """
        return {}

    def state(self) -> dict[str, np.ndarray]:
        arrays: dict[str, np.ndarray] = {}
        for name in self.learnt:
            value = getattr(self, name)
            if sparse.issparse(value):
                parts = {part: getattr(value, part) for part in ("data", "indices", "indptr")}
                arrays |= {f"{name}.{part}": array for part, array in parts.items()}
                arrays[f"{name}.shape"] = np.array(value.shape)
            else:
                arrays[name] = np.asarray(value)
        return arrays

    def load_state(self, arrays: dict[str, np.ndarray]) -> None:
        for name in self.learnt:
            try:
                if f"{name}.data" in arrays:
                    parts = tuple(arrays[f"{name}.{part}"] for part in ("data", "indices", "indptr"))
                    setattr(self, name, sparse.csr_array(parts, shape=tuple(arrays[f"{name}.shape"])))
                else:
                    setattr(self, name, arrays[name])
            except (KeyError, ValueError) as error:
                raise RunError(f"weights.npz does not fit {self.name}: {name} is missing or damaged.") from error


def histories(batch: Batch, num_items: int, relevant: float | None = None) -> sparse.csr_array:
    """The batch as a (B, num_items) float32 matrix of its values; padding left out.

    Args:
        batch: rows of users, see `RowBatches`.
        num_items: width.
        relevant: only entries of at least this value; None = all.
    """
    kept = batch["weight"] > 0
    if relevant is not None:
        kept &= batch["value"] >= relevant
    entries = (batch["value"][kept], (batch["row"][kept], batch["column"][kept]))
    return sparse.csr_array(entries, shape=(len(batch["index"]), num_items), dtype=np.float32)


def liked(history: sparse.csr_array) -> sparse.csr_array:
    """The same matrix with 1 for every entry, those of value 0 included."""
    return sparse.csr_array((np.ones_like(history.data), history.indices, history.indptr), shape=history.shape)


def matrix(train: Ratings, relevant: float | None = None, weighted: bool = False) -> sparse.csr_array:
    """The ratings as a (num_users, num_items) float32 matrix of their values.

    Args:
        train: ratings.
        relevant: only those of at least this value; None = all.
        weighted: the ratings' weights (1 where they have none) in place of their values.

    Raises:
        DataError: no rating is relevant.
    """
    kept = np.ones(len(train), bool) if relevant is None else train.value >= relevant
    if not kept.any():
        raise DataError(
            f"No training rating reaches {relevant:g} (model.relevant, by default evaluation.relevant): the highest is "
            f"{train.scale[1]:g}. Lower it, or set it to null to count every rating."
        )
    data: Any = train.value
    if weighted:
        data = np.ones(len(train), np.float32) if train.weight is None else train.weight
    entries = (data[kept], (train.user[kept], train.item[kept]))
    return sparse.csr_array(entries, shape=(train.num_users, train.num_items), dtype=np.float32)
