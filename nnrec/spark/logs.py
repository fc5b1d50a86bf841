"""Reads raw logs as Spark data frames, with the columns, types and checks of `nnrec.data.readers.ratings`."""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import pandas as pd
from py4j.protocol import Py4JJavaError
from pyspark.errors import AnalysisException, PySparkException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from nnrec.core.errors import ConfigError, DataError
from nnrec.data.files.tables import LABELS, SEPARATORS, find_files, resolve
from nnrec.data.readers.ratings import LATEST_SECOND, TIME_UNITS, bounds_of

# Order of arrival: number of the file (sorted by name), of the chunk within it, and of the row within the chunk.
ARRIVAL = ("file_number", "file_part", "file_row")
IDS = ("user", "session", "item", "event")
_WHOLE = r"^(0|-?[1-9][0-9]{0,17})$"
_NUMBER = r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$"


ROLES = ("user", "item", "value", "time", "weight", "event")


def read_log(spark: SparkSession, source: Mapping[str, Any], roles: tuple[str, ...] = ROLES) -> tuple[DataFrame, str]:
    """Reads the rows of CSV, TSV, JSON-lines or Parquet files.

    Args:
        source: arguments of `nnrec.data.read_table`. The path may also be one for Spark only, such as
            hdfs://... or s3a://...
        roles: the arguments that name columns.

    Returns:
        A data frame with the columns user or session, item (whole numbers or text), value (double, if it is a role)
        and, if requested, moment (seconds since 1970, long or double), weight (double), event (text), and those of
        `ARRIVAL`; and the name of the log for messages.

    Raises:
        DataError: the files or their rows cannot be used; the message says where.
        ConfigError: settings that contradict each other.
    """
    wanted = {role: source.get(role) for role in roles}
    columns = {role: column for role, column in wanted.items() if column is not None}
    frame, kind, name = _opened(spark, source)
    found = {role: resolve(column, _data_columns(frame), name) for role, column in columns.items()}
    text = kind != "parquet"
    files = spark.createDataFrame(_numbered(frame), "file string, file_number int")
    frame = frame.select(
        *(F.col(f"`{column}`").alias(role) for role, column in found.items()),
        F.regexp_replace("_metadata.file_path", "^file:/+", "/").alias("file"),
        F.col("_metadata.file_block_start").alias("file_part"),
        F.monotonically_increasing_id().alias("file_row"),
    ).join(F.broadcast(files), "file", "left")
    frame = frame.persist()
    try:
        frame = _checked(frame, found, text, source, valued="value" in roles)
    except (PySparkException, Py4JJavaError) as error:
        raise DataError(f"{name} cannot be read: {_reason(error)}") from error
    return frame, name


def _opened(spark: SparkSession, source: Mapping[str, Any]) -> tuple[DataFrame, str, str]:
    """Opens the files: the data frame, the kind of file, and the name for messages."""
    path = str(source["path"])
    if urlparse(path).scheme in ("", "file"):
        local = find_files(path.removeprefix("file://"), "data.source.path")
        places = [file.absolute().as_uri() for file in local]
        name = local[0].name if len(local) == 1 else f"{len(local)} files of {path}"
    else:
        places, name = [path], path
    ending = Path(places[0].removesuffix(".gz")).suffix
    kinds = {".parquet": "parquet", ".pq": "parquet", ".json": "json", ".jsonl": "json"}
    kind = kinds.get(ending, "csv")
    try:
        if kind == "parquet":
            return spark.read.parquet(*places), kind, name
        if kind == "json":
            return spark.read.option("primitivesAsString", True).option("mode", "FAILFAST").json(places), kind, name
        separator = source.get("separator") or _sniffed(spark, places[0], name)
        options = {
            "sep": separator,
            "header": bool(source.get("header", True)),
            "encoding": _charset(str(source.get("encoding", "utf-8"))),
            "quote": '"' if len(separator) == 1 else "",
            "escape": '"' if len(separator) == 1 else "",
            "mode": "FAILFAST",
        }
        return spark.read.options(**options).csv(places), kind, name
    except AnalysisException as error:
        raise DataError(f"{name} cannot be read: {_reason(error)}") from error


def _charset(encoding: str) -> str:
    """The Java name of an encoding.

    Raises:
        ConfigError: there is no such encoding.
    """
    try:
        name = codecs.lookup(encoding).name
    except LookupError as error:
        raise ConfigError(f"There is no encoding {encoding!r}. Common ones: utf-8, latin-1.") from error
    return {"iso8859-1": "ISO-8859-1", "ascii": "US-ASCII"}.get(name, name.upper())


def _sniffed(spark: SparkSession, place: str, name: str) -> str:
    first = spark.read.text(place).first()
    line = "" if first is None else str(first[0])
    for separator in SEPARATORS:
        if separator in line:
            return separator
    raise DataError(f"{name}, line 1: no separator found in {line[:80]!r}. Set separator, for example separator=';'.")


def _data_columns(frame: DataFrame) -> list[str]:
    return [name for name in frame.columns if name != "_metadata"]


def _numbered(frame: DataFrame) -> pd.DataFrame:
    """The files sorted by name; local paths without the scheme, which Spark writes in several ways."""
    files = sorted((re.sub("^file:/+", "/", uri) for uri in frame.inputFiles()), key=_path)
    return pd.DataFrame({"file": files, "file_number": range(len(files))})


def _path(uri: str) -> Path:
    return Path(unquote(urlparse(uri).path))


def _checked(
    frame: DataFrame, found: Mapping[str, str], text: bool, source: Mapping[str, Any], valued: bool
) -> DataFrame:
    """Casts the columns to their types; raises DataError for the first row that does not fit."""
    types = dict(frame.dtypes)
    made: dict[str, Column] = {}
    for role in IDS:
        if role in found:
            made[role] = _id(frame, role, types[role], text)
    if valued:
        made["value"] = _number(frame, "value", types) if "value" in found else F.lit(1.0)
    if "weight" in found:
        made["weight"] = _number(frame, "weight", types)
    if "time" in found:
        made["moment"] = _moment(frame, types["time"], str(source.get("time_unit", "s")))
    result = frame.select(
        *(column.alias(role) for role, column in made.items()),
        *(F.col(name).alias(f"raw_{name}") for name in found),
        "file",
        *ARRIVAL,
    )
    wrong = {role: F.col(role).isNull() for role in (*made, "file_number")}
    for role in IDS:
        if role in made and dict(result.dtypes)[role] == "string":
            wrong[role] = wrong[role] | (F.col(role) == "")
    for role, bounds in (("value", source.get("scale")), ("weight", (0, float("inf")))):
        if role in made:
            wrong[role] = wrong[role] | F.isnan(role) | (F.abs(F.col(role).cast("float")) == float("inf"))
            if bounds is not None:
                low, high = bounds_of(bounds)
                wrong[role] = wrong[role] | (F.col(role) < low) | (F.col(role) > high)
    if "moment" in made:
        wrong["moment"] = wrong["moment"] | F.isnan("moment") | (F.abs("moment") > LATEST_SECOND)
    counts = result.agg(
        F.count("*").alias("rows"), *(F.count_if(condition).alias(role) for role, condition in wrong.items())
    ).first()
    assert counts is not None
    if not counts["rows"]:
        raise DataError("data.source.path holds no row of data.")
    for role, condition in wrong.items():
        if counts[role]:
            _refuse(result.filter(condition), role, counts[role])
    return result.select(*made, *ARRIVAL)


def _refuse(rows: DataFrame, role: str, number: int) -> None:
    """Raises a DataError about the column of a role in the first of these rows."""
    first = rows.orderBy(*ARRIVAL).first()
    assert first is not None
    name = "time" if role == "moment" else role
    received = first.asDict().get(f"raw_{name}")
    file = _path(first["file"])
    told = "is empty" if received is None or str(received).strip() == "" else f"{received!r} cannot be used"
    row = ", ".join(f"{key.removeprefix('raw_')}={value}" for key, value in first.asDict().items() if key[:4] == "raw_")
    raise DataError(f"{file}: the {LABELS.get(name, name)} {told} in {number:,} rows, the first of them: {row}.")


def _id(frame: DataFrame, role: str, kind: str, text: bool) -> Column:
    """An id as in `nnrec.data.readers.ratings.dense`: a whole number, or text without surrounding blanks."""
    column = F.col(role)
    if kind in ("tinyint", "smallint", "int", "bigint"):
        return column.cast("bigint")
    if kind in ("float", "double"):
        if not _all(frame, column % 1 == 0, column.isNotNull()):
            raise DataError(f"The {LABELS.get(role, role)}s are fractions: give whole numbers or text.")
        return column.cast("bigint")
    stripped = F.regexp_replace(column.cast("string"), r"(?U)^\s+|\s+$", "")
    if text and _all(frame, F.coalesce(stripped, F.lit("")).rlike(_WHOLE)):
        return stripped.cast("bigint")
    return stripped


def _number(frame: DataFrame, role: str, types: Mapping[str, str]) -> Column:
    return F.col(role).cast("string").try_cast("double") if types[role] == "string" else F.col(role).cast("double")


def _moment(frame: DataFrame, kind: str, unit: str) -> Column:
    """Seconds since 1970, as in `nnrec.data.readers.ratings.as_seconds`."""
    if unit not in TIME_UNITS:
        raise ConfigError(f"time_unit must be one of {', '.join(TIME_UNITS)}. Received: {unit}")
    column = F.col("time")
    if kind in ("timestamp", "timestamp_ntz", "date"):
        return _seconds_of(frame, column.cast("timestamp"))
    if kind == "string":
        if _all(frame, ~column.rlike(_NUMBER), column.isNotNull()):
            return _seconds_of(frame, F.try_to_timestamp(F.trim(column)))
        whole = _all(frame, F.trim(column).rlike(r"^[+-]?\d+$"), column.isNotNull())
        column = F.trim(column).try_cast("bigint" if whole else "double")
    if TIME_UNITS[unit] > 1:
        return column.cast("double") / F.lit(float(TIME_UNITS[unit]))
    return column.cast("bigint") if kind not in ("float", "double", "string") else column


def _seconds_of(frame: DataFrame, stamp: Column) -> Column:
    micros = F.unix_micros(stamp)
    if _all(frame, micros % 1_000_000 == 0, stamp.isNotNull()):
        return F.floor(micros / 1_000_000).cast("bigint")
    return micros / F.lit(1e6)


def _all(frame: DataFrame, condition: Column, among: Column | None = None) -> bool:
    """Whether a condition holds for all rows, or for all rows selected by `among`."""
    rows = frame if among is None else frame.filter(among)
    return rows.filter(~F.coalesce(condition, F.lit(False))).isEmpty()


def _reason(error: PySparkException | Py4JJavaError) -> str:
    """Spark's error message in one line."""
    if not isinstance(error, Py4JJavaError):
        return " ".join(str(error).split("JVM stacktrace")[0].split())[:400]
    cause = error.java_exception
    while cause.getCause() is not None:
        cause = cause.getCause()
    return " ".join(str(cause.getMessage()).split())[:400]
