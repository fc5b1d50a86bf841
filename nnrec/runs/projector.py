"""Items' vectors for TensorBoard's embedding projector, written without TensorFlow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from nnrec.core.files import atomic
from nnrec.data.vocabulary import Vocabulary

CONFIG = """embeddings {{
  tensor_name: "items"
  tensor_shape: {rows}
  tensor_shape: {columns}
  tensor_path: "tensor.tsv"
  metadata_path: "metadata.tsv"
}}
"""


def write_projector(
    folder: str | Path,
    vectors: np.ndarray,
    items: Vocabulary,
    counts: np.ndarray,
    table: pd.DataFrame | None = None,
    most: int = 10_000,
) -> None:
    """Writes tensor.tsv, metadata.tsv and projector_config.pbtxt for TensorBoard's projector.

    Args:
        folder: the run's TensorBoard folder, which holds an event file.
        vectors: (num_items, d) floats.
        items: vocabulary of the items.
        counts: (num_items,) training events; only items that have any are shown, and of these the `most` frequent.
        table: one row per item in index order, with columns such as title and category; None = ids only.
        most: maximum number of items shown; the projector loads all of them in the browser.

    Raises:
        RunError: the folder cannot be written to.
    """
    folder = Path(folder)
    order = np.argsort(-np.asarray(counts), kind="stable")
    shown = order[: min(most, int(np.count_nonzero(counts)))]
    metadata = pd.DataFrame({"item_id": items.ids[shown], "events": np.asarray(counts)[shown]})
    if table is not None:
        known = table.iloc[shown].reset_index(drop=True).drop(columns="item_id", errors="ignore")
        titles = [name for name in ("title",) if name in known]
        rest = [name for name in known if name not in titles]
        metadata = pd.concat([known[titles], metadata, known[rest]], axis=1)  # the first column labels the points
    with atomic(folder / "tensor.tsv") as path:
        np.savetxt(path, vectors[shown], fmt="%.6g", delimiter="\t")
    with atomic(folder / "metadata.tsv") as path:
        lines = [list(metadata.columns), *metadata.astype(object).to_numpy().tolist()]
        path.write_text("".join("\t".join(_cell(value) for value in line) + "\n" for line in lines), "utf-8")
    with atomic(folder / "projector_config.pbtxt") as path:
        path.write_text(CONFIG.format(rows=len(shown), columns=vectors.shape[1]))


def _cell(value: object) -> str:
    """The value as text of one TSV cell, without tabs and line breaks."""
    if isinstance(value, list | tuple | np.ndarray):
        return ", ".join(_cell(part) for part in value)
    return "" if value is None or value is pd.NA or value != value else " ".join(str(value).split())
