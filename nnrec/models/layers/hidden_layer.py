"""Hidden layers of a feed-forward network: weights, batch normalisation, activation, dropout, penalties."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from nnrec.core.devices.collectives import global_mean
from nnrec.core.keyed_random import dropout_mask, normal
from nnrec.models.layers.activations import Activation
from nnrec.models.layers.catalogue_losses import sparseness
from nnrec.models.layers.network import Layer, Weights

# Batch normalisation: momentum of the running mean and variance, and the constant added to the variance.
MOMENTUM, EPSILON = 0.9, 1e-3


def initializer(weights: Weights, inputs: int, units: int) -> keras.initializers.Initializer:
    """Returns the initialiser of a layer's weights; see `nnrec.models.layers.network.Weights`."""
    make, scale = keras.initializers, weights.scale
    wide = (6 / (inputs + units)) ** 0.5
    limits = {"xavier": wide / 2, "glorot": wide, "caffe_xavier": (3 / units) ** 0.5, "uniform": 1.0}
    if weights.scheme in limits:
        limit = scale * limits[weights.scheme]
        return make.RandomUniform(-limit, limit)
    if weights.scheme == "unit_ball":
        return make.RandomUniform(0.0, scale)
    if weights.scheme == "constant":
        return make.Constant(scale)
    spread = {"gaussian": scale, "selu": 1 / inputs, "glorot_normal": scale * (2 / (inputs + units)) ** 0.5}
    return make.RandomNormal(0.0, spread[weights.scheme])


class HiddenLayer:
    """A hidden layer whose variables belong to a model.

    Args:
        model: the model that the variables are added to.
        layer: description of the layer.
        number: number of the layer, for variable names.
        inner: number of units of the hidden layers among its sources.
        inputs: number of network inputs among its sources, for the scale of the initial weights.
        first_draw: the first of the numbers that key this layer's random draws.
    """

    def __init__(self, model: keras.Model, layer: Layer, number: int, inner: int, inputs: int, first_draw: int) -> None:
        assert layer.units is not None
        self.layer, self.units, self.first_draw = layer, layer.units, first_draw
        self.width = 2 * layer.units if layer.variational else layer.units
        self.activation = Activation(layer.activation, layer.relu_slope, layer.elu_alpha, layer.selu_lambda)
        self.initializer = initializer(layer.weights, inner + inputs, layer.units)
        self.compute_dtype = model.compute_dtype
        name, plain = f"hidden_{number}", {"autocast": False}
        self.kernel = None
        if inner:
            constraint = keras.constraints.MaxNorm(layer.weight_norm, axis=0) if layer.weight_norm else None
            self.kernel = model.add_weight(
                (inner, self.width), self.initializer, name=f"{name}_kernel", constraint=constraint, **plain
            )
        bias = keras.initializers.Constant(layer.weights.bias)
        self.bias = model.add_weight((self.width,), bias, name=f"{name}_bias", **plain)
        if layer.batch_normalization:
            self.gamma = model.add_weight((self.width,), "ones", name=f"{name}_gamma", **plain)
            self.mean = model.add_weight((self.width,), "zeros", name=f"{name}_mean", trainable=False, **plain)
            self.variance = model.add_weight((self.width,), "ones", name=f"{name}_variance", trainable=False, **plain)

    def __call__(
        self, summed: Any, outputs: Mapping[str, Any], real: Any, key: Any, training: bool, kl_weight: Any
    ) -> tuple[Any, Any]:
        """Computes the layer's output and its penalty.

        Args:
            summed: (B, width) pre-activations from the network's input, or 0.0.
            outputs: outputs of the preceding layers by name; those that are sources or skips of the layer are used.
            real: (B,) 1 for real rows, 0 for padding rows.
            key: (B,) random keys of the rows.
            training: whether to use dropout, random draws and batch statistics.
            kl_weight: scalar, weight of the KL divergence of a variational layer.

        Returns:
            (B, units) output in the compute dtype, and a scalar penalty.
        """
        layer = self.layer
        inner = [outputs[name] for name in layer.sources if name in outputs]
        penalty: Any = 0.0
        if inner:
            joined = inner[0] if len(inner) == 1 else ops.concatenate(inner, axis=1)
            summed = summed + ops.matmul(joined, ops.cast(self.kernel, joined.dtype))
        x = ops.cast(summed, "float32") + self.bias
        for name in layer.skips:
            x = x + ops.cast(outputs[name], "float32")
        if layer.batch_normalization:
            x = self._normalised(x, real, training)
        if layer.variational:
            mean, log_variance = x[:, : self.units], x[:, self.units :]
            divergence = 0.5 * ops.sum(ops.square(mean) + ops.exp(log_variance) - log_variance - 1, axis=1)
            penalty = kl_weight * ops.sum(real * divergence) / ops.cast(ops.shape(x)[0], "float32")
            x = mean
            if training:
                draws = np.arange(2 * self.units) + self.first_draw + self.units
                x = x + ops.exp(0.5 * log_variance) * normal(key[:, None], draws[None, :])
        output = self.activation(x)
        if layer.sparseness is not None:
            penalty = penalty + sparseness(output, real, *layer.sparseness)
        if training and layer.dropout:
            draws = np.arange(self.units) + self.first_draw
            output = output * dropout_mask(key[:, None], draws[None, :], layer.dropout)
        return ops.cast(output, self.compute_dtype), penalty

    def _normalised(self, x: Any, real: Any, training: bool) -> Any:
        """Batch normalisation (Ioffe & Szegedy 2015) over the real rows; the layer's bias is its beta."""
        x = x - self.bias
        mean, variance = self.mean, self.variance
        if training:
            mean = global_mean(x, real)
            variance = global_mean(ops.square(x - mean), real)
            for kept, now in ((self.mean, mean), (self.variance, variance)):
                kept.assign(MOMENTUM * kept + (1 - MOMENTUM) * ops.stop_gradient(now))
        return self.gamma * (x - mean) / ops.sqrt(variance + EPSILON) + self.bias

    @property
    def draws(self) -> int:
        """Number of random draws of the layer per row."""
        return (3 if self.layer.variational else 1) * self.units
