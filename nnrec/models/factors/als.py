"""ALS: implicit matrix factorisation by alternating least squares."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from scipy import sparse
from scipy.linalg import lapack
from threadpoolctl import threadpool_limits

from nnrec.batches.protocol import Batch
from nnrec.core.console import ProgressBar
from nnrec.core.errors import ConfigError
from nnrec.data.ratings import Ratings
from nnrec.models.base.baseline import Baseline, histories, liked, matrix


class ALS(Baseline):
    """Scores an item by the inner product of its factors and the user's.

    Source: Hu, Koren, Volinsky: Collaborative Filtering for Implicit Feedback Datasets, 2008,
    equations 3 to 5, fitted by `implicit` with the conjugate gradients of Takács, Pilászy, Tikk:
    Applications of the Conjugate Gradient Method for Implicit Feedback Collaborative Filtering, 2011.

        minimise sum over all u, i of c_ui (p_ui - x_u'y_i)^2 + l2 (sum of |x_u|^2 + sum of |y_i|^2)
        if u liked i: p_ui = 1 and c_ui = 1 + alpha w_ui, with w the rating's weight; else p_ui = 0 and c_ui = 1

    In: a history. Its x is the exact minimum for fixed y, equation 4:
        x = (Y'Y + alpha Y_h'Y_h + l2 I)^-1 (1 + alpha) Y_h'1, where Y_h are the factors of its items.
    Out: (B, num_items) float32, x'y.

    Differs: r_ui of the paper is w_ui, which is 1 unless the data have weights. At scoring, every user's
    x is computed from the given history, with entries of weight 1, whether or not the user was in
    training; the user factors of the fit are discarded.

    Args:
        num_users, num_items: sizes of the data.
        factors: length of x and y.
        l2: the penalty (lambda), above 0.
        alpha: additional confidence in liked items.
        iterations: number of alternations between users and items.
        seed: seed of the initial factors.
        relevant: ratings of at least this value are liked; None = all.
        memory_limit: as in `Baseline`.
    """

    family = "implicit"
    capabilities = frozenset({"new_users"})
    learnt = ("item_factors",)

    def __init__(
        self,
        num_users: int,
        num_items: int,
        *,
        factors: int = 64,
        l2: float = 30.0,
        alpha: float = 5.0,
        iterations: int = 15,
        seed: int = 0,
        relevant: float | None = None,
        memory_limit: float | None = None,
        name: str = "als",
    ) -> None:
        if factors < 1 or iterations < 1:
            raise ConfigError(
                f"model.factors and model.iterations must be 1 or more. Received: {factors} and {iterations}"
            )
        if not (l2 > 0 and alpha > 0):
            raise ConfigError(f"model.l2 and model.alpha must be positive. Received: {l2} and {alpha}")
        super().__init__(num_users, num_items, memory_limit=memory_limit, name=name)
        self.factors, self.l2, self.alpha, self.iterations = factors, l2, alpha, iterations
        self.seed, self.relevant = seed, relevant

    def memory_needed(self, train: Ratings) -> int:
        return 4 * self.factors * (self.num_users + self.num_items)

    def fit(self, train: Ratings) -> None:
        """Sets `item_factors`, Y: (num_items, factors) float32.

        Raises:
            DataError: no rating is relevant.
        """
        from implicit.cpu.als import AlternatingLeastSquares

        weights = matrix(train, self.relevant, weighted=True)
        confidence = sparse.csr_matrix((1 + self.alpha * weights.data, weights.indices, weights.indptr), weights.shape)
        # The library implicit uses its own threads, which BLAS threads would slow down.
        with ProgressBar("fitting", self.iterations) as bar, threadpool_limits(1, "blas"):

            def advance(*_: object) -> None:
                bar.advance()
                bar.report("iterations")

            model = AlternatingLeastSquares(
                self.factors, self.l2, alpha=1.0, iterations=self.iterations, random_state=self.seed
            )
            model.fit(confidence, show_progress=False, callback=advance)
        self.item_factors = model.item_factors

    def encode(self, batch: Batch) -> np.ndarray:
        """(B, factors) float32, the users' factors x."""
        history = liked(histories(batch, self.num_items, self.relevant))
        shared = self.item_factors.T @ self.item_factors + self.l2 * np.eye(self.factors, dtype=np.float32)
        queries = (1 + self.alpha) * (history @ self.item_factors)
        with threadpool_limits(1, "blas"):  # more threads are slower for systems this small
            for row, (start, end) in enumerate(pairwise(history.indptr)):
                found = self.item_factors[history.indices[start:end]]
                _, queries[row], _ = lapack.sposv(shared + self.alpha * (found.T @ found), queries[row])
        return queries

    def score(self, queries: np.ndarray, items: np.ndarray | None = None) -> np.ndarray:
        return queries @ (self.item_factors if items is None else self.item_factors[items]).T
