"""Events for TensorBoard, written without TensorFlow.

Uses only those parts of the `tensorboard` package that never load TensorFlow, so that a run on the
JAX backend logs the same curves whether or not TensorFlow is installed.
"""

from __future__ import annotations

import math
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

NUM_BUCKETS = 30


class EventWriter:
    """Appends one event file to a folder that TensorBoard reads as one run.

    A resumed run opens a second writer on the same folder and gives in `first_step` where it continues: events that
    the interrupted run had logged from that step on are superseded by the new ones.

    Example:
        >>> with EventWriter("runs/demo/tensorboard") as events:  # doctest: +SKIP
        ...     events.hparams({"model": {"hidden_units": [500]}, "seed": 1})
        ...     events.scalar("loss", 0.7, step=1)
    """

    def __init__(self, folder: str | Path, first_step: int = 0) -> None:
        """Create the folder if it is missing, and a new event file in it.

        Args:
            folder: the run's TensorBoard folder.
            first_step: the first step this writer is going to log; 0 for a new run.
        """
        # Imported here, not at module level: they take a third of a second, which would slow down `--help`.
        from tensorboard.compat.proto import event_pb2, summary_pb2, tensor_pb2, types_pb2
        from tensorboard.plugins.histogram import metadata as histogram_metadata
        from tensorboard.plugins.hparams import api_pb2, plugin_data_pb2
        from tensorboard.plugins.hparams import metadata as hparams_metadata
        from tensorboard.plugins.text import metadata as text_metadata
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._event_pb2, self._summary_pb2 = event_pb2, summary_pb2
        self._tensor_pb2, self._types_pb2 = tensor_pb2, types_pb2
        self._api_pb2, self._plugin_data_pb2, self._hparams_metadata = api_pb2, plugin_data_pb2, hparams_metadata
        self._histogram_metadata = histogram_metadata.create_summary_metadata(display_name="", description="")
        self._text_metadata = text_metadata.create_summary_metadata(display_name="", description="")

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        # TensorBoard reads a folder's files in the order of their names, so names must sort by time of writing.
        seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
        self.path = folder / f"events.out.tfevents.{seconds:010d}.{nanoseconds:09d}.{socket.gethostname()}"
        self._records = RecordWriter(open(self.path, "xb"))  # noqa: SIM115 - close() closes it
        self._session_open = False
        self._write(file_version="brain.Event:2")
        # The second START in a folder makes TensorBoard drop the events it has read from that step on (its fast
        # loader, which ignores START, drops them tag by tag as soon as a step is repeated).
        self._write(session_log=event_pb2.SessionLog(status=event_pb2.SessionLog.START), step=first_step)
        self.flush()

    def scalar(self, tag: str, value: float, step: int) -> None:
        """Log one number (stored in single precision)."""
        self._write_value(step, tag=tag, simple_value=float(value))

    def histogram(self, tag: str, values: np.ndarray, step: int) -> None:
        """Log the distribution of an array of any shape; values that are not finite are left out."""
        values = np.asarray(values, dtype=np.float64).ravel()
        counts, edges = np.histogram(values[np.isfinite(values)], bins=NUM_BUCKETS)
        buckets = np.column_stack([edges[:-1], edges[1:], counts])  # left, right, count
        tensor = self._tensor_pb2.TensorProto(dtype=self._types_pb2.DT_DOUBLE, double_val=buckets.ravel())
        for size in buckets.shape:
            tensor.tensor_shape.dim.add(size=size)
        self._write_value(step, tag=tag, tensor=tensor, metadata=self._histogram_metadata)

    def text(self, tag: str, markdown: str, step: int) -> None:
        """Log a text, which TensorBoard renders as Markdown."""
        tensor = self._tensor_pb2.TensorProto(dtype=self._types_pb2.DT_STRING, string_val=[markdown.encode()])
        tensor.tensor_shape.SetInParent()  # a scalar, where no shape at all would mean an unknown one
        self._write_value(step, tag=tag, tensor=tensor, metadata=self._text_metadata)

    def hparams(self, hparams: Mapping[str, Any]) -> None:
        """List the run in the HParams tab under these settings.

        The tab's metrics are the run's scalars: TensorBoard takes the last value of each. Nothing is written
        about other runs in the parent folder, so that runs with different settings and metrics can be
        compared in one table.

        Args:
            hparams: settings; nested mappings become dotted names ("trainer.epochs"). Values other than
                booleans, numbers and strings are shown as text.
        """
        start = self._plugin_data_pb2.SessionStartInfo(start_time_secs=time.time())
        for name, value in _flatten(hparams):
            if isinstance(value, bool):
                start.hparams[name].bool_value = value
            elif isinstance(value, int | float) and math.isfinite(value):
                start.hparams[name].number_value = value
            else:
                start.hparams[name].string_value = str(value)
        self._write_session(self._hparams_metadata.SESSION_START_INFO_TAG, session_start_info=start)
        self._session_open = True
        self.flush()

    def flush(self) -> None:
        """Hand everything to the operating system, so that TensorBoard sees it."""
        self._records.flush()

    def close(self, complete: bool = True) -> None:
        """Close the file; further calls do nothing.

        Args:
            complete: whether the run is finished, which marks it as successful in the HParams tab.
                TensorBoard never removes such a mark, so a run that may be resumed stays unmarked.
        """
        if self._records.closed:
            return
        if self._session_open and complete:
            status = self._api_pb2.STATUS_SUCCESS
            end = self._plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=time.time())
            self._write_session(self._hparams_metadata.SESSION_END_INFO_TAG, session_end_info=end)
        self._records.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close(complete=kind is None)

    def _write_session(self, tag: str, **fields: Any) -> None:
        data = self._plugin_data_pb2.HParamsPluginData(**fields)
        metadata = self._hparams_metadata.create_summary_metadata(data)
        self._write_value(0, tag=tag, tensor=self._hparams_metadata.NULL_TENSOR, metadata=metadata)

    def _write_value(self, step: int, **fields: Any) -> None:
        value = self._summary_pb2.Summary.Value(**fields)
        self._write(step=step, summary=self._summary_pb2.Summary(value=[value]))

    def _write(self, **fields: Any) -> None:
        self._records.write(self._event_pb2.Event(wall_time=time.time(), **fields).SerializeToString())


def _flatten(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value.item() if isinstance(value, np.generic) else value
