"""DSSTNE's JSON: what is understood, with its defaults, and what is refused in which words."""

from __future__ import annotations

import json
from copy import deepcopy

import pytest

from nnrec.core.errors import ConfigError
from nnrec.models.autoencoders.dsstne_config import read_network
from nnrec.models.layers.network import Layer, Weights

PLAIN = {
    "Layers": [
        {"Name": "In", "Kind": "Input", "N": "auto", "Sparse": True},
        {"Name": "Middle", "Kind": "Hidden", "N": 8},
        {"Name": "Out", "Kind": "Output", "N": "auto"},
    ]
}
# Two branches, one of them skipped past, and every setting at another value than its default.
RICH = """
{
    "VERSION": 0.8, "name": "two // branches", "Kind": "AutoEncoder", // a comment
    /* and
       another */
    "sparsenesspenalty": {"P": 0.2, "Beta": 3}, "Denoising": {"p": 0.25}, "ShuffleIndices": true,
    "ScaledMarginalCrossEntropy": {"onetarget": 0.8, "ZeroScale": 2},
    "RELUSlope": 0.5, "ErrorFunction": "Cross Entropy",
    "Layers": [
        {"Kind": "Input", "Name": "In", "N": "Auto", "pDropout": 0.2, "DataSet": "x"},
        {"Name": "A", "N": 4, "Activation": "LRelu", "Sparse": true, "pDropout": 0.5},
        {"Name": "B", "N": [4], "Source": "In", "Skip": ["A"], "Activation": "ExponentialLinear", "elualpha": 0.3,
         "BatchNormalization": true, "Sparse": true, "SparsenessPenalty": {"p": 0.1, "beta": 1},
         "WeightNorm": 2.5, "WeightInit": {"Scheme": "UnitBall", "Scale": 0.1, "Bias": -1}},
        {"Name": "Out", "Source": ["A", "B"], "N": 12, "Activation": "Linear", "DataSet": "y"}
    ]
}
"""


def test_defaults():
    network = read_network(PLAIN)
    middle = Layer(name="Middle", units=8, sources=("In",), activation="sigmoid", weights=Weights("xavier", 1.0, 0.0))
    assert network.hidden == (middle,)
    assert network.output == Layer(name="Out", units=None, sources=("Middle",), activation="sigmoid")
    assert (network.error, network.marginal, network.denoising) == ("cross_entropy", {}, 0.0)
    assert (middle.relu_slope, middle.elu_alpha, middle.selu_lambda) == (1.0, 1.0, 1.050701)


def test_everything(tmp_path):
    path = tmp_path / "rich.json"
    path.write_text(RICH)
    network = read_network(path)
    first, second = network.hidden
    assert first == Layer(
        name="A", units=4, sources=("In",), activation="lrelu", dropout=0.5, sparseness=(0.2, 3.0), relu_slope=0.5
    )
    assert second == Layer(
        name="B",
        units=4,
        sources=("In",),
        skips=("A",),
        activation="elu",
        elu_alpha=0.3,
        relu_slope=0.5,
        batch_normalization=True,
        sparseness=(0.1, 1.0),
        weight_norm=2.5,
        weights=Weights("unit_ball", 0.1, -1.0),
    )
    assert (network.output.units, network.output.sources) == (12, ("A", "B"))
    assert network.error == "cross_entropy"
    assert network.marginal == {"one_target": 0.8, "zero_scale": 2.0}
    # hidden by the one (a quarter) or by the other (a fifth)
    assert network.denoising == pytest.approx(1 - 0.75 * 0.8)


def test_sparseness_is_for_layers_that_are_called_sparse():
    plain = PLAIN | {"SparsenessPenalty": {"p": 0.5, "beta": 2}}
    assert read_network(plain).hidden[0].sparseness is None


@pytest.mark.parametrize("name", ["movielens_config", "benchmark_deep", "movielens_benchmark2"])
def test_dsstnes_own_files(name, real_data):
    network = read_network(real_data("dsstne") / f"{name}.json")
    units = {"movielens_config": [128], "benchmark_deep": [1024] * 3, "movielens_benchmark2": [1536] * 2}[name]
    assert [layer.units for layer in network.hidden] == units
    assert network.error == "scaled_marginal_cross_entropy"
    assert network.marginal == {"one_target": 1.0, "zero_target": 0.0, "one_scale": 1.0, "zero_scale": 1.0}
    if name == "movielens_config":
        assert (network.denoising, network.hidden[0].sparseness) == (0.2, (0.5, 2.0))
    else:
        assert network.output.weights == Weights("gaussian", 0.01, -10.2)
        assert all(layer.dropout == 0.5 for layer in network.hidden)


def changed(path: tuple, value) -> dict:
    """The plain configuration with a value set, or a key added."""
    config = deepcopy(PLAIN)
    part = config
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    return config


HIDDEN = ("Layers", 1)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            changed(("Denoise",), {"p": 0.1}),
            "config: unknown key 'Denoise'. The nearest known one is 'Denoising'",
        ),
        (changed(("Denoising",), {"q": 0.1}), "model.config, Denoising: unknown key 'q'. The nearest known one is 'p'"),
        (changed((*HIDDEN, "Activaton"), "Relu"), "layer Middle: unknown key 'Activaton'. .*'Activation'"),
        (changed((*HIDDEN, "DataSet"), "x"), "layer Middle: unknown key 'DataSet'"),
        (changed((*HIDDEN, "WeightInit"), {"Skale": 1}), "layer Middle, WeightInit: unknown key 'Skale'. .*'Scale'"),
        (changed((*HIDDEN, "Activation"), "Sigmod"), "Activation 'Sigmod' is not known .*nearest is 'sigmoid'"),
        (changed((*HIDDEN, "Activation"), "RELUMax"), "Activation 'RELUMax' is not known or not supported"),
        (changed((*HIDDEN, "Type"), "Convolutional"), "Type 'Convolutional' is not known or not supported"),
        (changed((*HIDDEN, "SharedWeights"), []), "SharedWeights is not supported; give each layer weights of its own"),
        (changed((*HIDDEN, "N"), "auto"), "layer Middle: N must be a whole number. Received: 'auto'"),
        (changed((*HIDDEN, "N"), 0), "layer Middle: a hidden layer needs a size, .* Received: 0"),
        (changed((*HIDDEN, "pDropout"), "half"), "layer Middle: pDropout must be a number. Received: 'half'"),
        (changed((*HIDDEN, "pDropout"), 1.0), "layer Middle: dropout must be at least 0 and below 1"),
        (changed((*HIDDEN, "Sparse"), 1), "layer Middle: Sparse must be true or false. Received: 1"),
        (changed((*HIDDEN, "Source"), "Inn"), "layer Middle: no layer before it is called 'Inn'. There are: In"),
        (changed((*HIDDEN, "Skip"), "In"), "layer Middle: skip adds layers of the same size, and In is not"),
        (changed((*HIDDEN, "Name"), "In"), "layer In: there is another layer of this name"),
        (changed((*HIDDEN, "Kind"), "Input"), "one layer of kind Input. Received: In, Middle"),
        (changed(("Layers", 2, "Source"), "In"), "weights from every item to every item are not supported"),
        (changed(("ErrorFunction",), "L3"), "ErrorFunction 'L3' is not known .*'l1'|'l2'"),
        (changed(("WeightsData",), "w.nc"), "WeightsData is not supported; weights in NetCDF files are not read"),
        (changed(("Version",), 0.6), "Version must be at least 0.7. Received: 0.6"),
        (changed(("Layers", 1), 8), "layer 2 must be an object"),
        ({}, "one layer of kind Input. Received: none"),
    ],
)
def test_what_does_not_fit_is_named(config, message):
    with pytest.raises(ConfigError, match=message):
        read_network(config)


def test_softmax_and_error_have_to_go_together():
    config = changed(("Layers", 2, "Activation"), "SoftMax") | {"ErrorFunction": "DataScaledMarginalCrossEntropy"}
    with pytest.raises(ConfigError, match="a softmax does not go with the error function data_scaled"):
        read_network(config)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(ConfigError, match=r"model\.config=.*absent\.json cannot be read"):
        read_network(tmp_path / "absent.json")
    path = tmp_path / "broken.json"
    path.write_text('{\n  // one\n  "Version": 0.8,\n}\n')
    with pytest.raises(ConfigError, match=r"broken\.json, line 4: not JSON"):
        read_network(path)
    path.write_text(json.dumps(changed(("Layerz",), 1)))
    with pytest.raises(ConfigError, match=r"broken\.json: unknown key 'Layerz'\. The nearest known one is 'Layers'"):
        read_network(path)
