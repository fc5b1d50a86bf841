"""A model as a user would write it, outside the package: one number per item."""

from __future__ import annotations

import numpy as np
from keras import ops

from nnrec.models.base.neural import Recommender


class ItemBias(Recommender):
    """Predicts the training mean plus what is learnt about the item."""

    capabilities = frozenset({"new_users", "rating_scale"})

    def __init__(self, num_users: int, num_items: int, *, strength: float = 1.0, name: str = "item_bias") -> None:
        super().__init__(name=name)
        self.num_users, self.num_items, self.strength = num_users, num_items, strength
        self.bias = self.add_weight((num_items,), "zeros", name="bias")
        self.mean = self.add_weight((), "zeros", trainable=False, name="mean")
        self.rating_scale = self.add_weight((2,), "zeros", trainable=False, name="rating_scale")
        self.built = True

    def adapt(self, train):
        self.mean.assign(train.value.mean())
        self.rating_scale.assign(train.scale)

    def training_rows(self, train):
        return train.rows("user")

    def call(self, batch, training=False):
        prediction = self.mean + self.strength * ops.take(self.bias, batch["column"])
        error = ops.sum(batch["weight"] * ops.square(batch["value"] - prediction))
        self.add_loss(error / ops.cast(ops.shape(batch["index"])[0], "float32"))
        return prediction

    def encode(self, batch):
        return ops.ones((len(batch["index"]), 1))

    def score(self, queries, items=None):
        items = np.arange(self.num_items) if items is None else items
        return queries * (self.mean + self.strength * ops.take(self.bias, items))[None, :]
