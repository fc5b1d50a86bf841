"""Start-up of the Keras backend: selects devices and silences logs before Keras is imported."""

from __future__ import annotations

import contextlib
import importlib
import os
import random
import sys
import tempfile
import warnings
from collections.abc import Iterator

import numpy as np

from nnrec.core.config.old_names import current_name
from nnrec.core.devices import strategy
from nnrec.core.errors import ConfigError

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")


def start(
    devices: strategy.Devices = "auto",
    precision: str = "float32",
    xla: bool = False,
    verbose: bool = False,
    target: str | None = None,
    shard_tables: bool = False,
) -> None:
    """Prepares the Keras backend that `KERAS_BACKEND` names (TensorFlow by default), if it is needed.

    Args:
        devices, shard_tables: see `nnrec.core.devices.strategy.start`.
        precision: a Keras dtype policy for all models built afterwards.
        xla: whether models are compiled as a whole by XLA. TensorFlow does not support that together with
            deterministic operations, so these are then not enabled.
        verbose: whether to show the backend's start-up messages.
        target: the import path of the model's class; if importing it does not import Keras, Keras is
            not needed. None = Keras is needed.

    Raises:
        ConfigError: an unknown value, or a backend that is not installed.
    """
    strategy.check(devices)
    if precision not in PRECISIONS:
        raise ConfigError(f"trainer.precision must be one of {', '.join(PRECISIONS)}. Received: {precision!r}")
    if not verbose:
        quiet()
    strategy.prepare(devices)
    try:
        with contextlib.nullcontext() if verbose else _hushed():
            if target is not None and not _imports_keras(target):
                return
            import keras

            strategy.start(devices, shard_tables)
            keras.ops.zeros(1)  # the first operation triggers the remaining start-up messages
    except (ImportError, ValueError) as error:
        raise ConfigError(
            f"The Keras backend cannot be imported ({error}). Install it, or choose another with "
            "KERAS_BACKEND=tensorflow or KERAS_BACKEND=jax."
        ) from error
    backend = keras.backend.backend()
    if backend not in ("tensorflow", "jax"):
        raise ConfigError(f"nnrec runs on Keras's TensorFlow and JAX backends. Received: KERAS_BACKEND={backend}")
    if backend == "tensorflow":
        import tensorflow as tf

        if not verbose:  # hides, for instance, warnings about functions traced again for the next model
            tf.get_logger().setLevel("ERROR")
        if not xla:  # the same seed gives the same weights, bit for bit
            tf.config.experimental.enable_op_determinism()
    keras.config.set_dtype_policy(precision)


def seed(number: int) -> None:
    """Sets the seed for the initial weights of all models built afterwards."""
    if "keras" not in sys.modules:
        return
    import keras

    if keras.backend.backend() == "tensorflow":
        keras.utils.set_random_seed(number)
    else:  # keras.utils.set_random_seed imports TensorFlow if it is installed
        random.seed(number)
        np.random.seed(number)


def _imports_keras(target: str) -> bool:
    module, _, name = current_name(target).rpartition(".")
    with contextlib.suppress(ImportError, AttributeError):  # a wrong path is reported where the model is built
        getattr(importlib.import_module(module), name)  # public names are imported lazily
    return "keras" in sys.modules


@contextlib.contextmanager
def _hushed() -> Iterator[None]:
    """Discards what libraries write to file descriptor 2 (stderr), or prints it if the block fails."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(kept, held.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def quiet() -> None:
    """Silences the log output of TensorFlow and XLA, and warnings of Keras."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    warnings.filterwarnings("ignore", module="keras")
