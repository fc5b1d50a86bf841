"""Events per second of nnrec's GRU4Rec, compared with plain PyTorch; evaluation; recommending click by click.

    python benchmarks/gru4rec.py --case 18k|1m|evaluation|click|all [--repeats 5] [--epochs 2] [--torch python]

| case       | events    | items     | what is measured                                                              |
|------------|-----------|-----------|-------------------------------------------------------------------------------|
| 18k        | 300,000   | 18,000    | an epoch of training: 100 units, 144 slots, 2,048 sampled negatives, BPR-max  |
| 1m         | 1,300,000 | 1,000,000 | the same                                                                      |
| evaluation | 70,000    | 17,000    | ranks of all next items, and recall, MRR and NDCG from them                   |
| click      | 2,000     | 20,000    | one event of a running session, and its ten recommendations                   |

All implementations of the first two: constrained embedding, ELU, BPR-max with its penalty, Adagrad, float32, no
dropout, the same sessions and distribution of negatives, one update per step. "torch" is the papers' model, in plain
nn.GRUCell, autograd and torch.optim.Adagrad; "torch-sparse" has sparse gradients of the tables; "torch-fused" is the
fastest PyTorch version found, with the optimizer's fused kernel, denormal numbers flushed and one look-up for all items
of a step. "products" is the step's matrix products alone, in NumPy. An event is a pair of consecutive items in a
session: one input, one target. benchmarks/frame.py describes the measurement; each contender's first epoch, including
compilation, is shown separately.

Lower bounds. B = 144 slots, C = B + 2,048 columns, d = 100 units; 300,000 events are 1,628 steps.

    scores              6 B C d FLOP     189 MFLOP per step: scores, gradients of the states and of the items
    GRU                36 B d^2 FLOP      52 MFLOP: six products of (B, d) and (d, d), once forward, twice backward
    together           241 MFLOP, 1.3 ms at 190 GFLOP/s (two cores): at most 113,000 events/s; "products" measures it
    loss               B C numbers are 1.3 MB, within the L2 cache of a core. One operation takes .15 ms there,
                       .3 with an exponential; BPR-max with its gradient has about thirty of them
    tables             16 (C + B) d bytes of rows and accumulators, read and written: 3.7 MB; a dense update of 18,000
                       rows moves 36 MB, of 1,000,000 rows 2 GB
    overhead           a step from Python is about 60 operations in PyTorch; with many steps per call, nnrec has .1 ms
                       of planning
    nnrec scores each distinct item once, with its count: here 1,980 columns instead of 2,192.

`--case 18k --repeats 2 --epochs 3` on two quiet cores of an Intel Xeon, TensorFlow 2.21, JAX 0.10.2, PyTorch 2.13,
2026-11-25 (medians of four epochs):

                        events/s   s an epoch   CPU s   peak GiB
    products              92,700         2.5      5.0
    nnrec-jax             42,600         5.5      9.9        .77
    nnrec-tensorflow      38,200         6.1     11.3       1.13
    torch-fused           21,200        11.0     21.6        .46
    torch-sparse          19,700        11.8     23.2        .49
    torch                 16,400        14.2     27.9        .51

The losses differ, possibly because PyTorch's Adagrad adds epsilon to the root, the authors' (and nnrec's) to the
radicand.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import frame
from frame import SEED, Outcome, Stopwatch

UNITS, SLOTS, NEGATIVES, ALPHA = 100, 144, 2048, 0.5
BPREG, ELU, RATE, EPSILON = 1.95, 0.5, 0.05, 1e-6
MEAN_LENGTH, DRAWS_AHEAD, CLICKS = 4.5, 256, 2_000


@dataclass(frozen=True)
class Case:
    """The numbers of events and items, and the contenders to measure."""

    num_events: int
    num_items: int
    peers: tuple[str, ...] = ("nnrec-tensorflow", "nnrec-jax")


CASES = {
    "18k": Case(300_000, 18_000, ("products", "nnrec-tensorflow", "nnrec-jax", "torch", "torch-sparse", "torch-fused")),
    "1m": Case(1_300_000, 1_000_000),
    "evaluation": Case(70_000, 17_000, ("evaluation-tensorflow", "evaluation-jax")),
    "click": Case(CLICKS, 20_000, ("click-tensorflow", "click-jax")),
}


def make_data(case: Case, real: Path | None, path: Path) -> None:
    """Writes sessions of at least 2 events, with a long tail of items; each item occurs if there are enough events."""
    import numpy as np

    rng = np.random.default_rng(SEED)
    lengths = 1 + rng.geometric(1 / (MEAN_LENGTH - 1), case.num_events)
    ends = np.cumsum(lengths)
    offsets = np.concatenate([[0], ends[ends <= case.num_events]])
    odds = (np.arange(case.num_items) + 10.0) ** -0.9
    drawn = rng.choice(case.num_items, max(case.num_events - case.num_items, 0), p=odds / odds.sum())
    items = np.concatenate([np.arange(case.num_items), drawn])
    np.savez(path, item=rng.permutation(items)[: offsets[-1]].astype(np.int32), offsets=offsets, source="simulated")


def pairs(arrays: dict) -> int:
    """The number of events to predict."""
    return int(arrays["offsets"][-1]) - len(arrays["offsets"]) + 1


# nnrec


def sessions_of(case: Case, arrays: dict, first_id: int = 0) -> Any:
    import numpy as np

    from nnrec.data.sessions import Sessions
    from nnrec.data.vocabulary import Vocabulary

    ids = Vocabulary(first_id + np.arange(len(arrays["offsets"]) - 1))
    return Sessions(ids=ids, items=Vocabulary(np.arange(case.num_items)), **arrays)


def new_model(case: Case) -> Any:
    from nnrec.models.sessions.gru4rec import GRU4Rec

    options: dict[str, Any] = {"loss": "bpr-max", "bpreg": BPREG, "elu_param": ELU}
    return GRU4Rec(case.num_items, hidden_units=(UNITS,), n_sample=NEGATIVES, sample_alpha=ALPHA, **options)


def run_nnrec(case: Case, arrays: dict, epochs: int) -> Outcome:
    trainer = {"batch_size": SLOTS, "optimizer": "adagrad", "learning_rate": RATE}
    return frame.fit_stage(lambda: new_model(case), sessions_of(case, arrays), epochs, **trainer)


def run_evaluation(case: Case, arrays: dict, epochs: int) -> Outcome:
    """Evaluates an untrained model."""
    from nnrec.core.devices import backend

    backend.start("cpu")
    from nnrec.evaluation.sessions import NextItemEvaluation

    model, held_out = new_model(case), sessions_of(case, arrays)
    train, watch = sessions_of(case, arrays, first_id=held_out.num_sessions), Stopwatch()
    watch.start()
    for _ in range(epochs):
        NextItemEvaluation()(model, train, held_out, depth="ranking")
        watch.lap()
    return Outcome(watch.laps)


def run_click(case: Case, arrays: dict, epochs: int) -> Outcome:
    """Sessions of ten clicks, one lap per click; the first lap is a whole session, which includes compilation."""
    from types import SimpleNamespace

    from nnrec.core.devices import backend

    backend.start("cpu")
    from nnrec.recommend.live_session import LiveSession

    sessions, watch = sessions_of(case, arrays), Stopwatch()
    parts = {"items": sessions.items, "item_counts": sessions.support + 1, "item_table": None}
    run: Any = SimpleNamespace(model=new_model(case), **parts)

    def click(live: LiveSession, item: int) -> None:
        live.add(item)
        live.recommend(10)

    watch.start()
    live = LiveSession(run)
    for item in sessions.item[:10].tolist():
        click(live, item)
    watch.lap()
    for number, item in enumerate(sessions.item.tolist()):
        live = LiveSession(run) if number % 10 == 0 else live
        click(live, item)
        watch.lap()
    return Outcome(watch.laps)


# The same model in PyTorch


def slots_of(offsets: Any) -> Iterator[tuple[Any, Any, Any]]:
    """Session-parallel steps: (b,) input events, which slots start a session, and which slots of the last step remain.

    Slots are removed when no session is left for them.
    """
    import numpy as np

    following = min(SLOTS, len(offsets) - 1)
    event, last = offsets[:following].copy(), offsets[1 : following + 1] - 1
    reset = stayed = np.ones(following, bool)
    while len(event):
        yield event, reset, stayed
        event = event + 1
        reset = event == last
        stayed = np.ones(len(event), bool)
        for slot in np.flatnonzero(reset):
            if following < len(offsets) - 1:
                event[slot], last[slot] = offsets[following], offsets[following + 1] - 1
                following += 1
            else:
                stayed[slot] = False
        event, last, reset = event[stayed], last[stayed], reset[stayed]


def run_torch(case: Case, arrays: dict, epochs: int, sparse: bool = False, fused: bool = False) -> Outcome:
    import numpy as np
    import torch
    from torch import nn
    from torch.nn import functional

    torch.manual_seed(SEED)
    torch.set_num_threads(os.cpu_count() or 1)
    torch.set_flush_denormal(fused)
    items, bias = nn.Embedding(case.num_items, UNITS, sparse=sparse), nn.Embedding(case.num_items, 1, sparse=sparse)
    cell = nn.GRUCell(UNITS, UNITS)
    limit = (6 / (case.num_items + UNITS)) ** 0.5
    nn.init.uniform_(items.weight, -limit, limit)
    nn.init.zeros_(bias.weight)
    weights = [*items.parameters(), *bias.parameters(), *cell.parameters()]
    optimizer = torch.optim.Adagrad(weights, RATE, eps=EPSILON, fused=fused or None)
    item, offsets = arrays["item"].astype(np.int64), arrays["offsets"]
    odds = np.bincount(item, minlength=case.num_items) ** ALPHA
    cumulative, rng = np.cumsum(odds) / odds.sum(), np.random.default_rng(SEED)

    def bpr_max(scores: torch.Tensor) -> torch.Tensor:
        scores = functional.elu(scores, ELU)
        own = scores.diagonal()[:, None]
        competitors = scores.masked_fill(torch.eye(*scores.shape, dtype=torch.bool), -torch.inf)
        shares = competitors.softmax(1)
        likelihood = (shares * torch.sigmoid(own - scores)).sum(1)
        return (BPREG * (shares * scores.square()).sum(1) - torch.log(likelihood + 1e-24)).sum() / SLOTS

    def step(read: torch.Tensor, scored: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if fused:
            inputs, outputs = items(torch.cat([read, scored])).split([len(read), len(scored)])
        else:
            inputs, outputs = items(read), items(scored)
        hidden = cell(inputs, state)
        loss = bpr_max(torch.addmm(bias(scored).T, hidden, outputs.T))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach(), hidden.detach()

    watch = Stopwatch()
    losses: list[torch.Tensor] = []
    watch.start()
    for _ in range(epochs):
        state, losses = torch.zeros(SLOTS, UNITS), []
        for number, (event, reset, stayed) in enumerate(slots_of(offsets)):
            if number % DRAWS_AHEAD == 0:
                drawn = np.searchsorted(cumulative, rng.random((DRAWS_AHEAD, NEGATIVES)))
            state = state if stayed.all() else state[torch.from_numpy(stayed)]
            state = state * torch.from_numpy(~reset)[:, None]
            scored = np.concatenate([item[event + 1], drawn[number % DRAWS_AHEAD]])
            loss, state = step(torch.from_numpy(item[event]), torch.from_numpy(scored), state)
            losses.append(loss)
        watch.lap()
    return Outcome(watch.laps, loss=float(torch.stack(losses).mean()))


def run_torch_sparse(case: Case, arrays: dict, epochs: int) -> Outcome:
    return run_torch(case, arrays, epochs, sparse=True)


def run_torch_fused(case: Case, arrays: dict, epochs: int) -> Outcome:
    return run_torch(case, arrays, epochs, fused=True)


def run_products(case: Case, arrays: dict, epochs: int) -> Outcome:
    """The matrix products of the same number of steps, on random numbers."""
    import numpy as np

    rng = np.random.default_rng(SEED)
    shapes = (SLOTS, UNITS), (SLOTS, UNITS), (NEGATIVES + SLOTS, UNITS), (UNITS, 3 * UNITS), (UNITS, 3 * UNITS)
    read, state, rows, kernel, recurrent = (rng.standard_normal(shape, np.float32) for shape in shapes)
    watch = Stopwatch()
    watch.start()
    for _ in range(epochs):
        for _ in range(-(-pairs(arrays) // SLOTS)):
            scores, gates, _ = state @ rows.T, read @ kernel, state @ recurrent
            _, _ = scores @ rows, scores.T @ state
            _, _, _ = read.T @ gates, state.T @ gates, gates @ kernel.T
        watch.lap()
    return Outcome(watch.laps)


# Tables


def show(title: str, results: dict[str, dict[str, dict]]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for name, peers in results.items():
        case = CASES[name]
        if name == "click":
            table = Table("peer", "median ms", "99th percentile", "CPU ms", "first s", "peak GiB")
        else:
            table = Table("peer", "events/s", "median s", "CPU s", "first s", "peak GiB", "last loss", "x torch")
        table.title = f"{title}, {name}: {case.num_events:,} events, {case.num_items:,} items"
        table.caption, table.title_justify, table.caption_justify = frame.machine(), "left", "left"
        plain = peers.get("torch", {}).get("wall")
        for peer, figures in peers.items():
            first, peak = f"{figures['first']:.1f}", f"{figures['peak'] / 2**30:.2f}"
            wall, cpu = figures["wall"], figures["cpu"]
            if name == "click":
                laps = sorted(lap for lap, _ in figures["later"])
                late = laps[int(0.99 * (len(laps) - 1))]
                table.add_row(peer, f"{1e3 * wall:.2f}", f"{1e3 * late:.2f}", f"{1e3 * cpu:.2f}", first, peak)
                continue
            events = case.num_events if name == "evaluation" else case.num_events * (1 - 1 / MEAN_LENGTH)
            ratio = "-" if plain is None else f"{plain / wall:.2f}"
            loss = f"{figures['loss']:.4f}" if figures["loss"] else "-"
            table.add_row(peer, f"{events / wall:,.0f}", f"{wall:.2f}", f"{cpu:.2f}", first, peak, loss, ratio)
        console.print(table)


CONTENDERS = {
    "products": run_products,
    "nnrec-tensorflow": run_nnrec,
    "nnrec-jax": run_nnrec,
    "torch": run_torch,
    "torch-sparse": run_torch_sparse,
    "torch-fused": run_torch_fused,
    "evaluation-tensorflow": run_evaluation,
    "evaluation-jax": run_evaluation,
    "click-tensorflow": run_click,
    "click-jax": run_click,
}

if __name__ == "__main__":
    frame.main("GRU4Rec", CASES, CONTENDERS, make=make_data, show=show, repeats=5, epochs=2)
