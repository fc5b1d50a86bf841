"""Reader of DSSTNE's text format: one line per sample, `sample<TAB>feature[,value]:feature[,value]:...`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from nnrec.core.errors import ConfigError, DataError
from nnrec.data.files.tables import Table, as_ids, read_columns
from nnrec.data.ratings import Ratings
from nnrec.data.readers.ratings import assemble


def read_dsstne(
    path: str | Path,
    number: Literal["value", "time"] | None = "value",
    encoding: str = "utf-8",
    scale: Sequence[float] | None = None,
) -> Ratings:
    """Reads ratings from DSSTNE's text format: samples become users, features become items.

    Args:
        path: a file (also .gz), a folder of files, or a glob.
        number: meaning of the number after a comma: the value (1 if there is none), the time in
            seconds, or None = ignored.
        encoding: encoding of the files.
        scale: (lowest, highest) allowed value; None = no limits.

    Raises:
        DataError: an invalid file or line; the message states where.
        ConfigError: an unknown `number`.
    """
    if number not in ("value", "time", None):
        raise ConfigError(f"number must be value, time or null. Received: {number}")
    lines = read_columns(path, {"user": 0, "features": 1}, separator="\t", header=False, encoding=encoding)
    features = pa.array(lines.frame["features"], pa.string())
    parts = pc.split_pattern(features, ":")
    entries, row = pc.list_flatten(parts), pc.list_parent_indices(parts).to_numpy()
    kept = pc.not_equal(entries, "")
    entries, row = entries.filter(kept), row[kept.to_numpy(zero_copy_only=False)]
    if not len(entries):
        raise DataError(
            f"{path} holds no feature. A line is a sample, a tab, then feature[,value]:feature[,value]: ..."
        )

    def where(entry: int) -> str:
        return f"{lines.where(int(row[entry]))}, entry {entries[entry].as_py()!r}"

    pairs = pc.split_pattern(entries, ",")
    sizes = pc.list_value_length(pairs).to_numpy()
    if (sizes > 2).any():
        raise DataError(f"{where(int(np.argmax(sizes > 2)))}: more than one comma.")
    ids = as_ids(pc.list_element(pairs, 0).dictionary_encode().to_pandas())
    frame = pd.DataFrame({"user": lines.frame["user"].take(row).reset_index(drop=True), "item": ids})
    if number is not None:
        written = pd.Series("1", index=frame.index, dtype=object)
        if number == "time" and (sizes == 1).any():
            raise DataError(f"{where(int(np.argmax(sizes == 1)))}: no time after the feature (number=time).")
        written[sizes == 2] = pc.list_element(pairs.filter(pa.array(sizes == 2)), 1).to_pandas().to_numpy()
        frame[number] = written
    return assemble(Table(frame, where, lines.source), scale=scale)
