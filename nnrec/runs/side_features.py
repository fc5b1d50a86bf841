"""Side features of users and items kept in a run, so that any user-item pair can be scored without the data."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nnrec.data.encoding.fields import Fields
from nnrec.data.impressions import CHUNK_ROWS

if TYPE_CHECKING:
    import pandas as pd

    from nnrec.batches.protocol import Batch
    from nnrec.data.encoding.encoder import Encoder
    from nnrec.runs.folder import RunFolder
    from nnrec.splits.impressions import Examples


@dataclass(frozen=True, eq=False)
class Sides:
    """The encoder of a run, and the encoded side fields of each of its users and items.

    Attributes:
        encoder: fitted on the training data.
        arrays: `user.known` and `item.known`, (num_users,) and (num_items,) boolean: whether a training row exists;
            `user.categorical` and so on: the side's fields in the last training row of each known user or item.
    """

    encoder: Encoder
    arrays: dict[str, np.ndarray]

    @classmethod
    def of(cls, train: Examples) -> Sides:
        """Takes the fields of each user and item from the training rows."""
        arrays = {}
        for role in ("user", "item"):
            last = train.last_rows(role)
            arrays[f"{role}.known"] = last >= 0
            rows, columns = last[last >= 0], columns_of_fields(train.fields, train.encoder.schema.side(role))
            chunks = [
                train.encoded(rows[start : start + CHUNK_ROWS]) for start in range(0, max(len(rows), 1), CHUNK_ROWS)
            ]
            for name, places in columns.items():
                arrays[f"{role}.{name}"] = np.concatenate([chunk[name][:, places] for chunk in chunks])
        return cls(train.encoder, arrays)

    @classmethod
    def read(cls, folder: RunFolder) -> Sides:
        """Reads the files that `write` wrote.

        Raises:
            RunError: a file is missing or damaged.
        """
        from nnrec.data.encoding.encoder import Encoder

        return cls(Encoder.from_arrays(folder.read_arrays("encoder.npz")), folder.read_arrays("sides.npz"))

    def write(self, folder: RunFolder) -> None:
        """Writes encoder.npz and sides.npz to a run folder."""
        folder.write_arrays("encoder.npz", self.encoder.arrays())
        folder.write_arrays("sides.npz", self.arrays)

    def known(self, role: str) -> np.ndarray:
        """(num_users,) or (num_items,) boolean: which users or items have a training row."""
        return self.arrays[f"{role}.known"]

    def batch(self, role: str, which: np.ndarray, given: pd.DataFrame) -> Batch:
        """Encodes one row for each given user or item.

        Args:
            role: "user" or "item".
            which: (m,) indices, -1 for an unknown user or item.
            given: m raw rows with further columns of the data: context, or changed features of the user. Columns that
                are absent are missing values.

        Raises:
            DataError: a numeric column holds values that are not numbers.
        """
        batch = self.encoder.encode_frame(given)
        known = self.known(role)
        place = np.cumsum(known) - 1
        filled = (which >= 0) & known[np.maximum(which, 0)] if len(known) else np.zeros(len(which), bool)
        names = [name for name in self.encoder.schema.side(role) if name not in given.columns]
        side = columns_of_fields(self.encoder.fields, self.encoder.schema.side(role))
        for name, columns in columns_of_fields(self.encoder.fields, names).items():
            stored = self.arrays[f"{role}.{name}"][:, np.isin(side[name], columns)]
            batch[name][np.ix_(filled, columns)] = stored[place[which[filled]]]
        return batch


def columns_of_fields(fields: Fields, names: Collection[str]) -> dict[str, np.ndarray]:
    """The columns of each array of a batch that belong to these fields, ascending."""
    slices = zip(fields.multi, fields.multi_slices, strict=True)
    multi = [np.arange(within.start, within.stop) for name, within in slices if name in names]
    places = {
        "categorical": [place for place, name in enumerate(fields.categorical) if name in names],
        "multi": np.concatenate(multi) if multi else [],
        "numeric": [place for place, name in enumerate(fields.numeric) if name in names],
    }
    found = {name: np.array(columns, np.int64) for name, columns in places.items()}
    return found | {"multi_share": found["multi"]}
