"""Item2vec: item embeddings from co-occurrence in sessions."""

from __future__ import annotations

from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from nnrec.batches.protocol import Batch, rows_per_batch
from nnrec.batches.session_windows import WindowBatches
from nnrec.core.errors import ConfigError
from nnrec.data.sessions import Sessions
from nnrec.models.base.neural import SessionRecommender, last_events
from nnrec.models.base.row_tables import RowList
from nnrec.models.base.session_baseline import check_at_least, check_one_of, latest

Architecture = Literal["skipgram", "cbow"]
Scoring = Literal["cosine", "dot", "output"]


class Item2Vec(SessionRecommender):
    """Skip-gram or CBOW with negative sampling on sessions.

    Paper: Barkan, Koenigstein: Item2Vec: Neural Item Embedding for Collaborative Filtering, 2016 (skip-gram); Mikolov,
    Sutskever, Chen, Corrado, Dean: Distributed Representations of Words and Phrases and their Compositionality, 2013,
    equation 4, and Mikolov, Chen, Corrado, Dean: Efficient Estimation of Word Representations in Vector Space, 2013
    (CBOW).

    In: batches of examples, see `WindowBatches`. Every item has an input vector u and an output vector v. Out: (B, 1 +
    N) float32, products of the mean input vector h of an example with the output vectors of its target (first) and its
    N negatives. Scoring: (M, num_items) float32; with q the mean of the input vectors of the session's last `last_n`
    events, cos(q, u_j) (cosine; the vectors in the mean are scaled to length 1 first), q.u_j (dot) or q.v_j (output).
    Loss: the mean over the examples of -ln sigmoid(h.v_target) - sum over the negatives of ln sigmoid(-h.v_negative);
    a negative that equals the target is ignored.

    Differs: the context is limited to `window` events (null is the paper's whole set); other events of the same item
    are not context; frequent items are subsampled once, not in each epoch; any optimizer instead of plain SGD.

    Args:
        num_items: size of the data.
        embedding_dim: length of the vectors.
        architecture: "skipgram" or "cbow".
        window: number of events before and after an event that are its context; None = the whole session.
        negatives: N, number of negatives per example.
        power: negatives are sampled in proportion to the items' numbers of events to this power.
        subsample: threshold of subsampling, as in `WindowBatches`; None = no subsampling.
        scoring: "cosine", "dot" or "output", see above.
        last_n: number of the session's last events in the query.
    """

    row_sparse = True
    row_lists = (RowList(), RowList("scored", "scored_scale"))

    def __init__(
        self,
        num_items: int,
        *,
        embedding_dim: int = 100,
        architecture: Architecture = "skipgram",
        window: int | None = 5,
        negatives: int = 5,
        power: float = 0.75,
        subsample: float | None = None,
        scoring: Scoring = "cosine",
        last_n: int = 1,
        name: str = "item2vec",
    ) -> None:
        super().__init__(name=name, autocast=False)
        check_one_of("architecture", architecture, Architecture)
        check_one_of("scoring", scoring, Scoring)
        check_at_least(embedding_dim=(embedding_dim, 1), negatives=(negatives, 1), power=(power, 0), last_n=(last_n, 1))
        if window is not None:
            check_at_least(window=(window, 1))
        if subsample is not None and not subsample > 0:
            raise ConfigError(f"model.subsample must be positive, or null. Received: {subsample}")
        self.num_items = num_items
        self.options: dict[str, Any] = {
            "embedding_dim": embedding_dim, "architecture": architecture, "window": window, "negatives": negatives,
            "power": power, "subsample": subsample, "scoring": scoring, "last_n": last_n,
        }  # fmt: skip
        shape, options = (num_items, embedding_dim), {"trainable": False, "autocast": False}
        start = keras.initializers.RandomUniform(-0.5 / embedding_dim, 0.5 / embedding_dim)
        self.inputs_table = self.add_weight(shape, start, name="input_vectors", **options)
        self.outputs_table = self.add_weight(shape, "zeros", name="output_vectors", **options)
        self.known = self.add_weight((num_items,), "ones", name="known", **options)
        self.row_tables = (self.inputs_table, self.outputs_table)
        self.built = True

    def get_config(self) -> dict[str, Any]:
        return {"num_items": self.num_items, **self.options, "name": self.name}

    def adapt(self, train: Sessions) -> None:
        """Sets which items occur in training."""
        self.known.assign((train.support > 0).astype(np.float32))

    def training_batches(self, train: Sessions, batch_size: int | Literal["auto"], seed: int) -> WindowBatches:
        options = {name: self.options[name] for name in ("window", "negatives", "power", "subsample")}
        size = rows_per_batch(batch_size, len(train))
        return WindowBatches(train, size, seed=seed, cbow=self.options["architecture"] == "cbow", **options)

    def call(self, batch: Batch, training: bool = False) -> Any:
        inputs = ops.take(self.rows_of(self.inputs_table, batch), batch["input"], axis=0)
        hidden = ops.sum(inputs * batch["share"][:, :, None], axis=1)
        outputs = ops.take(self.rows_of(self.outputs_table, batch), batch["output"], axis=0)
        products = ops.sum(hidden[:, None, :] * outputs, axis=2)
        error = ops.softplus(-products[:, 0])
        other = ops.cast(batch["output"][:, 1:] != batch["output"][:, :1], "float32")
        error = error + ops.sum(other * ops.softplus(products[:, 1:]), axis=1)
        size = ops.cast(ops.shape(error)[0], "float32")
        self.add_loss(ops.sum(batch["weight"] * error) / size)
        return products

    def encode(self, batch: Batch) -> Any:
        """(B, T, embedding_dim) tensor: mean vectors of the latest events."""
        items = latest(batch["item"], self.options["last_n"])
        table = self._table(self.inputs_table)
        there = (items >= 0).astype(np.float32)
        share = there / np.maximum(there.sum(axis=2, keepdims=True), 1)
        return ops.sum(ops.take(table, np.maximum(items, 0), axis=0) * share[:, :, :, None], axis=2)

    def export_scores(self, batch: Any) -> Any:
        items = last_events(batch, self.options["last_n"])
        there = ops.cast(items >= 0, "float32")
        share = there / ops.maximum(ops.sum(there, axis=1, keepdims=True), 1.0)
        vectors = ops.take(self._table(self.inputs_table), ops.maximum(items, 0), axis=0)
        return self.score(ops.sum(vectors * share[:, :, None], axis=1))

    def score(self, queries: Any, items: np.ndarray | None = None) -> Any:
        """(M, num_items) or (M, m) cosines or products."""
        cosine = self.options["scoring"] == "cosine"
        table = self._table(self.outputs_table if self.options["scoring"] == "output" else self.inputs_table)
        table = table if items is None else ops.take(table, items, axis=0)
        return ops.matmul(unit(queries) if cosine else queries, ops.transpose(table))

    def item_vectors(self) -> np.ndarray:
        """(num_items, embedding_dim) float32, the input vectors."""
        return ops.convert_to_numpy(self.inputs_table)

    def similar_items(self, items: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the most similar other items by the cosine of input vectors, among items with a training event.

        Args:
            items: (m,) item indices.
            count: number of similar items for each.

        Returns:
            (m, count) int32 indices and (m, count) float32 cosines, in descending order; fewer if there are fewer
            items.
        """
        items = np.asarray(items)
        vectors = ops.convert_to_numpy(unit(ops.convert_to_tensor(self.inputs_table)))
        cosines = vectors[items] @ vectors.T
        cosines[np.arange(len(items)), items] = -np.inf
        known = ops.convert_to_numpy(self.known) > 0
        cosines[:, ~known] = -np.inf
        order = np.argsort(-cosines, axis=1, kind="stable")[:, : min(count, int(known.sum()) - 1)]
        return order.astype(np.int32), np.take_along_axis(cosines, order, axis=1)

    def _table(self, table: keras.Variable) -> Any:
        vectors = ops.convert_to_tensor(table)
        return unit(vectors) if self.options["scoring"] == "cosine" else vectors


def unit(vectors: Any) -> Any:
    """Scales vectors (..., d) to length 1."""
    return vectors * ops.rsqrt(ops.maximum(ops.sum(ops.square(vectors), axis=-1, keepdims=True), 1e-24))
