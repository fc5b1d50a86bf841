"""Stoplist: words that keep items out, matched against what is written about the items."""

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

# Words as a list, or a file of them.
Words = Iterable[Any] | str | Path
# So many of the items caught are shown.
SHOWN = 50

_TOKEN = re.compile(r"\||[^\W_]+(?:'[^\W_]+)*")
_COMMENT = re.compile(r"(^|\s)#.*")


def read_words(source: Words, key: str) -> list[str]:
    """Words and phrases from a list, or from a text file (UTF-8) with one a line.

    Args:
        source: the list, or the file's path. In a file empty lines are skipped, and so is what follows a "#" at the
            beginning of a line or after a space.
        key: the setting that holds it, for messages.

    Raises:
        DataError: the file is missing, empty, or not text.
        ConfigError: no list of words; an empty list; a word without a letter or digit.
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
    """The items that a stoplist catches.

    Words are compared by stem (Snowball's English stemmer), whatever their case: "drug" catches "Drugs" and "drugged",
    not "drugstore"; "sex" catches "Sexes", not "Essex", "sexy" or "sexual". A word is a run of letters, digits and
    apostrophes, so "sci-fi" is a phrase of two; the words of a phrase must follow each other in one title, or in one
    of the categories that a "|" separates. All text columns of the table are searched.

    Args:
        table: (num_items rows) what is known about the items; None = nothing.
        items: their vocabulary.
        words: words and phrases.
        key: the setting that holds them, for messages.

    Returns:
        Columns item (index, ascending), item_id, title (missing where unknown) and word (those that caught it, joined
        by a comma).

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
    """The words on one line, the first few of a long list."""
    return ", ".join(words[:shown]) + (f", ... ({len(words):,} words)" if len(words) > shown else "")


def records(caught: pd.DataFrame) -> list[dict[str, Any]]:
    """What `catch` returned as item_id, title (None where unknown) and word, in plain types that JSON can hold."""
    names = ["item_id", "title", "word"]
    plain = caught[names].astype(object)
    rows = plain.where(plain.notna(), None).itertuples(index=False, name=None)
    return [dict(zip(names, row, strict=True)) for row in rows]


def print_caught(caught: Sequence[Mapping[str, Any]], heading: str, console: Console, shown: int = SHOWN) -> None:
    """Prints items (see `records`) a line each, with the word that caught them; only the first of many.

    Titles are never cut or wrapped, so that they can be searched for.
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
    """The stems of all words, each with a space on either side; a "|" stays, so that no phrase reaches across it."""
    tokens = _TOKEN.findall(text.replace("\u2019", "'").lower())
    return f" {' '.join(map(stem, tokens))} "


def _is_text(column: pd.Series) -> bool:
    dtype = column.dtype.categories.dtype if isinstance(column.dtype, pd.CategoricalDtype) else column.dtype
    return pd.api.types.is_object_dtype(dtype) or pd.api.types.is_string_dtype(dtype)
