"""EASE: a linear item-to-item model in closed form."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.linalg import lapack

from nnrec.batches.protocol import Batch
from nnrec.core.errors import ConfigError
from nnrec.data.ratings import Ratings
from nnrec.models.base.baseline import Baseline, histories, liked, matrix
from nnrec.models.linear.gram import gram, gram_memory

# Columns copied at a time.
BLOCK = 1024
# With a reciprocal condition number below this, no digit of an inverse in float32 is correct.
LEAST_CONDITION = 1e-6


class EASE(Baseline):
    """Scores an item by a weighted sum over the other items of the history.

    Source: Steck: Embarrassingly Shallow Autoencoders for Sparse Data, 2019, equations 2 to 8.

        B minimises |X - X B|^2 + l2 |B|^2 with diag(B) = 0:
        P = (X'X + l2 I)^-1,  B = I - P diag(1 / diag(P))

    In: a history, x = 1 for every liked item. Out: (B, num_items) float32, x B.

    Differs: computed in float32 and in place, so that only one (num_items x num_items) matrix is in
    memory. On MovieLens 1M the entries of B differ from float64 by less than 1e-5, the metrics not in
    the fourth digit. An entry of X is the square root of the rating's weight (1 without weights): if all
    ratings of a user have weight w, the user's squared errors are multiplied by w. Entries of a history
    are 1.

    Args:
        num_users, num_items: sizes of the data.
        l2: the penalty (lambda), above 0.
        relevant: ratings of at least this value count; None = all.
        memory_limit: as in `Baseline`.
    """

    family = "implicit"
    capabilities = frozenset({"new_users"})
    learnt = ("item_weights",)

    def __init__(
        self,
        num_users: int,
        num_items: int,
        *,
        l2: float = 500.0,
        relevant: float | None = None,
        memory_limit: float | None = None,
        name: str = "ease",
    ) -> None:
        if not l2 > 0:
            raise ConfigError(f"model.l2 must be positive. Received: {l2}")
        super().__init__(num_users, num_items, memory_limit=memory_limit, name=name)
        self.l2, self.relevant = l2, relevant

    def memory_needed(self, train: Ratings) -> int:
        return gram_memory(self.num_items, len(train))

    def fit(self, train: Ratings) -> None:
        """Sets `item_weights`, B: (num_items, num_items) float32.

        Raises:
            ConfigError: the penalty is too small to invert X'X.
            DataError: no rating is relevant.
        """
        result = gram(matrix(train, self.relevant, weighted=True).sqrt())
        result.flat[:: self.num_items + 1] += self.l2
        self._invert(result)
        diagonal = result.diagonal().copy()
        result /= -diagonal
        np.fill_diagonal(result, 0)
        self.item_weights = result

    def encode(self, batch: Batch) -> sparse.csr_array:
        """(B, num_items) sparse, 1 for every liked item."""
        return liked(histories(batch, self.num_items, self.relevant))

    def score(self, queries: sparse.csr_array, items: np.ndarray | None = None) -> np.ndarray:
        return queries @ (self.item_weights if items is None else self.item_weights[:, items])

    def linear(self) -> np.ndarray:
        return self.item_weights

    def _invert(self, symmetric: np.ndarray) -> None:
        """Inverts, in place, a positive definite matrix without negative entries."""
        norm = symmetric.sum(axis=0).max()
        # LAPACK is column-major: its upper triangle is the lower triangle of this array.
        factor, failed = lapack.spotrf(symmetric.T, overwrite_a=True, clean=False)
        if failed or lapack.spocon(factor, norm)[0] < LEAST_CONDITION:
            raise ConfigError(
                f"model.l2={self.l2:g} is too small for these data: X'X + l2 I cannot be inverted in float32."
            )
        lapack.spotri(factor, overwrite_c=True)
        for start in range(0, len(symmetric), BLOCK):
            end = start + BLOCK
            square = symmetric[start:end, start:end]
            square[:] = np.tril(square) + np.tril(square, -1).T
            symmetric[start:end, end:] = symmetric[end:, start:end].T
