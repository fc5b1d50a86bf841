"""Blend: a weighted mean of finished runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from nnrec.batches.protocol import Batch
from nnrec.composed import members as runs_of
from nnrec.composed.members import Member
from nnrec.composed.mixture import (
    best_weights,
    least_squares_weights,
    ndcg_of,
    predictions,
    reciprocal_ranks,
    standardised,
)
from nnrec.core.calling import typed
from nnrec.core.config.build import locate
from nnrec.core.console import ProgressBar, console
from nnrec.core.errors import ConfigError, DataError, NnrecError, RunError
from nnrec.data.ratings import Ratings
from nnrec.models.base.baseline import Baseline
from nnrec.models.base.scorer import Capability, Family
from nnrec.ranking.blocks import user_blocks
from nnrec.runs.folder import RunFolder
from nnrec.splits.split import HeldOut, Split

if TYPE_CHECKING:
    from nnrec.evaluation.ratings import Evaluation

Combine = Literal["zscore", "rank", "rating"]
SCALES: dict[str, Callable[[np.ndarray], np.ndarray]] = {"zscore": standardised, "rank": reciprocal_ranks}
# Fitting weights for ranking holds at most this many scores (128 MiB); if there are more, only some users are used.
HELD_SCORES = 2**25
# Members are tried on at most this many users before the evaluation.
TRIED_USERS = 256


@dataclass
class Queries:
    """B users as encoded by each member.

    Attributes:
        real: (B,) bool, True for users, False for padding rows.
        parts: pairs of a member and its encoding of the batch.
    """

    real: np.ndarray
    parts: list[tuple[Member, Any]]

    def __len__(self) -> int:
        return len(self.real)


class Blend(Baseline):
    """Scores items by the weighted mean of the scores of several trained models, its members.

    Source: combine=zscore averages scores standardised over the catalogue for each user (Renda, Straccia: Web
    Metasearch: Rank vs. Score Based Rank Aggregation Methods, 2003, section 2.1). combine=rank averages reciprocal
    ranks 1 / (60 + rank) (Cormack, Clarke, Buettcher: Reciprocal Rank Fusion Outperforms Condorcet and Individual Rank
    Learning Methods, 2009). combine=rating averages predicted ratings (Breiman: Stacked Regressions, 1996). Weights for
    ratings are fitted by non-negative least squares. Weights for lists are fitted by greedy search for the highest ndcg
    at the first cutoff, starting from the best member (Caruana et al.: Ensemble Selection from Libraries of Models,
    2004).

    In: a history. Out: (B, num_items) float32, the weighted mean over the members.

    Members are not trained again, so each must have been trained on the same split (this is checked). Weights can be
    fitted only if no member was trained on the validation part, that is, with runs made with trainer.refit=false. Given
    weights can be used with any run; if a member was trained on the validation part, there are no validation metrics.
    To use all data, fit weights with runs without refit, then give these weights with refitted runs of the same models.
    With the blend's own trainer.refit=true (the default), the members' histories in the test include the validation
    ratings.

    A member that cannot be loaded, raises an error, or returns scores that are not finite is left out, with a note; its
    weight is distributed among the others.

    The blend's weights file holds its members' settings and arrays, so that prediction does not need their run folders.

    Differs: Breiman's weights need not add up to 1, these do. Fitted weights, and members whose epochs were selected on
    the validation part, make validation metrics slightly optimistic.

    Args:
        num_users, num_items: sizes of the data.
        runs: run folders of the members.
        weights: weights of the members, in the order of `runs`; they are divided by their sum. None = fitted.
        combine: what is averaged, "zscore", "rank" or "rating"; "rating" needs members that predict ratings, and
            predicts ratings itself.
    """

    family: Family = "implicit"
    notes: list[str]

    def __init__(
        self,
        num_users: int,
        num_items: int,
        *,
        runs: Sequence[str] = (),
        weights: Sequence[float] | None = None,
        combine: Combine = "zscore",
        name: str = "blend",
    ) -> None:
        super().__init__(num_users, num_items, name=name)
        if isinstance(runs, str):
            raise ConfigError(f"model.runs must be a list, such as model.runs=[{runs}].")
        paths = [str(Path(path)) for path in runs]
        if len(set(paths)) < len(paths):
            raise ConfigError(f"model.runs lists a run twice. Received: {list(runs)}")
        if combine not in get_args(Combine):
            raise ConfigError(f"model.combine must be one of {', '.join(get_args(Combine))}. Received: {combine!r}")
        if weights is not None:
            numbers = np.asarray(weights, np.float64)
            if numbers.shape != (len(runs),) or not (numbers >= 0).all() or not 0 < numbers.sum() < np.inf:
                raise ConfigError(
                    f"model.weights must be {len(runs)} numbers, one for each of model.runs, none negative and not all "
                    f"0; null = fitted. Received: {weights}"
                )
            weights = (numbers / numbers.sum()).tolist()
        self.runs, self.weights, self.combine = paths, weights, combine
        self.members: list[Member] = []
        self.notes = []

    # Loading the members

    def check_split(self, split: Split) -> None:
        """Loads the members and checks that they fit the split.

        Raises:
            ConfigError: a member was trained on another split, or on the validation part although weights are fitted.
            RunError: no member is left.
        """
        self._gather(split)

    def _gather(self, split: Split | None = None) -> None:
        if not self.runs:
            raise ConfigError("Which runs? Give the folders of finished trainings: 'model.runs=[runs/ease/...,...]'.")
        for path, weight in zip(self.runs, self.weights or [1.0] * len(self.runs), strict=True):
            if not weight:
                continue
            try:
                if split is not None:
                    self.saw_validation |= self._check_joins(path, split)
            except ConfigError:
                raise
            except Exception as error:
                self._note(path, error)
                continue
            try:
                self.members.append(self._opened(path, weight))
            except Exception as error:
                self._note(path, error)
        self._declare()

    def _check_joins(self, path: str, split: Split) -> bool:
        """Checks that a run can be a member; returns whether it was trained on the validation part."""
        folder = RunFolder.open(path)
        settings = runs_of.describe(folder)["model"]
        if locate(settings["_target_"]) is Blend:
            raise ConfigError(f"The run {path} is a blend itself. Give the runs that it was made of.")
        refitted = runs_of.check_learnt_from(folder, split)
        if refitted and self.weights is None:
            raise ConfigError(
                f"Weights are fitted on validation data, and the run {path} has learnt from it (trainer.refit=true). "
                f"Train it anew without: {typed('train')} model={settings['name']} ... trainer.refit=false. Or give "
                "weights: model.weights=[...]."
            )
        return refitted

    def _opened(self, path: str, weight: float) -> Member:
        folder = RunFolder.open(path)
        about, arrays = runs_of.describe(folder), folder.read_arrays("weights.npz")
        return Member(about, runs_of.load(about, self.num_users, self.num_items, arrays), weight)

    def _declare(self) -> None:
        """Sets the blend's capabilities and rating scale from its members."""
        self._check_left()
        models = [member.model for member in self.members]
        shared: frozenset[Capability] = frozenset.intersection(*(model.capabilities for model in models))
        rating = [model for model in models if "rating_scale" in model.capabilities]
        if self.combine == "rating" and len(rating) < len(models):
            others = ", ".join(model.name for model in models if model not in rating)
            raise ConfigError(
                f"model.combine=rating averages predicted ratings, and the scores of {others} are none. Leave it out, "
                "or use model.combine=zscore."
            )
        self.capabilities = shared if self.combine == "rating" else shared - {"rating_scale"}
        self.family = "ratings" if rating else "implicit"
        self.personal = any(model.personal for model in models)
        self.relevant = next((model.relevant for model in models if model.relevant is not None), None)
        if rating:
            self.rating_scale = np.asarray(rating[0].rating_scale, np.float32)

    # Training

    def fit(self, train: Ratings) -> None:
        """Scores some users, so that members that fail are left out before the evaluation."""
        if not self.members:
            self._gather()
        self.prepare(train)
        users = _some(np.unique(train.user), TRIED_USERS)
        for batch in user_blocks(train.rows("user"), self.num_items, users):
            self.score(self.encode(batch))

    def calibrate(self, train: Ratings, held_out: HeldOut, evaluation: Evaluation) -> dict[str, Any]:
        """Fits the weights on validation data unless they are given; returns the setting `weights`."""
        if self.weights is None:
            self.prepare(train)
            if self.combine == "rating":
                figure, weights = "rmse", self._for_ratings(held_out)
            else:
                figure, weights = f"ndcg@{evaluation.cutoffs[0]}", self._for_lists(held_out, evaluation)
            for member, weight in zip(self.members, weights, strict=True):
                member.weight = float(weight)
            told = ", ".join(f"{member.weight:.3f} {member.model.name}" for member in self.members)
            console.print(f"Weights by {figure} on validation data: {told}", soft_wrap=True)
            self.members = [member for member in self.members if member.weight > 0]
            self._declare()
        shares = {member.about["path"]: member.weight for member in self.members}
        total = sum(shares.values())
        return {"weights": [round(shares.get(path, 0.0) / total, 6) for path in self.runs]}

    def _for_ratings(self, held_out: HeldOut) -> np.ndarray:
        def predicted(member: Member) -> np.ndarray:
            return _finite(predictions(member.model, held_out))

        found = [self._attempt(member, predicted) for member in list(self.members)]
        self._check_left()
        columns = np.stack([column for column in found if column is not None], axis=1)
        return least_squares_weights(columns, held_out.target.value, held_out.target.weight)

    def _for_lists(self, held_out: HeldOut, evaluation: Evaluation) -> np.ndarray:
        k, target = evaluation.cutoffs[0], held_out.target
        if evaluation.relevant is not None:
            target = target.take(target.value >= evaluation.relevant)
        if not len(target):
            raise DataError(
                f"No weights can be fitted: no validation rating reaches evaluation.relevant={evaluation.relevant}."
            )
        users = _some(np.unique(target.user), max(1, HELD_SCORES // (self.num_items * len(self.members))))
        batches = list(user_blocks(held_out.history.rows("user"), self.num_items, users))
        with ProgressBar("weighing members", len(self.members) * len(batches), transient=True) as bar:

            def scored(member: Member) -> list[np.ndarray]:
                found = []
                for batch in batches:
                    found.append(self._scaled(member, member.model.encode(batch), _people(batch)))
                    bar.advance()
                return found

            held = {member: self._attempt(member, scored) for member in list(self.members)}
        self._check_left()
        scores = [held[member] for member in self.members]
        return best_weights(len(scores), ndcg_of(batches, scores, target.rows("user").take(users), k))

    # Scoring

    def prepare(self, history: Ratings) -> None:
        for member in list(self.members):
            self._attempt(member, lambda member: member.model.prepare(history))
        self._check_left()

    def encode(self, batch: Batch) -> Queries:
        found = ((member, self._attempt(member, lambda m: m.model.encode(batch))) for member in list(self.members))
        return Queries(_people(batch), [(member, own) for member, own in found if own is not None])

    def has_history(self, batch: Batch) -> np.ndarray:
        return np.any([member.model.has_history(batch) for member in self.members], axis=0)

    def score(self, queries: Queries, items: np.ndarray | None = None) -> np.ndarray:
        return self._mean(queries, lambda member, own: self._scaled(member, own, queries.real, items))

    def score_pairs(self, queries: Queries, rows: np.ndarray, items: np.ndarray) -> np.ndarray:
        if self.combine != "rating":
            return super().score_pairs(queries, rows, items)
        return self._mean(queries, lambda member, own: _finite(member.model.score_pairs(own, rows, items)))

    def _mean(self, queries: Queries, scores: Callable[[Member, Any], np.ndarray]) -> np.ndarray:
        """Returns the weighted mean of `scores(member, queries)` over the members that do not fail."""
        total, weight = np.zeros(1, np.float32), 0.0
        for member, own in queries.parts:
            if member in self.members:
                found = self._attempt(member, scores, own)
                if found is not None:
                    total, weight = total + np.float32(member.weight) * found, weight + member.weight
        self._check_left()
        return total / np.float32(weight)

    def _scaled(self, member: Member, own: Any, real: np.ndarray, items: np.ndarray | None = None) -> np.ndarray:
        """(B, num_items) or (B, len(items)) a member's scores on the common scale of `combine`."""
        if self.combine == "rating":
            found = np.asarray(member.model.score(own, items))
            _finite(found[real])
            return found
        found = np.asarray(member.model.score(own))
        if found.shape != (len(real), self.num_items):
            raise RunError(f"its scores have the shape {found.shape} instead of {(len(real), self.num_items)}")
        _finite(found[real])
        found = SCALES[self.combine](found)
        return found if items is None else found[:, items]

    # Members that fail

    def _attempt(self, member: Member, action: Callable[..., Any], *arguments: Any) -> Any:
        """Returns action(member, ...); if it fails, removes the member from the blend and returns None."""
        try:
            return action(member, *arguments)
        except Exception as error:
            self.members.remove(member)
            self._note(member.about["path"], error)
            return None

    def _note(self, path: str, error: Exception) -> None:
        reason = str(error) if isinstance(error, NnrecError) else f"{type(error).__name__}: {error}"
        self.notes.append(f"Left out of the blend: {path} ({reason.rstrip('.')}). The others take over its weight.")
        console.print(self.notes[-1], style="bold red", soft_wrap=True, markup=False)

    def _check_left(self) -> None:
        if not self.members:
            raise RunError("No member of the blend is left:\n  " + "\n  ".join(self.notes))

    # Saving and loading

    def state(self) -> dict[str, np.ndarray]:
        arrays = {
            "weights": np.array([member.weight for member in self.members]),
            "members": np.array(json.dumps([member.about for member in self.members])),
        }
        for number, member in enumerate(self.members):
            arrays |= {f"{number}.{name}": array for name, array in member.model.state().items()}
        return arrays

    def load_state(self, arrays: dict[str, np.ndarray]) -> None:
        try:
            weights, abouts = arrays["weights"].tolist(), json.loads(str(arrays["members"]))
        except (KeyError, ValueError) as error:
            raise RunError(f"weights.npz does not fit {self.name}: its members are missing or damaged.") from error
        self.members = []
        for number, (weight, about) in enumerate(zip(weights, abouts, strict=True)):
            own = {name.removeprefix(f"{number}."): arrays.pop(name) for name in _beginning(arrays, f"{number}.")}
            try:
                model = runs_of.load(about, self.num_users, self.num_items, own)
            except Exception as error:
                self._note(about["path"], error)
            else:
                self.members.append(Member(about, model, weight))
        self._declare()


def _beginning(arrays: dict[str, np.ndarray], prefix: str) -> list[str]:
    return [name for name in arrays if name.startswith(prefix)]


def _people(batch: Batch) -> np.ndarray:
    """(B,) bool, True for users, False for padding rows."""
    entries = np.bincount(batch["row"], weights=batch["weight"] > 0, minlength=len(batch["index"]))
    return (batch["index"] >= 0) | (entries > 0)


def _some(users: np.ndarray, most: int) -> np.ndarray:
    """Returns at most `most` of the users, evenly spaced."""
    return users if len(users) <= most else users[np.linspace(0, len(users) - 1, most).astype(int)]


def _finite(scores: np.ndarray) -> np.ndarray:
    """Returns the scores unchanged.

    Raises:
        RunError: a score is not finite.
    """
    if not np.isfinite(scores).all():
        raise RunError("it returned scores that are not finite")
    return scores
