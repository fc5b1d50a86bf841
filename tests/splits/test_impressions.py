from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nnrec.core.errors import ConfigError, DataError
from nnrec.data.preprocessing import Preprocessing
from nnrec.splits.impressions import GivenRows, LastRows, RandomRows, UsualRows, fitted
from tests.impression_rows import random_rows, small

SPLITS = [RandomRows(), LastRows(), GivenRows(), UsualRows(), RandomRows(0.3, 0.4)]


def data(parts: bool = True):
    part = np.repeat([0, 2, 0], [400, 50, 50]).astype(np.int8)
    return replace(random_rows(500), part=part if parts else None)


@pytest.mark.parametrize("splitter", SPLITS)
def test_parts_are_disjoint_and_cover_all_rows(splitter):
    split = splitter(data(), 3)
    parts = [split.train.which, split.validation.which, split.test.which]
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(500))
    assert all((np.diff(part) > 0).all() for part in parts)
    assert all(np.array_equal(a.which, b.which) for a, b in zip(
        (split.train, split.test), (splitter(data(), 3).train, splitter(data(), 3).test), strict=True
    ))  # fmt: skip
    assert f"train {len(parts[0])}, validation {len(parts[1])}, test {len(parts[2])}" in split.definition
    assert split.train.encoder is split.test.encoder is split.validation.encoder
    assert not len(split.train.shared(split.test)) and split.train.shared(split.train).tolist() == parts[0].tolist()


def test_random_shares():
    split = RandomRows(test=0.2, validation=0.25)(random_rows(20_000), 0)
    assert abs(len(split.test) - 4_000) < 200 and abs(len(split.validation) - 4_000) < 200
    assert len(RandomRows()(data(), 1).train.shared(RandomRows()(data(), 2).test)) > 0


def test_equal_parts_for_validation_are_disjoint_and_cover_what_the_test_part_leaves():
    for make in (RandomRows, GivenRows, UsualRows):
        splits = [make(validation=f"{fold}/4")(data(), 0) for fold in (1, 2, 3, 4)]
        together = np.concatenate([splits[0].test.which, *(split.validation.which for split in splits)])
        assert np.array_equal(np.sort(together), np.arange(500))
    given = replace(random_rows(3), part=np.array([2, 0, 1], np.int8))
    with pytest.raises(ConfigError, match="validation file of their own"):
        GivenRows(validation="1/4")(given, 0)


def test_the_last_rows_by_time_or_in_order():
    rows = random_rows(100)
    split = LastRows(test=0.1, validation=0.2)(rows, 0)
    assert split.test.which.tolist() == list(range(90, 100)) and split.validation.which.tolist() == list(range(72, 90))
    assert "in the order of the data" in split.definition
    backwards = replace(rows, time=np.arange(100.0)[::-1])
    split = LastRows(test=0.1, validation=0.2)(backwards, 0)
    assert split.test.which.tolist() == list(range(10)) and "by time" in split.definition


def test_the_publishers_parts():
    split = GivenRows(validation=0.2)(data(), 0)
    assert split.test.which.tolist() == list(range(400, 450)) and abs(len(split.validation) - 90) < 30
    given = replace(random_rows(3), part=np.array([2, 0, 1], np.int8))
    split = GivenRows()(given, 0)
    assert [part.which.tolist() for part in (split.train, split.validation, split.test)] == [[1], [2], [0]]
    assert split.definition.startswith("The publisher's validation and test files")
    with pytest.raises(DataError, match="no test file of their own. Use split=random_rows"):
        GivenRows()(data(parts=False), 0)
    assert "A random 10%" in UsualRows()(data(parts=False), 0).definition
    assert "publisher" in UsualRows()(data(), 0).definition


def test_an_empty_part():
    with pytest.raises(DataError, match="The test part is empty"):
        LastRows(test=0.01)(random_rows(10), 0)
    with pytest.raises(ConfigError, match="split.test must be a share"):
        RandomRows(test=1.0)


def test_merged_parts_are_encoded_anew():
    rows = replace(small(), preprocessing=Preprocessing(), part=np.array([0, 0, 0, 1, 2, 2], np.int8))
    split = GivenRows()(rows, 0)
    assert split.counts() == {"fields": 5, "ids": 3 + 3 + 2 + 4, "training_rows": 3, "test_rows": 2}
    merged = split.merged()
    assert merged.train.which.tolist() == [0, 1, 2, 3] and merged.test.which.tolist() == [4, 5]
    # After the refit u3, item 30 and the tablet are known.
    assert merged.counts()["ids"] == 12 + 3 and merged.test.encoder is merged.train.encoder
    assert split.train.which.tolist() == [0, 1, 2] and split.train.fields.num_ids == 12
    assert (merged.test.encoded(np.array([3]))["categorical"] > split.train.encoded(np.array([3]))["categorical"]).all()


def test_what_examples_tell():
    rows = replace(small(), time=np.array([5, 4, 3, 2, 1, 0.0]), expected=np.linspace(0, 1, 6))
    part = fitted(rows, np.array([0, 2, 4]))
    assert part.label.tolist() == [1, 1, 1] and part.user.tolist() == [0, 0, 1] and part.item.tolist() == [0, 0, 1]
    assert part.expected.tolist() == [0, 0.4, 0.8]
    assert part.support.tolist() == [2, 1, 0, 0] and part.sizes == {"fields": part.encoder.fields}
    assert part.last_rows("user").tolist() == [0, 4, -1, -1]  # row 0 is later than row 2
    assert replace(part, impressions=replace(rows, time=None)).last_rows("item").tolist() == [2, 4, -1, -1]
    # Ids: user 0 to 2, item 3 to 5, device 6 to 7, genres 8 to 11 (a, b, c).
    assert part.counts.tolist() == [0, 2, 1, 0, 2, 1, 0, 3, 0, 2, 2, 2]
    nobody = replace(rows, schema=replace(rows.schema, user=None, of_user=()))
    part = fitted(nobody, np.array([0, 1]))
    assert part.user is None and part.num_users == 0 and part.last_rows("user").tolist() == []
