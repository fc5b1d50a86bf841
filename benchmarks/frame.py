"""Common parts of benchmarks: ratings of a size, contenders run in turns in their own processes, a table of ratios.

A benchmark defines its `Case`s and a function for each contender, which trains it and returns an `Outcome`; `main` does
the rest:

    python benchmarks/<name>.py --case <case>|all [--repeats 3] [--epochs 4] [--torch path/to/python]

`fit_nnrec`, `fit_keras` and `fit_torch` are the training loops of the contenders "nnrec", "keras" and "torch";
`DenseRows` makes ratings dense for the latter two. A contender whose name starts with "torch" runs in the interpreter
given by --torch, which needs torch and NumPy only: hence nothing else is imported here until it is used. Likewise, a
contender whose name starts with one of `others` runs in the interpreter given by the option of that name. Contenders
whose names end with "-jax" run on JAX, the others on TensorFlow.
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
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

SEED = 0


@dataclass(frozen=True)
class Case:
    """A size to measure; `peers` are the contenders, `dense_steps` the number of steps per epoch for dense ones."""

    num_users: int
    num_items: int
    num_ratings: int
    hidden: int
    batch_size: int
    by: str = "user"
    peers: tuple[str, ...] = ("nnrec", "keras", "torch")
    dense_steps: int | None = None  # times are scaled up to the whole epoch; None = all steps

    @property
    def steps(self) -> int:
        """The number of steps per epoch."""
        return -(-(self.num_items if self.by == "item" else self.num_users) // self.batch_size)


@dataclass
class Outcome:
    """Wall and CPU seconds of each epoch, the fraction of the epoch's steps they cover, and the last epoch's loss."""

    epochs: list[tuple[float, float]]
    share: float = 1.0
    loss: float = 0.0


Contender = Callable[[Any, dict, int], Outcome]


# In the measured process.


@dataclass
class Stopwatch:
    """Wall and CPU seconds from each lap to the next."""

    laps: list[tuple[float, float]] = field(default_factory=list)

    def start(self) -> None:
        self._last = self._now()

    def lap(self) -> None:
        now = self._now()
        self.laps.append((now[0] - self._last[0], now[1] - self._last[1]))
        self._last = now

    @staticmethod
    def _now() -> tuple[float, float]:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return time.perf_counter(), usage.ru_utime + usage.ru_stime


class DenseRows:
    """The dense rows of a case: made all at once if all steps are measured, else batch by batch.

    Iterating yields the (batch_size, num_columns) float32 batches of an epoch, with 0 for missing ratings.
    """

    def __init__(self, case: Case, arrays: Mapping[str, Any]) -> None:
        import numpy as np

        row, column = (arrays[name] for name in (("item", "user") if case.by == "item" else ("user", "item")))
        shape = (case.num_users, case.num_items)
        self.num_rows, self.num_columns = shape[::-1] if case.by == "item" else shape
        order = np.argsort(row, kind="stable")
        self._column, self._value = column[order], arrays["value"][order].astype(np.float32)
        self._start = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=self.num_rows))])
        self.batch_size, self.steps = case.batch_size, case.dense_steps or case.steps
        self.share = self.steps / case.steps
        self.all = self._dense(np.arange(self.num_rows)) if case.dense_steps is None else None
        self._rng = np.random.default_rng(SEED)

    def __iter__(self) -> Iterator[Any]:
        order = self._rng.permutation(self.num_rows)
        for step in range(self.steps):
            rows = order[step * self.batch_size : (step + 1) * self.batch_size]
            yield self._dense(rows) if self.all is None else self.all[rows]

    def _dense(self, rows: Any) -> Any:
        import numpy as np

        dense = np.zeros((len(rows), self.num_columns), np.float32)
        for place, row in enumerate(rows):
            entries = slice(self._start[row], self._start[row + 1])
            dense[place, self._column[entries]] = self._value[entries]
        return dense


def fit_nnrec(make: Callable[[], Any], case: Case, arrays: dict, epochs: int, **settings: Any) -> Outcome:
    """Trains an nnrec model in nnrec's training loop.

    Args:
        make: builds the model, called after Keras has been started.
        case, arrays, epochs: as given by `main`.
        settings: of the trainer.
    """
    import numpy as np

    from nnrec.data.ratings import Ratings
    from nnrec.data.vocabulary import Vocabulary

    users, items = (Vocabulary(np.arange(size)) for size in (case.num_users, case.num_items))
    train = Ratings.build(users=users, items=items, **arrays)
    return fit_stage(make, train, epochs, batch_size=case.batch_size, **settings)


def fit_stage(make: Callable[[], Any], train: Any, epochs: int, **settings: Any) -> Outcome:
    """Trains the model that `make` builds on ratings or sessions, as `train.py` does; `settings` are the trainer's."""
    from nnrec.core.devices import backend

    backend.start("cpu", settings.get("precision", "float32"), settings.get("xla", False))
    import keras

    from nnrec.training.loop import Stage, compile_model
    from nnrec.training.settings import Trainer

    if keras.backend.backend() == "tensorflow":
        keras.utils.set_random_seed(SEED)
    model = make()
    model.adapt(train)
    trainer = Trainer(epochs=epochs, **settings)
    compile_model(model, trainer)
    stage, watch = Stage("refit", trainer, model, train, seed=SEED, epochs=epochs), Stopwatch()
    watch.start()
    for epoch in range(epochs):
        stage.epochs = epoch + 1
        stage.run()
        watch.lap()
    return Outcome(watch.laps, loss=stage.progress.history[-1]["loss"])


def fit_keras(model: Any, rows: DenseRows, epochs: int) -> Outcome:
    """`model.fit` of a compiled Keras model from dense rows to dense rows."""
    import keras

    class Batches(keras.utils.PyDataset):
        """Some steps of an epoch; each batch is made on demand."""

        def __len__(self) -> int:
            return rows.steps

        def __getitem__(self, step: int) -> tuple[Any, Any]:
            if step == 0:
                self._epoch = iter(rows)
            dense = next(self._epoch)
            return dense, dense

    watch = Stopwatch()
    lap = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: watch.lap())
    whole = {"x": rows.all, "y": rows.all, "batch_size": rows.batch_size}
    watch.start()
    fit = {"x": Batches()} if rows.all is None else whole
    history = model.fit(**fit, epochs=epochs, verbose=0, callbacks=[lap]).history
    return Outcome(watch.laps, rows.share, history["loss"][-1])


def fit_torch(step: Callable[[Any], Any], rows: DenseRows, epochs: int) -> Outcome:
    """Calls `step` with each dense batch as a tensor; `step` makes one optimizer step and returns the loss."""
    import torch

    watch, loss = Stopwatch(), 0.0
    watch.start()
    for _ in range(epochs):
        loss = sum(float(step(torch.from_numpy(batch)).detach()) for batch in rows) / rows.steps
        watch.lap()
    return Outcome(watch.laps, rows.share, loss)


def make_data(case: Case, real: Path | None, path: Path) -> None:
    """Writes the (user, item, value) arrays of a case: MovieLens 1M if `real` has it, else simulated ratings."""
    import numpy as np

    if real and (real / "ratings.dat").is_file():
        from nnrec.data.sources.movielens import read_movielens

        ratings, source = read_movielens("ml-1m", real, download=False), "ml-1m"
    else:
        from nnrec.data.simulators.ratings import simulate_ratings

        least = min(20, case.num_ratings // case.num_users)
        spread = 0.6 if real else 0.0
        sizes = case.num_users, case.num_items, case.num_ratings
        ratings = simulate_ratings(*sizes, seed=SEED, min_ratings_per_user=least, activity_spread=spread)
        source = "simulated"
    np.savez(path, user=ratings.user, item=ratings.item, value=ratings.value, source=source)


def measure(contender: Contender, case: Case, data: Path, epochs: int) -> dict[str, Any]:
    """Makes one measurement in this process."""
    import numpy as np

    with np.load(data) as stored:
        arrays = {key: stored[key] for key in stored.files if key != "source"}
        source = str(stored["source"])
    figures = asdict(contender(case, arrays, epochs))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return figures | {"peak": peak, "source": source}


# In the process that the user started. It stays small, since a child's peak memory includes its parent's.


def call(python: str, *arguments: object, backend: str = "tensorflow") -> str:
    command = [python, sys.argv[0], *map(str, arguments)]
    env = os.environ | {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(Path(__file__).parents[1]), env.get("PYTHONPATH")]))
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
    return done.stdout


def compare(
    name: str, case: Case, repeats: int, epochs: int, folder: Path, pythons: Mapping[str, str | None]
) -> dict[str, dict]:
    """Runs the peers in turns; returns the medians of each.

    Args:
        pythons: prefix of names -> interpreter of these peers; None = they are left out.
    """
    data = folder / f"{name.replace('/', '-')}.npz"
    call(sys.executable, "--make", name, data)

    def python_of(peer: str) -> str | None:
        return next((python for start, python in pythons.items() if peer.startswith(start)), sys.executable)

    runs: dict[str, list[dict]] = {peer: [] for peer in case.peers if python_of(peer)}
    for _ in range(repeats):
        for peer in runs:
            python = python_of(peer) or sys.executable
            backend = "jax" if peer.endswith("-jax") else "tensorflow"
            printed = call(python, "--measure", name, peer, data, epochs, backend=backend)
            runs[peer].append(json.loads(printed.splitlines()[-1]))
            laps = runs[peer][-1]["epochs"]
            seconds = ", ".join(f"{wall:.2f}" for wall, _ in laps[:10]) + ", ..." * (len(laps) > 10)
            print(f"{name}, {peer}: {seconds} s", file=sys.stderr)
    data.unlink()
    return {peer: summary(results) for peer, results in runs.items()}


def summary(results: list[dict]) -> dict[str, Any]:
    """Medians over the epochs after the first one, scaled to whole epochs; `first` is the time of the first epoch."""
    later = [epoch for result in results for epoch in result["epochs"][1:]]
    wall, cpu = (statistics.median(epoch[part] for epoch in later) for part in (0, 1))
    start = statistics.median(result["epochs"][0][0] for result in results) - wall
    share, peak = results[0]["share"], max(result["peak"] for result in results)
    times = {"wall": wall / share, "cpu": cpu / share, "first": start + wall / share}
    return results[-1] | times | {"peak": peak, "later": later}


def print_comparison(title: str, results: dict[str, dict[str, dict]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, caption=machine(), title_justify="left", caption_justify="left")
    for column in ("case", "peer", "epoch s", "CPU s", "first s", "peak GiB", "last loss"):
        table.add_column(column, justify="left" if column in ("case", "peer") else "right")
    notes = []
    for name, peers in results.items():
        for peer, figures in peers.items():
            part = figures["share"] < 1
            cells = (f"{figures[key]:.2f}" for key in ("wall", "cpu", "first"))
            loss = "-" if part else f"{figures['loss']:.2f}"
            table.add_row(name, peer + " *" * part, *cells, f"{figures['peak'] / 2**30:.2f}", loss)
            if part:
                notes.append(f"* {name} {peer}: measured on {figures['share']:.1%} of an epoch's steps and scaled.")
        for peer in peers:
            if peer != "nnrec":
                ratios = (f"{peers['nnrec'][key] / peers[peer][key]:.2f}" for key in ("wall", "cpu", "first", "peak"))
                table.add_row("", f"nnrec / {peer}", *ratios, "")
        table.add_section()
        notes.append(f"{name}: {next(iter(peers.values()))['source']} ratings")
    console = Console()
    console.print(table)
    console.print("\n".join(notes), highlight=False)


def print_crossover(title: str, sizes: tuple[str, ...], cases: Mapping[str, Case], results: dict[str, dict]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    title = f"{title}, milliseconds per step: wall (CPU)"
    table = Table(title=title, caption=machine(), title_justify="left", caption_justify="left", box=box.SIMPLE)
    peers = list(next(iter(results.values())))
    for column in (*sizes, *(peer.removeprefix("nnrec-") for peer in peers)):
        table.add_column(column, justify="right")
    for name, figures in results.items():
        steps = cases[name].steps
        times = (f"{1e3 * figures[p]['wall'] / steps:.1f} ({1e3 * figures[p]['cpu'] / steps:.1f})" for p in peers)
        table.add_row(*name.split("/"), *times)
    Console().print(table)


def machine() -> str:
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return f"{os.cpu_count()} cores, load averages at the end {load}"


def main(
    title: str,
    cases: Mapping[str, Any],
    contenders: Mapping[str, Contender],
    *,
    crossover: Mapping[str, Case] | None = None,
    sizes: tuple[str, ...] = (),
    make: Callable[[Any, Path | None, Path], None] = make_data,
    show: Callable[[str, dict[str, dict[str, dict]]], None] = print_comparison,
    others: tuple[str, ...] = (),
    repeats: int = 3,
    epochs: int = 4,
) -> None:
    """The command line of a benchmark.

    Args:
        title: heading of the tables.
        cases: by name, `Case`s or objects that `make` and the contenders accept instead. The case ml-1m is measured on
            the real data if NNREC_DATA has them.
        contenders: by name, functions of the case, its arrays and a number of epochs.
        crossover: cases that compare nnrec's own arithmetics, named by their sizes, such as "4000/50".
        sizes: the names of those sizes.
        make: writes the arrays of a case, like `make_data`.
        show: prints the results, like `print_comparison`.
        others: prefixes of the names of contenders that need an interpreter of their own.
        repeats, epochs: defaults of the command line's options.
    """
    crossover = crossover or {}
    parser = argparse.ArgumentParser(description=f"Time and memory of {title} beside plain implementations.")
    parser.add_argument("--case", choices=[*cases, *(["crossover"] if crossover else []), "all"], default="all")
    parser.add_argument("--repeats", type=int, default=repeats, help="processes per peer")
    parser.add_argument("--epochs", type=int, default=epochs, help="per process; the first is shown apart")
    parser.add_argument("--torch", help="a Python with PyTorch and NumPy; without it, this one if it has PyTorch")
    for other in others:
        parser.add_argument(f"--{other}", help=f"a Python with {other}; without it, {other} is left out")
    parser.add_argument("--make", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--measure", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    every = {**cases, **crossover}
    if options.make:
        name, path = options.make
        real = Path(os.environ.get("NNREC_DATA", "data"), "ml-1m") if name == "ml-1m" else None
        make(every[name], real, Path(path))
        return
    if options.measure:
        name, peer, data, epochs = options.measure
        print(json.dumps(measure(contenders[peer], every[name], Path(data), int(epochs))))
        return
    if options.epochs < 2:
        parser.error("--epochs must be at least 2: the first is shown apart")
    torch = options.torch or (sys.executable if importlib.util.find_spec("torch") else None)
    pythons = {"torch": torch, **{other: getattr(options, other) for other in others}}
    with tempfile.TemporaryDirectory() as folder:

        def run(chosen: Mapping[str, Case]) -> dict[str, dict[str, dict]]:
            how = options.repeats, options.epochs, Path(folder), pythons
            return {name: compare(name, case, *how) for name, case in chosen.items()}

        if options.case != "crossover":
            show(title, run(cases if options.case == "all" else {options.case: cases[options.case]}))
        if crossover and options.case in ("crossover", "all"):
            print_crossover(title, sizes, crossover, run(crossover))
