"""What several test modules share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def real_data() -> Callable[[str], Path]:
    """The folder of a real data set by name; skips the test where it is absent (set NNREC_DATA)."""

    def folder(name: str) -> Path:
        path = Path(os.environ.get("NNREC_DATA") or ROOT.parent / "shared" / "data") / name
        if not path.is_dir():
            pytest.skip(f"no {name} in {path.parent}: set NNREC_DATA")
        return path

    return folder
