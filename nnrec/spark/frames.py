"""Operations of Spark data frames with NumPy arrays: sorting, counting, look-ups, functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from nnrec.data.vocabulary import Vocabulary
from nnrec.spark.logs import ARRIVAL

TYPES = {"bool": "boolean", "int8": "tinyint", "int32": "int", "int64": "bigint", "float64": "double"}


def order(rows: DataFrame, descending: bool = False) -> list[Column]:
    """The columns that sort the rows of a user: by time, then by order of arrival."""
    names = [*(["moment"] if "moment" in rows.columns else []), *ARRIVAL]
    return [F.col(name).desc() if descending else F.col(name) for name in names]


def counts_of(rows: DataFrame, role: str, number: int) -> np.ndarray:
    """(number,) int64, the number of rows of each user (or item)."""
    found = rows.groupBy(role).count().toPandas()
    counts = np.zeros(number, np.int64)
    counts[found[role].to_numpy(np.int64)] = found["count"]
    return counts


def mapped(rows: DataFrame, role: str, array: np.ndarray) -> Column:
    """Looks up each row's index in an array, which is broadcast to all workers."""
    held = rows.sparkSession.sparkContext.broadcast(array)

    def take(index: pd.Series) -> pd.Series:
        return pd.Series(held.value[index.to_numpy()])

    return F.pandas_udf(take, TYPES[array.dtype.name])(F.col(role))


def computed(function: Callable[..., np.ndarray], kind: str, *columns: str) -> Column:
    """Applies a function of NumPy arrays to some columns, a batch of rows at a time."""

    def work(*series: pd.Series) -> pd.Series:
        return pd.Series(function(*(column.to_numpy() for column in series)))

    work.__annotations__ = {"return": pd.Series} | {"series": pd.Series}
    made: Any = F.pandas_udf(work, kind)
    return made(*map(F.col, columns))


def indexed(log: DataFrame, role: str, vocabulary: Vocabulary, factors: np.ndarray | None = None) -> DataFrame:
    """Replaces ids in the log by indices; with `factors`, multiplies the weight by the factor of each id."""
    table = pd.DataFrame({role: vocabulary.ids, "index": np.arange(len(vocabulary), dtype=np.int32)})
    schema = f"{role} {'bigint' if vocabulary.numeric else 'string'}, index int"
    if factors is not None:
        table, schema = table.assign(factor=factors), f"{schema}, factor float"
    log = log.join(log.sparkSession.createDataFrame(table, schema), role).drop(role).withColumnRenamed("index", role)
    if factors is None:
        return log
    weight = F.col("weight") * F.col("factor") if "weight" in log.columns else F.col("factor")
    return log.withColumn("weight", weight.cast("float")).drop("factor")
