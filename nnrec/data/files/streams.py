"""Chunk by chunk reading of columns of text and Parquet files: never a whole file in memory."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from nnrec.core.errors import ConfigError, DataError
from nnrec.data.files.tables import Text, find_files, place, resolve, sniffed

BLOCK_BYTES = 2**24
BATCH_ROWS = 2**17

# Rows, and the position in the file, in bytes, up to which it is read.
_Batch: TypeAlias = tuple[pa.RecordBatch, int]


class Chunk(NamedTuple):
    """Some rows of a source.

    Attributes:
        columns: name -> array; those of text files are strings.
        where: maps a row (counted from 0) to its location, such as "log.csv, line 12".
        part: 0 = training file, 1 = validation file, 2 = test file.
        size: approximate number of bytes read from the source for these rows.
    """

    columns: Mapping[str, pa.Array]
    where: Callable[[int], str]
    part: int = 0
    size: int = 0


class TableFiles:
    """CSV, TSV or Parquet files with the same columns (text also as .gz, .bz2, .zst), read sequentially.

    Args:
        path: a file, a folder of files, or a glob; several files are read in the order of their names.
        separator: separator of text files, one character; None = detected in the first line.
        header: whether the first line of a text file names the columns.
        encoding: encoding of text files.
        missing: texts that mark a missing value in a text file.
        key: the setting to name in the message about a missing file.
        names: names of the columns without a header; None = 0, 1, 2 ...

    Raises:
        DataError: no such file, an empty file, or a number of columns different from that of `names`.
        ConfigError: a separator of several characters.
    """

    def __init__(
        self,
        path: str | Path,
        separator: str | None = None,
        header: bool = True,
        encoding: str = "utf-8",
        missing: Sequence[str] = ("",),
        key: str = "data.source.path",
        names: Sequence[str] | None = None,
    ) -> None:
        self.files = find_files(path, key)
        self.separator, self.header, self.encoding, self.missing = separator, header, encoding, list(missing)
        self._given = names
        if separator is not None and len(separator) != 1:
            raise ConfigError(f"Impressions need a separator of one character. Received: {separator!r}")
        self.names = self._names(self.files[0])

    def _names(self, file: Path) -> list[str]:
        """Returns the names of a file's columns."""
        if _is_parquet(file):
            return _parquet(file).schema_arrow.names
        first = next(Text(file, ",", self.header, self.encoding).lines(), None)
        if first is None:
            raise DataError(f"{file} is empty.")
        cells = self._text(file, first[1]).fields(first[1].removeprefix("\ufeff"))
        if self.header:
            return cells
        if self._given is not None and len(self._given) != len(cells):
            raise DataError(
                f"{file}, line 1: {len(cells)} fields where there should be {len(self._given)}: "
                f"{first[1].strip()[:80]!r}."
            )
        return list(self._given or map(str, range(len(cells))))

    def _text(self, file: Path, line: str) -> Text:
        separator = self.separator or sniffed(file, line.removeprefix("\ufeff"))
        if len(separator) != 1:
            raise ConfigError(f"{file}: impressions need a separator of one character. Found: {separator!r}")
        return Text(file, separator, self.header, self.encoding)

    def chunks(self, columns: Mapping[str, str | int], part: int = 0) -> Iterator[Chunk]:
        """Yields the rows in chunks.

        Args:
            columns: name in the chunk -> name of the column in the files, or its position from 0.
            part: the part of the chunks, see `Chunk`.

        Raises:
            DataError: a column is missing, or a line cannot be read; the message states where.
        """
        for file in self.files:
            found = self._names(file)
            names = {name: resolve(column, found, str(file)) for name, column in columns.items()}
            read = self._parquet_batches if _is_parquet(file) else self._text_batches
            before, passed = 0, 0
            for batch, reached in read(file, names, found):
                arrays = {name: batch[of_file] for name, of_file in names.items()}
                yield Chunk(arrays, self._where(file, before), part, reached - passed)
                before, passed = before + len(batch), reached

    def _where(self, file: Path, before: int) -> Callable[[int], str]:
        return lambda row: place(file, before + row, self.header)

    def _parquet_batches(self, file: Path, names: Mapping[str, str], found: list[str]) -> Iterator[_Batch]:
        source, size, done = _parquet(file), file.stat().st_size, 0
        try:
            for batch in source.iter_batches(BATCH_ROWS, columns=list(dict.fromkeys(names.values()))):
                done += len(batch)
                yield batch, size * done // max(source.metadata.num_rows, 1)
        except (pa.ArrowInvalid, OSError) as error:
            raise DataError(f"{file} is damaged: {error}") from error

    def _text_batches(self, file: Path, names: Mapping[str, str], found: list[str]) -> Iterator[_Batch]:
        text = self._text(file, next(Text(file, ",", self.header, self.encoding).lines())[1])
        read = pa.csv.ReadOptions(
            block_size=BLOCK_BYTES, encoding=self.encoding, column_names=found, skip_rows=int(self.header)
        )
        parse = pa.csv.ParseOptions(delimiter=text.separator)
        wanted = list(dict.fromkeys(names.values()))
        convert = pa.csv.ConvertOptions(
            include_columns=wanted,
            column_types=dict.fromkeys(wanted, pa.string()),
            null_values=self.missing,
            strings_can_be_null=True,
        )
        done, size = 0, file.stat().st_size
        try:
            with pa.input_stream(str(file), compression="detect") as stream:
                for batch in pa.csv.open_csv(stream, read, parse, convert):
                    yield batch, min(stream.tell(), size) if stream.seekable() else 0
                    done += len(batch)
        except (pa.ArrowInvalid, UnicodeDecodeError, OSError) as error:
            raise _explained(text, len(found), done, error) from error


def _is_parquet(file: Path) -> bool:
    return file.suffix in (".parquet", ".pq")


def _parquet(file: Path) -> pa.parquet.ParquetFile:
    try:
        return pa.parquet.ParquetFile(file)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{file} is not a Parquet file, or is damaged: {error}") from error


def _explained(text: Text, width: int, done: int, error: Exception) -> DataError:
    """Returns the error of the first invalid line after `done` rows."""
    try:
        for number, line in itertools.islice(text.lines(), done + int(text.header), None):
            cells = text.fields(line)
            if len(cells) != width:
                return DataError(
                    f"{text.path}, line {number}: {len(cells)} fields separated by {text.separator!r} where the first "
                    f"line has {width}: {line.strip()[:80]!r}."
                )
    except DataError as found:
        return found
    return DataError(f"{text.path} cannot be read: {error}")
