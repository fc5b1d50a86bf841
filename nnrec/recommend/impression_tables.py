"""Tables of rows or requests, read with the column names of a run on impressions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa

from nnrec.data.files.streams import TableFiles

if TYPE_CHECKING:
    from nnrec.data.schema import Schema
    from nnrec.runs.trained import TrainedRun

# Rows of a file that are read and scored at a time.
ROWS_AT_A_TIME = 2**14


def schema_of(run: TrainedRun) -> Schema:
    """The columns of the data that the run was trained on."""
    return run.sides.encoder.schema


def as_text(column: pd.Series) -> pa.Array:
    """Cells as text: lists are joined by |, missing values are null."""
    cells = ["|".join(map(str, cell)) if isinstance(cell, list) else cell for cell in column]
    return pa.array([None if cell is None or cell != cell else str(cell) for cell in cells], pa.string())


def lists_in(frame: pd.DataFrame, run: TrainedRun, schema: Schema) -> pd.DataFrame:
    """The frame with text in multi-valued columns split into lists."""
    separator = run.config.data.get("source", {}).get("multi_separator", "|")
    frame = frame.copy(deep=False)
    for name in schema.multi:
        if name in frame.columns:
            cells = frame[name].astype(object)
            frame[name] = [
                [s.strip() for s in c.split(separator) if s.strip()] if isinstance(c, str) else c for c in cells
            ]
    return frame


def read_requests(source: str | Path, layout: Mapping[str, Any]) -> pd.DataFrame:
    """Reads a table of requests, with all columns as text."""
    frames = list(read_chunks(source, "requests", layout))
    return pd.concat(frames, ignore_index=True)


def read_chunks(source: str | Path, key: str, layout: Mapping[str, Any]) -> Iterator[pd.DataFrame]:
    """Yields a table in chunks; all columns of text files are read as text.

    Args:
        source: a CSV, TSV or Parquet file.
        key: the setting that names it, for messages.
        layout: separator, header, encoding.

    Raises:
        DataError: the table cannot be read.
    """
    table = TableFiles(source, layout["separator"], layout["header"], layout["encoding"], ("",), key, None)
    for chunk in table.chunks({name: name for name in table.names}, 0):
        yield pd.DataFrame({name: column.to_pandas() for name, column in chunk.columns.items()})
