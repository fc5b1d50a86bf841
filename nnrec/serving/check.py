"""Checks that an exported model gives the lists that `predict.py` gives."""

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

# Number of rows of the sample per request.
TOGETHER = 64
# Scores are different if they differ by more than this times max(1, largest magnitude of the list's scores).
TOLERANCE = 2e-4


@dataclass(frozen=True)
class Checked:
    """The result of checking a graph.

    Attributes:
        graphs: the names of the graph.
        agreement: comparison with nnrec.
        example: a request and its answer, as JSON data.
    """

    graphs: tuple[str, ...]
    agreement: Agreement
    example: dict[str, Any]

    @property
    def described(self) -> str:
        """A message that describes the differences."""
        own = self.agreement
        return f"by {self.graphs[0]}, {own.different} of {own.number} {own.what} differ from nnrec's. {own.where}"


@dataclass
class Agreement:
    """The comparison of the lists, or predictions, of a sample.

    Attributes:
        what: the unit of the sample, such as "users".
        number: how many lists or predictions were compared.
        equal: number of lists with the same items in the same order, or of predictions within the tolerance.
        tied: number of lists whose scores agree within the tolerance, but with items in another order.
        difference: the largest difference between scores at one rank.
        where: description of the first list that differs.
    """

    what: str
    number: int = 0
    equal: int = 0
    tied: int = 0
    difference: float = 0.0
    where: str = ""

    def add(self, name: str, expected: tuple[Sequence, np.ndarray], served: tuple[Sequence, np.ndarray]) -> None:
        """Compares one list: (ids, scores) of nnrec and of the exported graph."""
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
    """Compares the exported graphs with nnrec.

    Args:
        run: freshly loaded.
        graphs: the exported graphs by name.
        functions: the graphs read back from their files, by name.
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
    """Checks lists with the graph's `exclude_seen`, or with both values if that is an input."""
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
    """(m, S) clicked items of the users of the requests, padded with -1."""
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
    """Yields (first row, outputs) of a function, `TOGETHER` rows at a time; the last chunk may be smaller."""
    number = len(next(iter(inputs.values())))
    for start in range(0, number, TOGETHER):
        yield start, function({name: array[start : start + TOGETHER] for name, array in inputs.items()})


def _example(function: Function, inputs: Arrays, **fixed: np.ndarray) -> dict[str, Any]:
    """A request of one row, and its answer."""
    request = {name: _trimmed(array[:1]) for name, array in inputs.items()}
    for name in {"item_ids", "items", "values"} & request.keys():  # these have the same length
        length = max(request[other].shape[1] for other in {"item_ids", "items"} & request.keys())
        request[name] = inputs[name][:1, :length]
    request |= fixed
    return {"request": _plain(request), "answer": _plain(function(request))}


def _trimmed(array: np.ndarray) -> np.ndarray:
    """Ids of one row without the padding at the end."""
    if array.ndim == 2 and (array.dtype == object or array.dtype == np.int64):
        used = np.flatnonzero((array[0] != "") if array.dtype == object else (array[0] >= 0))
        return array[:, : max(int(used.max(initial=-1)) + 1, 1)]
    return array


def _plain(arrays: Arrays) -> dict[str, Any]:
    """Converts arrays to JSON data: text for ids, null for NaN."""

    def cell(value: Any) -> Any:
        if isinstance(value, list):
            return [cell(part) for part in value]
        if isinstance(value, bytes):
            return value.decode()
        return None if isinstance(value, float) and value != value else value

    return {name: cell(np.asarray(array).tolist()) for name, array in arrays.items()}


def _expected(run: TrainedRun, people: Any, n: int, exclude_seen: bool) -> list[tuple[list[str], np.ndarray]]:
    """The lists of nnrec itself, in the order of `people`."""
    top = lists(run, n, exclude_seen, None)
    frame = pd.concat([block.table.to_pandas() for block in top.blocks(people)], ignore_index=True)
    ids, scores = frame["item_id"].astype(str).to_numpy(), frame["score"].to_numpy(np.float32)
    # A list ends where the next one starts; users without a list have no rows.
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
