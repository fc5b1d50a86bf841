"""CNN3D: a 3D convolutional network over the content of a session's items, read character by character."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from nnrec.batches.padding import bucket, padded
from nnrec.batches.protocol import Batch, TrainingBatches, rows_per_batch
from nnrec.batches.session_segments import SegmentBatches
from nnrec.core.devices.collectives import shared
from nnrec.core.devices.compilation import device_function
from nnrec.core.errors import ConfigError
from nnrec.core.keyed_random import dropout_mask, uniform
from nnrec.data.encoding.characters import ALPHABET
from nnrec.data.sessions import Sessions
from nnrec.models.base.neural import SessionRecommender, last_events
from nnrec.models.base.row_tables import RowList
from nnrec.models.layers import sampled_losses as losses
from nnrec.models.layers.convolution import Convolution
from nnrec.models.layers.sampled_losses import Columns, Scored
from nnrec.models.sessions.item_content import BLOCK, TABLE, ItemContent


class CNN3D(SessionRecommender):
    """3D convolutions over (clicks x characters x attributes) of a session, and item vectors computed from content.

    Paper: Tuan, Phuong: 3D Convolutional Networks for Session-based Recommendation with Content Features, RecSys 2017.
    An item has texts of W characters, one for each attribute (title, category, ...). With a learnt vector of length e
    for each character, the last L clicks of a session are a volume (L, W, attributes, e). Convolutions with ReLU and
    max-pooling reduce it (`Convolution`); dense layers compute h from its maxima over characters and attributes, and
    from the vectors u_l of the clicks:

        query q = t (sum_l a_l u_l M + h),  score_j = q . v_j + b_j

    u is the vector of an item as a click, v its vector as the next item. Both are the content vector c (`ItemContent`),
    so that items without a training event have them too. With `ids`, each training item adds a learnt vector to u and
    another to v, and has a bias b. The learnt weights a_l of the l-th last clicks sum to 1 over the clicks present; t
    is a learnt scale. Initially M is the identity and h is 0, so that training starts from scores by the similarity of
    content to that of the clicks.

    In: batches of `SegmentBatches`, parts of sessions. Out: (N S, U) scores of the batch's U items after each of N S
    examples. Loss: the sum over the examples of the cross-entropy of the target among the batch's targets and the
    sampled negatives, corrected by the logarithms of their sampling probabilities
    (`nnrec.models.layers.sampled_losses`), divided by N S.

    Scoring: (M, num_items) float32, q . v_j + b_j. Item vectors are computed once after each change of the weights.

    Absent clicks are zeros before and after every layer, absent characters before the first. Convolutions that cover a
    single click are computed once for each distinct item of a batch.

    Differs: the paper's alphabet, sizes, padding and other values are not public; those here are choices.
    Characters have learnt vectors instead of one-hot codes: the same first convolution, with fewer multiplications.
    Attributes are a separate axis, so that the same filters find words in each attribute. Two towers, u and v, replace
    a softmax layer with weights for every item, which could not score new items. The term with M is added, because the
    little data of shops with content are not enough to learn which contents are similar. Negatives are sampled, because
    catalogues are large. The layers slide over the session with one result per click; computing each window separately
    would repeat the same computations L times. Dropout is applied to the inputs of dense layers against overfitting on
    small data; the learnt vectors of random items are hidden from a batch, so that content does not rely on them.
    Random draws are keyed by seed, epoch and event or item.

    Args:
        num_items: size of the data.
        texts: columns of the item table that are read as characters; "id" is the item's raw id.
        characters: W, the length to which texts are cut, see `nnrec.data.encoding.characters`.
        alphabet: characters that have their own code; None = `nnrec.data.encoding.characters.ALPHABET`.
        character_units: e, length of the characters' vectors.
        categories: columns of categorical values, each with a vector per value.
        category_values: number of most frequent values with a vector; all others share the vector of missing values.
        category_units: length of these vectors.
        numbers: numeric columns, scaled to mean 0 and variance 1 over the training items.
        clicks: L.
        convolutions: layers, each with `filters`, `kernel` and `pool`, the latter two as (clicks, characters,
            attributes).
        embedding_dim: length of u, v and q.
        hidden_units: sizes of the dense layers before q.
        ids: whether training items have learnt vectors and biases beside their content.
        id_rate: factor of the learning rate of these vectors and biases.
        id_dropout: probability, for each item of a batch, of hiding its learnt vectors.
        dropout: probability of dropping an input of a dense layer.
        n_sample: number of negatives sampled per batch.
        sample_alpha: negatives are sampled with probabilities proportional to support ** sample_alpha.
        logq: strength of the correction by sampling probabilities: 1 = full, 0 = none.
        event: kind of event to predict, such as "buy"; None = the next event of any kind.
        prefixes: whether every prefix of a session is a training example, or only the whole session.
    """

    reads_files = False  # segments are drawn from anywhere
    row_sparse, fuses_step = True, False  # XLA convolves slowly on CPU
    capabilities = frozenset({"new_items"})

    def __init__(
        self,
        num_items: int,
        *,
        texts: Sequence[str] = ("title", "category"),
        characters: int = 64,
        alphabet: str | None = None,
        character_units: int = 16,
        categories: Sequence[str] = (),
        category_values: int = 1000,
        category_units: int = 16,
        numbers: Sequence[str] = (),
        clicks: int = 8,
        convolutions: Sequence[Mapping[str, Any]] = (
            {"filters": 96, "kernel": (1, 4, 1), "pool": (1, 8, 1)},
            {"filters": 64, "kernel": (2, 3, 2), "pool": (1, 2, 2)},
        ),
        embedding_dim: int = 64,
        hidden_units: Sequence[int] = (128,),
        ids: bool = True,
        id_rate: float = 5.0,
        id_dropout: float = 0.1,
        dropout: float = 0.2,
        n_sample: int = 256,
        sample_alpha: float = 0.75,
        logq: float = 1.0,
        event: str | None = None,
        prefixes: bool = True,
        name: str = "cnn3d",
    ) -> None:
        super().__init__(name=name, autocast=False)
        self.num_items = num_items
        layers = [{key: _plain(value) for key, value in layer.items()} for layer in convolutions]
        self.options: dict[str, Any] = {
            "texts": list(texts), "characters": characters, "alphabet": alphabet, "character_units": character_units,
            "categories": list(categories), "category_values": category_values, "category_units": category_units,
            "numbers": list(numbers), "clicks": clicks, "convolutions": layers, "embedding_dim": embedding_dim,
            "hidden_units": list(hidden_units), "ids": ids, "id_rate": id_rate, "id_dropout": id_dropout,
            "dropout": dropout, "n_sample": n_sample, "sample_alpha": sample_alpha, "logq": logq, "event": event,
            "prefixes": prefixes,
        }  # fmt: skip
        check_options(self.options)
        single = 1 + next((n for n, layer in enumerate(layers[1:]) if not covers_one(layer)), len(layers) - 1)
        self.content = ItemContent(
            num_items, texts=texts, categories=categories, numbers=numbers, width=characters,
            alphabet=alphabet or ALPHABET, character_units=character_units, category_values=category_values,
            category_units=category_units, convolutions=layers[:single], dim=embedding_dim,
        )  # fmt: skip
        self._build_session(layers[single:])
        if ids:
            shapes = {"inputs": (num_items, embedding_dim), "vectors": (num_items, embedding_dim), "bias": (num_items,)}
            own = [self.add_weight(shape, "zeros", name=f"own_{name}", **TABLE) for name, shape in shapes.items()]
            self.row_tables = tuple(own)
            self.row_lists = (RowList(), RowList(moves="scored"), RowList(moves="scored"))
        self._functions: dict[str, Any] = {}
        self._scoring: Any = None  # vectors and biases of all items for the current weights; None = not computed yet
        self.built = True

    def _build_session(self, convolutions: Sequence[Mapping[str, Any]]) -> None:
        """Creates the layers that compute a query from clicks."""
        own, channels = self.options, self.content.channels
        self.layers_over_clicks: list[Convolution] = []
        for number, layer in enumerate(convolutions, start=1):
            self.layers_over_clicks.append(Convolution(channels, **layer, name=f"over_clicks_{number}"))
            channels = layer["filters"]
        self.seen = own["clicks"] - sum(layer.reach for layer in self.layers_over_clicks)
        if self.seen < 1:
            together = 1 + own["clicks"] - self.seen
            raise ConfigError(
                f"model.clicks={own['clicks']} is too few for model.convolutions, which together cover {together} "
                "clicks: raise it, or take smaller kernels and pools."
            )
        sizes = [self.seen * channels + own["clicks"] * own["embedding_dim"], *own["hidden_units"]]
        self.hidden = [
            self._dense(before, size, "relu", f"hidden_{depth}")
            for depth, (before, size) in enumerate(zip(sizes, sizes[1:], strict=False), start=1)
        ]
        self.to_query = self._dense(sizes[-1], own["embedding_dim"], None, "query", "zeros")
        self.recency = self.add_weight((own["clicks"],), "zeros", name="recency", autocast=False)
        units = (own["embedding_dim"],) * 2
        self.turn = self.add_weight(units, keras.initializers.Identity(), name="turn", autocast=False)
        self.sharpness = self.add_weight((), keras.initializers.Constant(2.0), name="sharpness", autocast=False)

    def _dense(
        self, inputs: int, units: int, activation: str | None, name: str, start: str = "glorot_uniform"
    ) -> keras.layers.Dense:
        layer = keras.layers.Dense(units, activation, kernel_initializer=start, name=name, autocast=False)
        layer.build((None, inputs))
        return layer

    def get_config(self) -> dict[str, Any]:
        return {"num_items": self.num_items, **self.options, "name": self.name}

    def adapt(self, train: Sessions) -> None:
        """Reads the content of the items, see `ItemContent.read`."""
        self.content.read(train)
        self._scoring = None

    def training_batches(self, train: Sessions, batch_size: int | Literal["auto"], seed: int) -> TrainingBatches:
        """Returns batches of segments of sessions; "auto" gives about 30 batches per epoch of 16 to 512 examples."""
        names = ("clicks", "n_sample", "sample_alpha", "event", "prefixes")
        size = rows_per_batch(batch_size, len(train))
        return SegmentBatches(train, size, seed=seed, **{name: self.options[name] for name in names})

    # The network

    def call(self, batch: Batch, training: bool = False) -> Any:
        """(N S, U) scores of the batch's items after each of its examples; adds the loss."""
        rate = self.options["id_dropout"]
        shown = None
        if training and rate:
            shown = ops.cast(uniform(batch["touched_key"], ops.zeros((1,), "uint32")) >= rate, "float32")
        own = [self.rows_of(table, batch) for table in self.row_tables]
        maps, inputs, vectors, bias = self._items(batch["unique_ids"], own, shown)
        key = batch["key"] if training else None
        queries = self._session(maps, inputs, batch["input"], batch["present"], key)
        queries = ops.reshape(queries, (-1, self.options["embedding_dim"]))
        scores = self._matmul(queries, ops.transpose(vectors)) + bias
        columns = Columns(batch["aimed"], batch["drawn"], batch["support"])
        scored = Scored(scores, ops.reshape(batch["target"], (-1,)), columns)
        error = losses.cross_entropy(scored, self.options["logq"], self.options["sample_alpha"])
        weight = ops.reshape(batch["weight"], (-1,))
        self.add_loss(ops.sum(weight * error) / ops.cast(ops.shape(weight)[0], "float32"))
        return scores

    def _items(self, items: Any, own: Sequence[Any], shown: Any = None) -> tuple[Any, Any, Any, Any]:
        """Computes maps, vectors and biases of some items.

        Args:
            items: (U,) item indices.
            own: the items' rows of `row_tables`; empty without `ids`.
            shown: (U,) float32, 0 for items whose learnt vectors are hidden; None = none are hidden.

        Returns:
            (U, W', A', channels) maps of their texts, (U, d) vectors u and v, (U,) biases.
        """
        maps, vectors = shared(self.content, items)
        if not own:
            return maps, vectors, vectors, ops.zeros_like(vectors[:, 0])
        *mine, bias = own
        mine = [vectors + (rows if shown is None else rows * shown[:, None]) for rows in mine]
        return maps, *mine, bias

    def _session(self, maps: Any, inputs: Any, clicks: Any, present: Any, key: Any = None) -> Any:
        """(N, D - L + 1, d) queries after each click except the first L - 1, from it and the L - 1 clicks before it.

        Args:
            maps, inputs: maps and vectors u of some items, from `_items`.
            clicks: (N, D) positions of the clicked items among these.
            present: (N, D) float32, 0 for no click.
            key: (N, D - L + 1) random keys for dropout; None = no dropout.
        """
        volume = ops.take(maps, clicks, axis=0) * ops.cast(present, maps.dtype)[:, :, None, None, None]
        left = present
        for layer in self.layers_over_clicks:
            left = left[:, layer.reach :]
            volume = layer(volume) * ops.cast(left, maps.dtype)[:, :, None, None, None]
        found = ops.cast(ops.max(volume, axis=(2, 3)), "float32")
        read = windows(ops.take(inputs, clicks, axis=0) * present[:, :, None], self.options["clicks"])
        hidden, offset = ops.concatenate([windows(found, self.seen), read], axis=2), 0
        for layer in [*self.hidden, self.to_query]:
            width = hidden.shape[2]
            hidden = layer(self._drop(hidden, key, offset))
            offset += width
        share = ops.exp(self.recency) * windows(present[:, :, None], self.options["clicks"])
        share = share / ops.maximum(ops.sum(share, axis=2, keepdims=True), 1e-6)
        read = ops.reshape(read, (*ops.shape(read)[:2], self.options["clicks"], inputs.shape[1]))
        mean = ops.sum(share[..., None] * read, axis=2)
        return ops.exp(self.sharpness) * (ops.matmul(mean, self.turn) + hidden)

    def _drop(self, values: Any, key: Any, offset: int) -> Any:
        rate = self.options["dropout"]
        if key is None or not rate:
            return values
        columns = np.arange(offset, offset + values.shape[2])
        return values * dropout_mask(key[:, :, None], columns[None, None, :], rate)

    def _matmul(self, one: Any, other: Any) -> Any:
        """Returns the matrix product, computed in the compute dtype."""
        return ops.cast(ops.matmul(ops.cast(one, self.compute_dtype), ops.cast(other, self.compute_dtype)), "float32")

    # Scoring

    def _rows(self, items: Any) -> list[Any]:
        return [ops.take(table, items, axis=0) for table in self.row_tables]

    def _vectors_of(self, items: Any) -> tuple[Any, Any]:
        return self._items(items, self._rows(items))[2:]

    def _queries(self, items: Any, clicks: Any, present: Any) -> Any:
        maps, inputs, _, _ = self._items(items, self._rows(items))
        return self._session(maps, inputs, clicks, present)

    def _compiled(self, name: str) -> Any:
        """Returns a method of this class, compiled."""
        if name not in self._functions:
            self._functions[name] = device_function(getattr(self, name), self.weights)
        return self._functions[name]

    def encode(self, batch: Batch) -> Any:
        """(B, T, d) queries after each event."""
        items = np.pad(batch["item"], ((0, 0), (self.options["clicks"] - 1, 0)), constant_values=-1)
        present = items >= 0
        distinct, places = np.unique(items[present], return_inverse=True)
        clicks = np.zeros(items.shape, np.int32)
        clicks[present] = places
        some = padded(distinct.astype(np.int32), bucket(max(len(distinct), 1)))
        arrays = (some, clicks, present.astype(np.float32))
        return self._compiled("_queries")(*map(ops.convert_to_tensor, arrays))

    def advance(self, state: Any, item: int) -> tuple[Any, Any]:
        """Processes one more event of a session; the state holds its last L - 1 items."""
        events = np.append([] if state is None else state, item).astype(np.int32)
        return events[-(self.options["clicks"] - 1) :], self.encode({"item": events[None]})[:, -1]

    def keep_for_graph(self, keep: Callable[[Any], Any]) -> None:
        self._scoring = tuple(map(keep, self._all_items()))

    def export_scores(self, batch: Any) -> Any:
        items = last_events(batch, self.options["clicks"])
        present = ops.cast(items >= 0, "float32")
        count = ops.shape(items)[0] * self.options["clicks"]
        clicks = ops.reshape(ops.arange(count, dtype="int32"), ops.shape(items))
        some = ops.reshape(ops.maximum(items, 0), (-1,))
        return self.score(self._queries(some, clicks, present)[:, 0])

    def _all_items(self) -> tuple[Any, Any]:
        """Returns vectors and biases of all items; computes them only if the weights have changed."""
        if self._scoring is None:
            blocks = []
            for start in range(0, self.num_items, BLOCK):
                items = np.arange(start, min(start + BLOCK, self.num_items), dtype=np.int32)
                found = self._compiled("_vectors_of")(ops.convert_to_tensor(padded(items, BLOCK)))
                blocks.append([part[: len(items)] for part in found])
            self._scoring = tuple(ops.concatenate(parts, axis=0) for parts in zip(*blocks, strict=True))
        return self._scoring

    def score(self, queries: Any, items: np.ndarray | None = None) -> Any:
        """(M, num_items) or (M, m) products of queries and item vectors, plus biases."""
        vectors, bias = self._all_items()
        if items is not None:
            vectors, bias = ops.take(vectors, items, axis=0), ops.take(bias, items)
        return ops.matmul(ops.convert_to_tensor(queries), ops.transpose(vectors)) + bias

    def item_vectors(self) -> np.ndarray:
        """(num_items, d) item vectors v, which scores are computed with."""
        return ops.convert_to_numpy(self._all_items()[0])

    def rate_factor(self, variable: keras.Variable) -> float:
        """Returns `id_rate` for the items' learnt vectors and biases, which occur in few batches; else 1."""
        return self.options["id_rate"] if any(variable is table for table in self.row_tables) else 1.0

    # The methods below change weights, after which the items' vectors must be computed again.

    def begin_epoch(self, epoch: int) -> None:
        self._scoring = None

    def prepare(self, history: Any) -> None:
        self._scoring = None

    def set_weights(self, weights: Sequence[np.ndarray]) -> None:
        self._scoring = None
        super().set_weights(weights)

    def load_state(self, arrays: dict[str, np.ndarray]) -> None:
        self._scoring = None
        super().load_state(arrays)


def windows(values: Any, size: int) -> Any:
    """(N, T - size + 1, size d): concatenates each position, except the first size - 1, with the size - 1 before it."""
    length = values.shape[1]
    end = None if length is None else length
    parts = [values[:, back : (end or ops.shape(values)[1]) - size + 1 + back] for back in range(size)]
    return ops.concatenate(parts, axis=2)


def check_options(own: Mapping[str, Any]) -> None:
    """Raises ConfigError at the first setting that is not valid."""

    def demand(right: bool, what: str, key: str) -> None:
        if not right:
            raise ConfigError(f"model.{key} must {what}. Received: {own[key]!r}")

    demand(len(own["texts"]) > 0, "name at least one column of texts, or id", "texts")
    for key in ("character_units", "clicks", "embedding_dim", "category_values", "category_units"):
        demand(isinstance(own[key], int) and own[key] > 0, "be a positive integer", key)
    demand(isinstance(own["n_sample"], int) and own["n_sample"] >= 0, "be an integer, at least 0", "n_sample")
    for key in ("id_dropout", "dropout"):
        demand(0 <= own[key] < 1, "be at least 0 and below 1, the probability of dropping", key)
    for key in ("sample_alpha", "logq"):
        demand(own[key] >= 0, "be at least 0", key)
    demand(
        all(isinstance(size, int) and size > 0 for size in own["hidden_units"]), "hold positive sizes", "hidden_units"
    )
    demand(len(own["convolutions"]) > 0, "hold at least one layer", "convolutions")
    for layer in own["convolutions"]:
        sizes = [layer.get("filters"), *(layer.get("kernel") or [None]), *(layer.get("pool") or [None])]
        right = set(layer) == {"filters", "kernel", "pool"} and len(sizes) == 7
        right = right and all(isinstance(size, int) and size > 0 for size in sizes)
        what = "give each layer filters, kernel [clicks, characters, attributes] and pool [...], positive integers"
        demand(right, what, "convolutions")
    demand(covers_one(own["convolutions"][0]), "begin with a layer that covers a single click", "convolutions")


def covers_one(layer: Mapping[str, Any]) -> bool:
    """Whether a convolution covers only a single click."""
    return layer["kernel"][0] == layer["pool"][0] == 1


def _plain(value: Any) -> Any:
    return value if isinstance(value, int) else list(value)
