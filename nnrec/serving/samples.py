"""Samples of users, sessions or rows for checking an export, in the input forms of nnrec and of the graphs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from nnrec.data.encoding.encoder import Encoder
from nnrec.data.families import RATINGS, SESSIONS, Family
from nnrec.data.rows import Rows
from nnrec.data.vocabulary import Vocabulary
from nnrec.recommend.impressions import requested
from nnrec.recommend.sessions import RunningSessions, running_sessions, tested_sessions
from nnrec.recommend.table_format import TableFormat
from nnrec.recommend.users import People, known_people
from nnrec.runs.trained import TrainedRun

# Number of users, sessions or rows that are compared.
SAMPLE = 256
UNKNOWN = "?never seen?"


@dataclass(frozen=True)
class Sample:
    """A sample of m users, sessions or requests.

    Attributes:
        what: the kind of sample, for messages.
        people: the sample as `nnrec.recommend.lists.audience` returns it.
        inputs: (m, ...) arrays for graphs that take raw ids.
        indices: (m, ...) arrays for graphs that take indices.
    """

    what: str
    people: Any
    inputs: Mapping[str, np.ndarray]
    indices: Mapping[str, np.ndarray]


def list_samples(run: TrainedRun) -> list[Sample]:
    """Samples of users or sessions of the run.

    For models that use the user's index as well as the history, the same histories as unseen users form a second
    sample. If the run keeps no histories, they are random.
    """
    return _SAMPLES[run.family](run)


def _session_samples(run: TrainedRun) -> list[Sample]:
    sessions = _sessions(run)
    items = padded([sessions.events(number) for number in range(len(sessions))], -1)
    return [Sample("sessions", sessions, {"item_ids": texts(run.items, items)}, {"items": items})]


def _people_samples(run: TrainedRun) -> list[Sample]:
    return [_people_sample(run, people) for people in _people(run)]


# What a run keeps of users is not what it keeps of sessions. (Of impressions see `request_sample` and `random_rows`.)
_SAMPLES: dict[Family, Callable[[TrainedRun], list[Sample]]] = {RATINGS: _people_samples, SESSIONS: _session_samples}


def _people_sample(run: TrainedRun, people: People) -> Sample:
    rows = people.histories.take(people.which)
    cuts = rows.offsets[1:-1]
    items, values = padded(np.split(rows.ids, cuts), -1), padded(np.split(rows.values, cuts), 0.0)
    ids, indices = {"item_ids": texts(run.items, items), "values": values}, {"items": items, "values": values}
    if run.model.export_input == "user":
        indices["user"] = people.which.astype(np.int64) if people.trained else np.full(len(people), -1)
        ids["user_id"] = texts(run.users, indices["user"])
    return Sample("users" if people.trained else "unseen users", people, ids, indices)


def _people(run: TrainedRun) -> list[People]:
    unseen = "new_users" in run.model.capabilities and run.model.serves_unseen_users
    if not run.folder["histories"].is_dir():
        return [_random_people(run)] if unseen else []
    everybody = known_people(run)
    which = everybody.which[:: max(1, len(everybody) // SAMPLE)][:SAMPLE]
    known = replace(everybody, which=which)
    if not (unseen and run.model.export_input == "user"):
        return [known]
    histories = everybody.histories.take(which)
    return [known, People(everybody.users.take(which), histories, np.arange(len(which)), trained=False)]


def _random_people(run: TrainedRun) -> People:
    rng, number = np.random.default_rng(0), len(run.items)
    lengths = rng.integers(1, min(20, number) + 1, SAMPLE)
    ids = np.concatenate([np.sort(rng.permutation(number)[:length]) for length in lengths]).astype(np.int32)
    low, high = (1, 1) if run.model.rating_scale is None else map(float, np.asarray(run.model.rating_scale))
    values = rng.uniform(low, high, len(ids)).round().astype(np.float32)
    rows = Rows(np.concatenate([[0], np.cumsum(lengths)]), ids, values, None, number)
    return People(Vocabulary(range(SAMPLE)), rows, np.arange(SAMPLE), trained=False)


def _sessions(run: TrainedRun) -> RunningSessions:
    if run.folder["test_sessions.parquet"].is_file():
        sessions = tested_sessions(run)
    else:
        rng = np.random.default_rng(0)
        session = np.repeat(np.arange(SAMPLE), rng.integers(1, 10, SAMPLE))
        frame = pd.DataFrame({"session": session, "item": run.items.ids[rng.integers(0, len(run.items), len(session))]})
        sessions = running_sessions(run, frame, TableFormat())
    return replace(sessions, which=sessions.which[:: max(1, len(sessions) // SAMPLE)][:SAMPLE])


def random_rows(encoder: Encoder, columns: Sequence[str]) -> pd.DataFrame:
    """Random raw rows with known, unknown and missing values."""
    rng = np.random.default_rng(0)
    states = {transform.column: transform.state for transform in encoder.transforms}
    frame: dict[str, Any] = {}
    for name in columns:
        if name in encoder.schema.numeric:
            state = states.get(name, np.zeros(0))
            values = rng.choice(state, SAMPLE) if len(state) else rng.normal(size=SAMPLE)
            frame[name] = np.where(rng.random(SAMPLE) < 0.1, np.nan, values * rng.choice([1, 1, 3], SAMPLE))
            continue
        known = encoder.levels[name].strings.to_numpy() if name in encoder.levels else np.zeros(0, str)
        some: Any = [*rng.choice(known, 50).tolist(), UNKNOWN] if len(known) else ["a", "b", "word", UNKNOWN]
        if name in encoder.schema.multi:
            frame[name] = [rng.choice(some, rng.integers(0, 5)).tolist() for _ in range(SAMPLE)]
        else:
            frame[name] = rng.choice(np.array([*some, None], object), SAMPLE)
    return pd.DataFrame(frame, index=range(SAMPLE))


def used_columns(encoder: Encoder) -> list[str]:
    """The columns of the data that the encoder uses."""
    return [name for name in encoder.schema.columns if name in (*encoder.lookup, *encoder.transformed)]


def columns_as_inputs(encoder: Encoder, frame: pd.DataFrame) -> dict[str, np.ndarray]:
    """The columns of raw rows as inputs of a graph; missing values are "" or NaN."""
    found = {}
    for name, column in frame.items():
        if name in encoder.schema.numeric:
            found[str(name)] = column.to_numpy(np.float32)
        elif name in encoder.schema.multi:
            found[str(name)] = padded([np.array(cell, object) for cell in column], "", object)
        else:
            found[str(name)] = column.fillna("").astype(str).to_numpy(object)
    return found


def request_sample(run: TrainedRun, columns: Sequence[str]) -> Sample:
    """Users of a run on impressions, and one unknown user, in random contexts; inputs by the names of columns.

    Args:
        columns: the user and context columns to give values for.
    """
    sides, schema = run.sides, run.sides.encoder.schema
    frame = random_rows(sides.encoder, columns)
    of_user = [name for name in columns if name in schema.side("user")]
    frame = frame.drop(columns=of_user)  # so that the user features stored in the run are used
    which = np.linspace(0, len(run.users) - 1, SAMPLE).astype(int) if len(run.users) else np.full(SAMPLE, -1)
    names = texts(run.users, which)
    names[-1] = UNKNOWN if schema.user is not None else ""
    given = frame if schema.user is None else frame.assign(**{schema.user: names})
    people = requested(run, given, {}, None)
    inputs = {"user_id": names, **columns_as_inputs(sides.encoder, frame)}
    for name in of_user:
        if name in schema.numeric:
            inputs[name] = np.full(SAMPLE, np.nan, np.float32)
        else:
            inputs[name] = np.full((SAMPLE, 1) if name in schema.multi else SAMPLE, "", object)
    return Sample("requests", people, inputs, sides.batch("user", people.index, people.given))


def padded(rows: Sequence[np.ndarray], fill: Any, dtype: Any = None) -> np.ndarray:
    """Pads m rows to (m, L); dtype int64 or float32 by the type of `fill`, unless given."""
    lengths = np.array([len(row) for row in rows], np.int64)
    filled = np.arange(max(int(lengths.max(initial=0)), 1)) < lengths[:, None]
    result = np.full(filled.shape, fill, dtype or (np.int64 if isinstance(fill, int) else np.float32))
    result[filled] = np.concatenate([*rows, np.zeros(0, result.dtype)])
    return result


def texts(vocabulary: Vocabulary, indices: np.ndarray) -> np.ndarray:
    """Raw ids as text, "" for -1."""
    return np.append(vocabulary.ids.astype(str).astype(object), "")[indices]
