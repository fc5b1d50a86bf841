"""RBM: a restricted Boltzmann machine of a user's or an item's ratings (Salakhutdinov et al., ICML 2007)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from nnrec.batches.protocol import Batch
from nnrec.batches.rows import RowBatches
from nnrec.core.errors import ConfigError, DataError
from nnrec.data.ratings import Ratings
from nnrec.data.rows import Rows
from nnrec.models.rbm.boltzmann import Machines, log_shares, present, states
from nnrec.models.rbm.softmax_scorer import SoftmaxScorer
from nnrec.splits.split import HeldOut


class RBM(SoftmaxScorer):
    """An RBM with softmax visible units on sparse rows.

    Paper: Salakhutdinov, Mnih, Hinton: Restricted Boltzmann Machines for Collaborative Filtering, 2007. A row holds
    the ratings of a user (`by="user"`) or of an item (`by="item"`); each rating is a visible unit v_i with one of K
    states, the rating values. With binary hidden units h_j (equations 1 and 2),

        p(v_i = k | h) = softmax_k(b_ik + sum_j W_ikj h_j),   p(h_j = 1 | v) = sigmoid(a_j + sum_i W_i,v_i,j).

    Columns without a rating are not part of the row's machine. `conditional` adds sum_i D_ij, over the row's ratings,
    to a_j (section 4); `rank` C > 0 factors W_ikj = sum_c A_ikc B_cj (section 5).

    In: batches of sparse rows (`RowBatches`). Out: (E,) float32, a reconstruction of each rating.

    Loss: its gradient is that of contrastive divergence, F(v) - F(stop_gradient(v')) averaged over the rows, plus
    penalties. v' is the result of `gibbs_steps` steps of Gibbs sampling from v, and F is the free energy

        F(v) = - sum_i b_i,v_i - sum_j log(1 + exp(a_j + sum_i W_i,v_i,j)).

    The reported value of the loss is not that difference, which does not measure progress, but the mean over the rows
    of the row's sum of squared reconstruction errors (each times the entry's weight): in training the error after the
    first Gibbs step, otherwise that of the reconstruction from the hidden units' probabilities. An entry's weight
    multiplies its part of the gradient; a row's mean weight multiplies the gradient of the hidden biases.

    Scoring: (B, num_items) float32, the expectation, or the mode, of p(v_i = k | h), where h are the probabilities of
    the hidden units. `by="user"` infers them from any user's history. `by="item"` stores them for all items; a user
    known from training has a visible unit, for any other user one is fitted by softmax regression on the items' hidden
    units, penalised towards the average user's weights (`nnrec.models.layers.fold_in`).

    Differs: the initial biases b are the logarithms of the values' shares; the decay of W, A, B and D is part of the
    gradient, so that Adam rescales it like all other terms. An optional penalty is the cross-entropy between
    `sparsity_target` and each hidden unit's probability, row by row; its gradient in the biases is that of Hinton's
    guide (2010, section 11). With sparse arithmetic, the decay is computed on those rows of the matrices that occur in
    a batch, divided by the probability that they occur: the same in expectation.

    Args:
        num_users, num_items: sizes of the data.
        by: whether rows are "item" or "user".
        hidden_units: number of hidden units.
        gibbs_steps: k of CD-k: a number, or [[epoch, k], ...], where each k holds from its epoch on, counted from 0.
        conditional: whether the hidden units also depend on which ratings a row has, apart from their values.
        rank: rank of the factored weights; 0 = one weight per (visible unit, value, hidden unit).
        weight_decay: lambda of the penalty lambda/2 |W|^2, which is added to the mean over the rows.
        bias_learning_rate: learning rate of the biases, as a multiple of the trainer's.
        sparsity_target, sparsity_penalty: target of the hidden units' mean probability, and weight of the penalty;
            0 = no penalty.
        prediction: "expectation" or "mode".
        levels: all possible rating values; None = those of the training ratings.
        arithmetic: "dense" makes batches dense on the device; "sparse" gathers the rows of the tables that occur in
            the batch and updates only those; "auto" takes the faster one.
    """

    family = "ratings"
    capabilities = frozenset({"new_users", "rating_scale"})

    def __init__(
        self,
        num_users: int,
        num_items: int,
        *,
        by: Literal["item", "user"] = "item",
        hidden_units: int = 200,
        gibbs_steps: int | Sequence[Sequence[int]] = 1,
        conditional: bool = False,
        rank: int = 0,
        weight_decay: float = 0.005,
        bias_learning_rate: float = 1.0,
        sparsity_target: float = 0.1,
        sparsity_penalty: float = 0.0,
        prediction: Literal["expectation", "mode"] = "expectation",
        levels: Sequence[float] | None = None,
        arithmetic: Literal["auto", "dense", "sparse"] = "auto",
        name: str = "rbm",
        **options: Any,
    ) -> None:
        super().__init__(name=name, autocast=False, **options)
        self.num_users, self.num_items, self.rows_are, self.by = num_users, num_items, by, by
        self.export_input, self.serves_unseen_users = ("user", False) if by == "item" else ("history", True)
        self.hidden_units, self.conditional, self.rank = hidden_units, conditional, rank
        self.gibbs_steps = [[0, gibbs_steps]] if isinstance(gibbs_steps, int) else [list(pair) for pair in gibbs_steps]
        self.weight_decay, self.bias_learning_rate = weight_decay, bias_learning_rate
        self.sparsity_target, self.sparsity_penalty = sparsity_target, sparsity_penalty
        self.prediction, self.arithmetic = prediction, arithmetic
        _check_options(self)
        self.num_columns = num_users if by == "item" else num_items
        self.num_rows = num_items if by == "item" else num_users
        self.weighted = False
        self.levels: list[float] | None = None
        if levels is not None:
            self._build(levels)

    def _build(self, levels: Sequence[float]) -> None:
        """Creates the weights for these rating values."""
        self.levels = sorted(float(level) for level in levels)
        columns, values, units = self.num_columns, len(self.levels), self.rank or self.hidden_units
        self.row_sparse = self.arithmetic == "sparse" or (self.arithmetic == "auto" and columns * values > DENSE_UP_TO)
        fixed = {"trainable": False, "autocast": False}
        self.level_values = self.add_weight((values,), "zeros", name="levels", **fixed)
        self.level_values.assign(self.levels)
        # With this, A B has the same standard deviation as an unfactored W.
        deviation = DEVIATION if not self.rank else (DEVIATION / self.rank**0.5) ** 0.5
        small = keras.initializers.RandomNormal(0.0, deviation)
        table = {"trainable": not self.row_sparse, "autocast": False}
        self.visible_weights = self.add_weight((columns, values, units), small, name="visible_weights", **table)
        self.visible_bias = self.add_weight((columns, values), "zeros", name="visible_bias", **table)
        self.tables = [self.visible_weights, self.visible_bias]
        self.hidden_bias = self.add_weight((self.hidden_units,), "zeros", name="hidden_bias", autocast=False)
        if self.rank:
            small = keras.initializers.RandomNormal(0.0, deviation)
            self.mixing = self.add_weight((self.rank, self.hidden_units), small, name="mixing", autocast=False)
        if self.conditional:
            self.rated_weights = self.add_weight((columns, self.hidden_units), "zeros", name="rated_weights", **table)
            self.tables.append(self.rated_weights)
        if self.row_sparse:
            self.row_tables = tuple(self.tables)
        self.chain_length = self.add_weight((), "ones", name="chain_length", dtype="int32", **fixed)
        self.rating_scale = self.add_weight((2,), "zeros", name="rating_scale", **fixed)
        self.known = self.add_weight((columns,), "zeros", name="known", **fixed)
        if self.by == "item":
            self.encodings = self.add_weight((self.num_items, units), "zeros", name="encodings", **fixed)
            self.average = self.add_weight((values, units + 1), "zeros", name="average", **fixed)
        self.begin_epoch(0)
        self.built = True

    def get_config(self) -> dict[str, Any]:
        first = ("num_users", "num_items", "by", "hidden_units", "gibbs_steps", "conditional", "rank", "weight_decay")
        more = ("bias_learning_rate", "sparsity_target", "sparsity_penalty", "prediction", "levels", "arithmetic")
        return {name: getattr(self, name) for name in (*first, *more, "name")}

    def adapt(self, train: Ratings) -> None:
        if self.levels is None:
            found = train.levels
            if len(found) == 1:
                raise DataError(
                    f"All ratings are {found[0]:g}: from those alone an RBM would learn to predict just that. Choose a "
                    "column of ratings (data.source.value), or a model of the implicit family."
                )
            if len(found) > MOST_LEVELS:
                raise DataError(
                    f"The RBM has a weight for each value that ratings take, and these take {len(found):,}. At most "
                    f"{MOST_LEVELS} are possible: round the ratings, or list the values in model.levels."
                )
            self._build(found.tolist())
        rows = self.training_rows(train)
        self.num_rows = int(np.count_nonzero(rows.lengths))
        self.weighted = train.weight is not None
        self.rating_scale.assign(train.scale)
        known = rows.counts() > 0
        self.known.assign(known)
        self.visible_bias.assign(log_shares(rows, ops.convert_to_numpy(self.level_values)))
        # Columns without training ratings get weights of 0.
        self.visible_weights.assign(self.visible_weights * known[:, None, None])

    def state(self) -> dict[str, np.ndarray]:
        return super().state() | {"levels": np.array(self.levels)}

    def load_state(self, arrays: dict[str, np.ndarray]) -> None:
        levels = arrays.pop("levels", np.empty(0)).tolist()
        if self.levels is None:
            self._build(levels)
        super().load_state(arrays)

    def begin_epoch(self, epoch: int) -> None:
        """Sets k of CD-k for this epoch."""
        self.chain_length.assign([k for start, k in self.gibbs_steps if start <= epoch][-1])

    def rate_factor(self, variable: keras.Variable) -> float:
        is_bias = variable is self.visible_bias or variable is self.hidden_bias
        return self.bias_learning_rate if is_bias else 1.0

    # The machine

    def call(self, batch: Batch, training: bool = False) -> Any:
        machines = self._machines(batch)
        level = states(batch["value"], self.level_values)
        signal = machines.signal(level)
        if training:
            logits, fantasy = machines.sample(signal, ops.convert_to_tensor(self.chain_length))
        else:
            logits = machines.logits(ops.sigmoid(signal))
        prediction = self.rating_of(logits)
        error = batch["value"] - self.expectation(logits)
        size = ops.cast(ops.shape(batch["index"])[0], "float32")
        loss = ops.stop_gradient(ops.sum(batch["weight"] * ops.square(error)) / size)
        if training:
            divergence = machines.free_energy(level, signal) - machines.free_energy(fantasy)
            objective = ops.sum(divergence + self._sparsity(batch, signal)) / size + self._decay(batch)
            loss = loss + objective - ops.stop_gradient(objective)
        self.add_loss(loss)
        return prediction

    def free_energy(self, batch: Batch) -> Any:
        """(B,) float32 free energy of each row, given its ratings."""
        return self._machines(batch).free_energy(states(batch["value"], self.level_values))

    def _machines(self, batch: Batch) -> Machines:
        tables = {
            "visible": self.rows_of(self.visible_weights, batch),
            "bias": self.rows_of(self.visible_bias, batch),
            "hidden_bias": ops.convert_to_tensor(self.hidden_bias),
        }
        if self.rank:
            tables["mixing"] = ops.convert_to_tensor(self.mixing)
        if self.conditional:
            tables["rated"] = self.rows_of(self.rated_weights, batch)
        how = {"dense": not self.row_sparse, "weighted": self.weighted, "dtype": self.compute_dtype}
        return Machines(batch, self.num_columns, **tables, **how)

    def _sparsity(self, batch: Batch, signal: Any) -> Any:
        """(B,) or 0: cross-entropy between the target and the hidden units' probabilities, summed over units."""
        if not self.sparsity_penalty:
            return 0.0
        entropy = ops.sum(ops.softplus(signal) - self.sparsity_target * signal, axis=1)
        return self.sparsity_penalty * ops.cast(batch["index"] >= 0, "float32") * entropy

    def _decay(self, batch: Batch) -> Any:
        total = ops.sum(ops.square(self.mixing)) if self.rank else 0.0
        for table in self.tables:
            if table is self.visible_bias:
                continue
            squares = ops.square(self.rows_of(table, batch))
            if "unique_ids" in batch:
                scale = batch["unique_ids_scale"]
                squares = ops.reshape(scale, [-1] + [1] * (len(squares.shape) - 1)) * squares
            total = total + ops.sum(squares)
        return self.weight_decay / 2.0 * total

    def hidden_of(self, batch: Batch) -> Any:
        """(B, units) float32: probabilities of the hidden units as multiplied with the visible weights."""
        machines = self._machines(batch)
        hidden = ops.sigmoid(machines.signal(states(batch["value"], self.level_values)))
        return ops.cast(machines.projected(hidden), "float32")

    # Diagnostics

    def diagnostics(self, train: Ratings, validation: HeldOut | None) -> dict[str, float]:
        """Returns the reconstruction RMSE, and the difference of free energies between new users and training users.

        Both use the same sample of training rows in all epochs. `free_energy_gap` is the free energy per rating of the
        validation users' histories minus that of the training users; it grows with overfitting. It is only computed
        with by="user", if the validation users are not in the training part.
        """
        rows = self.training_rows(train)
        error, energy, ratings = self._measured(rows)
        figures = {"reconstruction_rmse": (error / ratings) ** 0.5}
        if self.by == "user" and validation is not None and validation.history is not train:
            _, new_energy, new_ratings = self._measured(self.training_rows(validation.history))
            figures["free_energy_gap"] = new_energy / new_ratings - energy / ratings
        return figures

    def _measured(self, rows: Rows) -> tuple[float, float, float]:
        """Returns squared reconstruction error, free energy and number of ratings, summed over a sample of the rows."""
        filled = np.flatnonzero(rows.lengths)
        sample = filled[np.linspace(0, len(filled) - 1, min(len(filled), SAMPLE)).astype(int)]
        totals = np.zeros(3)
        for batch in RowBatches(rows, 256, which=sample, unique_ids=self.row_sparse).epoch():
            machines, level = self._machines(batch), states(batch["value"], self.level_values)
            signal, real = machines.signal(level), present(batch)
            error = batch["value"] - self.expectation(machines.logits(ops.sigmoid(signal)))
            energy = machines.free_energy(level, signal) * ops.cast(batch["index"] >= 0, "float32")
            totals += [float(ops.sum(real * ops.square(error))), float(ops.sum(energy)), float(ops.sum(real))]
        error, energy, count = totals.tolist()
        return error, energy, count


# Columns times values up to which dense arithmetic is faster on two CPU cores (benchmarks/rbm.py).
DENSE_UP_TO = 40_000
# Number of rows that diagnostics are computed on.
SAMPLE = 1_024
# Standard deviation of the initial weights (the paper's).
DEVIATION = 0.01
MOST_LEVELS = 100


def _check_options(model: RBM) -> None:
    for key, value, choices in (
        ("by", model.by, ("item", "user")),
        ("prediction", model.prediction, ("expectation", "mode")),
        ("arithmetic", model.arithmetic, ("auto", "dense", "sparse")),
    ):
        if value not in choices:
            raise ConfigError(f"model.{key} must be one of {', '.join(choices)}. Received: {value!r}")
    if model.hidden_units < 1:
        raise ConfigError(f"model.hidden_units must be at least 1. Received: {model.hidden_units}")
    for key in ("rank", "weight_decay", "bias_learning_rate", "sparsity_penalty"):
        if getattr(model, key) < 0:
            raise ConfigError(f"model.{key} must not be negative. Received: {getattr(model, key)}")
    if not 0 < model.sparsity_target < 1:
        raise ConfigError(f"model.sparsity_target must lie between 0 and 1. Received: {model.sparsity_target}")
    steps = model.gibbs_steps
    starts = [pair[0] for pair in steps]
    if any(len(pair) != 2 or pair[1] < 1 for pair in steps) or starts[:1] != [0] or starts != sorted(set(starts)):
        raise ConfigError(
            "model.gibbs_steps must be a number of at least 1, or a list of [epoch, number] with rising epochs from 0 "
            f"on, such as [[0, 1], [10, 3]]. Received: {steps}"
        )
