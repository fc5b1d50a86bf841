from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnrec.core.errors import ConfigError
from nnrec.data.encoding.characters import ALPHABET, encode, num_codes


def spelt(codes: np.ndarray, alphabet: str) -> list[str]:
    return ["".join("_?"[code] if code < 2 else alphabet[code - 2] for code in row) for row in codes]


def test_codes_by_hand():
    # a b c = 2 3 4; other characters 1; padding 0; long texts are cut at the end
    assert encode(["Cab", "a-b", "", "abcabc"], 4, "abc").tolist() == [
        [4, 2, 3, 0],
        [2, 1, 3, 0],
        [0, 0, 0, 0],
        [2, 3, 4, 2],
    ]


def test_a_path_that_is_too_long_loses_its_beginning():
    assert spelt(encode(["Lighting > Desk Lamps", "Lighting and more"], 8), ALPHABET) == ["sk lamps", "lighting"]
    assert spelt(encode(["A > B"], 8), ALPHABET) == ["a > b___"]


def test_accents_are_taken_off_and_numbers_written_out():
    assert spelt(encode(["Café ÅÄÖ", 12, 12.0, 1.5, None, float("nan"), np.nan, "日"], 8), ALPHABET) == [
        "cafe aao", "12______", "12______", "1.5_____", "________", "________", "________", "?_______",
    ]  # fmt: skip


@given(st.lists(st.text(max_size=12), max_size=20), st.integers(1, 9))
def test_any_text_has_codes_of_the_alphabet(texts, width):
    codes = encode(texts, width)
    assert codes.shape == (len(texts), width) and codes.dtype == np.uint8
    assert codes.max(initial=0) < num_codes()
    for text, row in zip(texts, codes, strict=True):
        filled = np.flatnonzero(row)
        assert "\0" in text.lower() or (filled == np.arange(len(filled))).all()  # no gap, nothing before the text


@pytest.mark.parametrize("alphabet", ["aa", "aB", "", "".join(map(chr, range(0x3400, 0x3500)))])
def test_an_alphabet_that_cannot_be_is_refused(alphabet):
    with pytest.raises(ConfigError, match=r"model\.alphabet must hold 1 to 254 different characters"):
        encode(["x"], 3, alphabet)


@pytest.mark.parametrize("width", [0, -1, 2.5, True])
def test_a_width_that_cannot_be_is_refused(width):
    with pytest.raises(ConfigError, match=r"model\.characters must be a whole number"):
        encode(["x"], width)
