"""Text and Parquet files as data frames; errors in them are reported with their line number."""

from __future__ import annotations

import csv
import difflib
import glob
import io
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from nnrec.core.errors import ConfigError, DataError

SEPARATORS = ("\t", "::", ";", ",", "|", " ")
LABELS = {"user": "user id", "item": "item id", "session": "session id", "value": "rating"}
_PLAIN = "\x1f"  # replaces separators of several characters; the "unit separator" of ASCII
_ID = pa.dictionary(pa.int32(), pa.string())
_TYPES = {
    **dict.fromkeys(("user", "item", "session", "event"), _ID),
    **dict.fromkeys(("value", "weight"), pa.float64()),
    **dict.fromkeys(("title", "genres", "features"), pa.string()),
}


class MissingColumn(DataError):
    """A table has no column with the requested name."""


@dataclass(frozen=True)
class Table:
    """Columns that were read, and their source.

    Attributes:
        frame: one column per role (user, item, value, time, weight, event, or any other name).
        where: maps a row (counted from 0) to its location, such as "ratings.csv, line 12".
        source: name of the source in messages.
    """

    frame: pd.DataFrame
    where: Callable[[int], str]
    source: str


@dataclass(frozen=True)
class Text:
    """A text file and its format: how its lines are split into fields."""

    path: Path
    separator: str
    header: bool
    encoding: str

    def fields(self, line: str) -> list[str]:
        """Splits a line into fields."""
        line = line.rstrip("\r\n")
        if len(self.separator) > 1:
            return line.split(self.separator)
        try:
            return next(csv.reader([line], delimiter=self.separator))
        except csv.Error as error:
            advice = "Save it with line ends of Unix or Windows" if "\r" in line else "Set separator"
            raise DataError(f"{self.path}: {line[:40]!r} ... is no line of a table ({error}). {advice}.") from error

    def lines(self) -> Iterator[tuple[int, str]]:
        """Yields (number from 1, text) of every line that is not empty.

        Raises:
            DataError: a line is not text in this encoding.
        """
        with _open(self.path) as stream:
            for number, line in enumerate(stream, start=1):
                yield from _decoded(self.path, number, line, self.encoding)


def read_columns(
    path: str | Path,
    columns: Mapping[str, str | int],
    separator: str | None = None,
    header: bool = True,
    encoding: str = "utf-8",
    key: str = "data.source.path",
) -> Table:
    """Reads some columns of one or more CSV, TSV or Parquet files (text also as .gz, .bz2, .zst).

    Args:
        path: a file, a folder of files, or a glob; several files are read in the order of their names.
        columns: role -> column name, or position from 0. In text files user, item, session and
            event are read as ids (integers if all are, else text), value and weight as numbers,
            title, genres and features as text; the type of other columns is inferred.
        separator: separator of text files, one or more characters; None = detected in the first line.
        header: whether the first line of a text file names the columns; else give positions.
        encoding: encoding of text files.
        key: the setting to name in the message about a missing file.

    Raises:
        DataError: no such file, no such column, an empty or binary file, or a malformed line.
    """
    files = find_files(path, key)
    parts = []
    for file in files:
        try:
            part = (
                _read_parquet(file, columns)
                if file.suffix in (".parquet", ".pq")
                else _read_text(file, columns, separator, header, encoding)
            )
        except MissingColumn as error:
            wanted = next((role for role, column in columns.items() if f"no column {column!r}." in str(error)), None)
            hint = f" Name it: {key.rpartition('.')[0]}.{wanted}=<column>." if "." in key and wanted else ""
            raise MissingColumn(f"{error}{hint}") from error
        except OSError as error:
            raise DataError(f"{file} cannot be read: {error}") from error
        parts.append(part)
    try:
        table = pa.concat_tables(parts, promote_options="permissive").unify_dictionaries()
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise DataError(f"The files of {path} do not fit together: {error}") from error
    if not len(table):
        raise DataError(f"{path} is empty: it holds no row of data.")
    starts = np.cumsum([0, *map(len, parts)])

    def where(row: int) -> str:
        index = int(np.searchsorted(starts, row, side="right")) - 1
        return place(files[index], row - int(starts[index]), header)

    frame = pd.DataFrame({name: as_ids(table[name].to_pandas()) for name in table.column_names})
    return Table(frame, where, files[0].name if len(files) == 1 else f"{len(files)} files of {path}")


def find_files(path: str | Path, key: str) -> list[Path]:
    """Returns the files of a path, folder or glob, sorted by name.

    Raises:
        DataError: there is none.
    """
    place = Path(path).expanduser()
    if place.is_file():
        return [place]
    found = place.iterdir() if place.is_dir() else map(Path, glob.glob(str(place)))
    files = sorted(file for file in found if file.is_file() and not file.name.startswith("."))
    if not files:
        what = "No file in the folder" if place.is_dir() else "No such file:"
        advice = f"Set {key} to a file, a folder of files, or a glob such as 'logs/*.csv'."
        raise DataError(f"{what} {place.absolute()}. {advice}")
    return files


def resolve(column: str | int, found: Sequence[str], source: str, hint: str = "") -> str:
    """Returns the name of a column given by name or position.

    Raises:
        DataError: there is no such column (`MissingColumn` for a name); the message lists the columns found and
            suggests a similar one.
    """
    if isinstance(column, int) and not isinstance(column, bool):
        if 0 <= column < len(found):
            return found[column]
        raise DataError(
            f"{source} has {len(found)} columns; there is none at position {column} (the first is 0).{hint}"
        )
    for name in found:
        if name.strip() == str(column).strip():
            return name
    close = difflib.get_close_matches(str(column), found, n=1, cutoff=0.5)
    suggestion = f" Did you mean {close[0]!r}?" if close else ""
    raise MissingColumn(f"{source} has no column {column!r}. Found: {', '.join(map(repr, found))}.{suggestion}{hint}")


def _open(path: Path) -> io.BufferedReader:
    return io.BufferedReader(pa.input_stream(str(path), compression="detect"))


def _decoded(path: Path, number: int, line: bytes, encoding: str) -> Iterable[tuple[int, str]]:
    if b"\0" in line:
        archive = line.startswith(b"PK") and number == 1
        advice = "It is a spreadsheet or a ZIP archive: export a CSV file, or unpack it." if archive else (
            "Give a CSV, TSV or Parquet file; save UTF-16 text as UTF-8 first."
        )  # fmt: skip
        raise DataError(f"{path}, line {number}: not a text file (it holds zero bytes). {advice}")
    try:
        text = line.decode(encoding)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}, line {number}: byte {error.object[error.start]:#04x} is not {encoding} text. "
            "Set the file's encoding, for example encoding=latin-1."
        ) from error
    except LookupError as error:
        raise ConfigError(f"There is no encoding {encoding!r}. Common ones: utf-8, latin-1.") from error
    return [(number, text)] if text.strip("\r\n") else []


def sniffed(path: Path, line: str) -> str:
    """Returns the separator found in the first line of a file.

    Raises:
        DataError: there is none.
    """
    for separator in SEPARATORS:
        if separator in line:
            return separator
    problem = f"no separator found in {line.strip()[:80]!r}"
    raise DataError(f"{path}, line 1: {problem}. Set separator, for example separator=';'.")


def _read_text(
    path: Path, columns: Mapping[str, str | int], separator: str | None, header: bool, encoding: str
) -> pa.Table:
    first = next(Text(path, ",", header, encoding).lines(), None)
    if first is None:
        raise DataError(f"{path} is empty.")
    text = Text(path, separator or sniffed(path, first[1].removeprefix("\ufeff")), header, encoding)
    cells = text.fields(first[1].removeprefix("\ufeff"))
    found = cells if header else [f"f{position}" for position in range(len(cells))]
    names = {role: resolve(column, found, str(path), _hint(text, cells, column)) for role, column in columns.items()}
    try:
        return _parse(text, names, {name: _TYPES[role] for role, name in names.items() if role in _TYPES})
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        _explain(text, {role: found.index(name) for role, name in names.items()}, len(found))
        problem = error
    try:  # the inferred type changes further down, for example from integers to fractions
        return _parse(text, names, {name: _TYPES.get(role, pa.string()) for role, name in names.items()})
    except pa.ArrowInvalid:
        raise DataError(f"{path}: {problem}") from problem


def _hint(text: Text, cells: list[str], column: str | int) -> str:
    if not text.header and not isinstance(column, int):
        return " Without a header line columns are positions: 0, 1, 2 ..."
    if text.header and all(cell.replace(".", "", 1).replace("-", "", 1).isdigit() for cell in cells):
        return " The first line looks like data: set header=false and give positions (user=0, item=1 ...)."
    return f" (Fields are separated by {text.separator!r}.)" if len(cells) == 1 else ""


def _parse(text: Text, names: Mapping[str, str], types: Mapping[str, pa.DataType]) -> pa.Table:
    single = len(text.separator) == 1
    read = pa.csv.ReadOptions(autogenerate_column_names=not text.header, encoding=text.encoding)
    parse = pa.csv.ParseOptions(delimiter=text.separator if single else _PLAIN, quote_char='"' if single else False)
    convert = pa.csv.ConvertOptions(
        include_columns=list(dict.fromkeys(names.values())),
        column_types=types,
        null_values=[""],
        strings_can_be_null=True,
    )
    with pa.input_stream(str(text.path), compression="detect") as stream:
        if not single:
            content, separator = stream.read(), text.separator.encode(text.encoding)
            if _PLAIN.encode(text.encoding) in content:
                raise DataError(
                    f"{text.path}: holds the control character \\x1f; remove it, or use a one-character separator."
                )
            stream = pa.BufferReader(content.replace(separator, _PLAIN.encode(text.encoding)))
        table = pa.csv.read_csv(stream, read_options=read, parse_options=parse, convert_options=convert)
    return pa.table({role: table[name] for role, name in names.items()})


def _explain(text: Text, positions: Mapping[str, int], width: int) -> None:
    """Raises a DataError for the first invalid line; returns if there is none."""
    for number, line in itertools.islice(text.lines(), int(text.header), None):
        cells = text.fields(line)
        if len(cells) != width:
            raise DataError(
                f"{text.path}, line {number}: {len(cells)} fields separated by {text.separator!r} where the first line "
                f"has {width}: {line.strip()[:80]!r}."
            )
        for role in ("value", "weight"):
            if role in positions and cells[positions[role]]:
                _number(cells[positions[role]], f"{text.path}, line {number}", LABELS.get(role, role))


def _number(cell: str, place: str, label: str) -> float:
    try:
        return float(cell)
    except ValueError:
        hint = " Decimals are written with a point." if cell.replace(",", "", 1).strip().isdigit() else ""
        raise DataError(f"{place}: the {label} {cell!r} is not a number.{hint}") from None


def _read_parquet(path: Path, columns: Mapping[str, str | int]) -> pa.Table:
    try:
        found = pa.parquet.read_schema(path).names
        names = {role: resolve(column, found, str(path)) for role, column in columns.items()}
        table = pa.parquet.read_table(path, columns=list(dict.fromkeys(names.values())))
    except pa.ArrowInvalid as error:
        raise DataError(f"{path} is not a Parquet file, or is damaged: {error}") from error
    return pa.table({role: _numeric(table[name], role, f"{path}: column {name!r}") for role, name in names.items()})


def _numeric(column: pa.ChunkedArray, role: str, place: str) -> pa.ChunkedArray:
    if role not in ("value", "weight"):
        return column
    try:
        return column.cast(pa.float64())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(f"{place} does not hold numbers ({LABELS.get(role, role)}): {error}") from error


def as_ids(column: pd.Series) -> pd.Series:
    """Converts text ids to integers if all of them are written as integers ("007" is not and stays text)."""
    if not isinstance(column.dtype, pd.CategoricalDtype):
        return column
    names = column.cat.categories.astype(str).str.strip()
    codes = column.cat.codes.to_numpy()
    if len(names) and (codes >= 0).all() and names.str.fullmatch(r"0|-?[1-9][0-9]{0,17}").all():
        return pd.Series(names.astype("int64").to_numpy()[codes], name=column.name)
    return column


def place(path: Path, row: int, header: bool) -> str:
    """Returns the location of a row: the line of a text file, counting empty lines, or the row of a Parquet file."""
    if path.suffix in (".parquet", ".pq"):
        return f"{path}, row {row + 1}"
    with _open(path) as stream:
        filled = (number for number, line in enumerate(stream, start=1) if line.strip(b"\r\n"))
        return f"{path}, line {next(itertools.islice(filled, row + int(header), None))}"
