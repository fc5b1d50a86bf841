"""Response times of exported models: median milliseconds of a request for 1 and for 64 lists (or rows).

    python benchmarks/serving.py served/autorec served/autorec_onnx ... [--requests 200]

Lower bounds: the item vectors are read once (num_items x d floats), and the scores of all items are written and
ranked (B x num_items); for one list of a small catalogue, the overhead of about a hundred small operations. Requests
hold the histories, sessions or rows of the exported run. Times are those of the call alone, in one process: arrays in,
arrays out, without a network.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, help="made by export.py")
    parser.add_argument("--requests", type=int, default=200)
    arguments = parser.parse_args()
    from nnrec.serving.export import start

    start()
    for folder in arguments.folders:
        about = json.loads((folder / "about.json").read_text())
        function, samples = opened(folder, about)
        for what, inputs in samples.items():
            times = {size: median(function, inputs, size, arguments.requests) for size in (1, 64)}
            shown = "  ".join(f"{size:>2}: {1e3 * seconds:6.2f} ms" for size, seconds in times.items())
            print(f"{about['model']:<10} {about['format']:<10} {what:<9} {shown}", flush=True)


def opened(folder: Path, about: dict[str, Any]) -> tuple[Any, dict[str, dict[str, np.ndarray]]]:
    """The default graph as a function, and inputs of many rows: of users and, if these differ, of unseen users."""
    from nnrec.api import load
    from nnrec.serving.samples import columns_as_inputs, list_samples, random_rows, used_columns

    run, onnx = load(about["run"]), about["format"] == "onnx"
    name = "serving_default" if not onnx else "rows" if run.family.encoded else "top_n"
    if run.family.encoded:
        encoder = run.sides.encoder
        frame = random_rows(encoder, used_columns(encoder))
        found = {"rows": encoder.encode_frame(frame) if onnx else columns_as_inputs(encoder, frame)}
    else:
        found = {sample.what: dict(sample.indices if onnx else sample.inputs) for sample in list_samples(run)}
    used = about["graphs"][name]["inputs"]
    samples = {what: {key: array for key, array in own.items() if key in used} for what, own in found.items()}
    if "exclude_seen" in used:
        for own in samples.values():
            own["exclude_seen"] = np.array([run.family.exclude_seen])
    if onnx:
        import onnxruntime

        session = onnxruntime.InferenceSession(folder / f"{name}.onnx")
        return lambda arrays: session.run(None, arrays), samples
    import tensorflow as tf

    loaded = tf.saved_model.load(str(folder))
    signature = loaded.signatures[name]

    def call(arrays: dict[str, np.ndarray]) -> Any:
        found = signature(**{key: tf.constant(array) for key, array in arrays.items()})
        return {key: tensor.numpy() for key, tensor in found.items()}

    call.loaded = loaded  # type: ignore[attr-defined]  # which holds the variables
    return call, samples


def median(function: Any, inputs: dict[str, np.ndarray], size: int, requests: int) -> float:
    """Median seconds of a request for `size` rows: different rows each time, trimmed to their longest history."""
    number, taken = len(next(iter(inputs.values()))), []
    for request in range(requests + 10):
        rows = (np.arange(size) + request * size) % number
        part = {key: array if key == "exclude_seen" else array[rows] for key, array in inputs.items()}
        for key in ("items", "item_ids"):
            if key in part:
                used = (part[key] != ("" if key == "item_ids" else -1)).any(axis=0)
                width = int(np.flatnonzero(used).max(initial=0)) + 1
                part = {other: array[:, :width] if array.ndim == 2 else array for other, array in part.items()}
        start = time.perf_counter()
        function(part)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken[10:])


if __name__ == "__main__":
    main()
