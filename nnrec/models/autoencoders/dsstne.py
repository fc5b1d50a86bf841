"""DSSTNE: feed-forward networks that Amazon's DSSTNE can describe and train."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from nnrec.models.autoencoders.autoencoder import Autoencoder, Input
from nnrec.models.autoencoders.dsstne_config import read_json, read_network
from nnrec.models.layers.network import Layer, Network, Weights


class DSSTNE(Autoencoder):
    """A sparse denoising autoencoder over liked items, described by options or by DSSTNE's own JSON format.

    Paper: none; DSSTNE's layer definition language and kernels (amzn/amazon-dsstne). Sparse denoising
    autoencoders: Vincent et al., Extracting and Composing Robust Features with Denoising Autoencoders, 2008.

    In: batches of sparse rows, users over items. Out: (E,) float32, the output layer's pre-activation for
    each entry. Scoring: (B, num_items) pre-activations; the activation of the output layer, such as the sigmoid,
    turns them into DSSTNE's scores.
    Loss: as in `Autoencoder`; the error functions are in `nnrec.models.layers.catalogue_losses`. As in DSSTNE, the
    gradients of a batch are summed and divided by its size.

    Differs: Adam or any other Keras optimizer, with any learning rate; rows are shuffled in every epoch,
    whatever ShuffleIndices is; with dropout, the remaining units are divided by the share that is kept, for all
    activations; penalties are computed on the units before dropout; the fan-in that scales a layer's initial
    weights is that of all its sources together; a missing item's weight is the row's mean weight (`Autoencoder`).

    Args:
        num_users, num_items: sizes of the data.
        config: a file in DSSTNE's JSON format, or its content. It replaces all settings from `hidden_units` to
            `output_bias`. In a run folder's config.yaml, the file name is replaced by the file's content.
        hidden_units: sizes of the hidden layers.
        activation, output_activation: activations of the hidden layers and of the output layer, see
            `nnrec.models.layers.activations`.
        error: one of `nnrec.models.layers.network.ERRORS`.
        one_target, zero_target, one_scale, zero_scale: settings of the scaled marginal cross-entropy.
        dropout: probability of dropping a hidden unit in training.
        denoising: probability of hiding an input in training.
        sparseness_p, sparseness_beta: settings of the sparseness penalty on the hidden layers.
        batch_normalization: whether the hidden layers are batch-normalised.
        weight_init, weight_scale: initialisation of the weights, see `nnrec.models.layers.network.Weights`.
        output_bias: initial value of the output biases.
        input, levels, normalize_input, length_discount, l2, relevant, sampled, sampling_power: see
            `Autoencoder`.
    """

    def __init__(
        self,
        num_users: int,
        num_items: int,
        *,
        config: str | Mapping[str, Any] | None = None,
        hidden_units: Sequence[int] = (128,),
        activation: str = "sigmoid",
        output_activation: str = "sigmoid",
        error: str = "scaled_marginal_cross_entropy",
        one_target: float = 0.9,
        zero_target: float = 0.1,
        one_scale: float = 1.0,
        zero_scale: float = 1.0,
        dropout: float = 0.0,
        denoising: float = 0.0,
        sparseness_p: float = 0.0,
        sparseness_beta: float = 0.0,
        batch_normalization: bool = False,
        weight_init: str = "xavier",
        weight_scale: float = 1.0,
        output_bias: float = 0.0,
        input: Input = "indicator",
        levels: Sequence[float] = (),
        normalize_input: bool = False,
        length_discount: float = 0.0,
        l2: float = 0.0,
        relevant: float | None = None,
        sampled: int | None = None,
        sampling_power: float = 0.5,
        name: str = "dsstne",
    ) -> None:
        config = None if config is None else read_json(config)
        described: dict[str, Any] = {
            "hidden_units": tuple(hidden_units), "activation": activation, "output_activation": output_activation,
            "error": error, "one_target": one_target, "zero_target": zero_target, "one_scale": one_scale,
            "zero_scale": zero_scale, "dropout": dropout, "denoising": denoising, "sparseness_p": sparseness_p,
            "sparseness_beta": sparseness_beta, "batch_normalization": batch_normalization,
            "weight_init": weight_init, "weight_scale": weight_scale, "output_bias": output_bias,
        }  # fmt: skip
        network = describe(**described) if config is None else read_network(config)
        shared: dict[str, Any] = {
            "input": input, "levels": tuple(levels), "normalize_input": normalize_input,
            "length_discount": length_discount, "l2": l2, "relevant": relevant, "sampled": sampled,
            "sampling_power": sampling_power, "name": name,
        }  # fmt: skip
        super().__init__(num_users, num_items, network, **shared)
        self.settings = {"config": config, **described, **shared}
        if config is not None:
            self.inlined_config = MappingProxyType({"config": config})  # a plain dict would be wrapped by Keras

    def get_config(self) -> dict[str, Any]:
        return {"num_users": self.num_users, "num_items": self.num_items, **self.settings}


def describe(
    *,
    hidden_units: Sequence[int],
    activation: str,
    output_activation: str,
    error: str,
    dropout: float,
    denoising: float,
    sparseness_p: float,
    sparseness_beta: float,
    batch_normalization: bool,
    weight_init: str,
    weight_scale: float,
    output_bias: float,
    **marginal: float,
) -> Network:
    """Returns the description of a network whose hidden layers share their settings; arguments as in `DSSTNE`.

    Raises:
        ConfigError: a setting is not valid.
    """
    names = [f"hidden_{number}" for number in range(1, len(hidden_units) + 1)]
    weights = Weights(weight_init, weight_scale)
    hidden = tuple(
        Layer(
            name=name,
            units=units,
            sources=(source,),
            activation=activation,
            dropout=dropout,
            sparseness=(sparseness_p, sparseness_beta) if sparseness_beta else None,
            batch_normalization=batch_normalization,
            weights=weights,
        )
        for name, units, source in zip(names, hidden_units, ["input", *names], strict=False)
    )
    output = Layer(
        name="output",
        units=None,
        sources=(["input", *names][-1],),
        activation=output_activation,
        weights=replace(weights, bias=output_bias),
    )
    network = Network(hidden, output, error, marginal, denoising, input="input")
    network.check("model")
    return network
