"""Time and memory of nnrec's AutoRec beside a plain dense implementation in Keras.

    python benchmarks/autorec.py --case ml-1m|100k|1m|crossover|all [--repeats 3] [--epochs 4]

| case      | users   | items     | ratings   | rows  | hidden  | batch | measured                         |
|-----------|---------|-----------|-----------|-------|---------|-------|----------------------------------|
| ml-1m     | 6,040   | 3,706     | 1,000,209 | items | 500     | 128   | nnrec beside dense Keras         |
| 100k      | 100,000 | 100,000   | 5,000,000 | users | 64      | 512   | nnrec beside dense Keras         |
| 1m        | 100,000 | 1,000,000 | 5,000,000 | users | 64      | 512   | nnrec alone                      |
| crossover | 1,280   | varies    | varies    | users | 64, 500 | 128   | nnrec's arithmetic, dense, sparse |

Both sides: the paper's model on TensorFlow, in float32, with Adam, without dropout or centring, with
the same L2. Every measurement is a process of its own; the two sides take turns; shown is the median
of the epochs after the first over all repeats. ml-1m is the real data set where NNREC_DATA has it,
else simulated ratings of its size.

What bounds the work. R rows, C columns, H hidden units, B rows a batch, E ratings a batch, U columns
that a batch touches, all float32. Two cores do about 190 GFLOP/s and move about 10-20 GB/s.

    dense arithmetic, a step:  10 B C H FLOP          five products (two forward, three backward)
                               28 * 2 C H bytes       Adam: reads gradient, weight, two moments; writes three
                               about 10 * 4 B C bytes the passes over the (B, C) ratings, predictions, errors
    ml-1m, an epoch:           112 GFLOP (0.6 s) + 29 * 169 MB (0.3-0.5 s) + 29 * 31 MB
    100k, an epoch:            6,400 GFLOP (34 s) + 196 * (358 MB + 2 GB) (25-45 s)

    row-sparse, a step:        10 E H FLOP            nothing
                               6 * 4 E H bytes        gathered twice forward, the same backward
                               40 * 2 U H bytes       touched rows of the tables and of their two moments
    100k, an epoch:            3.2 GFLOP + 196 * (39 MB + 82 MB at U = 16,000): 2 s at the least; it
                               takes 9 s, since XLA's gathers and sums run on one core
    1m, an epoch:              the same: the tables (128 M weights, with moments 1.5 GB) are only gathered from

What is left then is overhead: many small operations, which XLA fuses in the row-sparse step.

Which arithmetic: CPU milliseconds per step of 128 rows, two cores of an Intel Xeon shared with other
work (load average 5), TensorFlow 2.21, 2026-11-23. XLA gains the dense step nothing (within noise).

    ratings a row, hidden    50, 64        50, 500        165, 64       165, 500
    columns               dense sparse   dense sparse   dense sparse   dense sparse
      4,000                  16     13      55     78      19     26      63    184
     10,000                  36     20     147     94      43     36     157    194
     30,000                  83     18     405     93      76     40     381    234
    100,000                 238     20    1222    109     251     46    1232    289

The change comes at about a hundred times the ratings a row, hence `DENSE_UP_TO` in nnrec/models/autorec.py.
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

L2 = 100.0
SEED = 0


@dataclass(frozen=True)
class Case:
    """A size to measure."""

    num_users: int
    num_items: int
    num_ratings: int
    by: str
    hidden: int
    batch_size: int
    peers: tuple[str, ...] = ("nnrec", "dense")
    dense_steps: int | None = None  # of an epoch, scaled up to the whole; None = all


CASES = {
    "ml-1m": Case(6_040, 3_706, 1_000_209, "item", 500, 128),
    "100k": Case(100_000, 100_000, 5_000_000, "user", 64, 512, dense_steps=8),
    "1m": Case(100_000, 1_000_000, 5_000_000, "user", 64, 512, peers=("nnrec",)),
}
CROSSOVER_COLUMNS = (4_000, 10_000, 30_000, 100_000)
CROSSOVER_STEPS = 10
for columns in CROSSOVER_COLUMNS:
    for length in (50, 165):
        for hidden in (64, 500):
            rows = CROSSOVER_STEPS * 128
            peers = ("nnrec-dense", "nnrec-dense-xla", "nnrec-sparse")
            CASES[f"{columns}/{length}/{hidden}"] = Case(rows, columns, rows * length, "user", hidden, 128, peers)


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


def run_nnrec(case: Case, arrays: dict, epochs: int, arithmetic: str = "auto", xla: bool = False) -> dict:
    """Trains nnrec's model with nnrec's training loop."""
    import numpy as np

    from nnrec import backend

    backend.start("cpu")
    import keras

    from nnrec.data.ratings import Ratings
    from nnrec.data.vocabulary import Vocabulary
    from nnrec.models.autorec import AutoRec
    from nnrec.trainer import Trainer
    from nnrec.training import Stage, compile_model

    keras.utils.set_random_seed(SEED)
    users, items = (Vocabulary(np.arange(size)) for size in (case.num_users, case.num_items))
    train = Ratings.build(users=users, items=items, **arrays)
    model = AutoRec(
        case.num_users, case.num_items, by=case.by, hidden_units=(case.hidden,), l2=L2, center="none",
        indicator=False, arithmetic=arithmetic,
    )  # fmt: skip
    model.adapt(train)
    trainer = Trainer(epochs=epochs, batch_size=case.batch_size, xla=xla)
    compile_model(model, trainer)
    stage = Stage("select", trainer, model, train, seed=SEED, epochs=epochs)
    watch = Stopwatch()
    for epoch in range(epochs):
        stage.epochs = epoch + 1
        stage.run()
        watch.lap()
    return {"epochs": watch.epochs, "share": 1.0, "loss": stage.progress.history[-1]["loss"]}


def run_dense(case: Case, arrays: dict, epochs: int) -> dict:
    """What one writes first: dense rows in, dense rows out, a mask in the loss."""
    import keras
    import numpy as np
    import scipy.sparse
    from keras import ops

    keras.utils.set_random_seed(SEED)
    shape = (case.num_users, case.num_items)
    matrix = scipy.sparse.csr_matrix((arrays["value"], (arrays["user"], arrays["item"])), shape)
    matrix = matrix.T.tocsr() if case.by == "item" else matrix
    num_rows, num_columns = matrix.shape
    l2 = keras.regularizers.L2(L2 / (2 * num_rows))
    model = keras.Sequential(
        [
            keras.Input((num_columns,)),
            keras.layers.Dense(case.hidden, "sigmoid", kernel_regularizer=l2),
            keras.layers.Dense(num_columns, kernel_regularizer=l2),
        ]
    )

    def masked_squared_error(ratings, predictions):
        mask = ops.cast(ratings > 0, "float32")
        return ops.sum(mask * ops.square(ratings - predictions), axis=1)

    model.compile(keras.optimizers.Adam(1e-3), masked_squared_error)
    steps = -(-num_rows // case.batch_size) if case.dense_steps is None else case.dense_steps

    class DenseBatches(keras.utils.PyDataset):
        """Rows made dense batch by batch, where the whole matrix does not fit into memory."""

        def __init__(self) -> None:
            super().__init__()
            self.order = np.random.default_rng(SEED).permutation(num_rows)

        def __len__(self) -> int:
            return steps

        def __getitem__(self, step: int) -> tuple[np.ndarray, np.ndarray]:
            rows = np.sort(self.order[step * case.batch_size : (step + 1) * case.batch_size])
            dense = matrix[rows].toarray()
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
    share = steps / -(-num_rows // case.batch_size)
    return {"epochs": watch.epochs, "share": share, "loss": history.history["loss"][-1]}


def measure(name: str, peer: str, data: Path, epochs: int) -> dict:
    """One measurement, in this process."""
    import numpy as np

    with np.load(data) as stored:
        arrays = {key: stored[key] for key in ("user", "item", "value")}
        source = str(stored["source"])
    kind, *how = peer.split("-")
    if kind == "dense":
        result = run_dense(CASES[name], arrays, epochs)
    elif how:
        result = run_nnrec(CASES[name], arrays, epochs, arithmetic=how[0], xla="xla" in how)
    else:
        result = run_nnrec(CASES[name], arrays, epochs)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return result | {"peak_bytes": peak, "source": source}


# In the process that the user started. It stays small: a child's peak memory counts from its parent's.


def call(*arguments: object) -> str:
    command = [sys.executable, __file__, *map(str, arguments)]
    env = os.environ | {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(Path(__file__).parents[1]), env.get("PYTHONPATH")]))
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
    return done.stdout


def compare(name: str, repeats: int, epochs: int, folder: Path) -> dict[str, dict]:
    """Medians of each peer; they take turns."""
    data = folder / f"{name.replace('/', '-')}.npz"
    call("--make", name, data)
    runs: dict[str, list[dict]] = {peer: [] for peer in CASES[name].peers}
    for _ in range(repeats):
        for peer in runs:
            result = json.loads(call("--measure", name, peer, data, epochs).splitlines()[-1])
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

    table = Table(title=f"AutoRec, {epochs} epochs", caption=machine(), title_justify="left", caption_justify="left")
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
        if "dense" in peers:
            ratio = {key: peers["nnrec"][key] / peers["dense"][key] for key in ("wall", "cpu", "first", "peak")}
            table.add_row("", "nnrec / dense", *(f"{ratio[key]:.2f}" for key in ("wall", "cpu", "first", "peak")), "")
        table.add_section()
        notes.append(f"{name}: {next(iter(peers.values()))['source']} ratings")
    console = Console()
    console.print(table)
    console.print("\n".join(notes), highlight=False)


def print_crossover(results: dict[str, dict[str, dict]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    title = "AutoRec, milliseconds per step of 128 rows: wall (CPU)"
    table = Table(title=title, caption=machine(), title_justify="left", caption_justify="left", box=box.SIMPLE)
    peers = list(next(iter(results.values())))
    for column in ("columns", "a row", "hidden", *(peer.removeprefix("nnrec-") for peer in peers)):
        table.add_column(column, justify="right")
    for name, figures in results.items():
        cells = (figures[peer] for peer in peers)
        times = (f"{1e3 * f['wall'] / CROSSOVER_STEPS:.1f} ({1e3 * f['cpu'] / CROSSOVER_STEPS:.1f})" for f in cells)
        table.add_row(*name.split("/"), *times)
    Console().print(table)


def machine() -> str:
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return f"{os.cpu_count()} cores, load averages at the end {load}"


def main() -> None:
    names = [name for name in CASES if "/" not in name]
    parser = argparse.ArgumentParser(description="Time and memory of AutoRec beside a plain dense implementation.")
    parser.add_argument("--case", choices=[*names, "crossover", "all"], default="all")
    parser.add_argument("--repeats", type=int, default=3, help="processes per peer")
    parser.add_argument("--epochs", type=int, default=4, help="per process; the first is shown apart")
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
    with tempfile.TemporaryDirectory() as folder:
        if options.case != "crossover":
            chosen = names if options.case == "all" else [options.case]
            results = {name: compare(name, options.repeats, options.epochs, Path(folder)) for name in chosen}
            print_comparison(results, options.epochs)
        if options.case in ("crossover", "all"):
            chosen = [name for name in CASES if "/" in name]
            print_crossover({name: compare(name, options.repeats, options.epochs, Path(folder)) for name in chosen})


if __name__ == "__main__":
    main()
