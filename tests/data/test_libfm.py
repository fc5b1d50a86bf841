from __future__ import annotations

import numpy as np
import pytest

from nnrec.core.errors import ConfigError, DataError
from nnrec.data.sources.libfm import FRAPPE, read_frappe, read_libfm
from nnrec.splits.impressions import GivenRows


@pytest.fixture
def write(tmp_path):
    def written(name: str, *lines: str):
        (tmp_path / name).write_text("\n".join(lines) + "\n")
        return tmp_path / name

    return written


def texts(data, name):
    place = data.schema.categorical.index(name)
    levels = [*data.levels[name].strings.to_pylist(), None]
    return [levels[code] for code in data.codes[:, place]]


def test_fields_by_place(write):
    train = write("train.libfm", "1 3:1 7:1", "-1 4:1  7:1.0 # a remark", "", "1 3:1\t9:1")
    test = write("test.libfm", "0 5:1 7:1")
    data = read_libfm(train, test_path=test, fields=["user", "item"], user="user", item="item")
    assert data.label.tolist() == [1, 0, 1, 0] and data.part.tolist() == [0, 0, 0, 2]
    assert texts(data, "user") == ["3", "4", "3", "5"] and texts(data, "item") == ["7", "7", "9", "7"]
    assert data.users.ids.tolist() == [3, 4, 5]
    assert read_libfm(train).schema.categorical == ("field0", "field1")
    numbers = read_libfm(write("n.libfm", "2 0:1 1:0.5", "1 3:1 1:-2e1"), numeric=["field1"], threshold=None)
    assert numbers.label.tolist() == [2, 1] and numbers.numbers.ravel().tolist() == [0.5, -20]


def test_fields_by_group(write):
    groups = write("groups.txt", "0", "0", "1", "2", "2", "2")
    rows = write("x.libfm", "1 0:1 2:3.5 3:1 5:1", "0 1:1", "0 2:1 4:1")
    data = read_libfm(rows, groups_path=groups, fields=["user", "age", "tags"], numeric=["age"], multi=["tags"])
    assert texts(data, "user") == ["0", "1", None]
    assert data.numbers[[0, 2], 0].tolist() == [3.5, 1] and np.isnan(data.numbers[1, 0])
    assert data.bags[0].offsets.tolist() == [0, 2, 2, 3]
    assert [data.levels["tags"].strings[code].as_py() for code in data.bags[0].value] == ["3", "5", "4"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1 3:1", r"x.libfm, line 3: 1 entries where there should be 2, one of each field. .*groups_path"),
        ("1 3:1 7", r"x.libfm, line 3: '7' is no entry"),
        ("1 3:1 seven:1", r"x.libfm, line 3: 'seven:1' is no entry"),
        ("yes 3:1 7:1", r"x.libfm, line 3: the label \(label\) 'yes' is not a number"),
        ("1 3:1 7:0.5", r"line 3: the value 0.5 of index 7 \(field 'field1'\) is not 1. .*data.source.numeric"),
    ],
)
def test_a_line_that_does_not_fit_is_named(write, line, message):
    with pytest.raises(DataError, match=message):
        read_libfm(write("x.libfm", "1 3:1 7:1", "", line))


def test_groups_that_do_not_fit(write):
    rows = write("x.libfm", "1 0:1 1:1", "1 0:1 7:1")
    with pytest.raises(DataError, match="line 2: index 7, but the file of groups has 2 lines"):
        read_libfm(rows, groups_path=write("g.txt", "0", "1"))
    with pytest.raises(
        DataError, match="line 1: several indices of field 'field0'. List the field in data.source.multi"
    ):
        read_libfm(rows, groups_path=write("g.txt", *"00000000"))
    with pytest.raises(DataError, match="g.txt, line 2: 'x' is no number of a group"):
        read_libfm(rows, groups_path=write("g.txt", "0", "x"))
    with pytest.raises(ConfigError, match="g.txt has 3 groups; data.source.fields names 1"):
        read_libfm(rows, groups_path=write("g.txt", *"01222222"), fields=["a"])
    with pytest.raises(ConfigError, match="numeric names 'b', which is no field. Fields: field0, field1"):
        read_libfm(rows, numeric=["b"])
    with pytest.raises(ConfigError, match="need data.source.groups_path"):
        read_libfm(rows, multi=["field0"])


@pytest.fixture
def frappe(write):
    log = ["\t".join(["user", "item", "cnt", *FRAPPE[2:]])]
    log += ["0\t5\t1\tmorning\tsunday\tweekend\tunknown\tfree\tsunny\tSpain\t0"]
    log += ["0\t7\t1\tnight\tsunday\tweekend\tunknown\tfree\tsunny\tSpain\t0"]
    # Indices: user 0; items 5, 7 = 1, 2; morning, night = 3, 4; then a value of each other field.
    lines = ["1 0:1 1:1 3:1 5:1 6:1 7:1 8:1 9:1 10:1 11:1", "-1 0:1 2:1 4:1 5:1 6:1 7:1 8:1 9:1 10:1 11:1"]
    write("frappe.train.libfm", *lines)
    write("frappe.validation.libfm", lines[0])
    path = write("frappe.test.libfm", lines[1])
    return path.parent, log


def test_frappe(frappe, write):
    folder, log = frappe
    data = read_frappe(folder)
    assert texts(data, "item") == ["1", "2", "1", "2"] and data.part.tolist() == [0, 0, 1, 2]
    write("frappe.csv", *log)
    data = read_frappe(folder)
    assert texts(data, "item") == ["5", "7", "5", "7"] and texts(data, "daytime")[:2] == ["morning", "night"]
    assert data.item_table is None and data.items.ids.tolist() == [5, 7]
    write("meta.csv", "item\tpackage\tcategory\tname", "7\tcom.x\tGames\tX Game")
    table = read_frappe(folder).item_table
    assert table["title"].tolist()[1:] == ["X Game"] and table["category"].tolist()[1:] == ["Games"]
    split = GivenRows()(data, 0)
    assert [len(part) for part in (split.train, split.validation, split.test)] == [2, 1, 1]
    write("frappe.csv", log[0], "\t".join("0" * 11))
    with pytest.raises(DataError, match="the indices of the libFM files do not count the values of frappe.csv"):
        read_frappe(folder)


def test_frappe_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match=f"Frappe is not in {tmp_path}: no file frappe.train.libfm. Set data_root"):
        read_frappe(tmp_path)


def test_frappe_itself(real_data):
    data = read_frappe(real_data("frappe"))
    assert len(data) == 288_609 and np.bincount(data.part).tolist() == [202_027, 57_722, 28_860]
    assert (data.num_users, data.num_items) == (957, 4_082) and data.label.sum() == 96_203
    assert data.item_table["title"].notna().mean() > 0.9
