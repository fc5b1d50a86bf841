"""Base class of autoencoders over liked items: a network from a user's items to a number for every item."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import keras
import numpy as np
from keras import ops

from nnrec.batches.protocol import Batch
from nnrec.batches.rows import RowBatches
from nnrec.core.errors import ConfigError
from nnrec.core.keyed_random import dropout_mask
from nnrec.data.ratings import Ratings
from nnrec.data.rows import Rows
from nnrec.models.base.neural import Recommender
from nnrec.models.layers import catalogue_losses
from nnrec.models.layers.activations import Activation
from nnrec.models.layers.catalogue_losses import Scored
from nnrec.models.layers.hidden_layer import HiddenLayer, initializer
from nnrec.models.layers.network import Network

Input = Literal["indicator", "rated", "analog", "levels"]


class Autoencoder(Recommender):
    """Base class of `DSSTNE`, `MultDAE` and `MultVAE`, which name their sources.

    In: batches of sparse rows (`RowBatches`); a row is a user over the items. Out: (E,) float32 pre-activations of the
    output layer for the batch's entries. Scoring: (B, num_items) pre-activations, which order items like the outputs,
    also where these saturate.

    Loss: the mean over the rows of the row's error summed over the catalogue (`nnrec.models.layers.catalogue_losses`),
    divided by (n / mean n)^length_discount for a row with n liked items, plus the layers' penalties, plus
    l2 / (2 * num_rows) times the sum of the squared weights. The error of a liked item is multiplied by its weight, the
    error of all other items by the mean weight of the row's liked items.

    Args:
        num_users, num_items: sizes of the data.
        network: the layers and the error function.
        input: how ratings enter the network: "indicator" = 1 for liked items; "rated" = two indicators per item, one
            for liked, one for rated but not liked; "analog" = the rating value; "levels" = one indicator per item and
            rating value.
        levels: the rating values, for input "levels".
        normalize_input: whether a user's inputs are divided by their Euclidean length (before denoising).
        length_discount: 0 = every liked item has the same influence; 1 = every user has the same influence, whatever
            the number of liked items.
        l2: the penalty on all weights except biases.
        relevant: ratings of at least this value are liked; None = all.
        sampled: number of items sampled per batch to represent the items that its users did not like; None = the error
            is computed over the whole catalogue. With sampling, only those rows of the large tables that occur in a
            batch are updated, and Adam is lazy (`nnrec.training.optimizers.Adam`).
        sampling_power: an item's sampling probability is proportional to its number of users to this power.
    """

    family = "implicit"
    capabilities = frozenset({"new_users"})

    def __init__(
        self,
        num_users: int,
        num_items: int,
        network: Network,
        *,
        input: Input = "indicator",
        levels: Sequence[float] = (),
        normalize_input: bool = False,
        length_discount: float = 0.0,
        l2: float = 0.0,
        relevant: float | None = None,
        sampled: int | None = None,
        sampling_power: float = 0.5,
        name: str,
    ) -> None:
        super().__init__(name=name, autocast=False)
        _check_options(input, levels, relevant, l2, sampled, sampling_power)
        if not 0 <= length_discount <= 1:
            raise ConfigError(f"model.length_discount must be between 0 and 1. Received: {length_discount}")
        self.num_users, self.num_items, self.network = num_users, num_items, network
        self.input_kind, self.levels, self.normalize_input = input, tuple(levels), normalize_input
        self.l2, self.relevant, self.sampled, self.sampling_power = l2, relevant, sampled, sampling_power
        self.row_sparse = sampled is not None
        self.length_discount, self.mean_length = length_discount, 1.0
        self.num_rows = num_users
        self._build(network)
        self.built = True

    def _build(self, network: Network) -> None:
        for size in (network.input_units, network.output.units):
            if size not in (None, self.num_items):
                raise ConfigError(f"The network was written for {size:,} items, the data have {self.num_items:,}.")
        output, next_draw = network.output, self.num_items
        units: dict[str, int] = {}
        if self.row_sparse and (output.weight_norm or any(layer.weight_norm for layer in network.hidden)):
            raise ConfigError("WeightNorm looks at whole matrices: it does not go with model.sampled.")
        self.hidden_layers: list[HiddenLayer] = []
        self.encoders: list[list[keras.Variable]] = []
        for number, layer in enumerate(network.hidden, start=1):
            inner = sum(units.get(name, 0) for name in layer.sources)
            kinds = self._input_tables() if network.input in layer.sources else 0
            made = HiddenLayer(self, layer, number, inner, kinds * self.num_items, next_draw)
            tables = [f"encoder_{number}_{kind}" for kind in range(kinds)]
            norm = keras.constraints.MaxNorm(layer.weight_norm, axis=0) if layer.weight_norm else None
            self.encoders.append([self._table(name, made.width, made.initializer, norm) for name in tables])
            self.hidden_layers.append(made)
            units[layer.name], next_draw = made.units, next_draw + made.draws
        last = sum(units[name] for name in output.sources)
        norm = keras.constraints.MaxNorm(output.weight_norm, axis=1) if output.weight_norm else None
        self.decoder = self._table("decoder", last, initializer(output.weights, last, self.num_items), norm)
        bias = {"trainable": not self.row_sparse, "autocast": False}
        constant = keras.initializers.Constant(output.weights.bias)
        self.decoder_bias = self.add_weight((self.num_items,), constant, name="decoder_bias", **bias)
        self.activation = Activation(output.activation, output.relu_slope, output.elu_alpha, output.selu_lambda)
        self.marginal = catalogue_losses.ScaledMarginal(**network.marginal)
        self.steps = self.add_weight((), "zeros", name="steps", trainable=False, autocast=False)
        if self.row_sparse:
            tables = [table for tables in self.encoders for table in tables]
            self.row_tables = (*tables, self.decoder, self.decoder_bias)

    def _input_tables(self) -> int:
        """Number of weights of each item for each unit that is connected to the input."""
        return {"rated": 2, "levels": len(self.levels)}.get(self.input_kind, 1)

    def _table(self, name: str, units: int, start: Any, constraint: Any = None) -> keras.Variable:
        shape, options = (self.num_items, units), {"trainable": not self.row_sparse, "autocast": False}
        return self.add_weight(shape, start, name=name, constraint=constraint, **options)

    def adapt(self, train: Ratings) -> None:
        self.num_rows = int(np.count_nonzero(self.training_rows(train).lengths))
        liked = train.count_at_least(self.relevant)
        self.mean_length = max(liked / max(self.num_rows, 1), 1.0)
        if self.input_kind == "levels" and not np.isin(values := train.levels, self.levels).all():
            found = ", ".join(f"{value:g}" for value in values[:12])
            raise ConfigError(f"model.levels={list(self.levels)} must list all ratings that there are: {found}.")

    def training_rows(self, train: Ratings) -> Rows:
        """Returns users over their liked items; over all rated items if `input` uses other ratings as well."""
        if self.input_kind == "indicator" and self.relevant is not None:
            train = train.at_least(self.relevant)
        return train.rows("user")

    def batches(self, rows: Rows, batch_size: int, **options: Any) -> RowBatches:
        negatives = None if self.sampled is None else (self.sampled, self.sampling_power)
        return RowBatches(rows, batch_size, unique_ids=self.row_sparse, negatives=negatives, **options)

    @property
    def min_value(self) -> float | None:
        return self.relevant if self.input_kind == "indicator" else None

    def kl_weight(self) -> Any:
        """Returns the current weight of the KL divergence of variational layers."""
        return 0.0

    def call(self, batch: Batch, training: bool = False) -> Any:
        if training:
            self.steps.assign(self.steps + 1.0)
        hidden, penalty = self._forward(batch, training)
        scored = self._scored(hidden, batch)
        size = ops.cast(ops.shape(batch["index"])[0], "float32")
        error = self._error(scored, batch)
        if self.length_discount:
            length = ops.maximum(scored.per_row(scored.is_one), 1.0)
            error = error * (self.mean_length / length) ** self.length_discount
        self.add_loss(ops.sum(error) / size + penalty + self._l2_penalty(batch))
        return scored.ones

    def encode(self, batch: Batch) -> Any:
        """(B, d) units of the layers that are sources of the output layer."""
        return ops.cast(self._forward(batch, training=False)[0], "float32")

    def score(self, queries: Any, items: np.ndarray | None = None) -> Any:
        """(B, num_items) or (B, m) pre-activations of the output layer."""
        decoder, bias = ops.convert_to_tensor(self.decoder), ops.convert_to_tensor(self.decoder_bias)
        if items is not None:
            decoder, bias = ops.take(decoder, items, axis=0), ops.take(bias, items)
        # The small matrices are transposed, because a transposed copy of the decoder is large and slow to make.
        return ops.transpose(ops.matmul(decoder, ops.transpose(queries))) + bias

    def score_pairs(self, queries: Any, rows: np.ndarray, items: np.ndarray) -> np.ndarray:
        products = ops.take(queries, rows, axis=0) * ops.take(self.decoder, items, axis=0)
        return ops.convert_to_numpy(ops.sum(products, axis=1) + ops.take(self.decoder_bias, items))

    def _forward(self, batch: Batch, training: bool) -> tuple[Any, Any]:
        """(B, d) units of the output layer's sources, in the compute dtype, and the sum of the layers' penalties."""
        real = ops.cast(batch["index"] >= 0, "float32")
        values = self._inputs(batch, training)
        if not self.row_sparse:
            where, shape = ops.stack([batch["row"], batch["column"]], axis=1), (len_of(batch), self.num_items)
            values = [ops.cast(ops.scatter(where, part, shape), self.compute_dtype) for part in values]
        outputs: dict[str, Any] = {}
        penalty: Any = 0.0
        for layer, tables in zip(self.hidden_layers, self.encoders, strict=True):
            summed: Any = 0.0
            for part, table in zip(values, tables, strict=False):
                summed = summed + self._product(part, self.rows_of(table, batch), batch)
            output, more = layer(summed, outputs, real, batch["key"], training, self.kl_weight())
            outputs[layer.layer.name], penalty = output, penalty + more
        seen = [outputs[name] for name in self.network.output.sources]
        return (seen[0] if len(seen) == 1 else ops.concatenate(seen, axis=1)), penalty

    def _inputs(self, batch: Batch, training: bool) -> list[Any]:
        """(E,) input values of the entries for each of the input's tables, normalised and, in training, denoised."""
        present, value = batch["weight"] > 0, batch["value"]
        if self.input_kind in ("indicator", "rated"):
            liked = present if self.relevant is None else present & (value >= self.relevant)
            kinds = (liked, present & ~liked) if self.input_kind == "rated" else (liked,)
            parts = [ops.cast(kind, "float32") for kind in kinds]
        elif self.input_kind == "analog":
            parts = [ops.where(present, value, 0.0)]
        else:
            parts = [ops.cast(present & (value == level), "float32") for level in self.levels]
        factor: Any = 1.0
        if self.normalize_input:
            squares = ops.segment_sum(sum(ops.square(part) for part in parts), batch["row"], len_of(batch))
            factor = ops.take(ops.rsqrt(ops.maximum(squares, 1e-12)), batch["row"])
        if training and self.network.denoising:
            ids = ops.take(batch["unique_ids"], batch["column"]) if "unique_ids" in batch else batch["column"]
            factor = factor * dropout_mask(ops.take(batch["key"], batch["row"]), ids, self.network.denoising)
        return [factor * part for part in parts]

    def _product(self, values: Any, table: Any, batch: Batch) -> Any:
        if not self.row_sparse:
            return ops.matmul(values, ops.cast(table, self.compute_dtype))
        products = values[:, None] * ops.take(table, batch["column"], axis=0)
        return ops.segment_sum(products, batch["row"], len_of(batch))

    def _scored(self, hidden: Any, batch: Batch) -> Scored:
        decoder, bias = self.rows_of(self.decoder, batch), self.rows_of(self.decoder_bias, batch)
        row, column = batch["row"], batch["column"]
        liked = batch["weight"] != 0  # NaN weights are kept, so that the loss becomes NaN
        if self.relevant is not None:
            liked = liked & (batch["value"] >= self.relevant)
        liked = ops.cast(liked, "float32")
        weight = liked * batch["weight"]
        if "negative" not in batch:
            everything = ops.cast(ops.matmul(hidden, ops.transpose(ops.cast(decoder, hidden.dtype))), "float32") + bias
            ones = ops.take(ops.reshape(everything, [-1]), row * self.num_items + column)
            return Scored(everything, None, ones, None, row, liked, weight)
        drawn, scale = batch["negative"], batch["negative_scale"]
        hidden = ops.cast(hidden, "float32")
        everything = ops.matmul(hidden, ops.transpose(ops.take(decoder, drawn, axis=0))) + ops.take(bias, drawn)
        ones = ops.sum(ops.take(hidden, row, axis=0) * ops.take(decoder, column, axis=0), axis=1)
        ones = ones + ops.take(bias, column)
        scales = ops.segment_sum(scale, drawn, ops.shape(batch["unique_ids"])[0])
        return Scored(everything, scale, ones, ops.take(scales, column), row, liked, weight)

    def _error(self, scored: Scored, batch: Batch) -> Any:
        """(B,) the error of each row."""
        error, softmax = self.network.error, self.activation.name == "softmax"
        if softmax and error == "scaled_marginal_cross_entropy":
            return catalogue_losses.softmax_marginal(self.marginal, scored)
        if softmax:
            return catalogue_losses.multinomial(scored, shared=error == "cross_entropy")
        value = batch["value"] if error == "data_scaled_marginal_cross_entropy" else None
        item_error = catalogue_losses.ITEM_ERRORS.get(error, self.marginal)
        return catalogue_losses.summed(item_error, self.activation, scored, value)

    def _l2_penalty(self, batch: Batch) -> Any:
        if not self.l2:
            return 0.0
        total = sum(ops.sum(ops.square(layer.kernel)) for layer in self.hidden_layers if layer.kernel is not None)
        for table in (*(table for tables in self.encoders for table in tables), self.decoder):
            squares = ops.square(self.rows_of(table, batch))
            total = total + ops.sum(batch["unique_ids_scale"][:, None] * squares if "unique_ids" in batch else squares)
        return self.l2 / (2.0 * self.num_rows) * total


def len_of(batch: Batch) -> Any:
    """Returns the number of rows of a batch, padding included."""
    return ops.shape(batch["index"])[0]


def _check_options(
    input: str,
    levels: Sequence[float],
    relevant: float | None,
    l2: float,
    sampled: int | None,
    sampling_power: float,
) -> None:
    if input not in get_args(Input):
        raise ConfigError(f"model.input must be one of {', '.join(get_args(Input))}. Received: {input!r}")
    if input == "rated" and relevant is None:
        raise ConfigError("model.input=rated tells likes from other ratings: set model.relevant, such as 4.")
    if (input == "levels") != bool(levels):
        raise ConfigError("model.levels lists the rating values for model.input=levels, such as [1,2,3,4,5].")
    if l2 < 0:
        raise ConfigError(f"model.l2 must not be negative. Received: {l2}")
    if sampled is not None and sampled < 1:
        raise ConfigError(f"model.sampled must be at least 1, or null. Received: {sampled}")
    if not 0 <= sampling_power <= 1:
        raise ConfigError(f"model.sampling_power must be between 0 and 1. Received: {sampling_power}")
