"""Texts as character codes of a fixed width, for models that read text character by character."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Any

import numpy as np

from nnrec.core.errors import ConfigError

ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789 .,:;&'/|>()+-"
PATH = " > "  # separator of a category path, from general to specific
NONE, UNKNOWN, FIRST = 0, 1, 2  # codes: no character, one outside the alphabet, the alphabet's first
BLOCK = 2**16  # texts encoded at a time


def num_codes(alphabet: str = ALPHABET) -> int:
    """Returns the number of codes."""
    return FIRST + len(alphabet)


def encode(texts: Iterable[Any], width: int, alphabet: str = ALPHABET) -> np.ndarray:
    """Encodes each text as the codes of its characters.

    Texts are lower-cased and accents are removed. A text that is too long is cut at its end, or, if it is a category
    path ("Lighting > Desk Lamps"), at its start, the least specific part. Shorter texts are padded on the right with
    code 0.

    Args:
        texts: n texts; None and NaN are empty, numbers are converted to text.
        width: number of characters per text.
        alphabet: the characters with a code of their own, in the order of their codes, from 2 on; all others share
            code 1.

    Returns:
        (n, width) uint8.

    Raises:
        ConfigError: a width below 1; an alphabet with a character twice, an upper-case one, or more than 254.
    """
    check(alphabet, width)
    code = np.full(0x110000, UNKNOWN, np.uint8)
    code[0] = NONE
    code[[ord(c) for c in alphabet]] = FIRST + np.arange(len(alphabet))
    texts = list(texts)
    codes = np.empty((len(texts), width), np.uint8)
    for start in range(0, len(texts), BLOCK):
        # NumPy cuts and pads the strings; viewed as 32-bit numbers they are Unicode code points.
        block = np.array([_plain(text, width) for text in texts[start : start + BLOCK]], dtype=f"<U{width}")
        codes[start : start + BLOCK] = code[block.view("<u4").reshape(len(block), width)]
    return codes


def _plain(text: Any, width: int) -> str:
    """Returns the text in lower case and without accents; for a category path the last `width` characters."""
    if not isinstance(text, str):
        text = _written(text)
    text = text.lower()
    if not text.isascii():
        text = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return text[-width:] if len(text) > width and PATH in text else text


def _written(value: Any) -> str:
    if value is None or value != value:
        return ""
    whole = isinstance(value, (float, np.floating)) and float(value).is_integer()
    return str(int(value)) if whole else str(value)


def check(alphabet: str, width: int) -> None:
    """Raises ConfigError if alphabet or width is invalid for `encode`."""
    if isinstance(width, bool) or not isinstance(width, int) or width < 1:
        raise ConfigError(f"model.characters must be a whole number, 1 or more. Received: {width!r}")
    wrong = [c for c in alphabet if c != c.lower() or c == "\0"]
    if wrong or len(set(alphabet)) < len(alphabet) or not 0 < len(alphabet) <= 254:
        raise ConfigError(
            "model.alphabet must hold 1 to 254 different characters, none in upper case (texts are lower-cased). "
            f"Received: {alphabet!r}"
        )
