"""The files of a run folder: their names, reading, and atomic writing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from zipfile import BadZipFile, ZipFile

import numpy as np
import pandas as pd

from nnrec.core.calling import typed
from nnrec.core.config.old_names import with_current_names
from nnrec.core.errors import DataError, RunError
from nnrec.core.files import atomic, write_json, write_text
from nnrec.core.stored_arrays import StoredArray
from nnrec.data.catalogue import write_catalogue
from nnrec.data.rows import Rows
from nnrec.data.vocabulary import Vocabulary

if TYPE_CHECKING:
    from nnrec.data.load import Data


def _in_halves(values: np.ndarray) -> bool:
    """Whether all values are multiples of 0.5 of at most 63.5 in magnitude, so that one byte each suffices."""
    doubled = values * 2
    return bool(np.all((doubled == np.round(doubled)) & (np.abs(doubled) <= 127)))


def _write_header(file: IO[bytes], dtype: Any, length: int) -> None:
    """Writes the header of a one-dimensional array in NumPy's file format."""
    descr = np.lib.format.dtype_to_descr(np.dtype(dtype))
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": (length,)})


def _stored(path: Path) -> Any:
    """Opens a one-dimensional .npy file without reading it. int8 files count halves and are read as float32.

    Raises:
        RunError: the file is missing or damaged.
    """
    try:
        with path.open("rb") as file:
            np.lib.format.read_magic(file)
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
            if dtype.hasobject:
                raise ValueError("it holds objects")
            halves: dict[str, Any] = {"in_file": np.int8, "unit": 0.5} if dtype == np.int8 else {}
            return StoredArray(path, np.float32 if halves else dtype, shape, file.tell(), **halves)
    except (ValueError, OSError, DataError) as error:
        raise RunError(f"{path} is missing or damaged: {error}") from error


class RunFolder:
    """A run folder: everything that `predict.py` or a resumed training needs.

        config.yaml        the whole configuration
        weights.npz        the model's weights
        users.parquet, items.parquet      raw ids in index order
        item_table.parquet titles, genres, ... in index order (where the source has them)
        user_table.parquet gender, age group, ... in index order (likewise)
        histories/         each user's training ratings: CSR rows as offsets.npy, ids.npy, values.npy
        item_counts.npz    the number of these ratings per item
        data.json          the summary of the data
        metrics.json       validation, test, training and data figures
        history.csv        losses and metrics per epoch of the training with validation
        selection.json     the same, the best epoch and the figures on validation data
        checkpoint.npz     the state of the training, to resume from
        tensorboard/       event files
        report.html        the report page
        test_lists.npz, test_ratings.parquet, test_users.parquet, test_histories.parquet
                           lists, predictions and per-user metrics on the test part (only with `keep_histories`)

    Args:
        path: the folder.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @staticmethod
    def check_free(path: str | Path) -> None:
        """Checks that a new run can use this folder.

        Raises:
            RunError: the folder is not empty.
        """
        path = Path(path)
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise RunError(
                f"The run folder {path} is already in use. Choose another run_dir, remove it, or continue it with "
                f"resume={path}."
            )

    @classmethod
    def create(cls, path: str | Path) -> RunFolder:
        """Creates a new folder.

        Raises:
            RunError: the folder is not empty or cannot be created.
        """
        cls.check_free(path)
        folder = cls(path)
        try:
            folder.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"Cannot make the run folder {path}: {error.strerror}. Choose another run_dir.") from error
        return folder

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """Opens an existing folder.

        Raises:
            RunError: it does not exist or is not a run folder.
        """
        folder = cls(path)
        if not folder.path.is_dir():
            raise RunError(
                f"There is no run folder {folder.path.absolute()}. `ls runs/*/*` lists those made by default."
            )
        if not folder["config.yaml"].is_file():
            raise RunError(f"{folder.path.absolute()} is no run folder: it holds no config.yaml.")
        return folder

    def remove_leftovers(self) -> None:
        """Removes the temporary files of a killed run; call it only for a run that is about to resume."""
        for path in self.path.rglob(".*.tmp.*"):
            path.unlink(missing_ok=True)

    def __getitem__(self, name: str) -> Path:
        return self.path / name

    def write_text(self, name: str, text: str) -> None:
        write_text(self[name], text)

    def write_json(self, name: str, content: Any) -> None:
        write_json(self[name], content)

    def read_json(self, name: str) -> Any:
        """Reads a JSON file.

        Raises:
            RunError: the file is missing or damaged.
        """
        path = self._existing(name)
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise RunError(f"{path} is damaged: {error}") from error

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Writes config.yaml: the whole configuration, as plain dicts and values."""
        from omegaconf import OmegaConf

        self.write_text("config.yaml", OmegaConf.to_yaml(OmegaConf.create(dict(config))))

    def read_config(self) -> Any:
        """The configuration, read-only; import paths of earlier releases are replaced by current ones."""
        from omegaconf import OmegaConf

        plain: Any = OmegaConf.to_container(OmegaConf.load(self["config.yaml"]))
        config = OmegaConf.create(with_current_names(plain))
        OmegaConf.set_readonly(config, True)
        return config

    def write_arrays(self, name: str, arrays: Mapping[str, np.ndarray] | Iterable[tuple[str, np.ndarray]]) -> None:
        """Writes an uncompressed .npz. Pairs are written one by one, so that large arrays are not all in memory."""
        pairs = arrays.items() if isinstance(arrays, Mapping) else arrays
        with atomic(self[name]) as path, ZipFile(path, "w") as file:
            for key, array in pairs:
                with file.open(f"{key}.npy", "w", force_zip64=True) as entry:
                    np.lib.format.write_array(entry, np.asanyarray(array), allow_pickle=False)
                del array  # frees it before the next one is made

    def read_arrays(self, name: str) -> dict[str, np.ndarray]:
        """Reads an .npz; never unpickles.

        Raises:
            RunError: the file is missing or damaged.
        """
        path = self._existing(name)
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return dict(arrays)
        except (ValueError, OSError, EOFError, BadZipFile) as error:
            raise RunError(f"{path} is damaged: {error}") from error

    def write_catalogue(self, data: Data) -> None:
        """Writes vocabularies and the tables of items and users."""
        write_catalogue(self.path, data)

    def write_tables(self, tables: Mapping[str, pd.DataFrame | Mapping[str, np.ndarray]]) -> None:
        """Writes data frames as Parquet files and arrays as .npz files.

        Args:
            tables: file name -> content.
        """
        for name, content in tables.items():
            if isinstance(content, pd.DataFrame):
                with atomic(self[name]) as path:
                    content.to_parquet(path, index=False)
            else:
                self.write_arrays(name, content)

    def read_catalogue(self) -> tuple[Vocabulary, Vocabulary, pd.DataFrame | None]:
        """User vocabulary (empty for session models), item vocabulary, and item table (None if the source has none)."""
        users, items = (Vocabulary.load(self._existing(name)) for name in ("users.parquet", "items.parquet"))
        table = self["item_table.parquet"]
        return users, items, pd.read_parquet(table) if table.is_file() else None

    def read_user_table(self) -> pd.DataFrame | None:
        """The user table, one row per user in index order (None if the source has none)."""
        table = self["user_table.parquet"]
        return pd.read_parquet(table) if table.is_file() else None

    def write_histories(self, histories: Rows) -> None:
        """Writes the users' ratings; multiples of 0.5 up to 63.5 take one byte each."""
        compact = all(_in_halves(part.values) for part in histories.parts())
        with atomic(self["histories"] / "offsets.npy") as path:
            np.save(path, histories.offsets, allow_pickle=False)
        with (
            atomic(self["histories"] / "ids.npy") as ids,
            atomic(self["histories"] / "values.npy") as values,
            ids.open("wb") as ids_file,
            values.open("wb") as values_file,
        ):
            number = int(histories.offsets[-1])
            _write_header(ids_file, np.int32, number)
            _write_header(values_file, np.int8 if compact else np.float32, number)
            for part in histories.parts():
                ids_file.write(np.ascontiguousarray(part.ids, np.int32).data)
                doubled = (part.values * 2).astype(np.int8) if compact else part.values
                values_file.write(np.ascontiguousarray(doubled).data)

    def read_histories(self, num_items: int) -> Rows:
        """Opens the histories that `write_histories` wrote; ids and values stay on disk until rows are taken.

        Raises:
            RunError: the run was made with `keep_histories=false`, or the files are damaged.
        """
        if not self["histories"].is_dir():
            raise RunError(
                f"{self.path} keeps no histories (keep_histories=false): give those of the people you want "
                "recommendations for with histories=<file>."
            )
        offsets, ids, values = (_stored(self["histories"] / f"{name}.npy") for name in ("offsets", "ids", "values"))
        return Rows(np.asarray(offsets), ids, values, None, num_items)

    def _existing(self, name: str) -> Path:
        if not self[name].is_file():
            raise RunError(
                f"The run folder {self.path} has no {name}: the run did not finish. Continue it with "
                f"`{typed('train')} resume={self.path}`."
            )
        return self[name]
