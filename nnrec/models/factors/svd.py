"""SVD: biased matrix factorisation by stochastic gradient descent."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnrec.models.factors.biased_factors import BiasedFactors, Entries


class SVD(BiasedFactors):
    """Matrix factorisation with biases, learnt one rating at a time ("Funk SVD").

    Source: Koren, Bell, Volinsky: Matrix Factorization Techniques for Recommender Systems, 2009,
    equations 4 and 5; the gradient descent is due to Simon Funk (2006). A rating is predicted as

        s_ui = mu + b_u + b_i + q_i . p_u                                      (4)

    with mu the mean rating. The biases and vectors minimise the loss

        sum_ui (r_ui - s_ui)^2 + l2 (|p_u|^2 + |q_i|^2) + l2_bias (b_u^2 + b_i^2)    (5)

    by a step of size gamma for each rating, in a new random order in every epoch, with e = r_ui - s_ui:

        b_u += gamma (e - l2_bias b_u)      p_u += gamma (e q_i - l2 p_u)
        b_i += gamma (e - l2_bias b_i)      q_i += gamma (e p_u - l2 q_i)

    In: any history. Out: (B, num_items) float32, predicted ratings, not clipped. A user known from
    training has the learnt b_u and p_u; for any other user they are fitted to the items' vectors and
    biases by ridge regression on the history (`fold_in`).

    Differs: biases have their own penalty; the step of a rating of weight w is multiplied by w.

    Args:
        num_users, num_items: sizes of the data.
        factors: length of p_u and q_i.
        epochs: passes over the ratings.
        learning_rate: gamma.
        l2, l2_bias: penalties, applied at every rating.
        initial_spread: standard deviation of the normal distribution of the initial p and q.
        seed: seed of the initial values and of the order of the ratings.
    """

    def __init__(
        self,
        num_users: int,
        num_items: int,
        *,
        factors: int = 100,
        epochs: int = 40,
        learning_rate: float = 0.01,
        l2: float = 0.08,
        l2_bias: float = 0.02,
        initial_spread: float = 0.01,
        seed: int = 0,
        name: str = "svd",
    ) -> None:
        shared: dict[str, Any] = {"l2": l2, "l2_bias": l2_bias, "initial_spread": initial_spread, "seed": seed}
        super().__init__(
            num_users, num_items, factors=factors, epochs=epochs, learning_rate=learning_rate, name=name, **shared
        )

    def epoch(self, entries: Entries, rng: np.random.Generator) -> float:
        from nnrec.models.factors.sgd_loops import svd_epoch

        return svd_epoch(
            rng.permutation(len(entries.user)),
            entries.user,
            entries.item,
            entries.target,
            entries.weight,
            self.user_bias,
            self.item_bias,
            self.user_factors,
            self.item_factors,
            self.learning_rate,
            self.l2,
            self.l2_bias,
        )
