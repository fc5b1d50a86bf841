"""Peak memory and speed of a training from shards, in memory and in files, over the size of the data.

    python benchmarks/shards.py [--ratings 10000000,100000000] [--folder shards] [--modes memory,first,files]

For each size a folder of shards is written once: users with 100 ratings on average, each user's items distinct among
5,003, with times; one rating of every twentieth user for validation and one for test. Then `train.py` makes one epoch
of AutoRec (user-based, 50 hidden units, batches of 512) without a refit, in a process of its own for each mode:

    memory  data.source.cache=null
    files   data.source.cache=<folder>/cache: `first` makes the arrays, and `files` finds them made

What bounds the work: a rating is 20 bytes (user, item, value, time), of which an epoch reads 8 (item, value) and
validation and test as much again for the users they hold. In memory, the peak grows by these 20 bytes a rating and by
what is made of them in passing, together some 70. In files it grows by what is kept for each user: ids, offsets, counts
and the order of an epoch, some 120 bytes until the test, and by the figures of those who are tested.

Shown are the peak of the resident set (VmHWM), the seconds of the whole command, and the users a second of the epoch.
Further arguments, such as trainer.refit=true, go to train.py.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

NUM_ITEMS, MEAN, SEED = 5_003, 100, 0
ROOT = Path(__file__).resolve().parent.parent


def make(folder: Path, ratings: int) -> None:
    """Writes the shards."""
    sys.path.insert(0, str(ROOT))
    from nnrec.data.rating_shards import about_of, schema_of
    from nnrec.data.ratings import Ratings
    from nnrec.data.shards import SHARD_ROWS, shard_name, write_about, write_catalogue, write_shard
    from nnrec.data.vocabulary import Vocabulary

    num_users, columns = ratings // MEAN, ["user", "item", "value", "time"]
    rows: dict[str, dict[str, int]] = {"train": {}, "validation": {}, "test": {}}
    shards = max(ratings // SHARD_ROWS, 1)
    for shard in range(shards):
        rng = np.random.default_rng([SEED, shard])
        first, last = (-(-num_users * edge // shards) for edge in (shard, shard + 1))
        lengths = np.minimum(5 + rng.geometric(1 / (MEAN - 5), last - first), NUM_ITEMS - 1)
        user = np.repeat(np.arange(first, last, dtype=np.int32), lengths)
        place = np.arange(len(user)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        start, stride = (np.repeat(rng.integers(1, NUM_ITEMS, len(lengths)), lengths) for _ in range(2))
        arrays = {
            "user": user,
            "item": ((start + stride * place) % NUM_ITEMS).astype(np.int32),
            "value": rng.integers(1, 6, len(user)).astype(np.float32),
            "time": 1_000_000_000 + place,
        }
        from_end = np.repeat(lengths, lengths) - place
        held_out = (user % 20 == 0) & (from_end <= 2)
        masks = {"train": ~held_out, "test": held_out & (from_end == 1), "validation": held_out & (from_end == 2)}
        for part, mask in masks.items():
            chunk = {name: array[mask] for name, array in arrays.items()}
            rows[part][shard_name(shard)] = write_shard(folder / part / shard_name(shard), schema_of(columns), [chunk])
    nothing = np.zeros(0, np.int32)
    users, items = Vocabulary(np.arange(num_users)), Vocabulary(np.arange(NUM_ITEMS))
    catalogue = Ratings(users, items, nothing, nothing, np.zeros(0, np.float32), time_kind="timestamp")
    write_catalogue(folder, catalogue)
    about = about_of(f"made-{ratings}", catalogue, columns, "The last two ratings of some users.", False)
    write_about(folder, about, rows)


def measure(folder: Path, cache: str, settings: list[str]) -> tuple[float, float, float]:
    """Peak in GB, seconds, and examples a second of one training."""
    with tempfile.TemporaryDirectory() as place:
        run = Path(place) / "run"
        command = [sys.executable, str(ROOT / "train.py"), "model=autorec", "model.by=user", "model.hidden_units=[50]"]
        command += ["data=shards", "split=prepared", f"data.source.path={folder}", f"data.source.cache={cache}"]
        command += ["trainer.epochs=1", "trainer.batch_size=512", "trainer.refit=false", "keep_histories=false"]
        started = time.perf_counter()
        process = subprocess.Popen([*command, f"run_dir={run}", *settings], stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert process.stdout is not None
        said = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            sys.exit(said)
        speed = json.loads((run / "metrics.json").read_text())["training"]["examples_per_second"]
        return usage.ru_maxrss * 1024 / 1e9, time.perf_counter() - started, speed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ratings", default="10000000,100000000")
    parser.add_argument("--folder", default=str(Path(tempfile.gettempdir()) / "shards"))
    parser.add_argument("--modes", default="memory,first,files")
    options, settings = parser.parse_known_args()
    print(f"{'ratings':>12} {'data GB':>8} {'mode':>8} {'peak GB':>8} {'seconds':>8} {'users/s':>9}")
    for ratings in map(int, options.ratings.split(",")):
        folder = Path(options.folder) / f"made-{ratings}"
        if not (folder / "about.json").is_file():
            make(folder, ratings)
        for mode in options.modes.split(","):
            cache = "null" if mode == "memory" else str(Path(options.folder) / "cache")
            peak, seconds, speed = measure(folder, cache, settings)
            size = 20 * ratings / 1e9
            print(f"{ratings:12,} {size:8.2f} {mode:>8} {peak:8.2f} {seconds:8.0f} {speed:9,.0f}", flush=True)


if __name__ == "__main__":
    main()
