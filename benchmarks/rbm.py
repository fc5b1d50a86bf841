"""Time and memory of nnrec's RBM beside plain dense implementations in Keras and in PyTorch.

    python benchmarks/rbm.py --case ml-1m|100k|all [--repeats 3] [--epochs 3]

| case  | users   | items   | ratings   | values | rows  | hidden | batch |
|-------|---------|---------|-----------|--------|-------|--------|-------|
| ml-1m | 6,040   | 3,706   | 1,000,209 | 5      | items | 200    | 128   |
| 100k  | 100,000 | 100,000 | 5,000,000 | 5      | users | 64     | 256   |

All sides: one weight per (column, value, hidden unit), CD-1, Adam, float32, the same batches' sizes and weight decay.
The plain implementations make a batch a dense (rows, columns, values) one-hot array with a mask, as the paper's
equations are written down, and differentiate the same difference of free energies. PyTorch takes part where it can be
imported. Every measurement is a process of its own; the sides take turns; shown is the median of the epochs after the
first over all repeats. ml-1m is the real data set where NNREC_DATA has it, else simulated ratings of its size.

What bounds the work. B rows a batch, C columns, K values, H hidden units, E ratings a batch, U columns touched.

    dense, a step:       2 (3 + 2 k) B C K H FLOP      five products for CD-1
                         28 C K H bytes                Adam
                         4 B C K bytes a pass          over one-hots, logits, shares, draws: some 15 of them in the
                                                       plain implementations; nnrec draws for the E ratings alone
    ml-1m, an epoch:     224 GFLOP (1.2 s at 190 GFLOP/s) + 29 * 170 MB; a pass takes 15 MB
    100k, an epoch:      16,000 GFLOP, and 512 MB a pass, 391 times
    row-sparse, a step:  10 E K H FLOP                 nothing
                         4 E K H bytes                 gathered for the logits, and 4 E H for each sum of rows
                         40 U K H bytes                touched rows of the table and of its two moments
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

SEED, DECAY, RATE, VALUES = 0, 0.002, 0.01, 5


@dataclass(frozen=True)
class Case:
    """A size to measure."""

    num_users: int
    num_items: int
    num_ratings: int
    by: str
    hidden: int
    batch_size: int
    dense_steps: int | None = None  # of an epoch, scaled up to the whole; None = all


CASES = {
    "ml-1m": Case(6_040, 3_706, 1_000_209, "item", 200, 128),
    "100k": Case(100_000, 100_000, 5_000_000, "user", 64, 256, dense_steps=4),
}
PEERS = ("nnrec", "keras", "torch")


# In the measured process.


def make_data(name: str, path: Path) -> None:
    """Writes the (user, item, value) arrays of a case."""
    import numpy as np

    case, real = CASES[name], Path(os.environ.get("NNREC_DATA", "data"), "ml-1m")
    if name == "ml-1m" and (real / "ratings.dat").is_file():
        from nnrec.data.movielens import read_movielens

        ratings, source = read_movielens("ml-1m", real, download=False), "ml-1m"
    else:
        from nnrec.data.simulate import simulate_ratings

        least = min(20, case.num_ratings // case.num_users)
        ratings = simulate_ratings(
            case.num_users, case.num_items, case.num_ratings, seed=SEED, min_ratings_per_user=least,
            activity_spread=0.6 if name == "ml-1m" else 0.0,
        )  # fmt: skip
        source = "simulated"
    np.savez(path, user=ratings.user, item=ratings.item, value=ratings.value, source=source)


def run_nnrec(case: Case, arrays: dict, epochs: int) -> tuple[list[float], float]:
    """Seconds of each epoch of nnrec's model in nnrec's training loop, and what share of the epoch they cover."""
    import numpy as np

    from nnrec import backend

    backend.start("cpu")
    import keras

    from nnrec.data.ratings import Ratings
    from nnrec.data.vocabulary import Vocabulary
    from nnrec.models.rbm import RBM
    from nnrec.trainer import Trainer
    from nnrec.training import Stage, compile_model

    keras.utils.set_random_seed(SEED)
    users, items = (Vocabulary(np.arange(size)) for size in (case.num_users, case.num_items))
    train = Ratings.build(users=users, items=items, **arrays)
    model = RBM(case.num_users, case.num_items, by=case.by, hidden_units=case.hidden, weight_decay=DECAY)
    model.adapt(train)
    trainer = Trainer(epochs=epochs, batch_size=case.batch_size, learning_rate=RATE)
    compile_model(model, trainer)
    stage, seconds = Stage("select", trainer, model, train, seed=SEED, epochs=epochs), []
    for epoch in range(epochs):
        stage.epochs, start = epoch + 1, time.perf_counter()
        stage.run()
        seconds.append(time.perf_counter() - start)
    return seconds, 1.0


class DenseBatches:
    """(B, columns) int32 arrays of values from 1, 0 where there is no rating."""

    def __init__(self, case: Case, arrays: dict) -> None:
        import numpy as np
        import scipy.sparse

        shape = (case.num_users, case.num_items)
        codes = np.clip(np.rint(arrays["value"]), 1, VALUES).astype(np.int32)
        matrix = scipy.sparse.csr_matrix((codes, (arrays["user"], arrays["item"])), shape)
        self.matrix = matrix.T.tocsr() if case.by == "item" else matrix
        self.size, steps = case.batch_size, -(-self.matrix.shape[0] // case.batch_size)
        self.steps = steps if case.dense_steps is None else case.dense_steps
        self.share = self.steps / steps
        self.rng = np.random.default_rng(SEED)

    def __iter__(self):
        order = self.rng.permutation(self.matrix.shape[0])
        for step in range(self.steps):
            yield self.matrix[order[step * self.size : (step + 1) * self.size]].toarray()


def run_keras(case: Case, arrays: dict, epochs: int) -> tuple[list[float], float]:
    """The paper's equations on dense arrays, in a compiled Keras model."""
    import keras
    import tensorflow as tf
    from keras import ops

    keras.utils.set_random_seed(SEED)
    batches = DenseBatches(case, arrays)

    class DenseRBM(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            width, small = batches.matrix.shape[1] * VALUES, keras.initializers.RandomNormal(0.0, 0.01)
            self.table = self.add_weight((width, case.hidden), small)
            self.visible = self.add_weight((width,), "zeros")
            self.hidden = self.add_weight((case.hidden,), "zeros")
            self.draws = keras.random.SeedGenerator(SEED)

        def signal(self, units):
            return ops.matmul(units, self.table) + self.hidden

        def free_energy(self, units):
            return -ops.matmul(units, self.visible[:, None])[:, 0] - ops.sum(ops.softplus(self.signal(units)), axis=1)

        def call(self, ratings):
            mask = ops.cast(ratings > 0, "float32")[:, :, None]
            units = ops.one_hot(ratings - 1, VALUES) * mask
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
    signature = (tf.TensorSpec((None, batches.matrix.shape[1]), tf.int32),)
    seconds = []
    for _ in range(epochs):
        data = tf.data.Dataset.from_generator(lambda: ((batch,) for batch in batches), output_signature=signature)
        start = time.perf_counter()
        model.fit(data.prefetch(2), verbose=0, steps_per_epoch=batches.steps)
        seconds.append(time.perf_counter() - start)
    return seconds, batches.share


def run_torch(case: Case, arrays: dict, epochs: int) -> tuple[list[float], float]:
    """The same in PyTorch."""
    import torch

    torch.manual_seed(SEED)
    batches = DenseBatches(case, arrays)
    width = batches.matrix.shape[1] * VALUES
    table = (0.01 * torch.randn(width, case.hidden)).requires_grad_()
    visible, hidden_bias = torch.zeros(width, requires_grad=True), torch.zeros(case.hidden, requires_grad=True)
    optimizer = torch.optim.Adam([table, visible, hidden_bias], RATE)

    def free_energy(units):
        return -units @ visible - torch.nn.functional.softplus(units @ table + hidden_bias).sum(1)

    seconds = []
    for _ in range(epochs):
        start = time.perf_counter()
        for array in batches:
            ratings = torch.from_numpy(array).long()
            mask = (ratings > 0)[:, :, None].float()
            units = torch.nn.functional.one_hot((ratings - 1).clamp(min=0), VALUES) * mask
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
        seconds.append(time.perf_counter() - start)
    return seconds, batches.share


def measure(name: str, peer: str, data: Path, epochs: int) -> dict:
    """One measurement, in this process."""
    import numpy as np

    with np.load(data) as stored:
        arrays = {key: stored[key] for key in ("user", "item", "value")}
        source = str(stored["source"])
    run = {"nnrec": run_nnrec, "keras": run_keras, "torch": run_torch}[peer]
    seconds, share = run(CASES[name], arrays, epochs)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"seconds": seconds, "share": share, "peak_bytes": peak, "source": source}


# In the process that the user started. It stays small: a child's peak memory counts from its parent's.


def call(*arguments: object) -> str:
    command = [sys.executable, __file__, *map(str, arguments)]
    env = os.environ | {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(Path(__file__).parents[1]), env.get("PYTHONPATH")]))
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
    return done.stdout


def compare(name: str, repeats: int, epochs: int, folder: Path) -> dict[str, list[dict]]:
    """The measurements of each peer; they take turns."""
    data = folder / f"{name}.npz"
    call("--make", name, data)
    peers = [peer for peer in PEERS if peer == "nnrec" or importlib.util.find_spec(peer)]
    runs: dict[str, list[dict]] = {peer: [] for peer in peers}
    for _ in range(repeats):
        for peer in peers:
            runs[peer].append(json.loads(call("--measure", name, peer, data, epochs).splitlines()[-1]))
            print(f"{name}, {peer}: {runs[peer][-1]['seconds']} s", file=sys.stderr)
    data.unlink()
    return runs


def show(results: dict[str, dict[str, list[dict]]]) -> None:
    """Prints the table."""
    from rich.console import Console
    from rich.table import Table

    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    caption = f"{os.cpu_count()} cores, load averages at the end {load}; * from some steps of an epoch, scaled"
    table = Table(title="RBM, CD-1", caption=caption, title_justify="left", caption_justify="left")
    for column in ("case", "ratings", "peer", "epoch s", "peak GiB", "x nnrec"):
        table.add_column(column, justify="left" if column in ("case", "ratings", "peer") else "right")

    def wall_of(runs: list[dict]) -> float:
        return statistics.median(second for run in runs for second in run["seconds"][1:]) / runs[0]["share"]

    for name, peers in results.items():
        own = wall_of(peers["nnrec"])
        for peer, runs in peers.items():
            wall = wall_of(runs)
            cells = f"{wall:.2f}", f"{max(run['peak_bytes'] for run in runs) / 2**30:.2f}", f"{wall / own:.2f}"
            table.add_row(name, runs[0]["source"], peer + " *" * (runs[0]["share"] < 1), *cells)
        table.add_section()
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description="Time and memory of the RBM beside plain dense implementations.")
    parser.add_argument("--case", choices=[*CASES, "all"], default="all")
    parser.add_argument("--repeats", type=int, default=3, help="processes per peer")
    parser.add_argument("--epochs", type=int, default=3, help="per process; the first is not shown")
    parser.add_argument("--make", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--measure", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.make:
        make_data(options.make[0], Path(options.make[1]))
    elif options.measure:
        name, peer, data, epochs = options.measure
        print(json.dumps(measure(name, peer, Path(data), int(epochs))))
    elif options.epochs < 2:
        parser.error("--epochs must be at least 2: the first is not shown")
    else:
        with tempfile.TemporaryDirectory() as folder:
            chosen = list(CASES) if options.case == "all" else [options.case]
            show({name: compare(name, options.repeats, options.epochs, Path(folder)) for name in chosen})


if __name__ == "__main__":
    main()
