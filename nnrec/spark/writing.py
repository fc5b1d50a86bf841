"""Writes the rows of a split as shards, on the Spark workers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from nnrec.core.console import console
from nnrec.splits.shards.shard_files import num_shards, shard_name, write_shard

# Data without rows, the content of about.json, and part -> shard -> number of rows.
Prepared: TypeAlias = tuple[Any, dict[str, Any], dict[str, dict[str, int]]]


def say(notes: Iterable[str], definition: str) -> None:
    """Prints the notes of reading and filtering, and the description of the split."""
    for note in notes:
        console.print(note, soft_wrap=True)
    console.print(f"Split: {definition}", soft_wrap=True)


def write(
    rows: DataFrame,
    folder: Path,
    schema: pa.Schema,
    parts: Sequence[str],
    groups: Sequence[int],
    order: list[Column],
) -> dict[str, dict[str, int]]:
    """Writes the shards, each by one worker, and returns their numbers of rows: part -> shard -> rows.

    Args:
        rows: with a column `part`, an index into `parts`, and `index`, the user or session of the row.
        schema: of the shards.
        parts: names of the parts' folders.
        groups: number of users or sessions in each part.
        order: columns that sort the rows of a user or session.
    """
    sizes = {row["part"]: row["count"] for row in rows.groupBy("part").count().collect()}
    shards = {part: num_shards(number) for part, number in sizes.items()}
    conditions = {part: F.col("part") == part for part in shards}
    number = F.coalesce(*(F.when(conditions[part], F.lit(count)) for part, count in shards.items()))
    group = F.coalesce(*(F.when(conditions[part], F.lit(groups[part])) for part in shards))
    placed = rows.withColumn("shard", F.floor(F.col("index") * number / group).cast("int"))
    placed = placed.repartition(sum(shards.values()), "part", "shard")
    ordered = placed.sortWithinPartitions("part", "shard", "index", *order).select("part", "shard", *schema.names)
    told = "part int, shard int, rows bigint"
    found = ordered.mapInArrow(_writer(str(folder.absolute()), schema, list(parts)), told).collect()
    written: dict[str, dict[str, int]] = {part: {} for part in parts}
    for row in sorted(found):
        written[parts[row["part"]]][shard_name(row["shard"])] = row["rows"]
    return written


def _writer(
    folder: str, schema: pa.Schema, parts: list[str]
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """The function by which a worker writes its shards, whose rows arrive one shard after the other."""

    def pieces(batches: Iterator[pa.RecordBatch]) -> Iterator[tuple[tuple[int, int], Mapping[str, np.ndarray]]]:
        for batch in batches:
            arrays = {name: batch[name].to_numpy(zero_copy_only=False) for name in batch.schema.names}
            part, shard = arrays.pop("part"), arrays.pop("shard")
            edges = np.flatnonzero((np.diff(part) != 0) | (np.diff(shard) != 0)) + 1
            for start, stop in zip([0, *edges.tolist()], [*edges.tolist(), len(part)], strict=True):
                if stop > start:
                    key = int(part[start]), int(shard[start])
                    yield key, {name: array[start:stop] for name, array in arrays.items()}

    def work(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for (part, shard), group in groupby(pieces(batches), key=lambda piece: piece[0]):
            path = Path(folder) / parts[part] / shard_name(shard)
            rows = write_shard(path, schema, (chunk for _, chunk in group))
            yield pa.RecordBatch.from_pydict(
                {"part": pa.array([part], pa.int32()), "shard": pa.array([shard], pa.int32()), "rows": [rows]}
            )

    return work
