"""Compares finished runs: whether they are comparable, their order, and the significance of differences."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from nnrec.core.errors import ConfigError
from nnrec.evaluation.metrics.legend import better
from nnrec.runs.result import Repeat, Result, flat


@dataclass
class Entry:
    """A row of the table: one experiment, run once or several times (seeds, folds).

    Attributes:
        label: display name, unique among the entries.
        results: its runs, which differ only in seed and fold.
        p_value: of the paired test against the best entry, adjusted for the number of tests (Holm);
            None for the best, or if per-user values are missing.
    """

    label: str
    results: list[Result]
    p_value: float | None = None

    @property
    def first(self) -> Result:
        """The run that represents the entry where only one can be shown."""
        return self.results[0]

    @property
    def repeats(self) -> dict[Repeat, Result]:
        return {result.repeat: result for result in self.results}

    def values(self, name: str) -> np.ndarray:
        """(runs,) a figure of each run, NaN if it is missing; includes `seconds` and `users_per_second`."""
        return np.array([{**result.training, **result.test}.get(name, math.nan) for result in self.results], float)

    def figure(self, name: str) -> float:
        """The mean over the runs."""
        return float(np.mean(self.values(name)))

    def spread(self, name: str) -> float | None:
        """The standard deviation over the runs; None for a single one."""
        return float(np.std(self.values(name), ddof=1)) if len(self.results) > 1 else None

    def interval(self, name: str) -> tuple[float, float] | None:
        """The 95% confidence interval of a single run; None for several runs or if the run has none."""
        found = self.first.intervals.get(name) if len(self.results) == 1 else None
        return None if found is None or found[0] is None else (found[0], found[1])


@dataclass
class Failure:
    """An experiment that failed, and the reason."""

    label: str
    reason: str


@dataclass
class Comparison:
    """Entries in order, best first.

    Attributes:
        entries: at least one.
        sort_by: the metric that entries are sorted by.
        failures: experiments that could not be trained.
        notes: remarks for the reader, one line each.
    """

    entries: list[Entry]
    sort_by: str
    failures: list[Failure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, results: Sequence[Result], sort_by: str | None = None, failures: Sequence[Failure] = ()) -> Comparison:
        """Groups, checks, tests and sorts finished runs.

        Args:
            results: at least one.
            sort_by: a metric; None = see `nnrec.data.families.Family.decisive`.
            failures: failed experiments to report with the results.

        Raises:
            ConfigError: the runs cannot be compared, or none has the metric.
        """
        check_comparable(results)
        entries = grouped(results)
        metric = _sort_metric(entries, sort_by)
        sign = 1 if better(metric) == "lower" else -1
        entries.sort(key=lambda entry: (math.isnan(entry.figure(metric)), sign * entry.figure(metric), entry.label))
        comparison = cls(entries, metric, list(failures))
        comparison._test()
        comparison.notes += [*_uneven(entries), *comparison._beaten(), *_run_notes(entries)]
        return comparison

    @property
    def best(self) -> Entry:
        return self.entries[0]

    @cached_property
    def metrics(self) -> list[str]:
        """The names of all test figures that any entry has, in the order of the runs."""
        return list(dict.fromkeys(name for entry in self.entries for result in entry.results for name in result.test))

    def leaders(self, name: str) -> list[Entry]:
        """The entries with the best value of a figure; none if neither direction is better."""
        direction = better(name)
        if not direction or len(self.entries) < 2:
            return []
        values = np.array([entry.figure(name) for entry in self.entries])
        if np.isnan(values).all():
            return []
        top = np.nanmin(values) if direction == "lower" else np.nanmax(values)
        return [entry for entry, value in zip(self.entries, values, strict=True) if value == top]

    def differing(self) -> dict[str, str]:
        """The settings in which entries differ: label -> "key=value, ..."."""
        settings = [_experiment(entry.first) for entry in self.entries]
        shared = {key for key in settings[0] if all(key in s and s[key] == settings[0][key] for s in settings)}
        return {
            entry.label: ", ".join(
                f"{key}={_plain(value)}"
                for key, value in found.items()
                if key not in shared and key not in ("model.name", "model._target_")
            )
            for entry, found in zip(self.entries, settings, strict=True)
        }

    def frame(self) -> pd.DataFrame:
        """One row per run: all figures, their intervals, times, and the differing settings; failures come last."""
        differing, rows = self.differing(), []
        for rank, entry in enumerate(self.entries, start=1):
            for result in entry.results:
                row: dict[str, Any] = {
                    "rank": rank,
                    "entry": entry.label,
                    "model": result.name,
                    "data": result.config["data"]["name"],
                    "seed": result.repeat.seed,
                    "fold": result.repeat.fold,
                    "ranked_by": "predicted rating" if result.predicts_ratings else "score",
                }
                row |= result.test
                for name, (low, high) in result.intervals.items():
                    row |= {f"{name}_low": low, f"{name}_high": high}
                row |= {f"p_{self.sort_by}": entry.p_value}
                row |= {key: value for key, value in result.training.items() if isinstance(value, (int, float))}
                rows.append(row | {"settings": differing[entry.label], "run": str(result.folder.path)})
        rows += [{"entry": failure.label, "error": failure.reason} for failure in self.failures]
        frame = pd.DataFrame(rows).dropna(axis="columns", how="all")
        frame = frame.astype({name: "Int64" for name in ("rank", "seed") if name in frame.columns})
        return frame.copy()  # defragmented: pandas warns if columns are added to a fragmented frame

    def _test(self) -> None:
        """Tests every entry against the best, paired by user, over the repetitions that both have."""
        from nnrec.evaluation.metrics.statistics import holm, paired_test

        tested = []
        for entry in self.entries[1:]:
            pair = _paired(self.best, entry, self.sort_by)
            if pair is not None:
                entry.p_value = paired_test(*pair).p_value
                tested.append(entry)
        for entry, p_value in zip(tested, holm(np.array([entry.p_value for entry in tested])), strict=True):
            entry.p_value = float(p_value)

    def _beaten(self) -> list[str]:
        """A line for each neural model that simpler models match or beat."""
        lines = []
        simple = [entry for entry in self.entries if not entry.first.neural]
        for entry in self.entries:
            own = entry.figure(self.sort_by)
            if not entry.first.neural or math.isnan(own):
                continue
            sign = -1 if better(self.sort_by) == "lower" else 1
            above = [other.label for other in simple if sign * (other.figure(self.sort_by) - own) >= 0]
            if above:
                lines.append(f"{entry.label} does not beat {_in_words(above)} on {self.sort_by}.")
        return lines


def check_comparable(results: Sequence[Result]) -> None:
    """Checks that the figures of these runs are comparable.

    The data, the settings of the split and those of the evaluation must be the same. Seeds and folds may differ, as
    long as every experiment shares one with the first.

    Raises:
        ConfigError: they are not; the message lists the differences and the runs.
    """
    first, differences = results[0], []
    for other in results[1:]:
        if first.data["fingerprint"] != other.data["fingerprint"]:
            told = (f"{r.config['data']['name']}, {r.size}" for r in (first, other))
            differences.append(_difference("data", first, other, *told))
        for group in ("split", "evaluation"):
            one, two = (flat(result.config[group]) for result in (first, other))
            for key in dict.fromkeys([*one, *two]):
                if one.get(key) != two.get(key) and (group, key) != ("split", "fold"):
                    values = (_plain(values.get(key)) for values in (one, two))
                    differences.append(_difference(f"{group}.{key}", first, other, *values))
        if first.repeat == other.repeat and not differences:
            splits = [result.figures["data"]["split"] for result in (first, other)]
            if splits[0] != splits[1]:
                differences.append(_difference("what was held out", first, other, *splits))
    entries = grouped(results)
    for entry in entries[1:]:
        if not differences and not entry.repeats.keys() & entries[0].repeats.keys():
            told = (", ".join(map(_repeat_name, e.repeats)) for e in (entries[0], entry))
            differences.append(_difference("the part held out for test", entries[0].first, entry.first, *told))
    if differences:
        raise ConfigError(
            "These runs cannot be compared; what they were measured on or how differs:\n  "
            + "\n  ".join(differences)
            + "\nCompare runs of the same data, split and evaluation, with a seed (and fold) in common."
        )


def grouped(results: Sequence[Result]) -> list[Entry]:
    """Groups runs that differ only in seed and fold into one entry; two runs with the same seed and fold stay apart."""
    groups: dict[str, list[Result]] = {}
    for result in results:
        key, again = json.dumps(_experiment(result), sort_keys=True, default=str), 0
        while any(other.repeat == result.repeat for other in groups.get(f"{again} {key}", [])):
            again += 1
        groups.setdefault(f"{again} {key}", []).append(result)
    entries = [Entry(group[0].name, sorted(group, key=lambda r: _order(r.repeat))) for group in groups.values()]
    _name_apart(entries)
    return entries


def _experiment(result: Result) -> dict[str, Any]:
    """The settings that distinguish one experiment from another.

    Not among them: seed and fold, settings that copy the seed (`model.seed`) and, for models without epochs, those of
    the trainer other than `refit`.
    """
    return {
        key: value
        for key, value in result.settings().items()
        if key != "split.fold"
        and not (key.split(".")[-1] == "seed" and value == result.repeat.seed)
        and (result.neural or not key.startswith("trainer.") or key == "trainer.refit")
    }


def _name_apart(entries: list[Entry]) -> None:
    """Makes labels unique: adds the differing settings to entries of the same model, else the folder's name."""
    for name in {entry.label for entry in entries}:
        same = [entry for entry in entries if entry.label == name]
        if len(same) < 2:
            continue
        settings = [_experiment(entry.first) for entry in same]
        keys = [
            key for key in dict.fromkeys(k for s in settings for k in s) if len({str(s.get(key)) for s in settings}) > 1
        ]
        for entry, found in zip(same, settings, strict=True):
            own = " ".join(f"{key.rpartition('.')[2]}={_plain(found.get(key))}" for key in keys)
            entry.label = f"{name} {own}".strip()
    for entry in entries:
        if [other.label for other in entries].count(entry.label) > 1:
            entry.label = f"{entry.label} ({entry.first.folder.path.name})"
    for number, entry in enumerate(entries, start=1):
        if [other.label for other in entries].count(entry.label) > 1:
            entry.label = f"{entry.label} #{number}"


def _sort_metric(entries: Sequence[Entry], wanted: str | None) -> str:
    there = list(dict.fromkeys(name for entry in entries for result in entry.results for name in result.test))
    if wanted is None:
        cutoff = entries[0].first.cutoffs[0]
        candidates = [name for stem in entries[0].first.family.decisive for name in (f"{stem}@{cutoff}", stem)]
        return next((name for name in candidates if name in there), there[0])
    if wanted not in there:
        raise ConfigError(f"sort_by={wanted}: no run has this figure. Known: {', '.join(there)}.")
    return wanted


def _paired(best: Entry, entry: Entry, metric: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Both entries' per-user values, averaged over the repetitions that they share; None if values are missing."""
    common = [repeat for repeat in best.repeats if repeat in entry.repeats]
    means = []
    for one in (best, entry):
        found = [one.repeats[repeat].by_user(metric) for repeat in common]
        if any(values is None for values in found):
            return None
        means.append(pd.concat(found).groupby(level=0).mean())
    table = pd.concat(means, axis=1).dropna()
    return (table.iloc[:, 0].to_numpy(float), table.iloc[:, 1].to_numpy(float)) if len(table) else None


def _uneven(entries: Sequence[Entry]) -> list[str]:
    every = {repeat for entry in entries for repeat in entry.repeats}
    if all(entry.repeats.keys() == every for entry in entries):
        return []
    told = "; ".join(f"{entry.label}: {', '.join(map(_repeat_name, entry.repeats))}" for entry in entries)
    return [f"Not every entry was run on the same parts, so that means differ by more than the models. {told}."]


def _run_notes(entries: Sequence[Entry]) -> list[str]:
    notes: dict[str, list[str]] = {}
    for entry in entries:
        for note in dict.fromkeys(note for result in entry.results for note in result.figures.get("test_notes", [])):
            notes.setdefault(note, []).append(entry.label)
    return [f"{', '.join(labels)}: {note}" for note, labels in notes.items()]


def _difference(what: str, first: Result, other: Result, one: str, two: str) -> str:
    return f"{what}: {one} ({first.folder.path}), but {two} ({other.folder.path})"


def _order(repeat: Repeat) -> tuple[str, int]:
    return str(repeat.fold), repeat.seed


def _repeat_name(repeat: Repeat) -> str:
    return f"seed {repeat.seed}" + ("" if repeat.fold is None else f" fold {repeat.fold}")


def _plain(value: Any) -> str:
    """A setting's value as text, as it is written on the command line."""
    if isinstance(value, float):
        return f"{value:g}"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _in_words(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
