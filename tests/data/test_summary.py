from __future__ import annotations

import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from nnrec.data.ratings import Ratings
from nnrec.data.readers.ratings import from_frame
from nnrec.data.summary import print_summary, summarise
from nnrec.data.vocabulary import Vocabulary
from tests.data.test_sessions import make
from tests.impression_rows import small


def example(**fields) -> Ratings:
    # 3 users, 4 items, 6 ratings; per user 3, 2, 1; per item 3, 2, 1, 0.
    return Ratings.build(
        users=Vocabulary(["a", "b", "c"]),
        items=Vocabulary([10, 20, 30, 40]),
        user=np.array([0, 0, 0, 1, 1, 2], np.int32),
        item=np.array([0, 1, 2, 0, 1, 0], np.int32),
        value=np.array([1, 2, 2, 5, 5, 3], np.float32),
        **fields,
    )


def printed(summary) -> str:
    stream = io.StringIO()
    print_summary(summary, Console(file=stream, width=120))
    return stream.getvalue()


def test_counts_and_long_tail():
    summary = summarise(example(notes=("Read [red]6[/red] ratings.",)))
    assert (summary["users"], summary["items"], summary["ratings"], summary["density"]) == (3, 4, 6, 0.5)  # 6 / 12
    assert summary["ratings_per_user"] == {"min": 1, "median": 2.0, "mean": 2.0, "max": 3}
    assert summary["ratings_per_item"] == {"min": 0, "median": 1.5, "mean": 1.5, "max": 3}
    # Counts 0, 1, 2, 3: sum of (2 rank - 5) * count = -3*0 - 1*1 + 1*2 + 3*3 = 10, over 4 * 6.
    assert summary["long_tail"]["gini"] == pytest.approx(10 / 24)
    # 1%, 10% and 20% of 4 items are 1 item, which has 3 of 6 ratings.
    assert [summary["long_tail"][f"top_{share}%"] for share in (1, 10, 20)] == [0.5, 0.5, 0.5]
    assert summary["values"]["mean"] == 3.0  # 18 / 6
    assert summary["values"]["histogram"] == [
        {"low": value, "high": value, "count": count} for value, count in [(1.0, 1), (2.0, 2), (3.0, 1), (5.0, 2)]
    ]
    assert (summary["time"], summary["weights"], summary["events"]) == (None, None, None)
    assert json.loads(json.dumps(summary)) == summary
    text = printed(summary)
    assert "3 users, 4 items, 6 ratings" in text
    assert "50.000%" in text
    assert "50% on the top 1%, 50% on the top 10%, 50% on the top 20% of items; Gini 0.42" in text
    assert "Read [red]6[/red] ratings." in text  # notes are not markup
    bars = {line.split()[0]: line.count("█") for line in text.splitlines() if "█" in line}
    assert bars == {"1": 12, "2": 24, "3": 12, "5": 24}


def test_equal_popularity_has_gini_zero():
    ratings = example().take(np.array([3, 1]))  # items 0 and 1 once each
    fair = Ratings(ratings.users, Vocabulary([10, 20]), ratings.user, ratings.item, ratings.value)
    assert summarise(fair)["long_tail"]["gini"] == 0


def test_times_weights_and_events():
    day = 86_400
    time = np.array([0, 1, 2, 10, 11, 2 * day])
    fields = {
        "weight": np.array([1, 1, 1, 1, 1, 4], np.float32),
        "event": np.array([0, 1, 1, 0, 1, 1], np.int16),
        "event_names": ("buy", "view"),
    }
    summary = summarise(example(time=time, time_kind="timestamp", **fields))
    assert summary["time"] == {
        "kind": "timestamp", "first": "1970-01-01 00:00:00", "last": "1970-01-03 00:00:00", "days": 2.0
    }  # fmt: skip
    assert summary["weights"] == {"min": 1.0, "median": 1.0, "mean": 1.5, "max": 4.0}  # 9 / 6
    assert summary["events"] == {"buy": 2, "view": 4}
    assert json.loads(json.dumps(summary)) == summary
    text = printed(summary)
    assert "1970-01-01 to 1970-01-03 (2 days)" in text
    assert "buy 2, view 4" in text
    order = summarise(example(time=np.array([0, 1, 2, 0, 1, 0]), time_kind="order"))
    assert order["time"] == {"kind": "order"}
    assert "order within each user only" in printed(order)


def test_many_different_values_are_gathered_into_bins():
    import pandas as pd

    frame = pd.DataFrame({"user": range(100), "item": 1, "rating": np.arange(100) / 10})
    summary = summarise(from_frame(frame))
    bars = summary["values"]["histogram"]
    assert [bar["count"] for bar in bars] == [10] * 10
    assert (bars[0]["low"], bars[-1]["high"]) == (0.0, pytest.approx(9.9))
    assert "0 to 0.99" in printed(summary)


def test_sessions():
    # 3 sessions of 2, 1 and 5 events; per item x 5, y 2, z 1. The last event is 36 hours after the first.
    times = [0, 3600, 7200, 9000, 9001, 9002, 9003, 129600]
    sessions = make("aabccccc", "xyzxxxxy", times, part=np.array([0, 0, 1], np.int8)).noted("Read [red]8[/red] events.")
    summary = summarise(sessions)
    assert (summary["sessions"], summary["items"], summary["events"]) == (3, 3, 8)
    assert summary["events_per_session"] == {"min": 1, "median": 2.0, "mean": 8 / 3, "max": 5}
    assert summary["events_per_item"] == {"min": 1, "median": 2.0, "mean": 8 / 3, "max": 5}
    assert summary["lengths"] == [
        {"low": 1, "high": 1, "count": 1}, {"low": 2, "high": 2, "count": 1}, {"low": 3, "high": 4, "count": 0},
        {"low": 5, "high": 5, "count": 1},
    ]  # fmt: skip
    assert summary["long_tail"]["top_20%"] == 5 / 8
    assert summary["parts"] == {"training": 2, "test": 1}
    assert summary["time"] == {
        "kind": "timestamp", "first": "1970-01-01 00:00:00", "last": "1970-01-02 12:00:00", "days": 1.5
    }  # fmt: skip
    assert (summary["kinds"], summary["best"], summary["stoplist"]) == (None, None, None)
    assert json.loads(json.dumps(summary)) == summary
    text = printed(summary)
    assert "3 sessions, 3 items, 8 events" in text
    assert "training 2 sessions, test 1 sessions" in text
    assert "Read [red]8[/red] events." in text


def test_sessions_with_kinds_and_a_known_best():
    sessions = make(
        "aab", "xyx", [0, 1, 0], time_kind="order", event=np.array([0, 1, 0], np.int16), event_names=("view", "buy"),
        expected=np.array([[np.nan], [0.25], [np.nan]], np.float32), expected_names=("recall@20",),
    )  # fmt: skip
    summary = summarise(sessions)
    assert (summary["kinds"], summary["best"]) == ({"view": 2, "buy": 1}, {"recall@20": 0.25})
    text = printed(summary)
    assert "order within each session only" in text
    assert "view 2, buy 1" in text
    assert "recall@20 0.2500" in text


def test_impressions():
    data = replace(small(), time=np.arange(6) * 43_200.0, part=np.array([0, 0, 0, 0, 1, 2]))
    summary = summarise(data)
    assert json.loads(json.dumps(summary)) == summary
    assert (summary["rows"], summary["users"], summary["items"]) == (6, 4, 4)
    assert summary["labels"]["mean"] == 4 / 6
    assert summary["labels"]["histogram"] == [{"low": 0, "high": 0, "count": 2}, {"low": 1, "high": 1, "count": 4}]
    assert summary["rows_per_user"] == {"min": 1, "median": 1.5, "mean": 1.5, "max": 2}
    assert summary["columns"] == [
        {"name": "user", "kind": "categorical", "missing": 0, "values": 4},
        {"name": "item", "kind": "categorical", "missing": 0, "values": 4},
        {"name": "device", "kind": "categorical", "missing": 1 / 6, "values": 3},
        {"name": "genres", "kind": "multi", "missing": 2 / 6, "values": 4},
        {"name": "age", "kind": "numeric", "missing": 1 / 6, "min": 20, "mean": 219 / 5, "max": 99},
    ]
    assert summary["parts"] == {"training": 4, "validation": 1, "test": 1}
    text = printed(summary)
    for line in (
        r"Data +6 rows, 4 users, 4 items",
        r"Parts +training 4 rows, validation 1 rows, test 1 rows",
        r"Labels +66\.67% are 1",
        r"Time +1970-01-01 to 1970-01-03",
        r"device +3 values; missing in 16\.7%",
        r"genres +4 values, any number in a row; missing in 33\.3%",
        r"age +20 to 99, mean 43\.8; missing in 16\.7%",
    ):
        assert re.search(line, text), line


def test_impressions_of_ratings_by_nobody():
    data = small()
    nobody = replace(data.schema, user=None, item=None, of_user=(), of_item=())
    summary = summarise(replace(data, schema=nobody, label=np.array([1, 2, 3, 4, 5, 5], np.float32)))
    assert "users" not in summary and "long_tail" not in summary and summary["time"] is None
    assert re.search(r"Labels +1 to 5, median 3.5, mean 3.333 *\n +1 +█+", printed(summary))
