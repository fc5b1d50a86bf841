"""Atomic writes: a file appears under its final name only when it is complete."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from nnrec.core.errors import RunError


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yields a temporary path for a new file or folder, and renames it to `path` if the block succeeds.

    Raises:
        RunError: the disk is full or the folder cannot be written; no partly written file is left.
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        reasons = {
            errno.ENOSPC: "the disk is full. Free some space",
            errno.EDQUOT: "the disk quota is used up. Free some space",
            errno.EFBIG: "files may not be that large here (ulimit -f). Raise the limit",
            errno.EPERM: "the system does not permit it. Choose another folder",
            errno.EACCES: "permission denied. Choose a folder you may write to",
            errno.ENAMETOOLONG: "its name is too long. Choose a shorter one",
            errno.EROFS: "the file system is read-only. Choose another folder",
            errno.EISDIR: "it is a folder. Choose another name",
            errno.ENOTDIR: "part of its path is a file, not a folder. Choose another folder",
            errno.EEXIST: "part of its path is a file, not a folder. Choose another folder",
        }
        reason = reasons.get(error.errno or 0)
        if error.errno == errno.ENOENT and Path(str(error.filename)) in (temporary, *path.parents):  # as in /proc
            reason = reasons[errno.EPERM]
        if reason is None:
            raise
        raise RunError(f"Cannot write {path}: {reason} and try again.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes a text file in UTF-8, atomically."""
    with atomic(path) as place:
        place.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Any) -> None:
    """Writes a JSON file, atomically."""
    write_text(path, json.dumps(content, indent=2) + "\n")
