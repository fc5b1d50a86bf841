"""Time and memory of nnrec's AutoRec, compared with plain dense implementations in Keras and PyTorch.

    python benchmarks/autorec.py --case ml-1m|100k|1m|crossover|all [--repeats 3] [--epochs 4] [--torch python]

| case      | users   | items     | ratings   | rows  | hidden  | batch | measured                           |
|-----------|---------|-----------|-----------|-------|---------|-------|------------------------------------|
| ml-1m     | 6,040   | 3,706     | 1,000,209 | items | 500     | 128   | nnrec beside dense Keras, PyTorch  |
| 100k      | 100,000 | 100,000   | 5,000,000 | users | 64      | 512   | nnrec beside dense Keras, PyTorch  |
| 1m        | 100,000 | 1,000,000 | 5,000,000 | users | 64      | 512   | nnrec alone                        |
| crossover | 1,280   | varies    | varies    | users | 64, 500 | 128   | nnrec's arithmetic, dense, sparse  |

All implementations: the paper's model in float32, with Adam, without dropout or centring, with the same L2; Keras
runs on TensorFlow. benchmarks/frame.py describes the measurement.

Lower bounds. R rows, C columns, H hidden units, B rows per batch, E ratings per batch, U distinct columns
in a batch, all float32. Two cores compute about 190 GFLOP/s and move about 10-20 GB/s.

    dense arithmetic, step:    10 B C H FLOP          five products (two forward, three backward)
                               28 * 2 C H bytes       Adam: reads gradient, weight, two moments; writes three
                               about 10 * 4 B C bytes the passes over the (B, C) ratings, predictions, errors
    ml-1m, epoch:              112 GFLOP (0.6 s) + 29 * 169 MB (0.3-0.5 s) + 29 * 31 MB
    100k, epoch:               6,400 GFLOP (34 s) + 196 * (358 MB + 2 GB) (25-45 s)

    row-sparse, step:          10 E H FLOP            negligible
                               6 * 4 E H bytes        gathered twice forward, the same backward
                               40 * 2 U H bytes       updated rows of the tables and of their two moments
    100k, epoch:               3.2 GFLOP + 196 * (39 MB + 82 MB at U = 16,000): 2 s at least; it
                               takes 9 s, since XLA's gathers and sums run on one core
    1m, epoch:                 the same: the tables (128 M weights, with moments 1.5 GB) are only gathered from

The rest is overhead of many small operations, which XLA fuses in the row-sparse step.

Choice of arithmetic: CPU milliseconds per step of 128 rows, two cores of an Intel Xeon shared with other
work (load average 5), TensorFlow 2.21, 2026-11-23. XLA does not speed up the dense step (within noise).

    ratings per row, hidden  50, 64        50, 500        165, 64       165, 500
    columns               dense sparse   dense sparse   dense sparse   dense sparse
      4,000                  16     13      55     78      19     26      63    184
     10,000                  36     20     147     94      43     36     157    194
     30,000                  83     18     405     93      76     40     381    234
    100,000                 238     20    1222    109     251     46    1232    289

Sparse becomes faster when columns exceed about a hundred times the ratings per row, hence `DENSE_UP_TO` in
nnrec/models/autoencoders/autorec.py.
"""

from __future__ import annotations

from functools import partial

import frame
from frame import SEED, Case, DenseRows, Outcome

L2 = 100.0
CASES = {
    "ml-1m": Case(6_040, 3_706, 1_000_209, 500, 128, by="item"),
    "100k": Case(100_000, 100_000, 5_000_000, 64, 512, dense_steps=8),
    "1m": Case(100_000, 1_000_000, 5_000_000, 64, 512, peers=("nnrec",)),
}
WAYS = ("nnrec-dense", "nnrec-dense-xla", "nnrec-sparse")
CROSSOVER = {
    f"{columns}/{length}/{hidden}": Case(1_280, columns, 1_280 * length, hidden, 128, peers=WAYS)
    for columns in (4_000, 10_000, 30_000, 100_000)
    for length in (50, 165)
    for hidden in (64, 500)
}


def run_nnrec(case: Case, arrays: dict, epochs: int, arithmetic: str = "auto", xla: bool = False) -> Outcome:
    def make():
        from nnrec.models.autoencoders.autorec import AutoRec

        options = {"by": case.by, "hidden_units": (case.hidden,), "l2": L2, "center": "none", "indicator": False}
        return AutoRec(case.num_users, case.num_items, arithmetic=arithmetic, **options)

    return frame.fit_nnrec(make, case, arrays, epochs, xla=xla)


def run_keras(case: Case, arrays: dict, epochs: int) -> Outcome:
    """The straightforward implementation: dense rows in, dense rows out, a mask in the loss."""
    import keras
    from keras import ops

    keras.utils.set_random_seed(SEED)
    rows = DenseRows(case, arrays)
    l2 = keras.regularizers.L2(L2 / (2 * rows.num_rows))
    layers = [
        keras.layers.Dense(case.hidden, "sigmoid", kernel_regularizer=l2),
        keras.layers.Dense(rows.num_columns, kernel_regularizer=l2),
    ]
    model = keras.Sequential([keras.Input((rows.num_columns,)), *layers])

    def masked_squared_error(ratings, predictions):
        mask = ops.cast(ratings > 0, "float32")
        return ops.sum(mask * ops.square(ratings - predictions), axis=1)

    model.compile(keras.optimizers.Adam(1e-3), masked_squared_error)
    return frame.fit_keras(model, rows, epochs)


def run_torch(case: Case, arrays: dict, epochs: int) -> Outcome:
    """The same in PyTorch."""
    import torch

    torch.manual_seed(SEED)
    rows = DenseRows(case, arrays)
    encoder, decoder = torch.nn.Linear(rows.num_columns, case.hidden), torch.nn.Linear(case.hidden, rows.num_columns)
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], 1e-3)

    def step(ratings):
        error = (ratings > 0) * (ratings - decoder(torch.sigmoid(encoder(ratings))))
        penalty = encoder.weight.square().sum() + decoder.weight.square().sum()
        loss = error.square().sum() / len(ratings) + L2 / (2 * rows.num_rows) * penalty
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return frame.fit_torch(step, rows, epochs)


CONTENDERS = {
    "nnrec": run_nnrec,
    "nnrec-dense": partial(run_nnrec, arithmetic="dense"),
    "nnrec-dense-xla": partial(run_nnrec, arithmetic="dense", xla=True),
    "nnrec-sparse": partial(run_nnrec, arithmetic="sparse"),
    "keras": run_keras,
    "torch": run_torch,
}

if __name__ == "__main__":
    frame.main("AutoRec", CASES, CONTENDERS, crossover=CROSSOVER, sizes=("columns", "a row", "hidden"))
