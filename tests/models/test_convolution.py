from __future__ import annotations

import numpy as np
import pytest

from nnrec.core.devices import backend
from nnrec.models.layers.convolution import Convolution

pytestmark = pytest.mark.neural


@pytest.fixture(scope="module", autouse=True)
def _started():
    backend.start()


def layer_of(channels, filters, kernel, pool):
    layer = Convolution(channels, filters, kernel, pool, name="layer")
    rng = np.random.default_rng(0)
    layer.kernel.assign(rng.normal(size=layer.kernel.shape))
    layer.bias.assign(rng.normal(size=filters))
    return layer


def plainly(layer, volume):
    """The convolution by its definition, in loops over positions."""
    kernel, bias = np.asarray(layer.kernel.numpy() if hasattr(layer.kernel, "numpy") else layer.kernel), layer.bias
    (clicks, width, attributes), (p, q, r) = layer.extent, layer.pool
    rows, length, w, a, _ = volume.shape
    left = [(size // 2, (size - 1) // 2) for size in (width, attributes)]
    padded = np.pad(volume, [(0, 0), (0, 0), *left, (0, 0)])
    found = np.zeros((rows, length - clicks + 1, w, a, layer.filters))
    for t, x, y in np.ndindex(*found.shape[1:4]):
        patch = padded[:, t : t + clicks, x : x + width, y : y + attributes]
        found[:, t, x, y] = np.einsum("ntwac,twacf->nf", patch, kernel) + np.asarray(bias)
    found = np.maximum(found, 0)
    tall, wide = -(-w // q), -(-a // r)
    pooled = np.zeros((rows, found.shape[1] - p + 1, tall, wide, layer.filters))
    # What is too short for whole blocks is filled on both sides, the longer part behind.
    begin = [(block * count - size) // 2 for block, count, size in ((q, tall, w), (r, wide, a))]
    for t, x, y in np.ndindex(*pooled.shape[1:4]):
        lines = slice(max(x * q - begin[0], 0), (x + 1) * q - begin[0])
        columns = slice(max(y * r - begin[1], 0), (y + 1) * r - begin[1])
        pooled[:, t, x, y] = found[:, t : t + p, lines, columns].max(axis=(1, 2, 3))
    return pooled


@pytest.mark.parametrize(
    ("kernel", "pool"),
    [((1, 1, 1), (1, 1, 1)), ((2, 3, 2), (1, 2, 2)), ((3, 4, 1), (2, 3, 1)), ((1, 5, 3), (3, 7, 2))],
)
def test_is_a_convolution_then_a_pooling(kernel, pool):
    layer, rng = layer_of(2, 3, kernel, pool), np.random.default_rng(1)
    volume = rng.normal(size=(2, 7, 9, 3, 2)).astype(np.float32)
    found = np.asarray(layer(volume))
    np.testing.assert_allclose(found, plainly(layer, volume), rtol=1e-4, atol=1e-5)
    assert found.shape[1] == 7 - layer.reach


def test_no_click_sees_a_later_one():
    layer, rng = layer_of(1, 4, (2, 3, 1), (2, 1, 1)), np.random.default_rng(1)
    volume = rng.normal(size=(1, 6, 5, 1, 1)).astype(np.float32)
    changed = volume.copy()
    changed[:, 4:] += 1
    same = 4 - layer.reach
    before, after = (np.asarray(layer(values)) for values in (volume, changed))
    np.testing.assert_array_equal(before[:, :same], after[:, :same])
    assert (before[:, same:] != after[:, same:]).any()
