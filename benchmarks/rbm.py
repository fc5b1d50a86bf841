"""Time and memory of nnrec's RBM, compared with plain dense implementations in Keras and PyTorch.

    python benchmarks/rbm.py --case ml-1m|100k|crossover|all [--repeats 3] [--epochs 4] [--torch python]

| case  | users   | items   | ratings   | values | rows  | hidden | batch |
|-------|---------|---------|-----------|--------|-------|--------|-------|
| ml-1m | 6,040   | 3,706   | 1,000,209 | 5      | items | 200    | 128   |
| 100k  | 100,000 | 100,000 | 5,000,000 | 5      | users | 64     | 256   |

All implementations: one weight per (column, value, hidden unit), CD-1, Adam, float32, equal batch sizes and weight
decay. The plain implementations represent a batch as a dense (rows, columns, values) one-hot array with a mask, as in
the paper's equations, and differentiate the same difference of free energies, which is their loss; nnrec reports the
reconstruction error instead. benchmarks/frame.py describes the measurement.

Lower bounds. B rows per batch, C columns, K values, H hidden units, E ratings per batch, U distinct columns in a batch.

    dense, step:         2 (3 + 2 k) B C K H FLOP      five products for CD-1
                         28 C K H bytes                Adam
                         4 B C K bytes per pass        over one-hots, logits, shares, draws: about 15 passes in the
                                                       plain implementations; nnrec draws for the E ratings alone
    ml-1m, epoch:        224 GFLOP (1.2 s at 190 GFLOP/s) + 29 * 170 MB; a pass takes 15 MB
    100k, epoch:         16,000 GFLOP, and 512 MB per pass, 391 times
    row-sparse, step:    10 E K H FLOP                 negligible
                         4 E K H bytes                 gathered for the logits, and 4 E H for each sum of rows
                         40 U K H bytes                updated rows of the table and of its two moments

One run each on two cores of an Intel Xeon shared with other work (load averages 5.5 and 12), TensorFlow 2.21,
2026-11-23:

                 ml-1m: epoch   CPU   peak        100k: epoch      CPU   peak
    nnrec               4.1 s   3.9 s  1.1 GiB           55 s     27 s  1.7 GiB
    Keras              18.7 s   7.5 s  1.4 GiB        5,400 s  2,200 s  4.4 GiB   (from 4 of 391 steps)
    PyTorch            20.9 s  16.5 s  0.9 GiB       32,500 s  5,100 s  4.6 GiB   (from 4 of 391 steps)

Choice of arithmetic: milliseconds per step of 128 rows, the faster of two epochs, one process each, in turns, on the
same machine at a load average of 14: only the comparison of dense and sparse is meaningful.

    ratings per row, hidden  50, 50        50, 200       165, 50       165, 200
    columns               dense sparse   dense sparse   dense sparse   dense sparse
      2,000                  88     94      57    275      71    149     131    437
      5,000                 120     75     203    340      77    242     143    959
     12,000                 246    148    1227    574     433    286     595    729
     30,000                 934    170

Sparse becomes faster between 4,000 and more than 12,000 columns of 5 values, around 8,000: hence `DENSE_UP_TO` in
nnrec/models/rbm/rbm.py.
"""

from __future__ import annotations

from functools import partial

import frame
from frame import SEED, Case, DenseRows, Outcome

DECAY, RATE, VALUES = 0.002, 0.01, 5
CASES = {
    "ml-1m": Case(6_040, 3_706, 1_000_209, 200, 128, by="item"),
    "100k": Case(100_000, 100_000, 5_000_000, 64, 256, dense_steps=4),
}
CROSSOVER = {
    f"{columns}/{length}/{hidden}": Case(
        1_280, columns, 1_280 * length, hidden, 128, peers=("nnrec-dense", "nnrec-sparse")
    )
    for columns in (2_000, 5_000, 12_000, 30_000)
    for length in (50, 165)
    for hidden in (50, 200)
}


def run_nnrec(case: Case, arrays: dict, epochs: int, arithmetic: str = "auto") -> Outcome:
    def make():
        from nnrec.models.rbm.rbm import RBM

        options = {"by": case.by, "hidden_units": case.hidden, "weight_decay": DECAY, "arithmetic": arithmetic}
        return RBM(case.num_users, case.num_items, **options)

    return frame.fit_nnrec(make, case, arrays, epochs, learning_rate=RATE)


def run_keras(case: Case, arrays: dict, epochs: int) -> Outcome:
    """The paper's equations on dense arrays, in a compiled Keras model."""
    import keras
    from keras import ops

    keras.utils.set_random_seed(SEED)
    rows = DenseRows(case, arrays)
    width = rows.num_columns * VALUES

    class DenseRBM(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.table = self.add_weight((width, case.hidden), keras.initializers.RandomNormal(0.0, 0.01))
            self.visible = self.add_weight((width,), "zeros")
            self.hidden = self.add_weight((case.hidden,), "zeros")
            self.draws = keras.random.SeedGenerator(SEED)

        def signal(self, units):
            return ops.matmul(units, self.table) + self.hidden

        def free_energy(self, units):
            return -ops.matmul(units, self.visible[:, None])[:, 0] - ops.sum(ops.softplus(self.signal(units)), axis=1)

        def call(self, ratings):
            mask = ops.cast(ratings > 0, "float32")[:, :, None]
            units = ops.one_hot(ops.cast(ratings, "int32") - 1, VALUES) * mask
            shape, flat = ops.shape(units), (ops.shape(units)[0], -1)
            hidden = ops.sigmoid(self.signal(ops.reshape(units, flat)))
            drawn = ops.cast(keras.random.uniform(ops.shape(hidden), seed=self.draws) < hidden, "float32")
            logits = ops.reshape(ops.matmul(drawn, ops.transpose(self.table)) + self.visible, shape)
            below = ops.cumsum(ops.softmax(logits), axis=2)[:, :, :-1]
            draw = keras.random.uniform(shape[:2], seed=self.draws)[:, :, None]
            level = ops.sum(ops.cast(draw >= below, "int32"), axis=2)
            fantasy = ops.stop_gradient(ops.one_hot(level, VALUES) * mask)
            difference = self.free_energy(ops.reshape(units, flat)) - self.free_energy(ops.reshape(fantasy, flat))
            self.add_loss(ops.mean(difference) + DECAY / 2 * ops.sum(ops.square(self.table)))
            return hidden

    model = DenseRBM()
    model.compile(keras.optimizers.Adam(RATE))
    return frame.fit_keras(model, rows, epochs)


def run_torch(case: Case, arrays: dict, epochs: int) -> Outcome:
    """The same in PyTorch."""
    import torch

    torch.manual_seed(SEED)
    rows = DenseRows(case, arrays)
    width = rows.num_columns * VALUES
    table = (0.01 * torch.randn(width, case.hidden)).requires_grad_()
    visible, hidden_bias = torch.zeros(width, requires_grad=True), torch.zeros(case.hidden, requires_grad=True)
    optimizer = torch.optim.Adam([table, visible, hidden_bias], RATE)

    def free_energy(units):
        return -units @ visible - torch.nn.functional.softplus(units @ table + hidden_bias).sum(1)

    def step(ratings):
        mask = (ratings > 0)[:, :, None].float()
        units = torch.nn.functional.one_hot((ratings.long() - 1).clamp(min=0), VALUES) * mask
        with torch.no_grad():
            drawn = torch.bernoulli(torch.sigmoid(units.flatten(1) @ table + hidden_bias))
            shares = torch.softmax((drawn @ table.T + visible).view(units.shape), dim=2)
            below = shares.cumsum(2)[:, :, :-1]
            level = (torch.rand(units.shape[:2])[:, :, None] >= below).sum(2)
            fantasy = torch.nn.functional.one_hot(level, VALUES) * mask
        difference = free_energy(units.flatten(1)) - free_energy(fantasy.flatten(1))
        loss = difference.mean() + DECAY / 2 * table.square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return frame.fit_torch(step, rows, epochs)


CONTENDERS = {
    "nnrec": run_nnrec,
    "nnrec-dense": partial(run_nnrec, arithmetic="dense"),
    "nnrec-sparse": partial(run_nnrec, arithmetic="sparse"),
    "keras": run_keras,
    "torch": run_torch,
}

if __name__ == "__main__":
    frame.main("RBM, CD-1", CASES, CONTENDERS, crossover=CROSSOVER, sizes=("columns", "a row", "hidden"))
