"""Descriptions, as plain data, of feed-forward networks from a user's items to a score for every item."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from nnrec.core.errors import ConfigError

ACTIVATIONS = ("sigmoid", "tanh", "linear", "relu", "lrelu", "elu", "selu", "softplus", "softsign", "softmax")
ERRORS = (
    "l1", "l2", "l2_hinge", "hinge", "cross_entropy", "scaled_marginal_cross_entropy",
    "data_scaled_marginal_cross_entropy", "multinomial",
)  # fmt: skip
SCHEMES = ("xavier", "caffe_xavier", "gaussian", "uniform", "unit_ball", "constant", "selu", "glorot", "glorot_normal")


@dataclass(frozen=True)
class Weights:
    """Initial weights of a layer with n_in input units and n_out units.

    Args:
        scheme: DSSTNE's schemes are "xavier", uniform within +-scale/2 sqrt(6 / (n_in + n_out)); "caffe_xavier",
            uniform within +-scale sqrt(3 / n_out); "uniform", within +-scale; "gaussian", with standard deviation
            scale; "unit_ball", uniform from 0 to scale; "constant", scale; "selu", Gaussian with standard deviation
            1 / n_in. Further schemes are "glorot", uniform within +-scale sqrt(6 / (n_in + n_out)), and
            "glorot_normal", Gaussian with standard deviation scale sqrt(2 / (n_in + n_out)).
        scale: see `scheme`.
        bias: initial value of the biases.
    """

    scheme: str = "xavier"
    scale: float = 1.0
    bias: float = 0.0


@dataclass(frozen=True)
class Layer:
    """A fully connected layer: pre-activations, batch normalisation, activation, dropout.

    Args:
        name: unique in the network.
        units: number of units; None = one for each item, for the output layer only.
        sources: names of the layers that are its inputs.
        skips: names of layers of the same size whose outputs are added to its pre-activations.
        activation: one of `ACTIVATIONS`.
        dropout: probability of dropping a unit in training.
        sparseness: (p, beta) of its sparseness penalty; None = no penalty.
        batch_normalization: whether pre-activations are normalised to mean 0 and variance 1 over the batch.
        weight_norm: maximum length of a unit's vector of incoming weights; 0 = no limit.
        weights: initialisation of its weights.
        relu_slope, elu_alpha, selu_lambda: see `nnrec.models.layers.activations.Activation`.
        variational: whether its units are drawn from Gaussians; the layer then computes means and log-variances.
    """

    name: str
    units: int | None
    sources: tuple[str, ...]
    skips: tuple[str, ...] = ()
    activation: str = "sigmoid"
    dropout: float = 0.0
    sparseness: tuple[float, float] | None = None
    batch_normalization: bool = False
    weight_norm: float = 0.0
    weights: Weights = Weights()
    relu_slope: float = 1.0
    elu_alpha: float = 1.0
    selu_lambda: float = 1.050701
    variational: bool = False


@dataclass(frozen=True)
class Network:
    """A network: its input is a user's items, its output a number for every item.

    Args:
        hidden: hidden layers, each after its sources and skips.
        output: the output layer.
        error: one of `ERRORS`.
        marginal: settings of `nnrec.models.layers.catalogue_losses.ScaledMarginal`.
        denoising: probability of hiding a non-zero input in training; the others are divided by 1 - denoising.
        input: name of the input among the layers' sources.
        input_units: number of inputs that the network is written for; None = one for each item.
    """

    hidden: tuple[Layer, ...]
    output: Layer
    error: str = "cross_entropy"
    marginal: dict[str, float] = field(default_factory=dict)
    denoising: float = 0.0
    input: str = "Input"
    input_units: int | None = None

    def check(self, where: str) -> None:
        """Checks that the layers fit together.

        Args:
            where: name of the network in error messages.

        Raises:
            ConfigError: the layers do not fit together; the message names the layer.
        """
        _among(f"{where}: the error function", self.error, ERRORS)
        _share(f"{where}: denoising p", self.denoising)
        units: dict[str, int | None] = {self.input: None}
        for layer in (*self.hidden, self.output):
            told = f"{where}, layer {layer.name}"
            if layer.name in units:
                raise ConfigError(f"{told}: there is another layer of this name.")
            for name in (*layer.sources, *layer.skips):
                if name not in units:
                    known = ", ".join(units)
                    raise ConfigError(f"{told}: no layer before it is called {name!r}. There are: {known}.")
            self._check_layer(layer, told, units)
            units[layer.name] = layer.units

    def _check_layer(self, layer: Layer, told: str, units: dict[str, int | None]) -> None:
        is_output = layer is self.output
        _among(f"{told}: the activation", layer.activation, ACTIVATIONS)
        _among(f"{told}: the weights' scheme", layer.weights.scheme, SCHEMES)
        _share(f"{told}: dropout", layer.dropout)
        if not layer.sources:
            raise ConfigError(f"{told}: it has no source.")
        if not is_output and (layer.units is None or layer.units < 1):
            raise ConfigError(f"{told}: a hidden layer needs a size, a whole number from 1 on. Received: {layer.units}")
        for name in layer.skips:
            if is_output or units[name] != layer.units:
                raise ConfigError(f"{told}: skip adds layers of the same size, and {name} is not.")
        if layer.sparseness is not None:
            _share(f"{told}: sparseness p", layer.sparseness[0])
        if is_output:
            self._check_output(layer, told)
        elif layer.activation == "softmax" and layer.variational:
            raise ConfigError(f"{told}: a variational layer has no softmax.")

    def _check_output(self, layer: Layer, told: str) -> None:
        if self.input in layer.sources:
            raise ConfigError(f"{told}: weights from every item to every item are not supported. Put a layer between.")
        if layer.dropout or layer.batch_normalization or layer.sparseness:
            raise ConfigError(f"{told}: dropout, batch normalisation and sparseness are for hidden layers.")
        softmax = layer.activation == "softmax"
        if self.error == "multinomial" and not softmax:
            raise ConfigError(f"{told}: the multinomial error needs a softmax. Received: {layer.activation}")
        if softmax and self.error not in ("multinomial", "cross_entropy", "scaled_marginal_cross_entropy"):
            raise ConfigError(f"{told}: a softmax does not go with the error function {self.error}.")


def _among(what: str, value: Any, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ConfigError(f"{what} must be one of {', '.join(choices)}. Received: {value!r}")


def _share(what: str, value: float) -> None:
    if not 0 <= value < 1:
        raise ConfigError(f"{what} must be at least 0 and below 1. Received: {value}")
