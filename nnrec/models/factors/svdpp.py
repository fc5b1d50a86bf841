"""SVD++: matrix factorisation that also uses which items a user has rated, apart from the values."""

from __future__ import annotations

import numpy as np

from nnrec.core.errors import ConfigError
from nnrec.data.ratings import Ratings
from nnrec.models.factors.biased_factors import BiasedFactors, Entries


class SVDPlusPlus(BiasedFactors):
    """Biased matrix factorisation with implicit feedback.

    Source: Koren: Factorization Meets the Neighborhood: a Multifaceted Collaborative Filtering
    Model, KDD 2008, equation 15:

        s_ui = mu + b_u + b_i + q_i . (p_u + |N(u)|^-1/2 sum_{j in N(u)} y_j)

    where N(u) are the items that u has rated. The loss is that of `SVD`, the penalised sum of squared
    errors, here with the penalty l2_implicit on y. As in `SVD`, it is minimised by a step for each
    rating, with e = r_ui - s_ui and z_u = |N(u)|^-1/2 sum_{j in N(u)} y_j:

        b_u += gamma (e - l2_bias b_u)      p_u += gamma (e q_i - l2 p_u)
        b_i += gamma (e - l2_bias b_i)      q_i += gamma (e (p_u + z_u) - l2 q_i)
        y_j += gamma (e |N(u)|^-1/2 q_i - l2_implicit y_j)      for all j in N(u)

    The last line needs |N(u)| updates for each of u's |N(u)| ratings. Summed over j it becomes

        z_u += gamma (e q_i - l2_implicit z_u)

    so only z_u is updated while u's ratings are visited. If z_u changes from z to z' over these
    ratings, every y_j is multiplied by the same k = product of (1 - gamma l2_implicit) and increased by
    the same |N(u)|^-1/2 (z' - k z). This is done once per user: the same result in a fraction of the
    time.

    In: any history. Out: (B, num_items) float32, predicted ratings, not clipped. A user known from
    training has the learnt parameters; for any other user N(u) is the history, and p_u and b_u are
    fitted by ridge regression (`fold_in`).

    Differs: as in `SVD`. N(u) contains only items of training ratings. In every epoch users come in a
    new random order, and so do the ratings of each user.

    Args:
        num_users, num_items: sizes of the data.
        factors, epochs, learning_rate, l2, l2_bias, initial_spread, seed: as in `SVD`.
        l2_implicit: penalty on y_j, applied at every rating of every user who has rated j. Initially y is 0.
    """

    learnt = (*BiasedFactors.learnt, "implicit_factors")

    def __init__(
        self,
        num_users: int,
        num_items: int,
        *,
        factors: int = 100,
        epochs: int = 30,
        learning_rate: float = 0.01,
        l2: float = 0.08,
        l2_bias: float = 0.02,
        l2_implicit: float = 0.005,
        initial_spread: float = 0.01,
        seed: int = 0,
        name: str = "svdpp",
    ) -> None:
        if l2_implicit < 0:
            raise ConfigError(f"model.l2_implicit must not be negative. Received: {l2_implicit}")
        self.l2_implicit = float(l2_implicit)
        super().__init__(
            num_users,
            num_items,
            factors=factors,
            epochs=epochs,
            learning_rate=learning_rate,
            l2=l2,
            l2_bias=l2_bias,
            initial_spread=initial_spread,
            seed=seed,
            name=name,
        )

    def begin(self) -> None:
        self.implicit_factors = np.zeros((self.num_items, self.factors), np.float32)

    def epoch(self, entries: Entries, rng: np.random.Generator) -> float:
        from nnrec.models.factors.sgd_loops import svdpp_epoch

        return svdpp_epoch(
            rng.permutation(np.flatnonzero(self.trained)),
            entries.offsets,
            np.argsort(entries.user + rng.random(len(entries.user))),  # by user, in random order within each user
            entries.item,
            entries.target,
            entries.weight,
            self.user_bias,
            self.item_bias,
            self.user_factors,
            self.item_factors,
            self.implicit_factors,
            self.learning_rate,
            self.l2,
            self.l2_bias,
            self.l2_implicit,
        )

    def finish(self, train: Ratings) -> None:
        rows = train.rows("user")
        for user in np.flatnonzero(self.trained):
            self.user_factors[user] += self._implicit(rows.ids[rows.offsets[user] : rows.offsets[user + 1]])

    def start(self, items: np.ndarray) -> np.ndarray:
        return np.append(self._implicit(items), np.float32(0))

    def _implicit(self, items: np.ndarray) -> np.ndarray:
        """(factors,) |N|^-1/2 sum of y_j over these items."""
        return self.implicit_factors[items].sum(axis=0) / np.float32(len(items) ** 0.5)
