"""DeepFM: a factorisation machine and a deep network with shared embeddings (Guo et al. 2017), and parts of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args

import keras
import numpy as np
from keras import ops

from nnrec.batches.protocol import Batch
from nnrec.core.devices.compilation import device_function, fused
from nnrec.core.errors import ConfigError
from nnrec.data.encoding.fields import Fields
from nnrec.models.base.neural_impressions import ImpressionRecommender, Task, columns_of
from nnrec.models.layers.hidden_layer import HiddenLayer
from nnrec.models.layers.network import Layer, Weights

# Units of the first layer held at a time when all pairs of queries and items are scored.
PAIR_ENTRIES = 2**24
# Number of queries assumed when the block size of an exported graph is chosen.
ROWS = 64

Numeric = Literal["embedded", "raw"]


class DeepFM(ImpressionRecommender):
    """Scores rows of (user, item, context) features; its options include factorisation machines and Wide & Deep.

    Paper: Guo, Tang, Ye, Li, He: DeepFM: A Factorization-Machine based Neural Network for CTR Prediction, IJCAI 2017,
    equations 1 to 4; Rendle: Factorization Machines, ICDM 2010, equation 1 and lemma 3.1 (`hidden_units=()`); Cheng et
    al.: Wide & Deep Learning for Recommender Systems, 2016, equation 3 (`second_order=False`). With fields f of the
    row, each with a vector v_f and a weight w_f,

        z = b + sum_f w_f + 1/2 sum over the vectors' components of [(sum_f v_f)^2 - sum_f v_f^2] + MLP(v_1, v_2, ...)

    A categorical field has the vector and weight of its value. A multi-valued field has the mean over its values, 0
    without values. A numeric field of value x has x v and x w, with one v and w per field. The second-order part, the
    sum of v_f . v_g over all pairs of fields, and the deep part share the vectors.

    In: batches of encoded rows, see `ImpressionBatches`. Out: (B,) float32 z. Loss: the mean over the rows of
    softplus(z) - y z, the cross-entropy of sigmoid(z) (task "click"), or of (z - y)^2 (task "rating"), plus l2 / 2
    times the sum of the squares of all vectors and weights of the fields.

    Scoring: the score of a user, an item and a context is z. The sums over fields, and the first layer of the MLP, are
    sums of a part of the user and context and a part of the item. Each part is computed once (`encode`, `hold_items`);
    a pair then needs only a product of two vectors and the MLP from its first activation on.

    Differs: the values of one multi-valued field do not interact with each other. Only the embedding rows that occur in
    a batch are updated; their penalty is scaled up so that its expectation is correct. For Wide & Deep, cross products
    of features must be columns of the data, and both parts have the same optimizer. Batch normalisation ignores padding
    rows and keeps running statistics with momentum .9.

    Args:
        fields: the fields of an encoded row.
        first_order: whether to use the first-order sum of weights.
        second_order: whether to use the factorisation machine's sum over pairs of fields.
        hidden_units: sizes of the deep part's hidden layers; () = no deep part.
        embedding_dim: length of the vectors.
        numeric: "embedded" = numeric fields have vectors; "raw" = they enter the deep part as numbers and are not part
            of the second-order part.
        task: "click" = labels are 0 and 1, and `estimate` returns probabilities; "rating" = labels are numbers.
        dropout: probability of dropping a unit of the deep part.
        batch_normalization: whether the deep part's layers are batch-normalised before their activation.
        l2: weight of the penalty, see above.
        initial_spread: standard deviation of the initial vectors and weights.
    """

    row_sparse = True
    fuses_step = False

    def __init__(
        self,
        fields: Fields | Mapping[str, Any],
        *,
        first_order: bool = True,
        second_order: bool = True,
        hidden_units: Sequence[int] = (400, 400, 400),
        embedding_dim: int = 16,
        numeric: Numeric = "embedded",
        task: Task = "click",
        dropout: float = 0.0,
        batch_normalization: bool = False,
        l2: float = 0.0,
        initial_spread: float = 0.01,
        name: str = "deepfm",
    ) -> None:
        super().__init__(fields, task, name)
        self.options: dict[str, Any] = {
            "first_order": first_order, "second_order": second_order, "hidden_units": tuple(hidden_units),
            "embedding_dim": embedding_dim, "numeric": numeric, "task": task, "dropout": dropout,
            "batch_normalization": batch_normalization, "l2": l2, "initial_spread": initial_spread,
        }  # fmt: skip
        _check_options(self.options)
        self.l2, self.first_order, self.second_order = l2, first_order, second_order
        self.dim = embedding_dim if second_order or hidden_units else 0
        self.raw = numeric == "raw"
        self._build(tuple(hidden_units), initial_spread, dropout, batch_normalization)
        self._items: Any = None  # the contribution of each item, see `_part`
        self._item_fields = np.zeros(0, np.float32)
        self.built = True

    def _build(self, units: tuple[int, ...], spread: float, dropout: float, batch_normalization: bool) -> None:
        fields, plain = self.fields, {"autocast": False}
        drawn, width = keras.initializers.RandomNormal(0.0, spread), self.dim + self.first_order
        # A row holds an id's vector followed by its weight, because both are always used together.
        self.table = self.add_weight((max(fields.num_ids, 1), width), drawn, name="ids", trainable=False, **plain)
        self.row_tables = (self.table,)
        numeric_width = width if not self.raw else int(self.first_order)
        self.numbers = self.add_weight((len(fields.numeric), numeric_width), drawn, name="numbers", **plain)
        self.num_vectors = len(fields.categorical) + len(fields.multi) + len(fields.numeric) * (not self.raw)
        self.hidden: list[HiddenLayer] = []
        inner, source, draws = self.num_vectors * self.dim + len(fields.numeric) * self.raw, "fields", 0
        for number, size in enumerate(units, start=1):
            layer = Layer(
                f"deep_{number}", size, (source,), activation="relu", dropout=dropout,
                batch_normalization=batch_normalization, weights=Weights("glorot"),
            )  # fmt: skip
            self.hidden.append(HiddenLayer(self, layer, number, inner, 0, draws))
            inner, source, draws = size, layer.name, draws + self.hidden[-1].draws
        if units:
            self.output_kernel = self.add_weight((inner,), _glorot(inner), name="output_kernel", **plain)
        self._combine = fused(self._combined)

    def get_config(self) -> dict[str, Any]:
        return {"fields": self.fields.to_dict(), **self.options, "name": self.name}

    def call(self, batch: Batch, training: bool = False) -> Any:
        """(B,) scores; adds the loss."""
        score = self._score(batch, training)
        self.add_loss(self.mean_error(score, batch) + self._penalty(batch))
        return score

    def _score(self, batch: Batch, training: bool = False) -> Any:
        """(B,) scores z."""
        combined = self._combine(*self._fields(batch))
        score = self.bias + combined.sums
        return score + self._deep(combined.inputs, batch, training) if self.hidden else score

    def _fields(self, batch: Batch, side: np.ndarray | None = None) -> tuple[Any, Any]:
        """Returns (B, F, d + 1) vectors and weights of the batch's fields, and its (B, N) numbers.

        Args:
            batch: encoded rows.
            side: (categorical + multi-valued + numeric fields,) float32, 0 for fields to leave out; None = use all.
        """
        rows, fields, numbers = self.rows_of(self.table, batch), self.fields, batch["numeric"]
        if side is not None:
            numbers = numbers * side[len(fields.categorical) + len(fields.multi) :]
        found = [ops.take(rows, batch["categorical"], axis=0)]
        if fields.multi:
            values = ops.take(rows, batch["multi"], axis=0) * batch["multi_share"][:, :, None]
            found += [ops.sum(values[:, part], axis=1, keepdims=True) for part in fields.multi_slices]
        if fields.numeric and not self.raw:
            found.append(numbers[:, :, None] * self.numbers)
        whole = ops.concatenate(found, axis=1) if len(found) > 1 else found[0]
        return (whole if side is None else whole * side[: self.num_vectors, None]), numbers

    def _combined(self, whole: Any, numbers: Any) -> _Combined:
        """Computes the first-order and second-order parts and the inputs of the deep part."""
        vectors = whole[:, :, : self.dim]
        sums = ops.zeros(ops.shape(whole)[0])
        if self.first_order:
            sums = sums + ops.sum(whole[:, :, self.dim], axis=1)
            if self.raw and self.fields.numeric:
                sums = sums + ops.sum(numbers * self.numbers[:, 0], axis=1)
        if self.second_order:
            sums = sums + second_order(vectors)
        inputs = ops.reshape(vectors, [ops.shape(vectors)[0], self.num_vectors * self.dim])
        if self.raw:
            inputs = ops.concatenate([inputs, numbers], axis=1)
        return _Combined(sums, ops.cast(inputs, self.compute_dtype), ops.sum(vectors, axis=1))

    def _deep(self, inputs: Any, batch: Batch, training: bool) -> Any:
        """(B,) output of the deep part."""
        outputs = {"fields": inputs}
        for layer in self.hidden:
            output, _ = layer(0.0, outputs, batch.get("weight"), batch.get("key"), training, 0.0)
            outputs = {layer.layer.name: output}
        return self._last(output)

    def _last(self, hidden: Any) -> Any:
        product = ops.matmul(hidden, ops.cast(self.output_kernel, hidden.dtype)[:, None])
        return ops.cast(product[:, 0], "float32")

    def _penalty(self, batch: Batch) -> Any:
        if not self.l2:
            return 0.0
        squares = ops.square(self.rows_of(self.table, batch))
        total = ops.sum(batch["unique_ids_scale"][:, None] * squares if "unique_ids" in batch else squares)
        return self.l2 / 2 * (total + ops.sum(ops.square(self.numbers)))

    # Scoring

    def hold_items(self, batch: Batch, names: Collection[str]) -> None:
        """Sets the items that `score` ranks.

        Args:
            batch: encoded rows of the items, in order; columns of other fields are ignored.
            names: the fields that describe items; all others describe users and contexts.
        """
        every = (*self.fields.categorical, *self.fields.multi, *self.fields.numeric)
        self._item_fields = np.array([name in names for name in every], np.float32)
        self._functions = {}
        self._items = self._part(batch, self._item_fields)

    def keep_for_graph(self, keep: Callable[[Any], Any]) -> None:
        self._items = None if self._items is None else keep(self._items)

    def encode(self, batch: Batch) -> Any:
        """(B, 1 + d + h) contributions of users and contexts to scores; the rows' item fields are ignored."""
        return self._part(batch, 1 - self._item_fields)

    def score(self, queries: Any, items: np.ndarray | None = None) -> Any:
        """(B, num_items) or (B, m) scores z of the items set by `hold_items`, for each user and context."""
        held = self._items if items is None else ops.take(self._items, items, axis=0)
        if "score" not in self._functions:
            self._functions["score"] = device_function(self._pairs, self.weights)
        score, size = self._functions["score"], held.shape[0]
        width = self.hidden[0].units if self.hidden else 1
        rows = queries.shape[0] or ROWS  # in an exported graph the number is unknown
        step = int(np.clip(PAIR_ENTRIES // (rows * width), 1, size))
        found = [score(queries, held[start : start + step]) for start in range(0, size, step)]
        return ops.concatenate(found, axis=1) if len(found) > 1 else found[0]

    def _part(self, batch: Batch, side: np.ndarray) -> Any:
        """(B, 1 + d + h) contributions of some fields: to the score, to the sum of vectors, and to the first layer."""

        def compute(batch: Batch, side: Any) -> Any:
            combined = self._combined(*self._fields(batch, side))
            found = [combined.sums[:, None], combined.total]
            if self.hidden:
                kernel = ops.cast(self.hidden[0].kernel, combined.inputs.dtype)
                found.append(ops.cast(ops.matmul(combined.inputs, kernel), "float32"))
            return ops.concatenate(found, axis=1)

        if "part" not in self._functions:
            self._functions["part"] = device_function(compute, self.weights)
        return self._functions["part"](columns_of(batch), side)

    def _pairs(self, queries: Any, held: Any) -> Any:
        """(B, m) scores of all pairs."""
        score = self.bias + queries[:, :1] + held[:, 0]
        if self.second_order:
            score = score + ops.matmul(queries[:, 1 : 1 + self.dim], ops.transpose(held[:, 1 : 1 + self.dim]))
        if self.hidden:
            summed = queries[:, None, 1 + self.dim :] + held[None, :, 1 + self.dim :]
            hidden = self._deep_from(ops.reshape(summed, [-1, self.hidden[0].units]))
            score = score + ops.reshape(hidden, ops.shape(score))
        return score

    def _deep_from(self, summed: Any) -> Any:
        """(B,) output of the deep part, from the products of its first layer."""
        outputs: dict[str, Any] = {}
        for layer in self.hidden:
            output, _ = layer(0.0 if outputs else summed, outputs, None, None, False, 0.0)
            outputs = {layer.layer.name: output}
        return self._last(output)


class _Combined(NamedTuple):
    """(B,) sums of first and second order, (B, inputs) inputs of the deep part, and (B, d) sums of the vectors."""

    sums: Any
    inputs: Any
    total: Any


def second_order(vectors: Any) -> Any:
    """The sum of v_f . v_g over all pairs f < g of (B, F, d) vectors, in time linear in F (Rendle 2010, lemma 3.1).

    Returns:
        (B,) tensor.
    """
    total = ops.sum(vectors, axis=1)
    return 0.5 * ops.sum(ops.square(total) - ops.sum(ops.square(vectors), axis=1), axis=1)


def _glorot(units: int) -> keras.initializers.Initializer:
    limit = (6 / (units + 1)) ** 0.5
    return keras.initializers.RandomUniform(-limit, limit)


def _check_options(options: Mapping[str, Any]) -> None:
    if options["numeric"] not in get_args(Numeric):
        raise ConfigError(f"model.numeric must be embedded or raw. Received: {options['numeric']!r}")
    units = options["hidden_units"]
    if any(not isinstance(size, int) or size < 1 for size in units):
        raise ConfigError(f"model.hidden_units must list whole numbers from 1 on. Received: {list(units)}")
    if not (options["first_order"] or options["second_order"] or units):
        raise ConfigError("Nothing is left of the model: set first_order, second_order or hidden_units.")
    if options["embedding_dim"] < 1:
        raise ConfigError(f"model.embedding_dim must be at least 1. Received: {options['embedding_dim']}")
    if not 0 <= options["dropout"] < 1:
        raise ConfigError(f"model.dropout must be at least 0 and below 1. Received: {options['dropout']}")
    for name in ("l2", "initial_spread"):
        if options[name] < 0:
            raise ConfigError(f"model.{name} must not be negative. Received: {options[name]}")
