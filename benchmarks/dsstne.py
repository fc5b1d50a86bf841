"""Time and memory of nnrec's DSSTNE beside plain dense implementations in Keras and in PyTorch.

    python benchmarks/dsstne.py --case ml-1m|100k|1m|all [--repeats 3] [--epochs 4] [--torch python]

| case  | users   | items     | likes     | hidden | batch | sampled | measured                           |
|-------|---------|-----------|-----------|--------|-------|---------|------------------------------------|
| ml-1m | 6,040   | 3,706     | 1,000,209 | 128    | 256   | no      | nnrec beside dense Keras, PyTorch  |
| 100k  | 100,000 | 100,000   | 5,000,000 | 128    | 512   | 2,048   | nnrec beside dense Keras, PyTorch  |
| 1m    | 100,000 | 1,000,000 | 5,000,000 | 128    | 512   | 2,048   | nnrec alone                        |

All sides: the network of DSSTNE's MovieLens sample (128 sigmoid units, a sigmoid for every item, cross-entropy
over the whole catalogue, which is the scaled marginal one with targets 1 and 0; without denoising and
sparseness), float32, Adam. At 100,000 items nnrec samples its output layer, the others compute it whole. Every
measurement is a process of its own; the sides take turns; shown is the median of the epochs after the first over
all repeats. ml-1m is the real data set where NNREC_DATA has it, else simulated ratings of its size. PyTorch is
measured with the interpreter given by --torch (one that has torch, NumPy and SciPy), or left out.

What bounds the work. R rows, I items, H hidden units, B rows a batch, E likes a batch, U columns that a batch
touches, N columns drawn for it, all float32. Two cores do about 190 GFLOP/s and move about 10-20 GB/s.

    dense, a step:         10 B I H FLOP      five products (two forward, three backward)
                           28 * 2 I H bytes   Adam
                           about 8 * 4 B I    passes over the (B, I) logits, errors and their gradients
    ml-1m, an epoch:       29 GFLOP (.15 s) + 24 * 27 MB + 24 * 30 MB (.1 s)
    100k, an epoch:        6,600 GFLOP * 2 (70 s) + 196 * (717 MB + 1.6 GB) (25-45 s)

    sampled, a step:       10 E H + 6 B N H FLOP
                           40 * 2 U H bytes   touched rows of the tables and of their two moments
    100k, an epoch:        3 * 10^12 FLOP * .05 (.9 s) + 196 * 180 MB (2-4 s): the gathers are what remains
    1m, an epoch:          the same: the tables (256 M weights, with moments 3 GB) are only gathered from
"""

from __future__ import annotations

import argparse
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

SEED = 0
HIDDEN = 128


@dataclass(frozen=True)
class Case:
    """A size to measure."""

    num_users: int
    num_items: int
    num_ratings: int
    batch_size: int
    sampled: int | None = None
    peers: tuple[str, ...] = ("nnrec", "keras", "torch")
    dense_steps: int | None = None  # of an epoch, scaled up to the whole; None = all


CASES = {
    "ml-1m": Case(6_040, 3_706, 1_000_209, 256),
    "100k": Case(100_000, 100_000, 5_000_000, 512, sampled=2048, dense_steps=8),
    "1m": Case(100_000, 1_000_000, 5_000_000, 512, sampled=2048, peers=("nnrec",)),
}


# In the measured process.


class Stopwatch:
    """Wall and CPU seconds of each epoch."""

    def __init__(self) -> None:
        self.epochs: list[tuple[float, float]] = []
        self._last = self._now()

    def lap(self) -> None:
        now = self._now()
        self.epochs.append((now[0] - self._last[0], now[1] - self._last[1]))
        self._last = now

    @staticmethod
    def _now() -> tuple[float, float]:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return time.perf_counter(), usage.ru_utime + usage.ru_stime


def make_data(name: str, path: Path) -> None:
    """Writes the (user, item) arrays of a case."""
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
    np.savez(path, user=ratings.user, item=ratings.item, source=source)


def run_nnrec(case: Case, arrays: dict, epochs: int) -> dict:
    """Trains nnrec's model with nnrec's training loop."""
    import numpy as np

    from nnrec import backend

    backend.start("cpu")
    import keras

    from nnrec.data.ratings import Ratings
    from nnrec.data.vocabulary import Vocabulary
    from nnrec.models.dsstne import DSSTNE
    from nnrec.trainer import Trainer
    from nnrec.training import Stage, compile_model

    keras.utils.set_random_seed(SEED)
    users, items = (Vocabulary(np.arange(size)) for size in (case.num_users, case.num_items))
    value = np.ones(len(arrays["user"]), np.float32)
    train = Ratings.build(users=users, items=items, value=value, **arrays)
    model = DSSTNE(
        case.num_users, case.num_items, hidden_units=(HIDDEN,), error="cross_entropy", denoising=0.0,
        weight_init="glorot", sampled=case.sampled,
    )  # fmt: skip
    model.adapt(train)
    trainer = Trainer(epochs=epochs, batch_size=case.batch_size)
    compile_model(model, trainer)
    stage = Stage("refit", trainer, model, train, seed=SEED, epochs=epochs)
    watch = Stopwatch()
    for epoch in range(epochs):
        stage.epochs = epoch + 1
        stage.run()
        watch.lap()
    return {"epochs": watch.epochs, "share": 1.0, "loss": stage.progress.history[-1]["loss"]}


def rows_of(case: Case, arrays: dict):
    """The matrix, and the steps of an epoch that are measured."""
    import numpy as np
    import scipy.sparse

    ones = np.ones(len(arrays["user"]), np.float32)
    matrix = scipy.sparse.csr_matrix((ones, (arrays["user"], arrays["item"])), (case.num_users, case.num_items))
    whole = -(-case.num_users // case.batch_size)
    return matrix, whole, case.dense_steps or whole


def run_keras(case: Case, arrays: dict, epochs: int) -> dict:
    """What one writes first: dense rows in, dense rows out, a binary cross-entropy summed over items."""
    import keras
    import numpy as np
    from keras import ops

    keras.utils.set_random_seed(SEED)
    matrix, whole, steps = rows_of(case, arrays)
    layers = [keras.layers.Dense(HIDDEN, "sigmoid"), keras.layers.Dense(case.num_items)]
    model = keras.Sequential([keras.Input((case.num_items,)), *layers])

    def summed_cross_entropy(likes, logits):
        return ops.sum(ops.binary_crossentropy(likes, logits, from_logits=True), axis=1)

    model.compile(keras.optimizers.Adam(1e-3), summed_cross_entropy)

    class DenseBatches(keras.utils.PyDataset):
        """Rows made dense batch by batch, where the whole matrix does not fit into memory."""

        def __init__(self) -> None:
            super().__init__()
            self.order = np.random.default_rng(SEED).permutation(case.num_users)

        def __len__(self) -> int:
            return steps

        def __getitem__(self, step: int) -> tuple[np.ndarray, np.ndarray]:
            dense = matrix[np.sort(self.order[step * case.batch_size : (step + 1) * case.batch_size])].toarray()
            return dense, dense

    watch = Stopwatch()
    lap = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: watch.lap())
    if case.dense_steps is None:
        dense = matrix.toarray()
        fit = {"x": dense, "y": dense, "batch_size": case.batch_size}
    else:
        fit = {"x": DenseBatches()}
    watch.lap()
    watch.epochs.clear()
    history = model.fit(**fit, epochs=epochs, verbose=0, callbacks=[lap])
    return {"epochs": watch.epochs, "share": steps / whole, "loss": history.history["loss"][-1]}


def run_torch(case: Case, arrays: dict, epochs: int) -> dict:
    """The same in PyTorch."""
    import numpy as np
    import torch

    torch.manual_seed(SEED)
    matrix, whole, steps = rows_of(case, arrays)
    model = torch.nn.Sequential(
        torch.nn.Linear(case.num_items, HIDDEN), torch.nn.Sigmoid(), torch.nn.Linear(HIDDEN, case.num_items)
    )
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    error = torch.nn.BCEWithLogitsLoss(reduction="sum")
    dense = torch.from_numpy(matrix.toarray()) if case.dense_steps is None else None
    rng, watch, loss = np.random.default_rng(SEED), Stopwatch(), 0.0
    for _ in range(epochs):
        order, total = rng.permutation(case.num_users), 0.0
        for step in range(steps):
            rows = order[step * case.batch_size : (step + 1) * case.batch_size]
            likes = torch.from_numpy(matrix[rows].toarray()) if dense is None else dense[torch.from_numpy(rows)]
            optimizer.zero_grad()
            loss_of_step = error(model(likes), likes) / len(rows)
            loss_of_step.backward()
            optimizer.step()
            total += float(loss_of_step.detach())
        loss = total / steps
        watch.lap()
    return {"epochs": watch.epochs, "share": steps / whole, "loss": loss}


def measure(name: str, peer: str, data: Path, epochs: int) -> dict:
    """One measurement, in this process."""
    import numpy as np

    with np.load(data) as stored:
        arrays = {key: stored[key] for key in ("user", "item")}
        source = str(stored["source"])
    run = {"nnrec": run_nnrec, "keras": run_keras, "torch": run_torch}[peer]
    result = run(CASES[name], arrays, epochs)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return result | {"peak_bytes": peak, "source": source}


# In the process that the user started. It stays small: a child's peak memory counts from its parent's.


def call(python: str, *arguments: object) -> str:
    command = [python, __file__, *map(str, arguments)]
    env = os.environ | {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(Path(__file__).parents[1]), env.get("PYTHONPATH")]))
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
    return done.stdout


def compare(name: str, repeats: int, epochs: int, folder: Path, torch: str | None) -> dict[str, dict]:
    """Medians of each peer; they take turns."""
    data = folder / f"{name}.npz"
    call(sys.executable, "--make", name, data)
    runs: dict[str, list[dict]] = {peer: [] for peer in CASES[name].peers if peer != "torch" or torch}
    for _ in range(repeats):
        for peer in runs:
            python = torch if peer == "torch" and torch else sys.executable
            result = json.loads(call(python, "--measure", name, peer, data, epochs).splitlines()[-1])
            runs[peer].append(result)
            seconds = ", ".join(f"{wall:.2f}" for wall, _ in result["epochs"])
            print(f"{name}, {peer}: {seconds} s", file=sys.stderr)
    data.unlink()
    summary = {}
    for peer, results in runs.items():
        later = [epoch for result in results for epoch in result["epochs"][1:]]
        wall, cpu = (statistics.median(epoch[part] for epoch in later) for part in (0, 1))
        share = results[0]["share"]
        start = statistics.median(result["epochs"][0][0] for result in results) - wall
        summary[peer] = {
            "wall": wall / share,
            "cpu": cpu / share,
            "first": start + wall / share,
            "loss": results[-1]["loss"],
            "peak": max(result["peak_bytes"] for result in results),
            "share": share,
            "source": results[0]["source"],
        }
    return summary


def print_comparison(results: dict[str, dict[str, dict]], epochs: int) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"DSSTNE, {epochs} epochs", caption=machine(), title_justify="left", caption_justify="left")
    for column in ("case", "peer", "epoch s", "CPU s", "first s", "peak GiB", "last loss"):
        table.add_column(column, justify="left" if column in ("case", "peer") else "right")
    notes = []
    for name, peers in results.items():
        for peer, figures in peers.items():
            note = "" if figures["share"] == 1 else " *"
            table.add_row(
                name, peer + note, f"{figures['wall']:.2f}", f"{figures['cpu']:.2f}", f"{figures['first']:.2f}",
                f"{figures['peak'] / 2**30:.2f}", "-" if note else f"{figures['loss']:.2f}",
            )  # fmt: skip
            if note:
                notes.append(f"* {name} {peer}: measured on {figures['share']:.1%} of an epoch's steps and scaled.")
        for peer in ("keras", "torch"):
            if peer in peers:
                ratio = {key: peers["nnrec"][key] / peers[peer][key] for key in ("wall", "cpu", "first", "peak")}
                cells = (f"{ratio[key]:.2f}" for key in ("wall", "cpu", "first", "peak"))
                table.add_row("", f"nnrec / {peer}", *cells, "")
        table.add_section()
        notes.append(f"{name}: {next(iter(peers.values()))['source']} ratings")
    console = Console()
    console.print(table)
    console.print("\n".join(notes), highlight=False)


def machine() -> str:
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return f"{os.cpu_count()} cores, load averages at the end {load}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Time and memory of DSSTNE beside plain dense implementations.")
    parser.add_argument("--case", choices=[*CASES, "all"], default="all")
    parser.add_argument("--repeats", type=int, default=3, help="processes per peer")
    parser.add_argument("--epochs", type=int, default=4, help="per process; the first is shown apart")
    parser.add_argument("--torch", help="a Python that has PyTorch; without it PyTorch is not measured")
    parser.add_argument("--make", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--measure", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.make:
        make_data(options.make[0], Path(options.make[1]))
        return
    if options.measure:
        name, peer, data, epochs = options.measure
        print(json.dumps(measure(name, peer, Path(data), int(epochs))))
        return
    if options.epochs < 2:
        parser.error("--epochs must be at least 2: the first is shown apart")
    names = list(CASES) if options.case == "all" else [options.case]
    with tempfile.TemporaryDirectory() as folder:
        results = {name: compare(name, options.repeats, options.epochs, Path(folder), options.torch) for name in names}
        print_comparison(results, options.epochs)


if __name__ == "__main__":
    main()
