from __future__ import annotations

import numpy as np
import pytest

from nnrec.core.config.compose import compose
from nnrec.core.errors import DataError
from nnrec.data.load import load
from nnrec.data.sources.ad_logs import AVAZU_CATEGORIES, CRITEO_CATEGORIES, CRITEO_NUMBERS, read_avazu, read_criteo
from nnrec.splits.impressions import LastRows, UsualRows


def criteo_line(label, numbers: dict, categories: dict) -> str:
    cells = [str(label), *(str(numbers.get(name, "")) for name in CRITEO_NUMBERS)]
    return "\t".join([*cells, *(categories.get(name, "") for name in CRITEO_CATEGORIES)])


@pytest.fixture
def criteo(tmp_path):
    """Ten rows for training, validation and test in this order: eight, one and one."""
    rows = [criteo_line(k % 2, {"I1": 3, "I2": -1, "I13": 1382}, {"C1": "68fd1e64", "C26": "aa"}) for k in range(7)]
    rows.append(criteo_line(0, {"I1": 4, "I2": 2}, {"C1": "287e684f"}))
    rows.append(criteo_line(1, {"I1": 8, "I2": -1}, {"C1": "68fd1e64", "C26": "bb"}))  # validation
    rows.append(criteo_line(1, {"I1": 3, "I2": 2, "I13": 1400}, {"C1": "new"}))  # test
    path = tmp_path / "criteo" / "train.txt"
    path.parent.mkdir()
    path.write_text("\n".join(rows) + "\n")
    return path


def test_criteos_rows_by_hand(criteo, tmp_path):
    config = compose("train", ["data=criteo", f"data_root={tmp_path}", "data.preprocessing.min_count=2"]).data
    data = load(config)
    assert data.schema.categorical == CRITEO_CATEGORIES and data.schema.numeric == CRITEO_NUMBERS
    assert data.label.tolist() == [0, 1, 0, 1, 0, 1, 0, 0, 1, 1]
    assert np.isnan(data.numbers[:, 2:12]).all() and data.numbers[0, [0, 1, 12]].tolist() == [3, -1, 1382]
    split = LastRows(test=0.1, validation=0.1)(data, 0)
    fields = split.train.fields
    assert fields.numeric == () and fields.categorical == (*CRITEO_CATEGORIES, *CRITEO_NUMBERS)
    sizes = dict(zip(fields.categorical, fields.sizes, strict=True))
    # C1: 68fd1e64 seven times, 287e684f once; I1: ln(3)^2 = 1.21 -> 1 seven times, ln(4)^2 = 1.92 -> 1 as well;
    # I2: -1 seven times, 2 once; I13: ln(1382)^2 = 52.3 -> 52. All but these are missing.
    assert {name: size for name, size in sizes.items() if size > 1} == {"C1": 2, "C26": 2, "I1": 2, "I2": 2, "I13": 2}
    offsets = dict(zip(fields.categorical, fields.offsets, strict=True))

    def ids(examples, name):
        encoded = examples.encoded(examples.which)["categorical"]
        return (encoded[:, fields.categorical.index(name)] - offsets[name]).tolist()

    assert ids(split.train, "C1") == [1] * 7 + [0] and ids(split.train, "C26") == [1] * 7 + [0]
    assert ids(split.train, "I1") == [1] * 8 and ids(split.train, "I2") == [1] * 7 + [0]
    assert ids(split.train, "I13") == [1] * 7 + [0] and ids(split.train, "I5") == [0] * 8
    # ln(8)^2 = 4.3 -> 4 was not seen; bb neither.
    assert [ids(split.validation, name) for name in ("C1", "C26", "I1", "I2")] == [[1], [0], [0], [1]]
    # ln(1400)^2 = 52.5 -> 52; a category not seen is unknown; 2 came once.
    assert [ids(split.test, name) for name in ("C1", "I1", "I2", "I13")] == [[0], [1], [0], [1]]


def test_criteos_lines_have_forty_fields(criteo):
    criteo.write_text(criteo.read_text() + "1\t2\n")
    with pytest.raises(DataError, match=r"train.txt, line 11: 2 fields separated by '\\t' where the first line has 40"):
        read_criteo(criteo)
    criteo.write_text("1\t2\n")
    with pytest.raises(DataError, match=r"line 1: 2 fields where there should be 40"):
        read_criteo(criteo)


def test_avazu_by_hand(tmp_path):
    header = ["id", "click", "hour", *AVAZU_CATEGORIES]
    assert len(header) == 24
    rows = [["1000009418151094273", "0", "14102100"], ["10000169349117863715", "1", "14102123"]]
    lines = [",".join(row + [f"{name}-{number}" for name in AVAZU_CATEGORIES]) for number, row in enumerate(rows)]
    path = tmp_path / "train.csv"
    path.write_text("\n".join([",".join(header), *lines]))
    data = read_avazu(path)
    assert data.schema.categorical == (*AVAZU_CATEGORIES, "hour", "weekday") and data.label.tolist() == [0, 1]
    assert data.levels["hour"].strings.to_pylist() == ["0", "23"]
    assert data.levels["weekday"].strings.to_pylist() == ["1"]  # 2014-10-21 was a Tuesday
    assert data.time.tolist() == [1413849600, 1413849600 + 23 * 3600]
    assert data.codes.tolist() == [[0] * 23, [1] * 22 + [0]]
    path.write_text("\n".join([",".join(header), lines[0].replace("14102100", "14103200")]))
    with pytest.raises(DataError, match=r"train.csv, line 2: the time '14103200' cannot be read"):
        read_avazu(path)


def test_criteos_first_rows(real_data):
    config = compose("train", ["data=criteo-10k", f"data_root={real_data('criteo-10k').parent}"]).data
    data = load(config)
    assert len(data) == 10_000 and data.label.sum() == 2_182
    # The first line: I1 = 1, I2 = 1, I3 = 5 -> ln(5)^2 = 2.59, I12 missing; C1 = 68fd1e64, C22 missing.
    assert data.numbers[0, :4].tolist() == [1, 1, 5, 0] and np.isnan(data.numbers[0, 11])
    assert data.levels["C1"].strings[0].as_py() == "68fd1e64" and data.codes[0, 21] == -1
    split = UsualRows()(data, 0)
    encoded = split.test.encoded(split.test.which)["categorical"]
    unknown = encoded == np.array(split.train.fields.offsets)
    assert 0.2 < unknown.mean() < 0.5  # missing, rare or unseen
    assert (encoded.max(axis=0) < np.array(split.train.fields.offsets) + split.train.fields.sizes).all()
