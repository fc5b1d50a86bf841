from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator as PluginEventAccumulator
from tensorboard.plugins.hparams import api_pb2
from tensorboard.plugins.hparams import metadata as hparams_metadata
from tensorboard.util import tensor_util

from nnrec.runs.tensorboard import EventWriter


def read(folder: Path) -> EventAccumulator:
    """Reads event files as a script does."""
    events = EventAccumulator(str(folder))
    events.Reload()
    return events


def read_as_dashboard(folder: Path) -> PluginEventAccumulator:
    """Reads event files as TensorBoard's pages do: every value is a tensor with its plugin's metadata."""
    events = PluginEventAccumulator(str(folder))
    events.Reload()
    return events


def session(folder: Path, tag: str) -> bytes:
    return read_as_dashboard(folder).SummaryMetadata(tag).plugin_data.content


def test_scalars_come_back_in_order(tmp_path: Path) -> None:
    with EventWriter(tmp_path / "new" / "folder") as events:
        for step, value in enumerate([0.5, 0.25, float("inf")]):
            events.scalar("loss", value, step)
        events.scalar("val_recall@20", np.float32(0.75), 2)
    logged = read(tmp_path / "new" / "folder")
    assert [(event.step, event.value) for event in logged.Scalars("loss")] == [(0, 0.5), (1, 0.25), (2, float("inf"))]
    assert [(event.step, event.value) for event in logged.Scalars("val_recall@20")] == [(2, 0.75)]
    dashboard = read_as_dashboard(tmp_path / "new" / "folder")
    assert dashboard.SummaryMetadata("loss").plugin_data.plugin_name == "scalars"


def test_flush_shows_what_was_written_so_far(tmp_path: Path) -> None:
    events = EventWriter(tmp_path)
    events.scalar("loss", 1.0, 3)
    assert "loss" not in read(tmp_path).Tags()["scalars"]
    events.flush()
    assert [event.step for event in read(tmp_path).Scalars("loss")] == [3]
    events.close()


def test_histogram_counts_finite_values_in_equal_buckets(tmp_path: Path) -> None:
    # 30 buckets over [0, 60] are 2 wide: 0 and 1 fall into the first, 30 into the 16th (30 <= x < 32), 60 into
    # the last.
    values = np.array([[0.0, 1.0, 30.0], [60.0, np.nan, -np.inf]])
    with EventWriter(tmp_path) as events:
        events.histogram("layer/kernel", values, 7)
        events.histogram("layer/bias", np.zeros(5), 7)
        events.histogram("layer/none", np.array([]), 7)
    dashboard = read_as_dashboard(tmp_path)
    assert dashboard.SummaryMetadata("layer/kernel").plugin_data.plugin_name == "histograms"
    (event,) = dashboard.Tensors("layer/kernel")
    buckets = tensor_util.make_ndarray(event.tensor_proto)
    assert event.step == 7
    assert buckets.shape == (30, 3)
    np.testing.assert_allclose(buckets[:, 0], np.arange(0, 60, 2))
    np.testing.assert_allclose(buckets[:, 1], np.arange(2, 62, 2))
    expected = np.zeros(30)
    expected[[0, 15, 29]] = [2, 1, 1]
    np.testing.assert_array_equal(buckets[:, 2], expected)
    totals = {
        tag: tensor_util.make_ndarray(dashboard.Tensors(tag)[0].tensor_proto)[:, 2].sum()
        for tag in ("layer/bias", "layer/none")
    }
    assert totals == {"layer/bias": 5, "layer/none": 0}


def test_text_comes_back_as_written(tmp_path: Path) -> None:
    with EventWriter(tmp_path) as events:
        events.text("config", "# Settings\n\n- κ: 0.5", 0)
    dashboard = read_as_dashboard(tmp_path)
    assert dashboard.SummaryMetadata("config").plugin_data.plugin_name == "text"
    (event,) = dashboard.Tensors("config")
    array = tensor_util.make_ndarray(event.tensor_proto)
    assert array.shape == ()
    assert array.item().decode() == "# Settings\n\n- κ: 0.5"


def test_hparams_keep_their_types(tmp_path: Path) -> None:
    with EventWriter(tmp_path) as events:
        events.hparams(
            {
                "model": {"name": "autorec", "hidden_units": [500, 50], "user": {"bias": True}},
                "seed": 1,
                "learning_rate": np.float32(0.5),
                "limit": None,
                "ceiling": float("inf"),
            }
        )
        events.scalar("rmse", 0.5, 1)
    start = hparams_metadata.parse_session_start_info_plugin_data(
        session(tmp_path, hparams_metadata.SESSION_START_INFO_TAG)
    )
    shown = {name: getattr(value, value.WhichOneof("kind")) for name, value in start.hparams.items()}
    assert shown == {
        "model.name": "autorec",
        "model.hidden_units": "[500, 50]",
        "model.user.bias": True,
        "seed": 1.0,
        "learning_rate": 0.5,
        "limit": "None",
        "ceiling": "inf",
    }
    end = hparams_metadata.parse_session_end_info_plugin_data(session(tmp_path, hparams_metadata.SESSION_END_INFO_TAG))
    assert end.status == api_pb2.STATUS_SUCCESS
    assert end.end_time_secs >= start.start_time_secs > 0
    # No run declares metrics for the whole experiment, so a folder of runs with different metrics shows all of them.
    assert hparams_metadata.EXPERIMENT_TAG not in read_as_dashboard(tmp_path).Tags()["tensors"]


def test_hparams_tab_joins_runs_with_different_metrics(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
    from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
    from tensorboard.context import RequestContext
    from tensorboard.plugins.base_plugin import TBContext
    from tensorboard.plugins.hparams.backend_context import Context
    from tensorboard.plugins.hparams.list_session_groups import Handler

    for model, metric, value in [("autorec", "rmse", 0.75), ("gru4rec", "recall@20", 0.5)]:
        with EventWriter(tmp_path / model / "tensorboard") as events:
            events.hparams({"model": model})
            events.scalar(metric, 1.0, 1)
            events.scalar(metric, value, 2)
    multiplexer = EventMultiplexer().AddRunsFromDirectory(str(tmp_path))
    multiplexer.Reload()
    backend = Context(TBContext(data_provider=MultiplexerDataProvider(multiplexer, str(tmp_path))))
    ctx = RequestContext()
    metadata = backend.hparams_metadata(ctx, "")
    experiment = backend.experiment_from_metadata(
        ctx, "", True, metadata, backend.hparams_from_data_provider(ctx, "", limit=0)
    )
    request = api_pb2.ListSessionGroupsRequest(
        allowed_statuses=[api_pb2.STATUS_SUCCESS],
        col_params=[
            *({"metric": info.name, "include_in_result": True} for info in experiment.metric_infos),
            *({"hparam": info.name, "include_in_result": True} for info in experiment.hparam_infos),
        ],
        slice_size=10,
    )
    response = Handler(ctx, backend, "", request).run()
    table = {
        group.hparams["model"].string_value: {metric.name.tag: metric.value for metric in group.metric_values}
        for group in response.session_groups
    }
    assert table == {"autorec": {"rmse": 0.75}, "gru4rec": {"recall@20": 0.5}}


def test_interrupted_run_is_not_marked_as_ended(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), EventWriter(tmp_path) as events:
        events.hparams({"seed": 1})
        events.scalar("loss", 1.0, 0)
        raise KeyboardInterrupt
    tags = read_as_dashboard(tmp_path).Tags()["tensors"]
    assert "loss" in tags
    assert hparams_metadata.SESSION_START_INFO_TAG in tags
    assert hparams_metadata.SESSION_END_INFO_TAG not in tags


def test_close_twice_ends_the_session_once(tmp_path: Path) -> None:
    events = EventWriter(tmp_path)
    events.hparams({"seed": 1})
    events.close()
    size = events.path.stat().st_size
    events.close()
    assert events.path.stat().st_size == size


@pytest.mark.parametrize("cut", [0, 5], ids=["flushed", "in the middle of a record"])
def test_resumed_run_replaces_the_steps_it_repeats(tmp_path: Path, cut: int) -> None:
    killed = EventWriter(tmp_path)
    killed.hparams({"seed": 1})
    for step in range(8):
        killed.scalar("loss", float(step), step)
        killed.scalar("only_before", float(step), step)
    killed.flush()  # not closed, as in a killed process
    os.truncate(killed.path, killed.path.stat().st_size - cut)

    with EventWriter(tmp_path, first_step=5) as resumed:
        resumed.hparams({"seed": 1})
        resumed.scalar("loss", 50.0, 5)
        resumed.scalar("loss", 60.0, 6)
    assert sorted(tmp_path.iterdir()) == [killed.path, resumed.path]
    expected = [(0, 0.0), (1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0), (5, 50.0), (6, 60.0)]
    logged = read(tmp_path)
    assert [(event.step, event.value) for event in logged.Scalars("loss")] == expected
    assert [event.step for event in logged.Scalars("only_before")] == [0, 1, 2, 3, 4]
    dashboard = read_as_dashboard(tmp_path)
    shown = [(event.step, tensor_util.make_ndarray(event.tensor_proto).item()) for event in dashboard.Tensors("loss")]
    assert shown == expected
    end = hparams_metadata.parse_session_end_info_plugin_data(session(tmp_path, hparams_metadata.SESSION_END_INFO_TAG))
    assert end.status == api_pb2.STATUS_SUCCESS


USE_EVERYTHING = """
    from nnrec.runs.tensorboard import EventWriter
    assert "tensorboard" not in sys.modules, "imported before it is needed"
    with EventWriter(sys.argv[1]) as events:
        events.hparams({"seed": 1})
        events.scalar("loss", 0.5, 0)
        events.histogram("kernel", [0.0, 1.0], 0)
        events.text("config", "text", 0)
        events.flush()
"""

BLOCK_TENSORFLOW = """
    import sys

    class Blocker:
        def find_spec(self, name, path=None, target=None):
            if name.split(".")[0] in ("tensorflow", "keras"):
                raise AssertionError(f"import of {name}")

    sys.meta_path.insert(0, Blocker())
"""

EXPECT_NO_TENSORFLOW = """
    assert not {"tensorflow", "keras"} & set(sys.modules)
"""


@pytest.mark.parametrize(
    "script",
    [BLOCK_TENSORFLOW + USE_EVERYTHING, "\n    import sys\n" + USE_EVERYTHING + EXPECT_NO_TENSORFLOW],
    ids=["import blocked", "import possible"],
)
def test_never_imports_tensorflow(tmp_path: Path, script: str) -> None:
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    assert [event.value for event in read(tmp_path).Scalars("loss")] == [0.5]
