"""Time and memory of loading a clickstream: reading, cutting into sessions, sorting, filtering, splitting.

    python benchmarks/clicks.py [--events 10000000] [--cases csv,parquet,iso,users] [--repeats 1]

The log has four events per session on average, of `--items` items whose popularity falls with rank, in common file
layouts:

    csv      session, item, time in seconds, with a header; events of a session together, as in most publishers' files
    parquet  the same, all events in order of time
    iso      the layout of RecSys Challenge 2015: no header, times such as 2014-04-07T10:51:09.277Z
    users    Parquet with user ids instead of session ids, cut at pauses of half an hour

Every load runs in a process of its own. The output shows wall and CPU seconds of the fastest one, and its peak memory.
The goal is 10 million events in less than 30 s and 4 GiB on two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CASES = {
    "csv": ("log.csv", {}),
    "parquet": ("log.parquet", {}),
    "iso": ("log.dat", {"session": 0, "time": 1, "item": 2, "header": False, "separator": ","}),
    "users": ("users.parquet", {"session": None, "user": "user"}),
}
FILTERS = {"collapse_repeats": True, "max_session_length": 200, "min_item_support": 5}
SEED = 0


def write(folder: Path, cases: list[str], num_events: int, num_items: int) -> None:
    """Writes the files of the cases."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute
    import pyarrow.csv
    import pyarrow.parquet

    rng = np.random.default_rng(SEED)
    num_sessions = num_events // 4
    session = np.sort(rng.integers(0, num_sessions, num_events))
    milliseconds = 1_400_000_000_000 + 6_000 * session + rng.integers(0, 1_500_000, num_events)
    item = 214_000_000 + (num_items * rng.random(num_events) ** 3).astype(np.int64)
    log = pa.table({"session": session + 1, "item": item, "time": milliseconds // 1000})
    if "csv" in cases:
        pa.csv.write_csv(log, folder / "log.csv")
    if "iso" in cases:
        time_steps = pa.compute.strftime(pa.array(milliseconds).cast(pa.timestamp("ms")), "%Y-%m-%dT%H:%M:%SZ")
        columns = {
            "session": log["session"],
            "time": time_steps,
            "item": item,
            "category": np.zeros(num_events, np.int8),
        }
        options = pa.csv.WriteOptions(include_header=False, quoting_style="none")
        pa.csv.write_csv(pa.table(columns), folder / "log.dat", options)
    log = log.take(np.argsort(milliseconds, kind="stable"))
    if "parquet" in cases:
        pa.parquet.write_table(log, folder / "log.parquet")
    if "users" in cases:
        user = log["session"].to_numpy() % (num_sessions // 3)
        pa.parquet.write_table(
            log.drop_columns("session").append_column("user", pa.array(user)), folder / "users.parquet"
        )


def load(folder: Path, case: str) -> dict[str, float]:
    """Loads a case in this process; returns wall and CPU seconds, peak GiB, remaining sessions and events."""
    from nnrec.data.filters.sessions import filter_sessions
    from nnrec.data.readers.sessions import read_clicks
    from nnrec.splits.sessions import LastDays

    file, settings = CASES[case]
    start, busy = time.perf_counter(), time.process_time()
    sessions = filter_sessions(read_clicks(folder / file, **settings), **FILTERS)
    LastDays()(sessions, SEED)
    return {
        "wall": time.perf_counter() - start,
        "cpu": time.process_time() - busy,
        "gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "sessions": sessions.num_sessions,
        "events": len(sessions),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--items", type=int, default=50_000)
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--load", nargs=2, metavar=("FOLDER", "CASE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.load:
        print(json.dumps(load(Path(options.load[0]), options.load[1])))
        return
    cases = options.cases.split(",")
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), cases, options.events, options.items)
        print(f"{options.events:,} events, {options.items:,} items\n")
        print(f"{'':8} {'wall s':>8} {'CPU s':>8} {'GiB':>6}   left after filters")
        for case in cases:
            command = [sys.executable, __file__, "--load", folder, case]
            runs = [
                json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
                for _ in range(options.repeats)
            ]
            best = min(runs, key=lambda run: run["wall"])
            left = f"{best['sessions']:,} sessions, {best['events']:,} events"
            print(f"{case:8} {best['wall']:8.1f} {best['cpu']:8.1f} {max(run['gib'] for run in runs):6.2f}   {left}")
        load_averages = ", ".join(f"{value:.1f}" for value in os.getloadavg())
        print(f"\n{os.cpu_count()} cores, load averages at the end {load_averages}")


if __name__ == "__main__":
    main()
