"""Converts batches to the form that the backend's `fit` expects."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Any

import keras

from nnrec.batches.protocol import Batch, TrainingBatches
from nnrec.batches.worker_exchange import Exchange, parts_here
from nnrec.core.devices import strategy
from nnrec.core.devices.collectives import num_parts
from nnrec.core.errors import ConfigError


def check_parts(batch_size: int | str) -> None:
    """Raises ConfigError if a batch cannot be divided evenly among the devices."""
    parts = num_parts()
    if isinstance(batch_size, int) and batch_size % parts:
        raise ConfigError(
            f"trainer.batch_size={batch_size} cannot be divided by {parts} devices. Choose a multiple, such as "
            f"{-(-batch_size // parts) * parts}."
        )


def feed(batches: TrainingBatches, epoch: int, exchange: Exchange | None = None) -> Any:
    """The batches of an epoch in the form that the backend's `fit` expects.

    Args:
        exchange: used if several workers share the making of batches; None = this process makes them.
    """

    def parts() -> Iterator[Batch]:
        return parts_here(batches, epoch) if exchange is None else exchange.epoch(epoch)

    if keras.backend.backend() != "tensorflow":
        return _ahead((strategy.placed(batch, batches.axes),) for batch in parts())
    import tensorflow as tf

    if num_parts() == 1:
        return _dataset(batches, parts())
    return tf.distribute.get_strategy().distribute_datasets_from_function(lambda _: _dataset(batches, parts()))


def _dataset(batches: TrainingBatches, rest: Iterator[Batch]) -> Any:
    """The batches as a `tf.data.Dataset`."""
    import tensorflow as tf

    first = next(rest)
    signature = {
        name: tf.TensorSpec((None,) if name in batches.varying else array.shape, array.dtype)
        for name, array in first.items()
    }
    every = ((batch,) for batch in chain([first], rest))
    dataset = tf.data.Dataset.from_generator(lambda: every, output_signature=(signature,))
    options = tf.data.Options()
    options.autotune.enabled = False  # nothing to tune, and autotune prints a message to stderr when it stops
    return dataset.prefetch(2).with_options(options)


def _ahead(batches: Iterator[tuple[Any]]) -> Iterator[tuple[Any]]:
    """Yields the same batches, making each in a thread while the device works on the previous one."""
    with ThreadPoolExecutor(1) as worker:
        following = worker.submit(next, batches, None)
        while (batch := following.result()) is not None:
            following = worker.submit(next, batches, None)
            yield batch
