"""GRU4Rec: a recurrent network over the events of a session (Hidasi et al. 2016; Hidasi & Karatzoglou 2018)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal

import keras
import numpy as np
import pandas as pd
from keras import ops

from nnrec.batches.protocol import Batch, TrainingBatches
from nnrec.batches.session_parallel import SessionParallelBatches
from nnrec.core.devices.collectives import in_parts, num_parts
from nnrec.core.devices.compilation import device_function
from nnrec.core.errors import ConfigError, DataError
from nnrec.core.keyed_random import dropout_mask
from nnrec.data.sessions import Sessions
from nnrec.models.base.neural import SessionRecommender
from nnrec.models.base.row_tables import RowList
from nnrec.models.layers import sampled_losses as losses
from nnrec.models.layers.gru import GRU
from nnrec.models.layers.sampled_losses import Columns, Scored
from nnrec.models.sessions.gru4rec_parameters import settings as authors_settings

Loss = Literal["cross-entropy", "bpr", "bpr-max", "top1", "top1-max"]
LOSSES = ("cross-entropy", "bpr", "bpr-max", "top1", "top1-max")


class GRU4Rec(SessionRecommender):
    """GRU4Rec on session-parallel mini-batches.

    Paper: Hidasi, Karatzoglou, Baltrunas, Tikk: Session-based Recommendations with Recurrent Neural Networks, ICLR
    2016; Hidasi, Karatzoglou: Recurrent Neural Networks with Top-k Gains for Session-based Recommendations, CIKM 2018.
    The new state h' and the scores after an event x in the state h are

        r = sigmoid(x W_r + h U_r + b_r),  z = sigmoid(x W_z + h U_z + b_z)
        c = tanh(x W_c + b_c + r * (h U_c + d_c)),  h' = (1 - z) h + z c,  score_j = h' . w_j + b_j

    In: the steps of `SessionParallelBatches`, with B slots. Out: (B, U) scores of the step's U items. Loss: the sum
    over the slots in use of one of the `nnrec.models.layers.sampled_losses`, divided by the number B of all slots. The
    authors' programs do the same, so that their learning rates can be used. The weights are updated after every event
    of all slots. The state, dropout included, is carried over to the next step, and is not differentiated.

    Scoring: (M, num_items) float32, the inputs of the final activation: softmax and ELU keep their order, but would
    create ties.

    Differs: random draws of negatives and dropout are keyed by seed, epoch and step or event, instead of being drawn in
    sequence. With `embedding=0` the hidden dropout applies to the first layer, as in the authors' Theano program; their
    PyTorch program applies the embedding dropout there. BPR is a mean over the negatives, as in the paper; the authors'
    programs use the sum (Adagrad takes the same steps either way, except for its epsilon). Additions, off by default:
    layers after the GRU, content features, back-propagation through time.

    Names: the authors' `layers` is `hidden_units`; their `learning_rate`, `batch_size`, `n_epochs` and `momentum` are
    trainer.learning_rate, trainer.batch_size, trainer.epochs and trainer.optimizer_options.momentum, with
    trainer.optimizer=adagrad and a constant learning rate.

    Args:
        num_items: size of the data.
        hidden_units: sizes of the GRU layers.
        loss: one of `LOSSES`.
        constrained_embedding: whether an item's input vector is the vector w that it is scored with.
        embedding: otherwise, length of the items' separate input vectors; 0 = one-hot input, which equals a vector for
            the first layer's gates per item.
        n_sample: number of negatives sampled per step, shared by all slots, in addition to the other slots' targets.
        sample_alpha: negatives are sampled with probabilities proportional to support ** sample_alpha.
        logq: in training, cross-entropy subtracts logq ln P from the scores, where P is the support of other slots'
            targets, and support ** sample_alpha of sampled negatives.
        bpreg: weight of BPR-max's penalty on scores.
        elu_param: alpha of the ELU that is applied to scores before all losses except cross-entropy; 0 = no ELU.
        dropout_p_embed, dropout_p_hidden: probabilities of dropping an input, and a unit of a layer.
        feed_forward: sizes of tanh layers between the GRU and the scores.
        features: columns of the data's item table that are inputs in addition to the item.
        feature_units: length of the vectors of their values.
        bptt: number of events per update, through which the gradient is propagated back; 1 = as in the authors'
            programs.
        train_random_order: whether every epoch visits sessions in random order, instead of in the order of their start.
        parameters: settings in the authors' format, a string ("loss=bpr-max,layers=100,...") or a file; they replace
            those above (see `nnrec.models.sessions.gru4rec_parameters`).
    """

    row_sparse = True

    def __init__(
        self,
        num_items: int,
        *,
        hidden_units: Sequence[int] = (100,),
        loss: Loss = "cross-entropy",
        constrained_embedding: bool = True,
        embedding: int = 0,
        n_sample: int = 2048,
        sample_alpha: float = 0.5,
        logq: float = 0.0,
        bpreg: float = 1.0,
        elu_param: float = 0.0,
        dropout_p_embed: float = 0.0,
        dropout_p_hidden: float = 0.0,
        feed_forward: Sequence[int] = (),
        features: Sequence[str] = (),
        feature_units: int = 16,
        bptt: int = 1,
        train_random_order: bool = False,
        parameters: str | None = None,
        name: str = "gru4rec",
    ) -> None:
        super().__init__(name=name, autocast=False)
        own: dict[str, Any] = {
            "hidden_units": hidden_units, "loss": loss, "constrained_embedding": constrained_embedding,
            "embedding": embedding, "n_sample": n_sample, "sample_alpha": sample_alpha, "logq": logq, "bpreg": bpreg,
            "elu_param": elu_param, "dropout_p_embed": dropout_p_embed, "dropout_p_hidden": dropout_p_hidden,
            "feed_forward": feed_forward, "features": features, "feature_units": feature_units, "bptt": bptt,
            "train_random_order": train_random_order,
        }  # fmt: skip
        if parameters is not None:
            own |= authors_settings(parameters)["model"]
        for key in ("hidden_units", "feed_forward", "features"):
            own[key] = tuple(own[key])
        _check_options(own)
        if parameters is not None:  # so that a run folder does not depend on the file
            lists = {key: list(value) for key, value in own.items() if isinstance(value, tuple)}
            self.inlined_config = MappingProxyType(
                own | lists | {"parameters": None}
            )  # a dict would be wrapped by Keras
        self.num_items, self.settings = num_items, own
        self._build(**own)
        self.built = True

    def _build(self, *, hidden_units, constrained_embedding, embedding, feed_forward, features, feature_units, **_):
        units = feed_forward[-1] if feed_forward else hidden_units[-1]
        self.items = self._table("items", units)
        self.item_bias = self.add_weight((self.num_items,), "zeros", name="item_bias", **TABLE)
        self.row_tables, self.row_lists = (self.items, self.item_bias), (RowList(), RowList(moves="scored"))
        self.one_hot = not (constrained_embedding or embedding)
        self.inputs = self.items
        if not constrained_embedding:
            self.inputs = self._table("inputs", embedding or hidden_units[0], blocks=3 if self.one_hot else 1)
            self.row_tables += (self.inputs,)
            self.row_lists += (RowList("looked_up", "looked_up_scale"),)
        width = len(features) * feature_units + (0 if self.one_hot else int(self.inputs.shape[1]))
        sizes = (width, *hidden_units)
        self.recurrent = [
            GRU(before, size, name=f"gru_{depth}")
            for depth, (before, size) in enumerate(zip(sizes, hidden_units, strict=False), start=1)
        ]
        sizes = (hidden_units[-1], *feed_forward)
        self.after = [
            keras.layers.Dense(size, "tanh", name=f"feed_forward_{depth}")
            for depth, size in enumerate(feed_forward, start=1)
        ]
        for layer, before in zip(self.after, sizes, strict=False):
            layer.build((None, before))
        self.feature_codes = self.add_weight(
            (self.num_items, len(features)), "zeros", name="codes", dtype="int32", **TABLE
        )
        self.feature_tables: list[keras.Variable] = []
        self.running: list[keras.Variable] = []  # states of the sessions in the slots, one per layer
        self._states: set[int] = set()
        self._functions: dict[str, Any] = {}

    def _table(self, name: str, units: int, blocks: int = 1) -> keras.Variable:
        """Adds a (num_items, blocks * units) table; each block is initialised by Glorot's uniform distribution."""
        limit = (6 / (self.num_items + units)) ** 0.5
        drawn = keras.initializers.RandomUniform(-limit, limit)
        return self.add_weight((self.num_items, blocks * units), drawn, name=name, **TABLE)

    @classmethod
    def trainer_settings(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the settings of optimizer, batches and epochs that `parameters` contains."""
        given = settings.get("parameters")
        return {} if given is None else authors_settings(given)["trainer"]

    def item_vectors(self) -> np.ndarray:
        """(num_items, d) item vectors w, which scores are computed with."""
        return ops.convert_to_numpy(self.items)

    def get_config(self) -> dict[str, Any]:
        return {"num_items": self.num_items, **self.settings, "name": self.name}

    def adapt(self, train: Sessions) -> None:
        """Reads the features of each item from the item table."""
        names = self.settings["features"]
        if not names:
            return
        table = train.item_table
        missing = [name for name in names if table is None or name not in table]
        if table is None or missing:
            there = "none" if table is None else ", ".join(map(str, table.columns))
            raise DataError(f"model.features: the data's items have no {', '.join(missing)}. Columns there: {there}.")
        codes, sizes = [], []
        for name in names:
            numbers, values = pd.factorize(table[name])
            codes.append(numbers + 1)  # 0: missing
            sizes.append(len(values) + 1)
        self.feature_codes.assign(np.stack(codes, axis=1))
        self._build_features(sizes)

    def _build_features(self, sizes: Sequence[int]) -> None:
        units = self.settings["feature_units"]
        self.feature_tables = [
            self.add_weight((size, units), "glorot_uniform", name=f"feature_{number}", autocast=False)
            for number, size in enumerate(sizes)
        ]

    def training_batches(self, train: Sessions, batch_size: int | Literal["auto"], seed: int) -> TrainingBatches:
        """Returns session-parallel steps, many per batch; "auto" has 32 slots, the authors' first choice for tuning."""
        slots, parts = in_parts(32) if batch_size == "auto" else batch_size, num_parts()
        if not self.running or self.running[0].shape[0] != slots // parts:
            self.running = [
                self.add_weight((slots // parts, layer.units), "zeros", name=f"state_{depth}", **TABLE)
                for depth, layer in enumerate(self.recurrent, start=1)
            ]
            self._states |= {id(state) for state in self.running}
        names = ("n_sample", "sample_alpha")
        return SessionParallelBatches(
            train,
            slots,
            seed=seed,
            time_steps=self.settings["bptt"],
            random_order=self.settings["train_random_order"],
            separate_inputs=not self.settings["constrained_embedding"],
            steps_per_call=None if parts == 1 else 1,
            **{name: self.settings[name] for name in names},
        )

    def learnt_weights(self) -> list[keras.Variable]:
        """Returns all weights except the states of the current training sessions."""
        return [weight for weight in self.weights if id(weight) not in self._states]

    def load_state(self, arrays: dict[str, np.ndarray]) -> None:
        if self.settings["features"] and not self.feature_tables:
            # Keras lists the feature tables before all other weights.
            tables = [arrays.get(str(number)) for number in range(len(self.settings["features"]))]
            self._build_features([len(table) for table in tables if table is not None])
        super().load_state(arrays)

    def call(self, batch: Batch, training: bool = False) -> Any:
        """(B, U) scores of the step's items after its last time step; adds the loss."""
        items, bias, looked_up = (self.rows_of(table, batch) for table in (self.items, self.item_bias, self.inputs))
        unique_ids = batch["looked_up" if "looked_up" in batch else "unique_ids"]
        states = [ops.convert_to_tensor(state) for state in self.running]
        time_steps, slots = batch["input"].shape
        total: Any = 0.0
        for time_step in range(time_steps):
            here = {name: batch[name][time_step] for name in ("input", "target", "reset", "weight", "key", "aimed")}
            states = [state * (1.0 - here["reset"][:, None]) for state in states]
            rows, key = ops.take(looked_up, here["input"], axis=0), here["key"] if training else None
            hidden, states = self._read(rows, ops.take(unique_ids, here["input"]), states, key)
            # The item axis comes first in memory, so that both products of the gradient are as fast as this one.
            scores = ops.transpose(self._matmul(items, ops.transpose(hidden)) + bias[:, None])
            columns = Columns(here["aimed"], batch["drawn"], batch["support"])
            total = total + ops.sum(here["weight"] * self._loss(Scored(scores, here["target"], columns)))
        if training:
            for state, new in zip(self.running, states, strict=True):
                state.assign(ops.stop_gradient(new))
        self.add_loss(total / (time_steps * slots))
        return scores

    def _loss(self, scored: Scored) -> Any:
        """(B,) the loss of each row."""
        own = self.settings
        if own["loss"] == "cross-entropy":
            return losses.cross_entropy(scored, own["logq"], own["sample_alpha"])
        if own["elu_param"]:
            scored = scored._replace(scores=ops.elu(scored.scores, own["elu_param"]))
        if own["loss"] == "bpr-max":
            return losses.bpr_max(scored, own["bpreg"])
        return {"bpr": losses.bpr, "top1": losses.top1, "top1-max": losses.top1_max}[own["loss"]](scored)

    def _read(self, rows: Any, items: Any, states: list[Any], key: Any = None) -> tuple[Any, list[Any]]:
        """Processes one event of each session.

        Args:
            rows: (B, ...) the items' rows of the input table.
            items: (B,) item indices.
            states: (B, units) state of each GRU layer.
            key: (B,) random keys for dropout; None = no dropout.

        Returns:
            (B, d) units of the last layer, and the new state of each GRU layer.
        """
        codes = ops.take(self.feature_codes, items, axis=0)
        parts = [] if self.one_hot else [rows]
        parts += [ops.take(table, codes[:, number], axis=0) for number, table in enumerate(self.feature_tables)]
        hidden = ops.concatenate(parts, axis=1) if len(parts) > 1 else parts[0] if parts else None
        given: Any = rows if self.one_hot else 0.0
        offset = 0
        if hidden is not None:
            hidden, offset = self._drop(hidden, key, "dropout_p_embed", 0), hidden.shape[1]
        new = []
        for layer, state in zip(self.recurrent, states, strict=True):
            hidden = layer.step(layer.enter(hidden, given), state)
            hidden, given = self._drop(hidden, key, "dropout_p_hidden", offset), 0.0
            offset += layer.units
            new.append(hidden)
        for layer in self.after:
            hidden = self._drop(layer(hidden), key, "dropout_p_hidden", offset)
            offset += layer.units
        return hidden, new

    def _drop(self, values: Any, key: Any, which: str, offset: int) -> Any:
        rate = self.settings[which]
        if key is None or not rate:
            return values
        columns = np.arange(offset, offset + values.shape[1])
        return values * dropout_mask(key[:, None], columns[None, :], rate)

    def _matmul(self, one: Any, other: Any) -> Any:
        """Returns the matrix product, computed in the compute dtype."""
        if self.compute_dtype == "float32":
            return ops.matmul(one, other)
        return ops.cast(ops.matmul(ops.cast(one, self.compute_dtype), ops.cast(other, self.compute_dtype)), "float32")

    # Scoring

    def _event(self, items: Any, states: list[Any]) -> tuple[Any, list[Any]]:
        items = ops.maximum(items, 0)
        return self._read(ops.take(self.inputs, items, axis=0), items, states)

    def _sessions(self, items: Any) -> Any:
        """(B, T, d) units of the last layer after each event of (B, T) items."""
        states = [ops.zeros((ops.shape(items)[0], layer.units)) for layer in self.recurrent]

        def event(states: list[Any], column: Any) -> tuple[list[Any], list[Any]]:
            _, states = self._event(column, states)
            return states, states  # `ops.scan` requires both to have the same structure

        _, states = ops.scan(event, states, ops.transpose(items))
        hidden = ops.transpose(states[-1], (1, 0, 2))
        for layer in self.after:
            hidden = layer(hidden)
        return hidden

    def _compiled(self, name: str) -> Any:
        """Returns a method of this class, compiled."""
        if name not in self._functions:
            self._functions[name] = device_function(getattr(self, name), self.learnt_weights())
        return self._functions[name]

    def encode(self, batch: Batch) -> Any:
        """(B, T, d) units of the last layer after each event; every session starts from a state of zeros."""
        return self._compiled("_sessions")(ops.convert_to_tensor(batch["item"]))

    def advance(self, state: Any, item: int) -> tuple[Any, Any]:
        """Processes one more event of a session in one step of the network; the state holds the GRU layers' states."""
        if state is None:
            state = [np.zeros((1, layer.units), np.float32) for layer in self.recurrent]
        query, state = self._compiled("_event")(ops.convert_to_tensor(np.array([item], np.int32)), state)
        return state, query

    def export_scores(self, batch: Any) -> Any:
        rows, steps = ops.shape(batch)
        start = [ops.zeros((rows, layer.units)) for layer in self.recurrent]

        def event(number: Any, hidden: list[Any]) -> tuple[Any, list[Any]]:
            items = ops.take(batch, number, axis=1)
            _, new = self._event(items, hidden)
            return number + 1, [ops.where(items[:, None] >= 0, now, old) for now, old in zip(new, hidden, strict=True)]

        _, states = ops.while_loop(lambda number, hidden: number < steps, event, (ops.zeros((), "int32"), start))
        hidden = states[-1]
        for layer in self.after:
            hidden = layer(hidden)
        return self.score(hidden)

    def score(self, queries: Any, items: np.ndarray | None = None) -> Any:
        """(M, num_items) or (M, m) scores before the final activation, which keeps their order."""
        table, bias = ops.convert_to_tensor(self.items), ops.convert_to_tensor(self.item_bias)
        if items is not None:
            table, bias = ops.take(table, items, axis=0), ops.take(bias, items)
        return ops.einsum("md,id->mi", ops.convert_to_tensor(queries), table) + bias


# Options of weights that Keras does not train as a whole.
TABLE = {"trainable": False, "autocast": False}


def _check_options(own: dict[str, Any]) -> None:
    """Raises ConfigError at the first setting that is not valid."""

    def demand(right: bool, what: str, key: str) -> None:
        if not right:
            raise ConfigError(f"model.{key} must {what}. Received: {own[key]!r}")

    demand(own["loss"] in LOSSES, f"be one of {', '.join(LOSSES)}", "loss")
    for key in ("hidden_units", "feed_forward"):
        demand(all(isinstance(size, int) and size > 0 for size in own[key]), "hold positive integers", key)
    demand(len(own["hidden_units"]) > 0, "hold at least one size", "hidden_units")
    for key in ("dropout_p_embed", "dropout_p_hidden"):
        demand(0 <= own[key] < 1, "be at least 0 and below 1, the probability of dropping", key)
    for key in ("embedding", "n_sample"):
        demand(isinstance(own[key], int) and own[key] >= 0, "be an integer, at least 0", key)
    for key in ("sample_alpha", "logq", "bpreg", "elu_param"):
        demand(own[key] >= 0, "be at least 0", key)
    for key in ("bptt", "feature_units"):
        demand(isinstance(own[key], int) and own[key] > 0, "be a positive integer", key)
