"""Peak memory and speed of a training from shards, in memory and in files, for growing sizes of data.

    python benchmarks/shards.py [--ratings 10000000,100000000] [--folder shards] [--modes memory,first,files]
    python benchmarks/shards.py --events 20000000

For each size a folder of shards is written once: users with 100 ratings on average, each user's items distinct among
5,003, with times; one rating of every twentieth user for validation and one for test. Then `train.py` runs one epoch
of AutoRec (user-based, 50 hidden units, batches of 512) without a refit, in a process of its own for each mode:

    memory  data.source.cache=null
    files   data.source.cache=<folder>/cache: `first` creates the arrays, and `files` finds existing ones

Lower bounds: a rating is 20 bytes (user, item, value, time), of which an epoch reads 8 (item, value), and validation
and test read as much again for their users. In memory, the peak grows by these 20 bytes per rating and by temporary
arrays, together about 70. In files it grows by the arrays kept for each user: ids, offsets, counts and the order of an
epoch, about 120 bytes until the test, and by the figures of the test users.

With --events the data are sessions: 5 events on average, among 20,011 items, each item one of ten that tend to follow
the previous one, with times; 1,000 sessions each for validation and test. A process reads them and makes all
batches of an epoch of GRU4Rec (256 slots, 512 negatives per step), without the device: steps do not depend on where
the events are stored, and TensorFlow takes 1.3 GB in either case. An event is 12 bytes (item, time), of which an epoch
reads 4. In memory the peak grows by these and, for each session, by its id and its position; in files by its position.

The output shows the peak of the resident set (VmHWM), the seconds of the whole command, and the users (events)
per second of the epoch. Further arguments, such as trainer.refit=true, are passed to train.py.
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
# For sessions: items, events per session, sessions for validation and for test.
CATALOGUE, LENGTH, HELD_OUT = 20_011, 5, 1_000
ROOT = Path(__file__).resolve().parent.parent
EPOCH = """
import sys, time
from nnrec.splits.shards.shard_files import read_shards
from nnrec.batches.session_parallel import SessionParallelBatches
folder, cache = sys.argv[1:]
train = read_shards(folder, None if cache == "null" else cache)
started = time.perf_counter()
batches = SessionParallelBatches(train, 256, seed=0, n_sample=512, sample_alpha=0.75)
for _ in batches.epoch():
    pass
print(len(train) / (time.perf_counter() - started))
"""


def make(folder: Path, ratings: int) -> None:
    """Writes the shards."""
    sys.path.insert(0, str(ROOT))
    from nnrec.data.ratings import Ratings
    from nnrec.data.vocabulary import Vocabulary
    from nnrec.splits.shards.ratings import about_of, schema_of
    from nnrec.splits.shards.shard_files import SHARD_ROWS, shard_name, write_about, write_catalogue, write_shard

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


def make_sessions(folder: Path, events: int) -> None:
    """Writes the shards of sessions."""
    sys.path.insert(0, str(ROOT))
    from nnrec.data.sessions import Sessions
    from nnrec.data.vocabulary import Vocabulary
    from nnrec.splits.shards.sessions import PARTS, about_of, schema_of
    from nnrec.splits.shards.shard_files import (
        SHARD_ROWS,
        num_shards,
        shard_name,
        write_about,
        write_catalogue,
        write_shard,
    )

    columns = ["session", "item", "time"]
    rows: dict[str, dict[str, int]] = {part: {} for part in PARTS}
    sizes, done = dict.fromkeys(PARTS, 0), 0
    for number, part in enumerate(PARTS):
        most = events if part == "train" else HELD_OUT * LENGTH
        for shard in range(num_shards(most)):
            rng = np.random.default_rng([SEED, number, shard])
            lengths = 1 + rng.geometric(1 / (LENGTH - 1), min(SHARD_ROWS, most - shard * SHARD_ROWS) // LENGTH)
            first = np.cumsum(lengths) - lengths
            place = np.arange(lengths.sum()) - np.repeat(first, lengths)
            steps = np.where(place == 0, (CATALOGUE * rng.random(len(place)) ** 3).astype(np.int64), 0)
            steps += np.where(place > 0, 1 + rng.integers(10, size=len(place)) ** 2, 0)
            walked = np.cumsum(steps)
            before = walked[first] - steps[first]
            session = done + np.repeat(np.arange(len(lengths)), lengths)
            chunk = {
                "session": session,
                "item": ((walked - np.repeat(before, lengths)) % CATALOGUE).astype(np.int32),
                "time": 1e9 + session + place / 64,
            }
            file = shard_name(shard)
            rows[part][file] = write_shard(folder / part / file, schema_of(columns, False), [chunk])
            done, sizes[part] = done + len(lengths), sizes[part] + len(lengths)
    nothing, items = np.zeros(0, np.int32), Vocabulary(np.arange(CATALOGUE))
    catalogue = Sessions(
        Vocabulary(nothing), items, np.zeros(1, np.int64), nothing, nothing.astype(np.float64), "timestamp"
    )
    write_catalogue(folder, catalogue)
    how = "The last sessions."
    write_about(folder, about_of(f"made-{events}", catalogue, columns, sizes, None, how), rows)


def measure(folder: Path, cache: str, settings: list[str]) -> tuple[float, float, float]:
    """Peak memory in GB, seconds, and examples per second of one training."""
    with tempfile.TemporaryDirectory() as place:
        run = Path(place) / "run"
        command = [sys.executable, str(ROOT / "train.py"), "model=autorec", "model.by=user", "model.hidden_units=[50]"]
        command += ["data=shards", "split=prepared", f"data.source.path={folder}", f"data.source.cache={cache}"]
        command += ["trainer.epochs=1", "trainer.batch_size=512", "trainer.refit=false", "keep_histories=false"]
        peak, seconds, _ = watched([*command, f"run_dir={run}", *settings])
        return peak, seconds, json.loads((run / "metrics.json").read_text())["training"]["examples_per_second"]


def measure_sessions(folder: Path, cache: str, settings: list[str]) -> tuple[float, float, float]:
    """Peak memory in GB, seconds, and events per second of making the batches of one epoch."""
    peak, seconds, said = watched([sys.executable, "-c", EPOCH, str(folder), cache])
    return peak, seconds, float(said.split()[-1])


def watched(command: list[str]) -> tuple[float, float, str]:
    """Peak memory in GB and seconds of a command, and its output."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(said)
    return usage.ru_maxrss * 1024 / 1e9, time.perf_counter() - started, said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ratings", default="10000000,100000000")
    parser.add_argument("--events")
    parser.add_argument("--folder", default=str(Path(tempfile.gettempdir()) / "shards"))
    parser.add_argument("--modes", default="memory,first,files")
    options, settings = parser.parse_known_args()
    of_sessions = options.events is not None
    what, unit, row_bytes = ("events", "events/s", 12) if of_sessions else ("ratings", "users/s", 20)
    write, measured, kind = (make_sessions, measure_sessions, "clicks") if of_sessions else (make, measure, "made")
    print(f"{what:>12} {'data GB':>8} {'mode':>8} {'peak GB':>8} {'seconds':>8} {unit:>9}")
    for number in map(int, (options.events or options.ratings).split(",")):
        folder = Path(options.folder) / f"{kind}-{number}"
        if not (folder / "about.json").is_file():
            write(folder, number)
        for mode in options.modes.split(","):
            cache = "null" if mode == "memory" else str(Path(options.folder) / "cache")
            peak, seconds, speed = measured(folder, cache, settings)
            size = row_bytes * number / 1e9
            print(f"{number:12,} {size:8.2f} {mode:>8} {peak:8.2f} {seconds:8.0f} {speed:9,.0f}", flush=True)


if __name__ == "__main__":
    main()
