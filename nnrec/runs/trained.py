"""A finished run, loaded from its folder: configuration, vocabularies, figures and, on demand, the model."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnrec.core.devices import backend
from nnrec.core.devices.strategy import one_of
from nnrec.data.families import Family, family_named
from nnrec.models.base.build import build_model
from nnrec.runs.folder import RunFolder
from nnrec.runs.latest import run_named
from nnrec.runs.result import Result
from nnrec.runs.side_features import Sides

if TYPE_CHECKING:
    import numpy as np

    from nnrec.data.rows import Rows
    from nnrec.models.base.scorer import Scorer


def load_run(path: str | Path) -> TrainedRun:
    """Loads a finished run from its folder alone.

    Args:
        path: the folder; "latest" = the newest finished run below runs/.

    Raises:
        RunError: the folder is missing or the run in it did not finish.
    """
    return TrainedRun(RunFolder.open(run_named(path)))


class TrainedRun:
    """A finished run: its model, its vocabularies, its figures.

    Args:
        folder: the run folder.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self.config = folder.read_config()
        self.users, self.items, self.item_table = folder.read_catalogue()
        self.metrics: dict[str, Any] = folder.read_json("metrics.json")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.folder.path)!r}, test={self.metrics['test']})"

    @property
    def family(self) -> Family:
        """The family of the training data."""
        return family_named(self.config.data.get("family"))

    @cached_property
    def result(self) -> Result:
        """The recorded results: the learning curve (`history`), and the lists and predictions on the test part."""
        return Result(self.folder)

    @cached_property
    def model(self) -> Scorer:
        """The trained model."""
        trainer = self.config.trainer
        target = self.config.model.get("_target_")
        backend.start(one_of(trainer.devices), trainer.precision, trainer.xla, self.config.verbose, target)
        sizes: dict[str, Any] = {"num_items": len(self.items)}
        sizes |= {"num_users": len(self.users)} if len(self.users) else {}
        if self.family.encoded:
            sizes = {"fields": self.sides.encoder.fields}
        model = build_model(self.config.model, self.config.seed, sizes)
        model.load_state(self.folder.read_arrays("weights.npz"))
        return model

    @cached_property
    def sides(self) -> Sides:
        """For impression models: the encoder, and the side features of each user and item."""
        return Sides.read(self.folder)

    @cached_property
    def histories(self) -> Rows:
        """Each user's ratings at training time, read from disk on demand."""
        return self.folder.read_histories(len(self.items))

    @cached_property
    def item_counts(self) -> np.ndarray:
        """(num_items,) the number of training ratings of each item."""
        return self.folder.read_arrays("item_counts.npz")["count"]
