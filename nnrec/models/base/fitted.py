"""What classical models share, whatever they learn from: their arrays, and the memory that they ask for."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from nnrec.core.errors import ConfigError, RunError


class Fitted:
    """A model that one call of `fit` trains; NumPy, SciPy and Numba, no Keras.

    A subclass lists in `learnt` the attributes that `fit` sets and scoring needs: arrays or CSR
    matrices. To be inherited from before the `Scorer` of the family.

    Args:
        memory_limit: GB that fitting and scoring may take; None = what is free.
        name: as in the configuration.

    Attributes:
        saw_validation: whether it knows the validation part before the refit, so that figures on it mean nothing.
        smaller: what to do about data that are too large, for messages.
    """

    learnt: tuple[str, ...] = ()
    saw_validation = False
    smaller: str

    def __init__(self, *, memory_limit: float | None, name: str) -> None:
        if memory_limit is not None and not memory_limit > 0:
            raise ConfigError(f"model.memory_limit must be positive (GB), or null. Received: {memory_limit}")
        self.memory_limit, self.name = memory_limit, name

    @property
    def sizes(self) -> str:
        """What the model is built for, for messages."""
        raise NotImplementedError

    def fit(self, train: Any) -> None:
        """Learns from the training data."""
        raise NotImplementedError

    def memory_needed(self, train: Any) -> int:
        """Bytes that `fit` will hold at its peak beyond the data; 0 where it is no concern."""
        return 0

    def check_memory(self, train: Any) -> None:
        """Makes sure that `fit` can finish.

        Raises:
            ConfigError: it needs more memory than there is.
        """
        import psutil

        limit = psutil.virtual_memory().available if self.memory_limit is None else self.memory_limit * 1e9
        needed = self.memory_needed(train)
        if getattr(train, "stored", False):
            needed += train.nbytes  # they are read into memory
        if needed > limit:
            source = "are free" if self.memory_limit is None else "are allowed (model.memory_limit)"
            raise ConfigError(
                f"{self.name} on {self.sizes} needs about {needed / 1e9:.2g} GB of memory; {limit / 1e9:.2g} GB "
                f"{source}. {self.smaller}, use another model, or a larger machine."
            )

    def check_split(self, split: Any) -> None:
        """Makes sure, before anything is written, that the model can learn from this split. By default it can.

        Raises:
            ConfigError: it cannot.
        """

    def calibrate(self, train: Any, held_out: Any, evaluation: Any) -> dict[str, Any]:
        """Chooses what is to be chosen on validation data, after `fit`; the model goes by it at once.

        Returns:
            The settings that were chosen; the model of a refit is built with them.
        """
        return {}

    def state(self) -> dict[str, np.ndarray]:
        """All that was learnt, as arrays by name."""
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
        """Takes up what `state` returned.

        Raises:
            RunError: it belongs to a model of another shape.
        """
        for name in self.learnt:
            try:
                if f"{name}.data" in arrays:
                    parts = tuple(arrays[f"{name}.{part}"] for part in ("data", "indices", "indptr"))
                    setattr(self, name, sparse.csr_array(parts, shape=tuple(arrays[f"{name}.shape"])))
                else:
                    setattr(self, name, arrays[name])
            except (KeyError, ValueError) as error:
                raise RunError(f"weights.npz does not fit {self.name}: {name} is missing or damaged.") from error
