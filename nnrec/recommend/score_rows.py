"""Predictions for rows of impressions in a data frame or a file."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
from rich.table import Table

from nnrec.batches.padding import bucket
from nnrec.core.console import console
from nnrec.core.errors import ConfigError, DataError
from nnrec.recommend import writers
from nnrec.recommend.impression_tables import ROWS_AT_A_TIME, lists_in, read_chunks, schema_of

if TYPE_CHECKING:
    from nnrec.runs.trained import TrainedRun

# Number of rows shown if there is no output=.
PREVIEW_ROWS = 10
COLUMN = "prediction"


def score_file(
    run: TrainedRun, source: str | Path, layout: Mapping[str, Any], output: Path | None, file_format: str | None
) -> None:
    """Writes a copy of a table with a column `prediction` (probabilities or ratings), or shows its first rows.

    Args:
        run: a run of an impression model.
        source: a CSV, TSV or Parquet file, read in chunks. Columns of the data that it lacks are missing values.
        layout: separator, header, encoding of a text file.
        output: the file to write; None = print the first rows.
        file_format: csv, tsv, jsonl or parquet.

    Raises:
        ConfigError: the model is not an impression model, or the format can hold only lists.
        DataError: the table cannot be read or scored.
        RunError: the file cannot be written.
    """
    if not run.family.encoded:
        raise ConfigError(f"rows= is for models of impressions. {run.model.name} was trained on {run.family}.")
    if output is None or file_format is None:
        _show(run, source, layout)
        return
    if file_format == "dsstne":
        raise ConfigError("DSSTNE's text format holds lists. Write scored rows as csv, tsv, jsonl or parquet.")
    chunks, start, number = read_chunks(source, "rows", layout), time.perf_counter(), 0
    first = _scored(run, next(chunks))
    with writers.writer(output, file_format, first.schema) as append, console.status("Scoring ..."):
        while first is not None:
            append(first)
            number += len(first)
            following = next(chunks, None)
            first = None if following is None else _scored(run, following).cast(first.schema)
    console.print(f"Wrote {number:,} scored rows to {output} in {time.perf_counter() - start:.1f} s.", soft_wrap=True)


def _scored(run: TrainedRun, frame: Any) -> pa.Table:
    kept = frame.drop(columns=COLUMN, errors="ignore")
    table = pa.Table.from_pandas(kept, preserve_index=False)
    return table.append_column(COLUMN, pa.array(score_frame(run, frame), pa.float32()))


def _show(run: TrainedRun, source: str | Path, layout: Mapping[str, Any]) -> None:
    frame = next(read_chunks(source, "rows", layout)).head(PREVIEW_ROWS)
    table = Table(title=f"The first {len(frame)} rows of {source}", title_justify="left", title_style="bold")
    for name in (*frame.columns, COLUMN):
        table.add_column(str(name), justify="right" if name == COLUMN else "left")
    for row, value in zip(frame.itertuples(index=False), score_frame(run, frame), strict=True):
        table.add_row(*("" if cell is None or cell != cell else str(cell) for cell in row), f"{value:.4f}")
    console.print(table)
    console.print("All rows: output=scored.csv")


def score_frame(run: TrainedRun, frame: pd.DataFrame) -> np.ndarray:
    """(n,) float32, the probability (or rating) of raw rows; absent columns are missing values.

    Raises:
        DataError: a numeric column holds values that are not numbers, or the frame has no column of the data.
    """
    model: Any = run.model
    schema = schema_of(run)
    frame = frame.rename(columns=str)
    if not any(name in frame.columns for name in schema.columns):
        raise DataError(
            f"No column of the data is there. Expected some of: {', '.join(schema.columns)}. Received: "
            f"{', '.join(frame.columns)}."
        )
    size, found = min(ROWS_AT_A_TIME, bucket(max(len(frame), 1))), []
    for start in range(0, len(frame), size):
        part = frame.iloc[start : start + size]
        batch = run.sides.encoder.encode_frame(lists_in(part.reset_index(drop=True), run, schema))
        full = {name: np.pad(array, ((0, size - len(part)), (0, 0))) for name, array in batch.items()}
        found.append(model.estimate(full)[: len(part)])
    return np.concatenate(found) if found else np.zeros(0, np.float32)
