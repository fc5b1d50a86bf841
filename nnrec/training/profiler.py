"""Traces for TensorBoard's profiler."""

from __future__ import annotations

import keras

from nnrec.runs.tensorboard import EventWriter


class _profiler:
    """Records a trace for TensorBoard's profiler while active."""

    def __init__(self, events: EventWriter | None, active: bool) -> None:
        self.folder = str(events.path.parent) if events is not None and active else None

    def __enter__(self) -> None:
        if self.folder is None:
            return
        if keras.backend.backend() == "jax":
            import jax

            jax.profiler.start_trace(self.folder)
        else:
            import tensorflow as tf

            tf.profiler.experimental.start(self.folder)

    def __exit__(self, *_: object) -> None:
        if self.folder is None:
            return
        if keras.backend.backend() == "jax":
            import jax

            jax.profiler.stop_trace()
        else:
            import tensorflow as tf

            tf.profiler.experimental.stop()
