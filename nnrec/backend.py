"""Choosing devices and quieting logs, before Keras is imported."""

from __future__ import annotations

import os
import warnings

from nnrec.errors import ConfigError

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")


def start(devices: str = "auto", precision: str = "float32", verbose: bool = False) -> None:
    """Prepares the Keras backend that `KERAS_BACKEND` names (TensorFlow by default).

    Args:
        devices: "auto" (an accelerator where there is one) or "cpu".
        precision: a Keras dtype policy, for the models built from here on.
        verbose: whether to let the backend's start-up messages through.

    Raises:
        ConfigError: an unknown value, or a backend that is not installed.
    """
    if devices not in ("auto", "cpu"):
        raise ConfigError(f"trainer.devices must be auto or cpu. Received: {devices!r}")
    if precision not in PRECISIONS:
        raise ConfigError(f"trainer.precision must be one of {', '.join(PRECISIONS)}. Received: {precision!r}")
    if not verbose:
        quiet()
    if devices == "cpu":
        os.environ["JAX_PLATFORMS"] = "cpu"
    try:
        import keras
    except ImportError as error:
        raise ConfigError(
            f"The Keras backend cannot be imported ({error}). Install it, or choose another with KERAS_BACKEND=tensorflow "
            "or KERAS_BACKEND=jax."
        ) from error
    backend = keras.backend.backend()
    if backend not in ("tensorflow", "jax"):
        raise ConfigError(f"nnrec runs on Keras's TensorFlow and JAX backends. Received: KERAS_BACKEND={backend}")
    if backend == "tensorflow":
        import tensorflow as tf

        if devices == "cpu":
            tf.config.set_visible_devices([], "GPU")
        # The same seed gives the same weights, bit for bit.
        tf.config.experimental.enable_op_determinism()
    keras.config.set_dtype_policy(precision)


def quiet() -> None:
    """Hides what TensorFlow and XLA print when they start."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    os.environ.setdefault("GLOG_minloglevel", "3")
    warnings.filterwarnings("ignore", module="keras")
