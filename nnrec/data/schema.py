"""The columns of impressions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nnrec.core.config.validate import meant
from nnrec.core.errors import ConfigError


@dataclass(frozen=True)
class Schema:
    """The columns and their roles.

    Attributes:
        categorical: columns with one value per row.
        multi: columns with any number of values per row.
        numeric: columns of numbers.
        user, item: the categorical columns with the ids of users and shown items; None = there is none.
        of_user, of_item: columns that describe the user or the item (age, genres ...). All others are context.

    Raises:
        ConfigError: a column is named twice, or in two roles, or does not exist; `user` or `item` is missing although
            `of_user` or `of_item` is given.
    """

    categorical: tuple[str, ...] = ()
    multi: tuple[str, ...] = ()
    numeric: tuple[str, ...] = ()
    user: str | None = None
    item: str | None = None
    of_user: tuple[str, ...] = ()
    of_item: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in self.columns:
            if self.columns.count(name) > 1:
                raise ConfigError(f"Column {name!r} is listed twice among the categorical, multi and numeric columns.")
        for role in ("user", "item"):
            name = getattr(self, role)
            if name is not None and name not in self.categorical:
                raise ConfigError(
                    f"The {role} column {name!r} must be one of the categorical columns: {', '.join(self.categorical)}."
                    + meant(name, self.categorical)
                )
            for other in getattr(self, f"of_{role}"):
                if other not in self.columns:
                    raise ConfigError(
                        f"{role}_columns names {other!r}, which is none of {', '.join(self.columns)}."
                        + meant(other, self.columns)
                    )
                if name is None:
                    raise ConfigError(f"{role}_columns needs the column of {role}s: set {role}.")
        if both := set(self.of_user) & set(self.of_item):
            raise ConfigError(f"Column {min(both)!r} cannot go with the user and with the item.")

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Schema:
        """Restores a schema from the result of `dataclasses.asdict`, also after a round trip through JSON."""
        arguments: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in plain.items()}
        return cls(**arguments)

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns."""
        return (*self.categorical, *self.multi, *self.numeric)

    @property
    def context(self) -> tuple[str, ...]:
        """Columns that describe neither the user nor the item."""
        return tuple(name for name in self.columns if name not in (*self.side("user"), *self.side("item")))

    def side(self, role: str) -> tuple[str, ...]:
        """Returns the column of users ("user") or items ("item") and those that describe it; () if there is none."""
        name = getattr(self, role)
        return () if name is None else (name, *(other for other in getattr(self, f"of_{role}") if other != name))
