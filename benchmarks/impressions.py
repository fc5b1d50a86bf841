"""Throughput of the data path of impressions: reading a log, and making batches, without a model.

    python benchmarks/impressions.py [--rows 2000000] [--ids 1000000] [--batch 4096] [--cases read,memory,...]

Rows are as wide as Criteo's, 26 categorical columns, of which two share half of the ids, and 13 numbers. The cases:

    read     CSV to arrays in files: rows and MiB of text per second, and peak memory
    memory   shuffled batches of rows in memory
    touched  the same, with the ids of each batch renumbered for row-sparse updates
    files    the same as touched, with rows stored in files
    tf.data  a peer: tf.data.Dataset over a dict with an array for each column, already encoded, shuffled with a buffer
             of 100,000 rows and batched

Lower bounds of a batch: 26 random reads each of the row's codes and of the table of ids, 13 of the numbers, a
permutation and, to renumber, as many random reads and writes of a table with one entry per id; about 500 bytes per row
in cache lines. DeepFM processes about 65,000 such rows per second on two cores: the throughput must be far higher.

Every case runs in a process of its own. The output shows the median epoch of `--repeats`, in wall seconds and in CPU
seconds of all threads.
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
from pathlib import Path

CASES = ("read", "memory", "unique_ids", "files", "tf.data")
NUMBERS = [f"I{number}" for number in range(1, 14)]
CATEGORIES = [f"C{number}" for number in range(1, 27)]
SEED, WRITTEN_AT_A_TIME = 0, 2**17


def write(path: Path, num_rows: int, num_ids: int) -> None:
    """Writes a log in Criteo's layout with a header."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.csv

    rng = np.random.default_rng(SEED)
    sizes = [num_ids // 4] * 2 + [num_ids // 48] * 24
    writer = None
    for start in range(0, num_rows, WRITTEN_AT_A_TIME):
        rows = min(WRITTEN_AT_A_TIME, num_rows - start)
        columns = {"label": rng.integers(2, size=rows)}
        columns |= {name: rng.poisson(20, rows) for name in NUMBERS}
        # The square of a uniform number: small ids are frequent, most are rare.
        columns |= {
            name: (rng.random(rows) ** 2 * size).astype(np.int64) for name, size in zip(CATEGORIES, sizes, strict=True)
        }
        table = pa.table(columns)
        writer = writer or pa.csv.CSVWriter(str(path), table.schema)
        writer.write_table(table)
    if writer is not None:
        writer.close()


def measure(case: str, path: Path, batch_size: int, repeats: int) -> dict[str, float]:
    """Runs a case in this process: rows per second and per CPU second (medians), and peak GiB."""
    from nnrec.batches.impressions import ImpressionBatches
    from nnrec.data.readers.impressions import read_impressions
    from nnrec.splits.impressions import fitted

    arguments = {"categorical": CATEGORIES, "numeric": NUMBERS}
    cache = path.with_name("cache" if case != "read" else "fresh")
    start = now()
    data = read_impressions(path, **arguments, cache=None if case in ("memory", "unique_ids", "tf.data") else cache)
    seconds = [now() - start]
    if case != "read":
        import numpy as np

        examples = fitted(data, np.arange(len(data)))
        if case == "tf.data":
            epoch = sliced_by_tensorflow(examples, batch_size)
        else:
            batches = ImpressionBatches(examples, batch_size, seed=SEED, unique_ids=case != "memory")
            epoch = batches.epoch
        seconds = []
        for number in range(repeats + 1):
            start = now()
            for _ in epoch(number):
                pass
            seconds.append(now() - start)
        seconds = seconds[1:]  # the first compiles
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    wall, busy = (statistics.median(column) for column in zip(*seconds, strict=True))
    return {"rate": len(data) / wall, "cpu": len(data) / busy, "gib": peak}


def now():
    """Wall and CPU seconds so far."""
    import numpy as np

    return np.array([time.perf_counter(), time.process_time()])


def sliced_by_tensorflow(examples, batch_size: int):
    """A function of the epoch that iterates over the peer's batches."""
    import tensorflow as tf

    encoded = examples.encoded(examples.which)
    columns = {name: encoded["categorical"][:, place] for place, name in enumerate(examples.fields.categorical)}
    columns |= {name: encoded["numeric"][:, place] for place, name in enumerate(examples.fields.numeric)}
    columns["label"] = examples.label
    data = tf.data.Dataset.from_tensor_slices(columns).shuffle(100_000, SEED).batch(batch_size).prefetch(2)
    return lambda epoch: data


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--ids", type=int, default=1_000_000)
    parser.add_argument("--batch", type=int, default=4096)
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--measure", nargs=2, metavar=("CASE", "PATH"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        case, path = options.measure
        print(json.dumps(measure(case, Path(path), options.batch, options.repeats)))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.csv"
        write(path, options.rows, options.ids)
        size = path.stat().st_size / 2**20
        print(f"{options.rows:,} rows, {options.ids:,} ids, batches of {options.batch:,}, {size:,.0f} MiB of text\n")
        print(f"{'':8} {'rows/s':>12} {'rows/CPU s':>12} {'GiB':>6}")
        for case in options.cases.split(","):
            command = [sys.executable, __file__, "--measure", case, str(path), "--batch", str(options.batch)]
            command += ["--repeats", str(options.repeats)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            found = json.loads(done.stdout.splitlines()[-1])
            text = f"   {found['rate'] / options.rows * size:,.0f} MiB/s" if case == "read" else ""
            print(f"{case:8} {found['rate']:12,.0f} {found['cpu']:12,.0f} {found['gib']:6.2f}{text}", flush=True)
    averages = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"\n{os.cpu_count()} cores, load averages at the end {averages}")


if __name__ == "__main__":
    main()
