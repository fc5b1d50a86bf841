"""Examples per second and memory of nnrec's 3D-CNN, compared with convolving every window; encoding of texts.

    python benchmarks/cnn3d.py --case shop|encode|all [--repeats 3] [--epochs 3]

| case   | events | items     | what is measured                                                                       |
|--------|--------|-----------|----------------------------------------------------------------------------------------|
| shop   | 20,000 | 3,000     | an epoch of training: titles and categories, 64 characters each, the default network   |
| encode |        | 1,000,000 | encoding of this many titles                                                           |

"windows" is the model as the paper describes it, in Keras with Conv3D and fit: each example is a window of L clicks,
whose texts are convolved as a whole, with the vectors of its target and of the same number of negatives. One example is
an input click and a target item. benchmarks/frame.py describes the measurement; the first epoch is shown separately.

Lower bounds. W = 64 characters of A = 2 attributes, e = 16, the default convolutions.

    item       2 W A e 4 96 FLOP     1.6 MFLOP for its maps and its vector, three times that in training
    click      12 16 96 64 2 FLOP    2.4 MFLOP for the convolution over it and the previous click, three times likewise
    batch      U = 500 items and 250 clicks, context included, are 500 x 4.8 + 250 x 7 MFLOP: 4 GFLOP for 128 examples,
               22 ms at 190 GFLOP/s (two cores). An item counts once, whether input, target or negative, and a
               click once for all windows that contain it; "windows" has 8 x (1.6 + 2.4) x 3 = 96 MFLOP per example
    memory     the codes of an item are W A bytes (128 MB for a million items); a batch's largest array has U W A 96
               numbers, 25 MB for 500 items, and its gradient about the same; for scoring there is a vector per item
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import frame
from frame import SEED, Outcome, Stopwatch

BATCH, NEGATIVES, CLICKS, WIDTH, UNITS = 128, 256, 8, 64, 64


@dataclass(frozen=True)
class Case:
    """The numbers of events and items, and the contenders to measure."""

    num_events: int
    num_items: int
    peers: tuple[str, ...] = ("nnrec-tensorflow", "nnrec-jax", "windows")


CASES = {"shop": Case(20_000, 3_000), "encode": Case(0, 1_000_000, ("encode",))}


def make_data(case: Case, real: Path | None, path: Path) -> None:
    """Writes simulated sessions and the texts of their items."""
    import numpy as np

    from nnrec.data.simulators.sessions import simulate_clicks

    if not case.num_events:
        np.savez(path, source="simulated")
        return
    sessions = simulate_clicks(case.num_events // 8, case.num_events, case.num_items, num_categories=20, seed=SEED)
    texts = {name: sessions.item_table[name].to_numpy(str) for name in ("title", "category")}  # type: ignore[index]
    np.savez(path, item=sessions.item, offsets=sessions.offsets, source="simulated", **texts)


def sessions_of(case: Case, arrays: dict) -> Any:
    import numpy as np
    import pandas as pd

    from nnrec.data.sessions import Sessions
    from nnrec.data.vocabulary import Vocabulary

    table = pd.DataFrame({name: arrays[name] for name in ("title", "category")})
    ids, items = Vocabulary(np.arange(len(arrays["offsets"]) - 1)), Vocabulary(np.arange(case.num_items))
    return Sessions(ids, items, arrays["offsets"], arrays["item"], item_table=table)


def run_nnrec(case: Case, arrays: dict, epochs: int) -> Outcome:
    def make() -> Any:
        from nnrec.models.sessions.cnn3d import CNN3D

        return CNN3D(case.num_items, n_sample=NEGATIVES, clicks=CLICKS, characters=WIDTH, embedding_dim=UNITS)

    return frame.fit_stage(make, sessions_of(case, arrays), epochs, batch_size=BATCH)


def run_windows(case: Case, arrays: dict, epochs: int) -> Outcome:
    """A plain Keras model on windows of clicks; items are scored by the vectors computed from their content."""
    import keras
    import numpy as np
    from keras import layers, ops

    from nnrec.data.encoding.characters import encode, num_codes

    keras.utils.set_random_seed(SEED)
    codes = np.stack([encode(arrays[name], WIDTH) for name in ("title", "category")], axis=2)
    item, offsets = arrays["item"], arrays["offsets"]
    event = np.setdiff1d(np.arange(len(item)), offsets[1:] - 1)
    place = event[:, None] + np.arange(1 - CLICKS, 1)
    there = place >= offsets[np.searchsorted(offsets, event, side="right") - 1][:, None]
    clicks, target = np.where(there, item[place], -1), item[event + 1]
    rng, watch = np.random.default_rng(SEED), Stopwatch()

    shared = [layers.Embedding(num_codes(), 16), layers.Conv3D(96, (1, 4, 1), padding="same", activation="relu")]
    shared += [layers.MaxPooling3D((1, 8, 1))]

    def maps(codes: Any) -> Any:
        for layer in shared:
            codes = layer(codes)
        return codes

    window = layers.Input((CLICKS, WIDTH, 2), dtype="int32")
    scored = layers.Input((WIDTH, 2), batch_size=NEGATIVES + BATCH, dtype="int32")
    volume = layers.Conv3D(64, (2, 3, 2), padding="same", activation="relu")(maps(window))
    volume = layers.MaxPooling3D((1, 2, 2), padding="same")(volume)
    query = layers.Dense(UNITS)(layers.Dense(128, "relu")(layers.Flatten()(ops.max(volume, axis=(2, 3)))))
    vectors = layers.Dense(UNITS)(layers.Flatten()(ops.max(maps(scored[:, None]), axis=2)))
    network = keras.Model([window, scored], ops.matmul(query, ops.transpose(vectors)))
    network.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    loss = 0.0
    watch.start()
    for _ in range(epochs):
        for chosen in np.array_split(rng.permutation(len(event)), -(-len(event) // BATCH))[:-1]:
            chosen = chosen[: BATCH - 1]
            text = codes[np.maximum(clicks[chosen], 0)] * (clicks[chosen] >= 0)[..., None, None]
            drawn = np.concatenate([target[chosen], rng.integers(0, case.num_items, NEGATIVES + BATCH - len(chosen))])
            inputs = [text.astype(np.int32), codes[drawn].astype(np.int32)]
            loss = float(network.train_on_batch(inputs, np.arange(len(chosen))))
        watch.lap()
    return Outcome(watch.laps, loss=loss)


def run_encode(case: Case, arrays: dict, epochs: int) -> Outcome:
    from nnrec.data.encoding.characters import encode

    titles = [f"Nordic Compact Desk Lamp {number} with Shade, 12 W (Pack of 2)" for number in range(case.num_items)]
    watch = Stopwatch()
    watch.start()
    for _ in range(epochs):
        encode(titles, WIDTH)
        watch.lap()
    return Outcome(watch.laps)


def show(title: str, results: dict[str, dict[str, dict]]) -> None:
    from rich.console import Console
    from rich.table import Table

    for name, peers in results.items():
        case = CASES[name]
        what, number = ("examples", case.num_events * 7 // 8) if case.num_events else ("texts", case.num_items)
        table = Table("peer", f"{what}/s", "median s", "CPU s", "first s", "peak GiB")
        table.title = f"{title}, {name}: {number:,} {what}, {case.num_items:,} items"
        table.caption, table.title_justify, table.caption_justify = frame.machine(), "left", "left"
        for peer, figures in peers.items():
            wall, peak = figures["wall"], f"{figures['peak'] / 2**30:.2f}"
            cells = f"{number / wall:,.0f}", f"{wall:.2f}", f"{figures['cpu']:.2f}", f"{figures['first']:.1f}", peak
            table.add_row(peer, *cells)
        Console().print(table)


CONTENDERS = {
    "nnrec-tensorflow": run_nnrec, "nnrec-jax": run_nnrec, "windows": run_windows, "encode": run_encode
}  # fmt: skip

if __name__ == "__main__":
    frame.main("3D-CNN", CASES, CONTENDERS, make=make_data, show=show, repeats=3, epochs=3)
