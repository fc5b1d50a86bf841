"""Whether what was written gives the lists that `predict.py` gives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from nnrec.recommend.lists import lists
from nnrec.recommend.score_rows import score_frame
from nnrec.runs.trained import TrainedRun
from nnrec.serving.formats import Arrays, Function
from nnrec.serving.graph import Graph
from nnrec.serving.samples import (
    Sample,
    columns_as_inputs,
    list_samples,
    padded,
    random_rows,
    request_sample,
    texts,
    used_columns,
)

# Of the sample so many are sent together.
TOGETHER = 64
# Scores further apart than this, times the largest of the list where that is above 1, are different.
TOLERANCE = 2e-4


@dataclass(frozen=True)
class Checked:
    """What came of a graph.

    Attributes:
        graphs: its name, or names.
        agreement: with nnrec.
        example: a request and the answer, for JSON.
    """

    graphs: tuple[str, ...]
    agreement: Agreement
    example: dict[str, Any]

    @property
    def described(self) -> str:
        """What differs, in words."""
        own = self.agreement
        return f"by {self.graphs[0]}, {own.different} of {own.number} {own.what} differ from nnrec's. {own.where}"


@dataclass
class Agreement:
    """How lists, or predictions, of a sample compare.

    Attributes:
        what: whose.
        number: how many there are.
        equal: lists with the same items in the same order; predictions within the tolerance.
        tied: lists in which items differ whose scores are the same but for rounding.
        difference: the largest difference between scores at one rank.
        where: the first that differs.
    """

    what: str
    number: int = 0
    equal: int = 0
    tied: int = 0
    difference: float = 0.0
    where: str = ""

    def add(self, name: str, expected: tuple[Sequence, np.ndarray], served: tuple[Sequence, np.ndarray]) -> None:
        """One more list: ids and scores, of nnrec and of what was written."""
        self.number += 1
        same_length = len(expected[0]) == len(served[0])
        apart = np.abs(expected[1] - served[1]).max(initial=0.0) if same_length else np.inf
        self.difference = max(self.difference, float(apart))
        if not apart <= TOLERANCE * max(1.0, float(np.abs(expected[1]).max(initial=0.0))):
            self.where = self.where or f"{name}: {_shown(*expected)} became {_shown(*served)}"
        elif list(expected[0]) == list(served[0]):
            self.equal += 1
        else:
            self.tied += 1

    @property
    def different(self) -> int:
        return self.number - self.equal - self.tied


def check(run: TrainedRun, graphs: Mapping[str, Graph], functions: Mapping[str, Function]) -> list[Checked]:
    """Compares what was read back with nnrec.

    Args:
        run: loaded anew.
        graphs: what was written, by name.
        functions: what was read back.
    """
    result: list[Checked] = []
    for graph in {id(graph): graph for graph in graphs.values()}.values():
        names = tuple(name for name, other in graphs.items() if other is graph)
        function = functions[names[0]]
        if "prediction" in graph.outputs:
            result.append(_check_rows(run, names, graph, function))
        elif run.family.encoded:
            result.append(_check_requests(run, names, graph, function))
        else:
            for sample in list_samples(run):
                inputs = sample.inputs if "item_ids" in graph.inputs else sample.indices
                result += _check_lists(run, names, graph, function, sample, inputs)
    return result


def _check_lists(
    run: TrainedRun, names: tuple[str, ...], graph: Graph, function: Function, sample: Sample, inputs: Arrays
) -> list[Checked]:
    """With or without what was seen, as the graph has it; both where an input of it says so."""
    if graph.exclude_seen is not None:
        return [Checked(names, _lists(run, sample, function, inputs, graph), _example(function, inputs))]
    result = []
    for exclude in (True, False):
        told, switch = replace(graph, exclude_seen=exclude), np.array([exclude])
        found = _lists(run, sample, partial(_told, function, switch), inputs, told)
        result.append(Checked(names, found, _example(function, inputs, exclude_seen=switch)))
    return result


def _told(function: Function, exclude_seen: np.ndarray, arrays: Arrays) -> dict[str, np.ndarray]:
    return function({**arrays, "exclude_seen": exclude_seen})


def _check_requests(run: TrainedRun, names: tuple[str, ...], graph: Graph, function: Function) -> Checked:
    sample = request_sample(run, tuple(graph.columns.values()))
    encoded = not graph.columns and "user_id" not in graph.inputs
    columns = {column: own for own, column in graph.columns.items()}
    inputs = {columns.get(key, key): array for key, array in (sample.indices if encoded else sample.inputs).items()}
    inputs = {key: array for key, array in inputs.items() if key in graph.inputs}
    for key in ("seen", "seen_item_ids"):
        if key in graph.inputs:
            items = _seen(run, sample)
            inputs[key] = items if key == "seen" else texts(run.items, items)
    return Checked(names, _lists(run, sample, function, inputs, graph), _example(function, inputs))


def _seen(run: TrainedRun, sample: Sample) -> np.ndarray:
    """(m, S) what the users of requests have clicked, -1 fills up."""
    people = sample.people
    if people.histories is None:
        return np.full((len(people), 1), -1)
    taken = people.histories.take(np.maximum(people.index, 0))
    rows = np.split(taken.ids, taken.offsets[1:-1])
    return padded([row if own >= 0 else row[:0] for row, own in zip(rows, people.index, strict=True)], -1)


def _check_rows(run: TrainedRun, names: tuple[str, ...], graph: Graph, function: Function) -> Checked:
    encoder = run.sides.encoder
    columns = {own: column for own, column in graph.columns.items()}
    frame = random_rows(encoder, tuple(columns.values()) or used_columns(encoder))
    if columns:
        found = columns_as_inputs(encoder, frame)
        inputs = {own: found[column] for own, column in columns.items()}
    else:
        inputs = {key: array for key, array in encoder.encode_frame(frame).items() if key in graph.inputs}
    agreement, expected = Agreement("rows"), score_frame(run, frame)
    for start, answer in _answers(function, inputs):
        for row, value in enumerate(answer["prediction"]):
            agreement.add(f"row {start + row}", ([], expected[start + row, None]), ([], value[None]))
    return Checked(names, agreement, _example(function, inputs))


def _lists(run: TrainedRun, sample: Sample, function: Function, inputs: Arrays, graph: Graph) -> Agreement:
    agreement = Agreement(f"{sample.what}{', without what was seen' if graph.exclude_seen else ''}")
    port = next(iter(graph.outputs.values()))
    expected = _expected(run, sample.people, int(port.shape[1] or 0), bool(graph.exclude_seen))
    names = sample.people.users.ids[sample.people.which]
    ids = np.append(run.items.ids.astype(str).astype(object), "")
    for start, found in _answers(function, inputs):
        items = found["top_item_ids"].astype(str) if "top_item_ids" in found else ids[found["top_items"]]
        for row, (own, scores) in enumerate(zip(items, found["scores"], strict=True)):
            listed = own != ""
            agreement.add(f"{names[start + row]}", expected[start + row], (own[listed].tolist(), scores[listed]))
    return agreement


def _answers(function: Function, inputs: Arrays) -> Iterator[tuple[int, Arrays]]:
    """What a function says to the inputs, some rows at a time; the last are as many as are left."""
    number = len(next(iter(inputs.values())))
    for start in range(0, number, TOGETHER):
        yield start, function({name: array[start : start + TOGETHER] for name, array in inputs.items()})


def _example(function: Function, inputs: Arrays, **fixed: np.ndarray) -> dict[str, Any]:
    """A request of one row, and the answer."""
    request = {name: _trimmed(array[:1]) for name, array in inputs.items()}
    for name in {"item_ids", "items", "values"} & request.keys():  # these go together
        length = max(request[other].shape[1] for other in {"item_ids", "items"} & request.keys())
        request[name] = inputs[name][:1, :length]
    request |= fixed
    return {"request": _plain(request), "answer": _plain(function(request))}


def _trimmed(array: np.ndarray) -> np.ndarray:
    """Ids of one row without what fills up behind them."""
    if array.ndim == 2 and (array.dtype == object or array.dtype == np.int64):
        used = np.flatnonzero((array[0] != "") if array.dtype == object else (array[0] >= 0))
        return array[:, : max(int(used.max(initial=-1)) + 1, 1)]
    return array


def _plain(arrays: Arrays) -> dict[str, Any]:
    """For JSON: text for ids, null for numbers that are none."""

    def cell(value: Any) -> Any:
        if isinstance(value, list):
            return [cell(part) for part in value]
        if isinstance(value, bytes):
            return value.decode()
        return None if isinstance(value, float) and value != value else value

    return {name: cell(np.asarray(array).tolist()) for name, array in arrays.items()}


def _expected(run: TrainedRun, people: Any, n: int, exclude_seen: bool) -> list[tuple[list[str], np.ndarray]]:
    """Nnrec's own lists, in the order of the people."""
    top = lists(run, n, exclude_seen, None)
    frame = pd.concat([block.table.to_pandas() for block in top.blocks(people)], ignore_index=True)
    ids, scores = frame["item_id"].astype(str).to_numpy(), frame["score"].to_numpy(np.float32)
    # A list ends where the next begins; who has no list is skipped.
    starts = np.flatnonzero(frame["rank"].to_numpy() == 1)
    ends = np.append(starts[1:], len(frame))
    own = frame[top.who].to_numpy()[starts] if len(starts) else []
    found = iter(zip(own, starts, ends, strict=True))
    result, following = [], next(found, None)
    for name in people.users.ids[people.which]:
        if following is not None and following[0] == name:
            _, start, end = following
            result.append((ids[start:end].tolist(), scores[start:end]))
            following = next(found, None)
        else:
            result.append(([], np.zeros(0, np.float32)))
    return result


def _shown(ids: Sequence, scores: np.ndarray) -> str:
    pairs = zip(ids or [""] * len(scores), scores, strict=True)
    return ", ".join(f"{name} {score:.5g}".strip() for name, score in list(pairs)[:5])
