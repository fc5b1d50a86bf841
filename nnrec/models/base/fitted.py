"""What classical models share, for ratings and sessions: saved arrays, and a check of the memory that they need."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from nnrec.core.errors import ConfigError, RunError


class Fitted:
    """A model that one call of `fit` trains; NumPy, SciPy and Numba, no Keras.

    A subclass lists in `learnt` the attributes that `fit` sets and scoring needs: arrays or CSR
    matrices. In a class's bases, it stands before the `Scorer` of the family.

    Args:
        memory_limit: memory in GB that fitting and scoring may use; None = the free memory.
        name: the model's name in the configuration.

    Attributes:
        learnt: names of the attributes that are saved.
        saw_validation: whether the model was trained on the validation part before the refit, so that validation
            metrics would be meaningless.
        smaller: for error messages: how to reduce data that are too large.
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
        """The sizes of the data that the model was built for, for error messages."""
        raise NotImplementedError

    def fit(self, train: Any) -> None:
        """Learns from the training data."""
        raise NotImplementedError

    def memory_needed(self, train: Any) -> int:
        """Returns the peak memory of `fit` in bytes, without the data; 0 if it is negligible."""
        return 0

    def check_memory(self, train: Any) -> None:
        """Checks that `fit` has enough memory.

        Raises:
            ConfigError: it needs more memory than is free or allowed.
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
        """Checks, before anything is written, that the model can be trained on this split. By default it can.

        Raises:
            ConfigError: it cannot.
        """

    def calibrate(self, train: Any, held_out: Any, evaluation: Any) -> dict[str, Any]:
        """Chooses settings on validation data, after `fit`, and applies them to the model. By default there are none.

        Args:
            train: the training data.
            held_out: the validation data.
            evaluation: the evaluation of the run.

        Returns:
            The chosen settings; the model of a refit is built with them.
        """
        return {}

    def state(self) -> dict[str, np.ndarray]:
        """Returns all learnt parameters as arrays by name."""
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
        """Restores the arrays that `state` returned.

        Raises:
            RunError: the arrays are incomplete or belong to a model of another shape.
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
