"""DSSTNE: feed-forward networks as Amazon's DSSTNE describes and trains them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from nnrec.models.autoencoders.autoencoder import Autoencoder, Input
from nnrec.models.autoencoders.dsstne_config import read_json, read_network
from nnrec.models.layers.network import Layer, Network, Weights


class DSSTNE(Autoencoder):
    """A sparse, denoising autoencoder over what users liked, described by options or by DSSTNE's own JSON.

    Paper: none; DSSTNE's layer definition language and kernels (amzn/amazon-dsstne). Sparse denoising
    autoencoders: Vincent et al., Extracting and Composing Robust Features with Denoising Autoencoders, 2008.

    In: batches of sparse rows, users over items. Out: (E,) float32, the output layer's pre-activation for
    each entry. Scoring: (B, num_items) pre-activations; their sigmoid, or whatever the output layer's
    activation is, gives DSSTNE's scores.
    Loss: as in `Autoencoder`; the error functions are `nnrec.models.layers.catalogue_losses`. Where DSSTNE adds up the
    gradients of a batch and divides by its size, so does this.

    Differs: Adam, or any of Keras's optimizers, whatever learning rate; rows are shuffled anew every epoch
    whatever ShuffleIndices says; dropped units become 0 and the others are divided by what is left, for all
    activations alike; penalties look at the units before dropout; the fan-in behind a layer's first weights
    counts all its sources together; a missing rating's weight is that of the row (`Autoencoder`).

    Args:
        num_users, num_items: sizes of the data.
        config: a file in DSSTNE's JSON, or its content. It takes the place of all settings from here down
            to `output_bias`. A network file in a run folder's config.yaml is replaced by its content.
        hidden_units: sizes of the hidden layers.
        activation, output_activation: of the hidden layers, of the output; see `nnrec.models.layers.activations`.
        error: one of `nnrec.models.layers.network.ERRORS`.
        one_target, zero_target, one_scale, zero_scale: of the scaled marginal cross-entropy.
        dropout: share of the hidden units dropped in training.
        denoising: share of the inputs hidden in training.
        sparseness_p, sparseness_beta: sparseness penalty on the hidden layers.
        batch_normalization: of the hidden layers.
        weight_init, weight_scale: how weights begin; see `nnrec.models.layers.network.Weights`.
        output_bias: what the output's biases begin with.
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
    """The network of a stack of equal hidden layers; the arguments are those of `DSSTNE`.

    Raises:
        ConfigError: a setting does not fit.
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
