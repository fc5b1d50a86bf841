"""Graphs of an impression model: probabilities of rows, and top-N lists for users in a context."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from nnrec.recommend.impressions import ImpressionTopN
from nnrec.runs.side_features import columns_of_fields
from nnrec.runs.trained import TrainedRun
from nnrec.serving.encoding import RowEncoder
from nnrec.serving.graph import Graph, Ids, Port, Tensors, best, excluding, kept
from nnrec.serving.samples import used_columns

ENCODED = {
    "categorical": (tf.int32, "ids in the shared table, see encoder.json"),
    "multi": (tf.int32, "likewise, of the multi-valued fields one after the other"),
    "multi_share": (tf.float32, "1 / number of the field's values, 0 where filled up"),
    "numeric": (tf.float32, "transformed numbers"),
}


class Rows:
    """The graphs of one run.

    Args:
        run: the finished run of an impression model.
        n: length of the lists.
    """

    def __init__(self, run: TrainedRun, n: int) -> None:
        model: Any = run.model
        self.sides, self.schema = run.sides, run.sides.encoder.schema
        self.encoder = RowEncoder(run.sides.encoder)
        self.lists = self.schema.item is not None
        if self.lists:
            top = ImpressionTopN(run, n, False)  # its constructor loads the items into the model
            self.n, self.excluded = top.n, excluding(top.excluded)
            self.item_ids, self.user_ids = Ids(run.items.ids), Ids(run.users.ids)
            self._keep_users(len(run.users))
        model.keep_for_graph(kept)
        self.model = model

    def _keep_users(self, number: int) -> None:
        """Stores the side features of each known user; the last row holds those of an unknown user."""
        known = self.sides.known("user") if number else np.zeros(0, bool)
        everybody = np.append(np.flatnonzero(known), -1)
        place = np.full(number + 1, len(everybody) - 1)
        place[:-1][known] = np.arange(len(everybody) - 1)
        stored = self.sides.batch("user", everybody, pd.DataFrame(index=range(len(everybody))))
        self.place = kept(place)
        self.stored = {name: kept(array) for name, array in stored.items()}

    # Rows

    def by_column(self) -> Graph:
        """The graph from raw rows to predictions."""
        used = used_columns(self.sides.encoder)
        names = _python_names(used)

        def compute(**given: Any) -> Tensors:
            columns = {name: given[names[name]] for name in used}
            return self._predicted(self.encoder(columns, tf.shape(columns[used[0]])[0]))

        inputs = {names[name]: self.encoder.port(name) for name in used}
        about = "The probability (of ratings: the rating) of raw rows."
        columns = {names[name]: name for name in used}
        return Graph(inputs, self._prediction, compute, about, self.encoder.tables, columns)

    def by_code(self) -> Graph:
        """The graph from encoded rows to predictions."""
        about = "The probability (of ratings: the rating) of encoded rows."
        return Graph(self._encoded(), self._prediction, lambda **batch: self._predicted(self._all(batch)), about)

    def _encoded(self) -> dict[str, Port]:
        """The inputs of encoded rows, without those of width 0."""
        fields = self.encoder.fields
        multi = sum(fields.multi_lengths)
        widths = dict(zip(ENCODED, (len(fields.categorical), multi, multi, len(fields.numeric)), strict=True))
        return {
            name: Port(dtype, (None, widths[name]), about) for name, (dtype, about) in ENCODED.items() if widths[name]
        }

    def _all(self, batch: Tensors) -> Tensors:
        size = tf.shape(next(iter(batch.values())))[0]
        return {name: batch.get(name, tf.zeros([size, 0], dtype)) for name, (dtype, _) in ENCODED.items()}

    @property
    def _prediction(self) -> dict[str, Port]:
        return {"prediction": Port(tf.float32, (None,), "a probability, or a rating")}

    def _predicted(self, batch: Tensors) -> Tensors:
        return {"prediction": self._estimates(self.model.export_scores(batch))}

    def _estimates(self, scores: Any) -> Any:
        if self.model.task == "click":
            return tf.sigmoid(scores)
        return tf.clip_by_value(scores, *(float(bound) for bound in self.model.rating_scale))

    # Lists

    def top_n(self, exclude_seen: bool) -> Graph:
        """The graph from raw user ids and context columns to lists."""
        schema = self.schema
        allowed = [name for name in schema.columns if name not in (schema.user, *schema.side("item"))]
        used = [name for name in used_columns(self.sides.encoder) if name in allowed]
        names = _python_names(["user_id", *used])
        inputs = {"user_id": Port(tf.string, (None,), "raw id of the user; '' = somebody new")}
        for name in used:
            port, note = self.encoder.port(name), "; missing = as in the run" if name in schema.side("user") else ""
            inputs[names[name]] = Port(port.dtype, port.shape, port.about + note)
        if exclude_seen:
            inputs["seen_item_ids"] = Port(tf.string, (None, None), "items to leave out; '' fills up")

        def compute(user_id: Any, seen_item_ids: Any = None, **given: Any) -> Tensors:
            columns = {name: given[names[name]] for name in used}
            batch = self._filled(self.encoder(columns, tf.shape(user_id)[0]), columns, self.user_ids.indices(user_id))
            seen = None if seen_item_ids is None else tf.cast(self.item_ids.indices(seen_item_ids), tf.int32)
            found = self._ranked(batch, seen, exclude_seen)
            return {"top_item_ids": self.item_ids.of(found.pop("top_items")), **found}

        outputs = {"top_item_ids": Port(tf.string, (None, self.n), "raw item ids, best first; '' = no item is left")}
        about = "Lists for users in a situation" + (", without the items given." if exclude_seen else ".")
        tables = (*self.encoder.tables, self.item_ids, self.user_ids)
        columns = {names[name]: name for name in used}
        return Graph(inputs, outputs | self._scores, compute, about, tables, columns, exclude_seen)

    def top_n_by_code(self) -> Graph:
        """The graph from encoded rows of users and context to lists; the rows' item fields are ignored."""
        inputs = self._encoded() | {
            "seen": Port(tf.int64, (None, None), "item indices to leave out; -1 fills up"),
        }

        def compute(seen: Any, **batch: Any) -> Tensors:
            return self._ranked(self._all(batch), tf.cast(seen, tf.int32), True)

        outputs = {"top_items": Port(tf.int64, (None, self.n), "item indices, best first; -1 = no item is left")}
        about = "Lists for encoded rows of users and situations, without the items given."
        return Graph(inputs, outputs | self._scores, compute, about, exclude_seen=True)

    @property
    def _scores(self) -> dict[str, Port]:
        return {"scores": Port(tf.float32, (None, self.n), "predictions of the items; 0 where no item is left")}

    def _ranked(self, batch: Tensors, seen: Any, exclude: bool) -> Tensors:
        scores = self.model.score(self.model.encode(batch))
        items, values = best(scores, self.n, seen, exclude, self.excluded)
        return {"top_items": items, "scores": tf.where(items < 0, 0.0, self._estimates(values))}

    def _filled(self, batch: Tensors, columns: Tensors, user: Any) -> Tensors:
        """The rows, with missing values of user fields replaced by those stored in the run."""
        row = tf.gather(self.place, tf.where(user < 0, np.int64(self.user_ids.size), user))
        stored = {name: tf.gather(array, row) for name, array in self.stored.items()}
        size, fields = tf.shape(user)[0], self.encoder.fields
        for name in self.schema.side("user"):
            if name not in columns:
                blank = tf.ones([size], tf.bool)
            elif name in self.schema.numeric:
                blank = tf.math.is_nan(columns[name])
            else:
                empty = columns[name] == ""
                blank = tf.reduce_all(empty, axis=1) if name in self.schema.multi else empty
            for part, places in columns_of_fields(fields, [name]).items():
                of_field = np.isin(np.arange(self.stored[part].shape[1]), places)
                batch[part] = tf.where(blank[:, None] & of_field, stored[part], batch[part])
        return batch


def _python_names(columns: Iterable[str]) -> dict[str, str]:
    """A unique input name for each column: letters, digits and underscores."""
    names: dict[str, str] = {}
    for column in columns:
        name = re.sub(r"\W", "_", column, flags=re.ASCII)
        name = name if name[:1].isalpha() else f"c_{name}"
        while name in names.values():
            name += "_"
        names[column] = name
    return names
