"""Stoplist: removes items whose text (title, categories) contains certain words."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from nnrec.core.errors import ConfigError, DataError
from nnrec.data.vocabulary import Vocabulary

if TYPE_CHECKING:
    from rich.console import Console

# A list of words, or the path of a file of words.
Words = Iterable[Any] | str | Path
# Maximum number of caught items that are shown.
SHOWN = 50

_TOKEN = re.compile(r"\||[^\W_]+(?:'[^\W_]+)*")
_COMMENT = re.compile(r"(^|\s)#.*")


def read_words(source: Words, key: str) -> list[str]:
    """Returns the words and phrases of a list, or of a UTF-8 text file with one per line.

    Args:
        source: the list, or the file's path. In a file, empty lines are skipped, and so are comments: a "#" at the
            start of a line or after a space, and the rest of the line.
        key: the setting that holds the source, for error messages.

    Raises:
        DataError: the file is missing, empty, or not text.
        ConfigError: not a list of words; an empty list; a word without a letter or digit.
    """
    if isinstance(source, (str, Path)):
        words = _words_of_file(Path(source).expanduser(), key)
    elif isinstance(source, Iterable) and not isinstance(source, Mapping):
        words = ["" if word is None else str(word).strip() for word in source]
    else:
        raise ConfigError(f"{key} must be a list of words, such as [gore,blood], or a file. Received: {source!r}")
    if not words:
        raise ConfigError(f"{key} is empty: give at least one word, or null to leave it out.")
    for word in words:
        if not any(map(str.isalnum, word)):
            raise ConfigError(f"{key} holds {word!r}, which has no letter or digit to look for: remove it.")
    return words


def catch(table: pd.DataFrame | None, items: Vocabulary, words: Sequence[str], key: str) -> pd.DataFrame:
    """Returns the items that a stoplist catches.

    Words are compared by stem (Snowball's English stemmer), ignoring case: "drug" catches "Drugs" and "drugged", not
    "drugstore"; "sex" catches "Sexes", not "Essex", "sexy" or "sexual". A word is a sequence of letters, digits and
    apostrophes, so "sci-fi" is a phrase of two words. The words of a phrase must be adjacent within one title, or
    within one of the categories separated by "|". All text columns of the table are searched.

    Args:
        table: (num_items rows) the item table; None = there is none.
        items: vocabulary of the items.
        words: words and phrases.
        key: the setting that holds the words, for error messages.

    Returns:
        Columns item (index, ascending), item_id, title (missing if unknown) and word (the words that caught the item,
        joined by commas).

    Raises:
        DataError: there is no text to match.
    """
    import snowballstemmer

    if table is None:
        raise DataError(
            f"{key} matches words against titles and categories, but there is no item table. Give one "
            "(data.source.item_table), or leave the words out."
        )
    columns = [column for name in table.columns if _is_text(column := table[name])]
    if not columns:
        raise DataError(
            f"{key} matches words against titles and categories, but no column of the item table is text. "
            f"Found: {', '.join(map(str, table.columns)) or 'none'}."
        )
    stem = cache(snowballstemmer.stemmer("english").stemWord)
    needles = {word: _stems(word, stem) for word in words}
    cells = zip(*(column.astype(object).where(column.notna(), "") for column in columns), strict=True)
    found = []
    for item, row in enumerate(cells):
        text = _stems("|".join(map(str, row)), stem)
        if caught := [word for word, needle in needles.items() if needle in text]:
            found.append((item, ", ".join(caught)))
    result = pd.DataFrame(found, columns=["item", "word"]).astype({"item": "int64"})
    titles = table["title"] if "title" in table.columns else pd.Series(pd.NA, index=table.index, dtype=object)
    result.insert(1, "item_id", items.ids[result["item"]])
    result.insert(2, "title", titles.iloc[result["item"]].to_numpy())
    return result


def in_words(words: Sequence[str], shown: int = 10) -> str:
    """Formats the words on one line; a long list is shortened to its first few."""
    return ", ".join(words[:shown]) + (f", ... ({len(words):,} words)" if len(words) > shown else "")


def records(caught: pd.DataFrame) -> list[dict[str, Any]]:
    """Converts the result of `catch` to JSON types: item_id, title (None if unknown) and word of each item."""
    names = ["item_id", "title", "word"]
    plain = caught[names].astype(object)
    rows = plain.where(plain.notna(), None).itertuples(index=False, name=None)
    return [dict(zip(names, row, strict=True)) for row in rows]


def print_caught(caught: Sequence[Mapping[str, Any]], heading: str, console: Console, shown: int = SHOWN) -> None:
    """Prints the first `shown` items (see `records`), one per line, with the words that caught them.

    Titles are never truncated or wrapped, so that the output can be searched.
    """
    console.print(heading, markup=False, highlight=False, soft_wrap=True)
    width = max((len(entry["word"]) for entry in caught[:shown]), default=0)
    for entry in caught[:shown]:
        name = f"item {entry['item_id']}" if entry["title"] is None else entry["title"]
        console.print(f"  {entry['word']:{width}}  {name}", markup=False, highlight=False, soft_wrap=True)
    if len(caught) > shown:
        console.print(f"  ... and {len(caught) - shown:,} more", highlight=False)


def _words_of_file(path: Path, key: str) -> list[str]:
    if not path.is_file():
        raise DataError(
            f"No such file: {path.absolute()}. {key} is a file with a word or phrase a line, or a list of words, such "
            f"as [{path.name}]."
        )
    words = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            text = line.decode("utf-8").removeprefix("\ufeff")
        except UnicodeDecodeError as error:
            raise DataError(f"{path}, line {number}: not UTF-8 text. Save the file as UTF-8.") from error
        if word := _COMMENT.sub("", text).strip():
            words.append(word)
    if not words:
        raise DataError(f"{path} ({key}) holds no word: give a word or phrase a line.")
    return words


def _stems(text: str, stem: Callable[[str], str]) -> str:
    """Returns the stems of all words, separated and enclosed by spaces; "|" stays, so that phrases do not cross it."""
    tokens = _TOKEN.findall(text.replace("\u2019", "'").lower())
    return f" {' '.join(map(stem, tokens))} "


def _is_text(column: pd.Series) -> bool:
    dtype = column.dtype.categories.dtype if isinstance(column.dtype, pd.CategoricalDtype) else column.dtype
    return pd.api.types.is_object_dtype(dtype) or pd.api.types.is_string_dtype(dtype)
