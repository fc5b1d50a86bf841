"""Speed-up of making batches when several workers share the work.

    python benchmarks/exchange.py [--workers 1,2] [--users 1200000] [--items 1000000] [--repeats 3]

Sparse rows of 20 random items each are stored in files. Batches are those of a sampled autoencoder (8,192 rows, 8,192
negatives, distinct columns numbered); each device receives its part. Each worker is a process without a device, bound
to one core: it iterates over its parts of an epoch's batches (`nnrec.batches.worker_exchange`) and discards them.

Lower bounds: numbering and sampling, on one core per worker. Workers exchange a part of the rows and all distinct
columns, about 3 MB per batch for each other worker. The output shows milliseconds per batch (the median of the epochs,
by the slowest worker) and the speed-up over one worker. There can be as many workers as cores.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

BATCH, LENGTH, NEGATIVES = 8_192, 20, 8_192


def work(index: int, count: int, users: int, items: int, folder: str, shared: Any, told: Any) -> None:
    """Iterates over three epochs as one of several workers, and reports the seconds of each."""
    from nnrec.batches import worker_exchange
    from nnrec.batches.rows import RowBatches
    from nnrec.core.devices import strategy
    from nnrec.core.devices.cluster import Cluster
    from nnrec.core.stored_arrays import StoredArray
    from nnrec.data.rows import Rows

    os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[index]})
    meeting, said, repeats = shared

    def gathered(number: int) -> list[int]:
        said[index] = number
        meeting.wait()
        return list(said)

    cluster = Cluster(tuple(f"localhost:{number}" for number in range(count)), index) if count > 1 else None
    for name, replacement in (("cluster", lambda: cluster), ("gathered", gathered)):
        setattr(strategy, name, replacement)
    worker_exchange.num_parts = lambda: count
    ids, values = (
        StoredArray(Path(folder) / kind.__name__, kind, (users * LENGTH,)) for kind in (np.int32, np.float32)
    )
    rows = Rows(np.arange(users + 1) * LENGTH, ids, values, None, items)
    batches = RowBatches(rows, BATCH, seed=0, unique_ids=True, negatives=(NEGATIVES, 0.5))
    sharing = worker_exchange.exchange_of(batches)
    for epoch in range(repeats):
        meeting.wait()
        started = time.perf_counter()
        parts = worker_exchange.parts_here(batches, epoch) if sharing is None else sharing.epoch(epoch)
        for _ in parts:
            pass
        told.put((epoch, (time.perf_counter() - started) / len(batches)))
    meeting.wait()


def measure(count: int, options: argparse.Namespace, folder: str) -> float:
    """Seconds per batch with `count` workers."""
    context = multiprocessing.get_context("spawn")
    told = context.Queue()
    shared = (context.Barrier(count), context.Array("i", count, lock=False), options.repeats)
    arguments = (count, options.users, options.items, folder, shared, told)
    processes = [context.Process(target=work, args=(index, *arguments)) for index in range(count)]
    for process in processes:
        process.start()
    found = [told.get() for _ in range(count * options.repeats)]
    for process in processes:
        process.join()
    return median(max(seconds for epoch, seconds in found if epoch == number) for number in range(options.repeats))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", default="1,2")
    parser.add_argument("--users", type=int, default=1_200_000)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rng = np.random.default_rng(0)
        rng.integers(0, options.items, options.users * LENGTH, np.int32).tofile(Path(folder) / "int32")
        rng.random(options.users * LENGTH, np.float32).tofile(Path(folder) / "float32")
        seconds = {count: measure(count, options, folder) for count in map(int, options.workers.split(","))}
    one = seconds[min(seconds)]
    print("workers  ms a batch  times as fast")
    for count, each in seconds.items():
        print(f"{count:7}  {1000 * each:10.1f}  {one / each:13.2f}")


if __name__ == "__main__":
    main()
