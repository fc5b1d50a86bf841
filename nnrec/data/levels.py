"""The distinct values of a column and their codes; tens of millions, without a Python object for each."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import numpy as np
import pandas as pd
import pyarrow as pa

from nnrec.core.jit import compiled
from nnrec.data.vocabulary import Vocabulary

_EMPTY = np.zeros(0, np.uint64)


class Levels:
    """Distinct strings, each with a code 0, 1, 2 ... in the order of arrival.

    Strings are distinguished by a 64-bit hash: among n strings, two have the same hash with probability n^2 / 2^65
    (3e-6 for ten million). Each level takes 8 bytes for its hash and about 12 in the hash table, besides its string,
    which may be in a memory-mapped file.

    Args:
        strings: the levels in the order of their codes, distinct and without nulls.
    """

    def __init__(self, strings: pa.Array | pa.ChunkedArray | None = None) -> None:
        if strings is None:
            strings = pa.chunked_array([], pa.string())
        self._parts = list(strings.chunks) if isinstance(strings, pa.ChunkedArray) else [strings]
        self._count = len(strings)
        self._hashes: np.ndarray | None = None
        self._slots: np.ndarray | None = None

    def __len__(self) -> int:
        return self._count

    @property
    def strings(self) -> pa.ChunkedArray:
        """The levels in the order of their codes."""
        return pa.chunked_array(self._parts, pa.string())

    @property
    def hashes(self) -> np.ndarray:
        """(n,) uint64, the hash of each level."""
        if self._hashes is None:
            self._hashes = np.concatenate([_EMPTY, *map(hashed, self._parts)])
        return self._hashes[: self._count]

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The levels as raw ids; integers if all are written as integers."""
        from nnrec.data.files.tables import as_ids

        names = self.strings.to_pandas()
        codes = pd.Categorical.from_codes(np.arange(len(names)), dtype=pd.CategoricalDtype(names))
        return Vocabulary(as_ids(pd.Series(codes)) if len(names) else names)

    def add(self, column: pa.Array) -> np.ndarray:
        """Returns the codes of a column of strings, after adding its new levels; int32, -1 for null."""
        self._make_room(len(column))
        assert self._hashes is not None and self._slots is not None
        codes, new = _added(hashed(column), _valid(column), self._hashes, self._slots, self._count)
        if len(new):
            self._parts.append(column.take(pa.array(new)))
            self._count += len(new)
        return codes

    def find(self, column: pa.Array | pa.ChunkedArray) -> np.ndarray:
        """Returns the codes of a column of strings; int32, -1 for null and for unknown strings."""
        self._make_room(0)
        assert self._hashes is not None and self._slots is not None
        parts = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
        found = [_found(hashed(part), _valid(part), self._hashes, self._slots) for part in parts]
        return np.concatenate([np.zeros(0, np.int32), *found])

    def take(self, codes: np.ndarray) -> Levels:
        """Returns the levels with these codes, renumbered 0, 1, 2 ..."""
        return Levels(self.strings.take(pa.array(codes)))

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns the levels as `text`, (bytes,) uint8, their UTF-8 concatenated, and `ends`, (n,) int64."""
        text = [_bytes(part) for part in self._parts]
        lengths = [np.diff(_offsets(part)) for part in self._parts]
        ends = np.cumsum(np.concatenate([np.zeros(0, np.int64), *lengths]), dtype=np.int64)
        return {"text": np.concatenate([np.zeros(0, np.uint8), *text]), "ends": ends}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Levels:
        """Restores the levels from the result of `arrays`."""
        ends, text = np.concatenate([[0], arrays["ends"]]), np.ascontiguousarray(arrays["text"])
        buffers = [None, pa.py_buffer(ends.astype(np.int64)), pa.py_buffer(text)]
        strings = pa.Array.from_buffers(pa.large_string(), len(ends) - 1, buffers)
        return cls(pa.chunked_array([strings]).cast(pa.string()))

    def _make_room(self, more: int) -> None:
        """Enlarges the hash table if needed, so that it is at most half full with `more` new levels."""
        hashes, least = self.hashes, self._count + more
        if self._slots is not None and 2 * least <= len(self._slots) and len(self._hashes) >= least:  # type: ignore[arg-type]
            return
        size = 1 << max(2 * least - 1, 1023).bit_length()
        self._hashes = np.zeros(size // 2, np.uint64)
        self._hashes[: self._count] = hashes
        self._slots = _table(hashes, size)


def hashed(column: pa.Array) -> np.ndarray:
    """Returns (n,) uint64 hashes of strings; a string has the same hash on every machine."""
    return _hash(_bytes(column), _offsets(column))


def as_text(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Converts a column of any simple type to strings; whole numbers are written without a decimal point."""
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(column, pa.DictionaryArray):
        column = column.dictionary_decode()
    if pa.types.is_floating(column.type):
        numbers = column.to_numpy(zero_copy_only=False)
        missing = np.isnan(numbers)
        if (numbers[~missing] % 1 == 0).all():
            whole = np.where(missing, 0, numbers).astype(np.int64)
            column = pa.array(whole, mask=missing)
        else:
            column = pa.array(numbers, mask=missing)
    return column if column.type == pa.string() else column.cast(pa.string())


def _offsets(column: pa.Array) -> np.ndarray:
    """(n + 1,) start of each string in `_bytes`."""
    if not len(column):
        return np.zeros(1, np.int32)
    offsets = np.frombuffer(column.buffers()[1], np.int32)[column.offset : column.offset + len(column) + 1]
    return offsets - offsets[0]


def _bytes(column: pa.Array) -> np.ndarray:
    """(bytes,) uint8, the concatenated strings."""
    text = column.buffers()[2] if len(column) else None
    if text is None:
        return np.zeros(0, np.uint8)
    offsets = np.frombuffer(column.buffers()[1], np.int32)
    return np.frombuffer(text, np.uint8)[offsets[column.offset] : offsets[column.offset + len(column)]]


def _valid(column: pa.Array) -> np.ndarray:
    return column.is_valid().to_numpy(zero_copy_only=False) if column.null_count else np.ones(len(column), bool)


@compiled
def _hash(text, offsets):
    # FNV-1a, then the finaliser of MurmurHash3, so that the low bits are as good as the high ones.
    result = np.empty(len(offsets) - 1, np.uint64)
    for number in range(len(result)):
        bits = np.uint64(0xCBF29CE484222325)
        for place in range(offsets[number], offsets[number + 1]):
            bits = (bits ^ np.uint64(text[place])) * np.uint64(0x100000001B3)
        bits = (bits ^ bits >> np.uint64(33)) * np.uint64(0xFF51AFD7ED558CCD)
        bits = (bits ^ bits >> np.uint64(33)) * np.uint64(0xC4CEB9FE1A85EC53)
        result[number] = bits ^ bits >> np.uint64(33)
    return result


@compiled
def _table(hashes, size):
    slots = np.full(size, -1, np.int32)
    for code in range(len(hashes)):
        slot = hashes[code] & np.uint64(size - 1)
        while slots[slot] >= 0:
            slot = (slot + np.uint64(1)) & np.uint64(size - 1)
        slots[slot] = code
    return slots


@compiled
def _added(wanted, valid, hashes, slots, count):
    codes, new, last = np.full(len(wanted), -1, np.int32), np.empty(len(wanted), np.int64), np.uint64(len(slots) - 1)
    first = count
    for row in range(len(wanted)):
        if valid[row]:
            slot = wanted[row] & last
            while slots[slot] >= 0 and hashes[slots[slot]] != wanted[row]:
                slot = (slot + np.uint64(1)) & last
            if slots[slot] < 0:
                slots[slot], hashes[count], new[count - first] = count, wanted[row], row
                count += 1
            codes[row] = slots[slot]
    return codes, new[: count - first]


@compiled
def _found(wanted, valid, hashes, slots):
    codes, last = np.full(len(wanted), -1, np.int32), np.uint64(len(slots) - 1)
    for row in range(len(wanted)):
        if valid[row]:
            slot = wanted[row] & last
            while slots[slot] >= 0 and hashes[slots[slot]] != wanted[row]:
                slot = (slot + np.uint64(1)) & last
            codes[row] = slots[slot]
    return codes
