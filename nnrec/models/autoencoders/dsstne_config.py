"""Reading DSSTNE's network configurations (its layer definition language, versions 0.7 and later)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from nnrec.core.errors import ConfigError
from nnrec.models.layers.network import Layer, Network, Weights

# DSSTNE's names, in lower case without spaces -> nnrec's names.
ACTIVATIONS = {
    "sigmoid": "sigmoid", "tanh": "tanh", "linear": "linear", "relu": "relu", "rectifiedlinear": "relu",
    "lrelu": "lrelu", "leakyrectifiedlinear": "lrelu", "elu": "elu", "exponentiallinear": "elu", "selu": "selu",
    "scaledexponentiallinear": "selu", "softplus": "softplus", "softsign": "softsign", "softmax": "softmax",
}  # fmt: skip
ERRORS = {
    "l1": "l1", "l2": "l2", "l2hinge": "l2_hinge", "hinge": "hinge", "crossentropy": "cross_entropy",
    "scaledmarginalcrossentropy": "scaled_marginal_cross_entropy",
    "datascaledmarginalcrossentropy": "data_scaled_marginal_cross_entropy",
}  # fmt: skip
SCHEMES = {
    "xavier": "xavier", "caffexavier": "caffe_xavier", "gaussian": "gaussian", "uniform": "uniform",
    "unitball": "unit_ball", "constant": "constant", "selu": "selu",
}  # fmt: skip
MARGINAL = {
    "one_target": "onetarget", "zero_target": "zerotarget", "one_scale": "onescale", "zero_scale": "zeroscale",
}  # fmt: skip
KINDS = {"input": "input", "hidden": "hidden", "output": "output"}
SLOPES = ("RELUSlope", "Slope", "ELUAlpha", "SELULambda")
NETWORK_KEYS = (
    "Version", "Name", "Kind", "ShuffleIndices", "SparsenessPenalty", "Denoising", "ScaledMarginalCrossEntropy",
    "DataScaledMarginalCrossEntropy", "Layers", "ErrorFunction", "LocalResponseNormalization", "LRN", "Maxout", *SLOPES,
)  # fmt: skip
LAYER_KEYS = {
    "input": ("Name", "Kind", "Type", "N", "Sparse", "pDropout", "DataSet"),
    "hidden": (
        "Name", "Kind", "Type", "N", "Sparse", "pDropout", "Source", "Skip", "Activation", "SparsenessPenalty",
        "BatchNormalization", "WeightNorm", "WeightInit", *SLOPES,
    ),
    "output": (
        "Name", "Kind", "Type", "N", "Sparse", "Source", "Skip", "Activation", "WeightNorm", "WeightInit", "DataSet",
        *SLOPES,
    ),
}  # fmt: skip
# Settings of DSSTNE that nnrec does not support, and what to use instead.
UNSUPPORTED = {
    "weightsdata": "weights in NetCDF files are not read: train the network anew",
    "decay": "set trainer.optimizer_options or model.l2 instead",
    "deltaboost": "use ScaledMarginalCrossEntropy's oneScale and zeroScale instead",
    "deltanorm": "use trainer.optimizer_options.clipnorm instead",
    "sharedweights": "give each layer weights of its own",
    "kernel": "convolution is for images",
    "kernelstride": "convolution is for images",
    "function": "pooling is for images",
}


def read_network(source: str | Path | Mapping[str, Any]) -> Network:
    """Reads the network that a configuration describes.

    As in DSSTNE, keys and names are case-insensitive, and the file can contain `//` and `/* */` comments.

    Args:
        source: a JSON file, or its content.

    Raises:
        ConfigError: the file cannot be read; a key is unknown or not supported; a value is not valid. The message names
            the place.
    """
    where = "model.config" if isinstance(source, Mapping) else str(source)
    settings = Section(read_json(source), where).keys(NETWORK_KEYS)
    if (version := settings.number("version", 0.8)) < 0.7:
        raise ConfigError(f"{where}: Version must be at least 0.7. Received: {version}")
    settings.name("kind", {"feedforward": "feedforward", "autoencoder": "autoencoder"}, "feedforward")
    penalty = settings.section("sparsenesspenalty", ("p", "beta"))
    marginal: dict[str, float] = {}
    for key in ("scaledmarginalcrossentropy", "datascaledmarginalcrossentropy"):
        part = settings.section(key, ("oneTarget", "zeroTarget", "oneScale", "zeroScale"))
        marginal |= {name: part.number(own, 0.0) for name, own in MARGINAL.items() if own in part.values}
    layers = _layers(settings, penalty)
    inputs, hidden, outputs = ([layer for kind, layer in layers if kind == own] for own in KINDS)
    for kind, found in (("Input", inputs), ("Output", outputs)):
        if len(found) != 1:
            received = ", ".join(layer.name for layer in found) or "none"
            raise ConfigError(f"{where}: nnrec's networks have one layer of kind {kind}. Received: {received}")
    entering, output = inputs[0], outputs[0]
    denoising = settings.section("denoising", ("p",)).number("p", 0.0)
    if entering.dropout:  # the two hide inputs independently of each other
        denoising = 1 - (1 - denoising) * (1 - entering.dropout)
    network = Network(
        hidden=tuple(hidden),
        output=output,
        error=settings.name("errorfunction", ERRORS, "cross_entropy"),
        marginal=marginal,
        denoising=denoising,
        input=entering.name,
        input_units=entering.units,
    )
    network.check(where)
    return network


def _layers(settings: Section, penalty: Section) -> list[tuple[str, Layer]]:
    listed = settings.values.get("layers", [])
    listed = listed if isinstance(listed, list) else [listed]
    layers: list[tuple[str, Layer]] = []
    for number, values in enumerate(listed):
        default = "input" if number == 0 else "output" if number == len(listed) - 1 else "hidden"
        section = Section(values, f"{settings.where}, layer {number + 1}")
        kind = section.name("kind", KINDS, default)
        name = str(section.values.get("name", f"{kind.capitalize()}{number}"))
        section = Section(section.written, f"{settings.where}, layer {name}").keys(LAYER_KEYS[kind])
        before = layers[-1][1].name if layers else ""
        layers.append((kind, _layer(section, name, kind, before, settings, penalty)))
    return layers


def _layer(section: Section, name: str, kind: str, before: str, network: Section, penalty: Section) -> Layer:
    section.name("type", {"fullyconnected": "fullyconnected"}, "fullyconnected")
    begin = section.section("weightinit", ("Scheme", "Scale", "Bias"))
    own = section.section("sparsenesspenalty", ("p", "beta"))
    p, beta = (own.number(key, 0.0) or penalty.number(key, 0.0) for key in ("p", "beta"))
    sparse = kind == "hidden" and section.flag("sparse") and beta > 0

    def slope(default: float, *keys: str) -> float:
        found = [part.number(key, default) for part in (section, network) for key in keys if key in part.values]
        return found[0] if found else default

    return Layer(
        name=name,
        units=section.units(kind),
        sources=section.names("source") or (() if kind == "input" else (before,)),
        skips=section.names("skip"),
        activation=section.name("activation", ACTIVATIONS, "sigmoid"),
        dropout=section.number("pdropout", 0.0),
        sparseness=(p, beta) if sparse else None,
        batch_normalization=section.flag("batchnormalization"),
        weight_norm=section.number("weightnorm", 0.0),
        weights=Weights(begin.name("scheme", SCHEMES, "xavier"), begin.number("scale", 1.0), begin.number("bias", 0.0)),
        relu_slope=slope(1.0, "reluslope", "slope"),
        elu_alpha=slope(1.0, "elualpha"),
        selu_lambda=slope(1.050701, "selulambda"),
    )


class Section:
    """One JSON object of a configuration: its values by lower-case key, and its place for error messages."""

    def __init__(self, written: Any, where: str) -> None:
        if not isinstance(written, Mapping):
            raise ConfigError(f"{where} must be an object, {{...}}. Received: {written!r}")
        self.written, self.where = written, where
        self.values = {str(key).lower(): value for key, value in written.items()}

    def keys(self, known: tuple[str, ...]) -> Section:
        """Returns the section; raises ConfigError if it has a key that is not among the known ones."""
        spelt = {key.lower(): key for key in known}
        for written in self.written:
            key = str(written).lower()
            if key in spelt:
                continue
            if key in UNSUPPORTED:
                raise ConfigError(f"{self.where}: {written} is not supported; {UNSUPPORTED[key]}.")
            near = get_close_matches(key, spelt, 1, cutoff=0.0)[0]
            raise ConfigError(f"{self.where}: unknown key {written!r}. The nearest known one is {spelt[near]!r}.")
        return self

    def section(self, key: str, known: tuple[str, ...]) -> Section:
        """Returns the object under a key; an empty section if the key is missing."""
        return Section(self.values.get(key, {}), f"{self.where}, {self._spelt(key)}").keys(known)

    def number(self, key: str, default: float) -> float:
        value = self.values.get(key, default)
        return float(self._checked(key, value, lambda v: type(v) in (int, float), "a number"))

    def flag(self, key: str) -> bool:
        return bool(self._checked(key, self.values.get(key, False), lambda v: isinstance(v, bool), "true or false"))

    def names(self, key: str) -> tuple[str, ...]:
        value = self.values.get(key, [])
        listed = value if isinstance(value, list) else [value]
        is_names = all(isinstance(name, str) for name in listed)
        self._checked(key, value, lambda v: is_names, "a name, or a list of names")
        return tuple(listed)

    def name(self, key: str, known: Mapping[str, str], default: str) -> str:
        """Returns nnrec's name for the name under a key."""
        if key not in self.values:
            return default
        written = re.sub(r"[ _]", "", str(self.values[key]).lower())
        if written not in known:
            near = get_close_matches(written, known, 1, cutoff=0.0)[0]
            raise ConfigError(
                f"{self.where}: {self._spelt(key)} {self.values[key]!r} is not known or not supported. Choose one of "
                f"{', '.join(known)}. The nearest is {near!r}."
            )
        return known[written]

    def units(self, kind: str) -> int | None:
        """Returns the size of a layer; None = one unit for each item."""
        value = self.values.get("n", "auto")
        value = value[0] if isinstance(value, list) and len(value) == 1 else value
        if isinstance(value, str) and value.lower() == "auto" and kind != "hidden":
            return None
        allowed = "a whole number" if kind == "hidden" else 'a whole number or "auto"'
        return int(self._checked("n", value, lambda v: type(v) is int, allowed))

    def _checked(self, key: str, value: Any, fits: Callable[[Any], bool], what: str) -> Any:
        if not fits(value):
            raise ConfigError(f"{self.where}: {self._spelt(key)} must be {what}. Received: {value!r}")
        return value

    def _spelt(self, key: str) -> str:
        return next((str(written) for written in self.written if str(written).lower() == key), key)


def read_json(source: str | Path | Mapping[str, Any]) -> Mapping[str, Any]:
    """Reads a JSON file that may contain comments; a mapping is returned unchanged.

    Raises:
        ConfigError: the file cannot be read, or is not JSON; the message names the line.
    """
    if isinstance(source, Mapping):
        return source
    try:
        text = Path(source).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"model.config={source} cannot be read: {error}") from error
    try:
        return json.loads(_COMMENT.sub(_blank, text))
    except json.JSONDecodeError as error:
        raise ConfigError(f"{source}, line {error.lineno}: not JSON ({error.msg}).") from error


# Matches a string, which is kept, or a comment, which is removed.
_COMMENT = re.compile(r'"(?:\\.|[^"\\])*"|//[^\n]*|/\*.*?\*/', re.DOTALL)


def _blank(found: re.Match[str]) -> str:
    """Returns strings unchanged, and comments as their line breaks."""
    text = found.group()
    return text if text.startswith('"') else "\n" * text.count("\n")
