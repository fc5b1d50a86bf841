"""Time and memory of nnrec's DSSTNE, compared with plain dense implementations in Keras and PyTorch.

    python benchmarks/dsstne.py --case ml-1m|100k|1m|all [--repeats 3] [--epochs 4] [--torch python]

| case  | users   | items     | likes     | hidden | batch | sampled | measured                           |
|-------|---------|-----------|-----------|--------|-------|---------|------------------------------------|
| ml-1m | 6,040   | 3,706     | 1,000,209 | 128    | 256   | no      | nnrec beside dense Keras, PyTorch  |
| 100k  | 100,000 | 100,000   | 5,000,000 | 128    | 512   | 2,048   | nnrec beside dense Keras, PyTorch  |
| 1m    | 100,000 | 1,000,000 | 5,000,000 | 128    | 512   | 2,048   | nnrec alone                        |

All implementations: the network of DSSTNE's MovieLens sample (128 sigmoid units, a sigmoid for every item,
cross-entropy over the whole catalogue, which is the scaled marginal one with targets 1 and 0; without denoising and
sparseness), float32, Adam. At 100,000 items nnrec samples its output layer, the others compute all of it.
benchmarks/frame.py describes the measurement.

Lower bounds. R rows, I items, H hidden units, B rows per batch, E likes per batch, U distinct columns in a
batch, N columns sampled for it, all float32. Two cores compute about 190 GFLOP/s and move about 10-20 GB/s.

    dense, step:           10 B I H FLOP      five products (two forward, three backward)
                           28 * 2 I H bytes   Adam
                           about 8 * 4 B I    passes over the (B, I) logits, errors and their gradients
    ml-1m, epoch:          29 GFLOP (.15 s) + 24 * 27 MB + 24 * 30 MB (.1 s)
    100k, epoch:           6,600 GFLOP * 2 (70 s) + 196 * (717 MB + 1.6 GB) (25-45 s)

    sampled, step:         10 E H + 6 B N H FLOP
                           40 * 2 U H bytes   updated rows of the tables and of their two moments
    100k, epoch:           3 * 10^12 FLOP * .05 (.9 s) + 196 * 180 MB (2-4 s): mostly gathers
    1m, epoch:             the same: the tables (256 M weights, with moments 3 GB) are only gathered from
"""

from __future__ import annotations

from dataclasses import dataclass

import frame
from frame import SEED, DenseRows, Outcome


@dataclass(frozen=True)
class Case(frame.Case):
    """A size to measure, and the number of columns that nnrec samples per batch."""

    sampled: int | None = None


CASES = {
    "ml-1m": Case(6_040, 3_706, 1_000_209, 128, 256),
    "100k": Case(100_000, 100_000, 5_000_000, 128, 512, sampled=2048, dense_steps=8),
    "1m": Case(100_000, 1_000_000, 5_000_000, 128, 512, sampled=2048, peers=("nnrec",)),
}


def likes(arrays: dict) -> dict:
    """The arrays with all ratings replaced by 1."""
    import numpy as np

    return arrays | {"value": np.ones(len(arrays["user"]), np.float32)}


def run_nnrec(case: Case, arrays: dict, epochs: int) -> Outcome:
    def make():
        from nnrec.models.autoencoders.dsstne import DSSTNE

        options = {"hidden_units": (case.hidden,), "error": "cross_entropy", "denoising": 0.0, "weight_init": "glorot"}
        return DSSTNE(case.num_users, case.num_items, sampled=case.sampled, **options)

    return frame.fit_nnrec(make, case, likes(arrays), epochs)


def run_keras(case: Case, arrays: dict, epochs: int) -> Outcome:
    """The straightforward implementation: dense rows in and out, a binary cross-entropy summed over items."""
    import keras
    from keras import ops

    keras.utils.set_random_seed(SEED)
    rows = DenseRows(case, likes(arrays))
    layers = [keras.layers.Dense(case.hidden, "sigmoid"), keras.layers.Dense(case.num_items)]
    model = keras.Sequential([keras.Input((case.num_items,)), *layers])

    def summed_cross_entropy(liked, logits):
        return ops.sum(ops.binary_crossentropy(liked, logits, from_logits=True), axis=1)

    model.compile(keras.optimizers.Adam(1e-3), summed_cross_entropy)
    return frame.fit_keras(model, rows, epochs)


def run_torch(case: Case, arrays: dict, epochs: int) -> Outcome:
    """The same in PyTorch."""
    import torch

    torch.manual_seed(SEED)
    layers = torch.nn.Linear(case.num_items, case.hidden), torch.nn.Linear(case.hidden, case.num_items)
    model = torch.nn.Sequential(layers[0], torch.nn.Sigmoid(), layers[1])
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    error = torch.nn.BCEWithLogitsLoss(reduction="sum")

    def step(liked):
        loss = error(model(liked), liked) / len(liked)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return frame.fit_torch(step, DenseRows(case, likes(arrays)), epochs)


if __name__ == "__main__":
    frame.main("DSSTNE", CASES, {"nnrec": run_nnrec, "keras": run_keras, "torch": run_torch})
