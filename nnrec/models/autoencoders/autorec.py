"""AutoRec: an autoencoder of an item's or a user's ratings (Sedhain et al., WWW 2015)."""

from __future__ import annotations

from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from nnrec.batches.protocol import Batch
from nnrec.batches.rows import RowBatches
from nnrec.core.errors import ConfigError, DataError
from nnrec.core.keyed_random import dropout_mask
from nnrec.data.ratings import Ratings
from nnrec.models.base.neural import Recommender
from nnrec.models.layers.fold_in import fold_in
from nnrec.models.layers.fold_in_batch import fold_in_rows


class AutoRec(Recommender):
    """Masked AutoRec on sparse rows.

    Paper: Sedhain, Menon, Sanner, Xie: AutoRec: Autoencoders Meet Collaborative Filtering, 2015,
    equations 1 and 2:

        min sum_rows sum_observed (r - b - W g(V r + mu))^2 + lambda/2 (|W|^2 + |V|^2)

    In: batches of sparse rows (`RowBatches`); a row is an item over its users (`by="item"`) or a
    user over their items (`by="user"`). Out: (E,) float32, a predicted rating for each entry.
    Loss: the mean over the rows of the row's sum of squared errors (each times the entry's weight), plus
    lambda / (2 * num_rows) * (|W|^2 + |V|^2). This is the paper's objective divided by num_rows.

    Scoring: (B, num_items) predicted ratings, not clipped. `by="user"` encodes the user's history.
    `by="item"` stores the encodings of all items; a user known from training is represented by their
    decoder column, any other user is fitted to these encodings by ridge regression with the decoder's
    lambda (fold-in).

    Differs: any number of hidden layers; dropout of hidden units and of input ratings (ratings hidden
    from the encoder are still predicted). A row can also enter as the pattern of which ratings it has
    (`indicator`, as in the conditional RBM of Salakhutdinov et al. 2007, with a matrix U penalised like
    V), and rows can be rescaled by their length. Adam instead of RProp. With sparse arithmetic, Adam is
    lazy (`nnrec.training.optimizers.Adam`), and the penalty is computed on those rows of the matrices
    that occur in a batch, divided by the probability that they occur: the same in expectation.

    Args:
        num_users, num_items: sizes of the data.
        by: whether rows are "item" or "user".
        hidden_units: sizes of the hidden layers, the first one next to the ratings.
        activation: Keras name of the activation of all hidden layers.
        l2: lambda of the paper.
        input_dropout: probability of hiding an observed rating from the encoder, in training.
        dropout: probability of dropping a hidden unit, in training.
        center: value that is subtracted from ratings and added to predictions: "middle" of the
            rating scale, "mean" of the training ratings, or "none".
        indicator: whether the encoder also gets which ratings a row has, apart from their values.
        input_power: inputs of a row with n visible ratings are divided by (n / mean n)^input_power, with
            the mean over the training rows; 0 = no rescaling.
        masked: whether the loss ignores missing ratings. False treats them as ratings of 0, for
            comparison, and ignores `center`.
        arithmetic: "dense" makes batches dense on the device; "sparse" gathers the rows of V and W that
            occur in the batch and updates only those; "auto" takes the faster one.
    """

    family = "ratings"
    capabilities = frozenset({"new_users", "rating_scale"})

    def __init__(
        self,
        num_users: int,
        num_items: int,
        *,
        by: Literal["item", "user"] = "item",
        hidden_units: tuple[int, ...] = (500,),
        activation: str = "sigmoid",
        l2: float = 100.0,
        input_dropout: float = 0.0,
        dropout: float = 0.0,
        center: Literal["middle", "mean", "none"] = "middle",
        indicator: bool = True,
        input_power: float = 0.0,
        masked: bool = True,
        arithmetic: Literal["auto", "dense", "sparse"] = "auto",
        name: str = "autorec",
        **options: Any,
    ) -> None:
        super().__init__(name=name, autocast=False, **options)
        _check_options(by, hidden_units, l2, input_dropout, dropout, center, masked, arithmetic)
        self.num_users, self.num_items, self.rows_are = num_users, num_items, by
        self.export_input = "user" if by == "item" else "history"
        self.by, self.hidden_units, self.activation = by, tuple(hidden_units), activation
        self.l2, self.input_dropout, self.dropout = l2, input_dropout, dropout
        self.center, self.indicator, self.input_power = center, indicator, input_power
        self.masked, self.arithmetic = masked, arithmetic
        self.num_rows, self.num_columns = (num_items, num_users) if by == "item" else (num_users, num_items)
        self.row_sparse = arithmetic == "sparse" or (arithmetic == "auto" and masked and self.num_columns > DENSE_UP_TO)
        self._activate = keras.activations.get(activation)
        first, last = self.hidden_units[0], self.hidden_units[-1]
        self.encoder = self._table("encoder", first)
        self.encoder_bias = self.add_weight((first,), "zeros", name="encoder_bias", autocast=False)
        self.between = [
            keras.layers.Dense(units, activation, name=f"hidden_{depth}")
            for depth, units in enumerate(self.hidden_units[1:], start=2)
        ]
        for layer, units in zip(self.between, self.hidden_units, strict=False):
            layer.build((None, units))
        self.decoder = self._table("decoder", last)
        bias = {"trainable": not self.row_sparse, "initializer": "zeros", "autocast": False}
        self.decoder_bias = self.add_weight((self.num_columns,), name="decoder_bias", **bias)
        self.encoders = [self.encoder]
        if indicator:
            self.indicator_encoder = self._table("indicator", first)
            self.encoders.append(self.indicator_encoder)
        if self.row_sparse:
            self.row_tables = (*self.encoders, self.decoder, self.decoder_bias)
        fixed = {"trainable": False, "initializer": "zeros", "autocast": False}
        self.middle = self.add_weight((), name="middle", **fixed)
        self.mean_length = self.add_weight((), name="mean_length", **fixed)
        self.known = self.add_weight((self.num_columns,), name="known", **fixed)
        self.rating_scale = self.add_weight((2,), name="rating_scale", **fixed)
        if by == "item":
            self.encodings = self.add_weight((num_items, last), name="encodings", **fixed)
            self.average = self.add_weight((last + 1,), name="average", **fixed)
        self.built = True

    def _table(self, name: str, units: int) -> keras.Variable:
        """Adds a (columns, units) matrix, initialised by Glorot's uniform distribution."""
        limit = (6 / (self.num_columns + units)) ** 0.5
        initializer = keras.initializers.RandomUniform(-limit, limit)
        shape, trainable = (self.num_columns, units), not self.row_sparse
        return self.add_weight(shape, initializer, name=name, trainable=trainable, autocast=False)

    def get_config(self) -> dict[str, Any]:
        sizes = ("num_users", "num_items")
        settings = ("by", "hidden_units", "activation", "l2", "input_dropout", "dropout", "center", "indicator")
        return {
            name: getattr(self, name) for name in (*sizes, *settings, "input_power", "masked", "arithmetic", "name")
        }

    def adapt(self, train: Ratings) -> None:
        low, high = train.scale
        if low == high and self.masked:
            raise DataError(
                f"All ratings are {low:g}: from the observed entries alone AutoRec would learn to predict just that. "
                "Choose a column of ratings (data.source.value), or train on all entries with model.masked=false."
            )
        rows = self.training_rows(train)
        lengths = rows.lengths[rows.lengths > 0]
        self.num_rows = len(lengths)
        if self.masked:
            self.middle.assign({"middle": (low + high) / 2, "mean": train.mean, "none": 0.0}[self.center])
        self.mean_length.assign(lengths.mean())
        self.rating_scale.assign(train.scale)
        known = (rows.counts() > 0).astype(np.float32)
        self.known.assign(known)
        # Columns without training ratings get weights of 0: their prediction is the middle.
        self.decoder.assign(self.decoder * known[:, None])

    def call(self, batch: Batch, training: bool = False) -> Any:
        hidden = self._hidden(batch, training)
        decoder, bias = self.rows_of(self.decoder, batch), self.rows_of(self.decoder_bias, batch)
        size = ops.shape(batch["index"])[0]
        if "unique_ids" in batch:
            units = ops.take(ops.cast(hidden, "float32"), batch["row"], axis=0)
            prediction = ops.sum(units * ops.take(decoder, batch["column"], axis=0), axis=1)
            prediction = prediction + ops.take(bias, batch["column"])
        else:
            decoder = ops.cast(decoder, self.compute_dtype)
            everything = ops.cast(ops.matmul(hidden, ops.transpose(decoder)), "float32") + bias
            flat = batch["row"] * self.num_columns + batch["column"]
            prediction = ops.take(ops.reshape(everything, [-1]), flat)
        prediction = prediction + self.middle
        error = ops.sum(batch["weight"] * ops.square(batch["value"] - prediction))
        if not self.masked:
            # sum over all entries of (target - p)^2, where the target is 0 unless observed
            missing = ops.sum(ops.square(everything)) - ops.sum(_visible(batch) * ops.square(prediction))
            padding = ops.cast(batch["index"] < 0, "float32")
            error = error + missing - ops.sum(padding[:, None] * ops.square(everything))
        self.add_loss(error / ops.cast(size, "float32") + self._penalty(batch))
        return prediction

    def encode(self, batch: Batch) -> Any:
        """(B, d) hidden units of the users (by="user"), or (B, d + 1) their decoder columns and biases (by="item")."""
        if self.by == "user":
            return ops.cast(self._hidden(batch, training=False), "float32")
        users = np.asarray(batch["index"])
        trained = (users >= 0) & (np.asarray(ops.take(self.known, np.maximum(users, 0))) > 0)
        average = ops.convert_to_numpy(self.average)
        queries = np.tile(average, (len(users), 1))
        queries[trained, :-1] = ops.convert_to_numpy(ops.take(self.decoder, users[trained], axis=0))
        queries[trained, -1] = ops.convert_to_numpy(ops.take(self.decoder_bias, users[trained]))
        rated = np.bincount(batch["row"], weights=batch["weight"], minlength=len(users)) > 0
        unseen = np.flatnonzero(rated & ~trained)
        if len(unseen):
            vectors, middle = ops.convert_to_numpy(self.encodings), float(self.middle)
            starts, ends = (np.searchsorted(batch["row"], unseen, side=side) for side in ("left", "right"))
        for number, position in enumerate(unseen):
            entries = np.arange(starts[number], ends[number])
            entries = entries[batch["weight"][entries] > 0]
            items, weights = batch["column"][entries], batch["weight"][entries]
            target = batch["value"][entries] - middle
            queries[position] = fold_in(vectors[items], target, weights, average, self.l2 / 2)
        return ops.convert_to_tensor(queries)

    def export_scores(self, batch: Any) -> Any:
        if self.by == "user":
            return super().export_scores(batch)
        user = ops.maximum(batch["index"], 0)
        trained = (batch["index"] >= 0) & (ops.take(self.known, user) > 0)
        own = [ops.take(self.decoder, user, axis=0), ops.take(self.decoder_bias, user)[:, None]]
        own = ops.concatenate(own, axis=1)
        queries = ops.cond(ops.all(trained), lambda: own, lambda: self._or_fitted(batch, own, trained))
        return self.score(queries)

    def _or_fitted(self, batch: Any, own: Any, trained: Any) -> Any:
        """(B, d + 1) decoder columns and biases: of trained users their own, of others fitted to their histories."""
        shape = (ops.shape(own)[0], -1)
        column, value, weight = (ops.reshape(batch[name], shape) for name in ("column", "value", "weight"))
        vectors = ops.take(ops.convert_to_tensor(self.encodings), column, axis=0)
        weight = ops.where(trained[:, None], 0.0, weight)
        fitted = fold_in_rows(vectors, value - self.middle, weight, ops.convert_to_tensor(self.average), self.l2 / 2)
        return ops.where(trained[:, None], own, fitted)

    def score(self, queries: Any, items: np.ndarray | None = None) -> Any:
        """(B, num_items) or (B, m) predicted ratings, not clipped: clipping would make the best items tie."""
        if self.by == "item":
            vectors, own, bias = self.encodings, queries[:, -1:], 0.0
            queries = queries[:, :-1]
        else:
            vectors, own, bias = self.decoder, 0.0, _some(self.decoder_bias, items)
        return ops.matmul(queries, ops.transpose(_some(vectors, items))) + bias + own + self.middle

    def score_pairs(self, queries: Any, rows: np.ndarray, items: np.ndarray) -> np.ndarray:
        queries = ops.take(queries, rows, axis=0)
        if self.by == "item":
            products, bias = queries[:, :-1] * _some(self.encodings, items), queries[:, -1]
        else:
            products, bias = queries * _some(self.decoder, items), _some(self.decoder_bias, items)
        return ops.convert_to_numpy(ops.sum(products, axis=1) + bias + self.middle)

    def prepare(self, history: Ratings) -> None:
        """Encodes all items from the ratings in `history` (by="item" only)."""
        if self.by != "item":
            return
        batches = RowBatches(history.rows("item"), 256)
        encodings = [ops.convert_to_numpy(self._hidden(batch, training=False)) for batch in batches.epoch()]
        self.encodings.assign(np.concatenate(encodings)[: self.num_items].astype(np.float32))
        share = self.known / ops.maximum(ops.sum(self.known), 1.0)
        decoder = ops.matmul(share[None, :], self.decoder)[0]
        self.average.assign(ops.concatenate([decoder, ops.sum(share * self.decoder_bias)[None]]))

    def _hidden(self, batch: Batch, training: bool) -> Any:
        """(B, last hidden) hidden units, in the compute dtype."""
        size = ops.shape(batch["index"])[0]
        row, column = batch["row"], batch["column"]
        present = _visible(batch)
        if self.input_power:
            counts = ops.segment_sum(present, row, size)
            present = present * ops.take((self.mean_length / ops.maximum(counts, 1.0)) ** self.input_power, row)
        if training and self.input_dropout:
            ids = ops.take(batch["unique_ids"], column) if "unique_ids" in batch else column
            present = present * dropout_mask(ops.take(batch["key"], row), ids, self.input_dropout)
        values = present * (batch["value"] - self.middle)
        summed = 0.0
        for inputs, table in zip((values, present), self.encoders, strict=False):
            encoder = self.rows_of(table, batch)
            if self.row_sparse:
                products = inputs[:, None] * ops.take(encoder, column, axis=0)
                summed = summed + ops.cast(ops.segment_sum(products, row, size), self.compute_dtype)
            else:
                dense = ops.scatter(ops.stack([row, column], axis=1), inputs, (size, self.num_columns))
                dense, encoder = ops.cast(dense, self.compute_dtype), ops.cast(encoder, self.compute_dtype)
                summed = summed + ops.matmul(dense, encoder)
        hidden = self._activate(summed + ops.cast(self.encoder_bias, self.compute_dtype))
        hidden = self._drop(hidden, batch, 0, training)
        for depth, layer in enumerate(self.between, start=1):
            hidden = self._drop(layer(hidden), batch, depth, training)
        return hidden

    def _drop(self, hidden: Any, batch: Batch, depth: int, training: bool) -> Any:
        if not (training and self.dropout):
            return hidden
        units = np.arange(hidden.shape[1]) + self.num_columns + sum(self.hidden_units[:depth])
        mask = dropout_mask(batch["key"][:, None], units[None, :], self.dropout)
        return hidden * ops.cast(mask, self.compute_dtype)

    def _penalty(self, batch: Batch) -> Any:
        total = 0.0
        for table in (*self.encoders, self.decoder):
            squares = ops.square(self.rows_of(table, batch))
            if "unique_ids" in batch:
                squares = batch["unique_ids_scale"][:, None] * squares
            total = total + ops.sum(squares)
        return self.l2 / (2.0 * self.num_rows) * total


# Columns up to which dense arithmetic is faster on two CPU cores (benchmarks/autorec.py).
DENSE_UP_TO = 15_000


def _visible(batch: Batch) -> Any:
    """(E,) 1 for entries, 0 for padding."""
    return ops.cast(batch["weight"] > 0, "float32")


def _some(table: Any, items: np.ndarray | None) -> Any:
    """Returns the rows of a table for these items; None = all."""
    return ops.convert_to_tensor(table) if items is None else ops.take(table, items, axis=0)


def _check_options(
    by: str,
    hidden_units: tuple[int, ...],
    l2: float,
    input_dropout: float,
    dropout: float,
    center: str,
    masked: bool,
    arithmetic: str,
) -> None:
    for key, value, choices in (
        ("by", by, ("item", "user")),
        ("center", center, ("middle", "mean", "none")),
        ("arithmetic", arithmetic, ("auto", "dense", "sparse")),
    ):
        if value not in choices:
            raise ConfigError(f"model.{key} must be one of {', '.join(choices)}. Received: {value!r}")
    if not hidden_units or any(units < 1 for units in hidden_units):
        raise ConfigError(f"model.hidden_units must list at least one positive size. Received: {list(hidden_units)}")
    for key, rate in (("input_dropout", input_dropout), ("dropout", dropout)):
        if not 0 <= rate < 1:
            raise ConfigError(f"model.{key} must be at least 0 and below 1. Received: {rate}")
    if l2 < 0:
        raise ConfigError(f"model.l2 must not be negative. Received: {l2}")
    if not masked and arithmetic == "sparse":
        raise ConfigError("model.masked=false looks at every entry of the matrix: use model.arithmetic=dense.")
