"""Rows per second of nnrec's DeepFM, compared with DeepCTR and a plain PyTorch implementation.

    python benchmarks/deepfm.py --case 1m|10m|embedded|all [--repeats 3] [--torch python] [--deepctr python]

| case     | ids        | numeric columns | what is measured                                                      |
|----------|------------|-----------------|-----------------------------------------------------------------------|
| 1m       | 1,000,000  | raw             | an epoch of 98,304 rows in batches of 4,096                           |
| 10m      | 10,000,000 | raw             | the same                                                              |
| embedded | 1,000,000  | embedded        | the same, with vectors of the numeric columns in FM and deep part     |

All implementations: 26 categorical fields with vectors of 16, 13 numeric columns, a deep part of 3 x 400 (ReLU, no
dropout, no normalisation, no penalty), cross-entropy, Adam with a learning rate of .001. Values of a field are drawn
uniformly, which is the hardest case: ids rarely repeat in a batch. nnrec runs the whole path from columns to steps, as
`train.py` does; DeepCTR gets arrays by column through `fit`, PyTorch slices of shuffled arrays.

"torch" has dense gradients and Adam (its fused kernel) over whole tables. "torch-sparse" uses SparseAdam for tables and
Adam for the rest, which nnrec computes too: only the rows of a batch are updated. "-bfloat16" is trainer.precision=
mixed_bfloat16, in PyTorch autocast. DeepCTR (pip install deepctr tf-keras, with the version of TensorFlow) needs an
interpreter of its own, since it runs on Keras 2. "products" is the matrix products of the deep part alone, in NumPy.
benchmarks/frame.py describes the measurement; each contender's first epoch, including compilation, is shown separately.

Lower bounds per batch of B = 4,096 rows with C = 26 fields, d = 16, on two cores:

    deep part    6 B (429 400 + 2 400^2 + 400) FLOP = 12.1 GFLOP: 63 ms at 190 GFLOP/s, so at most 65,000 rows/s in
                 float32; with the numeric columns embedded (624 inputs) 56,000; in bfloat16 twice as many
    lookups      B C (d + 1) floats are 7.2 MB, of which vectors, products and gradients make five passes: .5 ms each
    rows         table and two moments, each gathered and written: 6 x 7.2 MB at random positions of 68 MB (1m) or 680
                 MB (10m) per table; 27 ns per row, about 15 ms of one core in all
    dense Adam   reads and writes three whole tables: 6 x 68 MB per step (1m), 6 x 680 MB (10m), 40 and 400 ms at 10
                 GB/s
    input        numbering the distinct ids of a batch takes 2 ms of a core, encoding and slicing 3 ms
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import frame
from frame import SEED, Outcome, Stopwatch

FIELDS, NUMBERS, DIM, UNITS, BATCH, STEPS, RATE = 26, 13, 16, (400, 400, 400), 4096, 24, 1e-3


@dataclass(frozen=True)
class Case:
    """The number of ids, whether numeric columns have vectors, and the contenders to measure."""

    num_ids: int
    embedded: bool = False
    peers: tuple[str, ...] = ("nnrec", "nnrec-bfloat16", "deepctr", "torch", "torch-sparse", "torch-sparse-bfloat16")

    @property
    def per_field(self) -> int:
        return self.num_ids // FIELDS


CASES = {
    "1m": Case(1_000_000, peers=("products", *Case.peers)),
    "10m": Case(10_000_000),
    "embedded": Case(1_000_000, True, ("nnrec", "nnrec-bfloat16", "torch", "torch-sparse")),
}


def make_data(case: Case, real: Path | None, path: Path) -> None:
    """Writes rows whose labels depend on two of the numeric columns."""
    import numpy as np

    rng, number = np.random.default_rng(SEED), BATCH * STEPS
    numeric = rng.standard_normal((number, NUMBERS), np.float32)
    chance = 1 / (1 + np.exp(1.5 - numeric[:, 0] * numeric[:, 1]))
    categorical = rng.integers(0, case.per_field, (number, FIELDS), np.int32)
    label = (rng.random(number) < chance).astype(np.float32)
    np.savez(path, categorical=categorical, numeric=numeric, label=label, source="simulated")


# nnrec


def run_nnrec(case: Case, arrays: dict, epochs: int, precision: str = "float32") -> Outcome:
    from dataclasses import replace

    import numpy as np
    import pandas as pd

    from nnrec.data.preprocessing import Preprocessing
    from nnrec.data.readers.impressions import from_frame
    from nnrec.splits.impressions import fitted

    names = [f"c{place}" for place in range(FIELDS)]
    columns = {name: arrays["categorical"][:, place] for place, name in enumerate(names)}
    columns |= {f"n{place}": arrays["numeric"][:, place] for place in range(NUMBERS)}
    numeric = [f"n{place}" for place in range(NUMBERS)]
    impressions = from_frame(pd.DataFrame(columns | {"label": arrays["label"]}), categorical=names, numeric=numeric)
    # Hashed, so that the table has as many ids as the case specifies.
    settings = Preprocessing(hash=dict.fromkeys(names, case.per_field - 1))
    train = fitted(replace(impressions, preprocessing=settings), np.arange(len(impressions)))

    def make() -> Any:
        from nnrec.models.clickthrough.deepfm import DeepFM

        how = "embedded" if case.embedded else "raw"
        return DeepFM(train.fields, embedding_dim=DIM, hidden_units=UNITS, numeric=how)

    return frame.fit_stage(make, train, epochs, batch_size=BATCH, learning_rate=RATE, precision=precision)


def run_nnrec_bfloat16(case: Case, arrays: dict, epochs: int) -> Outcome:
    return run_nnrec(case, arrays, epochs, "mixed_bfloat16")


# Peers


def run_deepctr(case: Case, arrays: dict, epochs: int) -> Outcome:
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    import tensorflow as tf
    from deepctr.feature_column import DenseFeat, SparseFeat, get_feature_names
    from deepctr.models import DeepFM

    tf.config.threading.set_intra_op_parallelism_threads(os.cpu_count() or 1)
    features = [SparseFeat(f"c{place}", case.per_field, DIM) for place in range(FIELDS)]
    features += [DenseFeat(f"n{place}") for place in range(NUMBERS)]
    plain = {"l2_reg_linear": 0, "l2_reg_embedding": 0, "l2_reg_dnn": 0}
    model = DeepFM(features, features, dnn_hidden_units=UNITS, seed=SEED, **plain)
    model.compile(tf.keras.optimizers.Adam(RATE), "binary_crossentropy")
    columns = {f"c{place}": arrays["categorical"][:, place] for place in range(FIELDS)}
    columns |= {f"n{place}": arrays["numeric"][:, place] for place in range(NUMBERS)}
    columns = {name: columns[name] for name in get_feature_names(features)}
    watch = Stopwatch()
    lap = tf.keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: watch.lap())
    watch.start()
    fit = {"batch_size": BATCH, "epochs": epochs, "verbose": 0, "callbacks": [lap]}
    history = model.fit(columns, arrays["label"], **fit).history
    return Outcome(watch.laps, loss=history["loss"][-1])


def run_torch(case: Case, arrays: dict, epochs: int, sparse: bool = False, precision: str = "float32") -> Outcome:
    import numpy as np
    import torch
    from torch import nn

    torch.manual_seed(SEED)
    torch.set_num_threads(os.cpu_count() or 1)
    torch.set_flush_denormal(True)
    size = case.per_field * FIELDS
    vectors, weights = nn.Embedding(size, DIM, sparse=sparse), nn.Embedding(size, 1, sparse=sparse)
    nn.init.normal_(vectors.weight, std=0.01)
    nn.init.normal_(weights.weight, std=0.01)
    numeric_vectors, numeric_weights = nn.Parameter(torch.randn(NUMBERS, DIM) / 100), nn.Parameter(torch.zeros(NUMBERS))
    layers: list[nn.Module] = []
    inputs = FIELDS * DIM + NUMBERS * (DIM if case.embedded else 1)
    for units in UNITS:
        layers += [nn.Linear(inputs, units), nn.ReLU()]
        inputs = units
    deep, bias = nn.Sequential(*layers, nn.Linear(inputs, 1)), nn.Parameter(torch.zeros(()))
    tables = [*vectors.parameters(), *weights.parameters()]
    rest = [*deep.parameters(), numeric_weights, bias, *([numeric_vectors] if case.embedded else [])]
    optimizers: list[torch.optim.Optimizer] = [torch.optim.Adam(rest if sparse else tables + rest, RATE, fused=True)]
    optimizers += [torch.optim.SparseAdam(tables, RATE)] if sparse else []
    criterion = nn.BCEWithLogitsLoss()

    def score(ids: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        found = vectors(ids)
        first = weights(ids)[:, :, 0].sum(1) + numbers @ numeric_weights
        if case.embedded:
            found = torch.cat([found, numbers[:, :, None] * numeric_vectors], 1)
        second = 0.5 * (found.sum(1).square() - found.square().sum(1)).sum(1)
        flat = found.flatten(1) if case.embedded else torch.cat([found.flatten(1), numbers], 1)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision != "float32"):
            output = deep(flat)
        return bias + first + second + output[:, 0].float()

    def batches() -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        order = rng.permutation(len(label))
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            yield tuple(torch.from_numpy(array[chosen]) for array in (ids, arrays["numeric"], label))

    rng, label = np.random.default_rng(SEED), arrays["label"]
    ids = arrays["categorical"].astype(np.int64) + np.arange(FIELDS) * case.per_field
    watch, losses = Stopwatch(), []
    watch.start()
    for _ in range(epochs):
        losses = []
        for some, numbers, wanted in batches():
            loss = criterion(score(some, numbers), wanted)
            for optimizer in optimizers:
                optimizer.zero_grad()
            loss.backward()
            for optimizer in optimizers:
                optimizer.step()
            losses.append(float(loss.detach()))
        watch.lap()
    return Outcome(watch.laps, loss=sum(losses) / len(losses))


def run_torch_sparse(case: Case, arrays: dict, epochs: int) -> Outcome:
    return run_torch(case, arrays, epochs, sparse=True)


def run_torch_sparse_bfloat16(case: Case, arrays: dict, epochs: int) -> Outcome:
    return run_torch(case, arrays, epochs, sparse=True, precision="bfloat16")


def run_products(case: Case, arrays: dict, epochs: int) -> Outcome:
    """The matrix products of the same number of steps, on random numbers."""
    import numpy as np

    rng = np.random.default_rng(SEED)
    sizes = (FIELDS * DIM + NUMBERS, *UNITS)
    inputs = [rng.standard_normal((BATCH, size), np.float32) for size in sizes]
    kernels = [rng.standard_normal(shape, np.float32) for shape in zip(sizes, sizes[1:], strict=False)]
    watch = Stopwatch()
    watch.start()
    for _ in range(epochs):
        for _ in range(STEPS):
            for before, kernel, after in zip(inputs, kernels, inputs[1:], strict=False):
                _, _, _ = before @ kernel, after @ kernel.T, before.T @ after
        watch.lap()
    return Outcome(watch.laps)


def show(title: str, results: dict[str, dict[str, dict]]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for name, peers in results.items():
        case, rows = CASES[name], BATCH * STEPS
        columns = (
            "peer",
            "rows/s",
            "ms a step",
            "CPU ms a step",
            "first s",
            "peak GiB",
            "last loss",
            "nnrec is x times",
        )
        table = Table(*columns, title=f"{title}, {name}: {case.num_ids:,} ids, batches of {BATCH:,} rows")
        table.caption, table.title_justify, table.caption_justify = frame.machine(), "left", "left"
        for peer, figures in peers.items():
            own = peers["nnrec-bfloat16" if peer.endswith("bfloat16") else "nnrec"]["wall"]
            wall, cpu, loss = figures["wall"], figures["cpu"], figures["loss"]
            cells = [f"{rows / wall:,.0f}", f"{1e3 * wall / STEPS:.0f}", f"{1e3 * cpu / STEPS:.0f}"]
            cells += [f"{figures['first']:.1f}", f"{figures['peak'] / 2**30:.2f}", f"{loss:.4f}" if loss else "-"]
            table.add_row(peer, *cells, "-" if peer.startswith("nnrec") else f"{wall / own:.2f}")
        console.print(table)


CONTENDERS = {
    "products": run_products,
    "nnrec": run_nnrec,
    "nnrec-bfloat16": run_nnrec_bfloat16,
    "deepctr": run_deepctr,
    "torch": run_torch,
    "torch-sparse": run_torch_sparse,
    "torch-sparse-bfloat16": run_torch_sparse_bfloat16,
}

if __name__ == "__main__":
    frame.main("DeepFM", CASES, CONTENDERS, make=make_data, show=show, others=("deepctr",), epochs=3)
