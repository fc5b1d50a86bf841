"""Time of the full ranking and of all list metrics, given the scores.

    python benchmarks/metrics.py [--users 6040] [--items 3706] [--entries 1000000] [--lists random|popular]

Scores are random; with `--lists popular` they are those of a popularity model with noise, whose lists hold few items
with many ratings each. The training matrix has items of skewed popularity; a tenth as many further entries are held
out. All metrics at k = 10, 20, 50, 100. The output shows the fastest of `--repeats`, in wall and CPU seconds; the goal
at the size of ml-1m is 3 s on two cores.

Lower bounds for U users, I items in the lists, k = 100, single precision:

    top k         U I comparisons                       22 M scores, 90 MB, partitioned
    diversity     U I^2 multiplications, once           83 G: half a second for a symmetric product at 190 GFLOP/s
                  U k^2 look-ups                        60 M in a matrix of 4 I^2 bytes (55 MB), larger than any cache
    the rest      U k per metric and cutoff             0.6 M
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import scipy.sparse

from nnrec.data.rows import Rows
from nnrec.evaluation import metrics
from nnrec.ranking.blocks import user_blocks
from nnrec.ranking.top_items import top_items

CUTOFFS = (10, 20, 50, 100)
SEED = 0


class Watch:
    """Wall and CPU seconds of each part, for the fastest of the repeats."""

    def __init__(self) -> None:
        self.seconds: dict[str, np.ndarray] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        start = np.array([time.perf_counter(), time.process_time()])
        yield
        spent = np.array([time.perf_counter(), time.process_time()]) - start
        self.seconds[name] = np.minimum(spent, self.seconds.get(name, np.inf))


def draw(num_users: int, num_items: int, num_entries: int, rng: np.random.Generator) -> scipy.sparse.csr_array:
    """A users x items matrix of at most `num_entries` ratings: popularity falls with rank, activity is log-normal."""
    popularity, activity = 1 / (np.arange(num_items) + 50.0), rng.lognormal(0, 1, num_users)
    user = rng.choice(num_users, num_entries, p=activity / activity.sum())
    item = rng.choice(num_items, num_entries, p=popularity / popularity.sum())
    pairs = np.unique(user * num_items + item)
    entries = (rng.integers(1, 6, len(pairs)).astype(np.float32), divmod(pairs, num_items))
    return scipy.sparse.csr_array(entries, shape=(num_users, num_items))


def measure(scores: np.ndarray, train: scipy.sparse.csr_array, held_out: scipy.sparse.csr_array, watch: Watch) -> dict:
    """The mean of each metric of one model."""
    num_users, num_items = train.shape
    with watch.part("top 100 of the unseen"):
        histories, lists = Rows(train.indptr, train.indices, train.data, None, num_items), []
        for batch in user_blocks(histories, num_items):
            block = batch["index"][batch["index"] >= 0]
            lists.append(top_items(scores[block], max(CUTOFFS), seen=batch)[0])
        lists = np.concatenate(lists)
    with watch.part("ranking metrics"):
        figures = metrics.ranking_per_user(lists, held_out.indptr, held_out.indices, CUTOFFS)
    with watch.part("item vectors"):
        diversity = metrics.Diversity.from_training(train)
    with watch.part("diversity"):
        figures |= {f"diversity@{k}": values for k, values in diversity(lists, CUTOFFS).items()}
    with watch.part("coverage, gini"):
        for k in CUTOFFS:
            figures[f"catalogue_coverage@{k}"] = metrics.catalogue_coverage(lists[:, :k], num_items)
            figures[f"gini@{k}"] = metrics.gini(metrics.times_listed(lists[:, :k], num_items))
    counts = np.bincount(train.indices, minlength=num_items)
    with watch.part("novelty, popularity"):
        for k in CUTOFFS:
            figures[f"popularity_rank@{k}"] = metrics.mean_popularity_rank(lists[:, :k], counts)
            figures[f"self_information@{k}"] = metrics.self_information(lists[:, :k], counts, num_users)
            figures[f"popularity_share@{k}"] = metrics.popularity_share(lists[:, :k], counts)
    with watch.part("serendipity"):
        places = metrics.popularity_places(lists, counts, train.indptr, train.indices)
        hit = metrics.hits(lists, held_out.indptr, held_out.indices)
        for k in CUTOFFS:
            figures[f"serendipity@{k}"] = metrics.serendipity(hit, np.diff(held_out.indptr), k, places)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description="Time of the full ranking and of all list metrics.")
    parser.add_argument("--users", type=int, default=6_040)
    parser.add_argument("--items", type=int, default=3_706)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--lists", choices=["random", "popular"], default="random")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    rng = np.random.default_rng(SEED)
    train = draw(options.users, options.items, options.entries, rng)
    held_out = draw(options.users, options.items, options.entries // 10, rng)
    scores = rng.random((options.users, options.items), dtype=np.float32)
    if options.lists == "popular":
        popularity = np.bincount(train.indices, minlength=options.items).astype(np.float32)
        scores = popularity * (1 + scores)
    watch, later = Watch(), Watch()
    for _ in range(options.repeats):
        figures = measure(scores, train, held_out, watch)
        # Confidence intervals are not part of the 3 s.
        per_user = {name: values for name, values in figures.items() if isinstance(values, np.ndarray)}
        with later.part(f"bootstrap of {len(per_user)} metrics"):
            metrics.bootstrap_intervals(per_user)
        with later.part("paired test of one"):
            metrics.paired_test(per_user["ndcg@100"], per_user["ndcg@100"][::-1])
    print_times(watch, later, f"{options.users:,} x {options.items:,}, {train.nnz:,} entries, {options.lists} lists")


def print_times(watch: Watch, later: Watch, title: str) -> None:
    from rich.console import Console
    from rich.table import Table

    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    caption = f"{os.cpu_count()} cores, load averages at the end {load}"
    table = Table(title=title, caption=caption, title_justify="left", caption_justify="left")
    table.add_column("part")
    for column in ("s", "CPU s"):
        table.add_column(column, justify="right")
    together = {"together": np.sum(list(watch.seconds.values()), axis=0)}
    for part in (watch.seconds, together, later.seconds):
        for name, (wall, cpu) in part.items():
            table.add_row(name, f"{wall:.3f}", f"{cpu:.3f}")
        table.add_section()
    Console().print(table)


if __name__ == "__main__":
    main()
