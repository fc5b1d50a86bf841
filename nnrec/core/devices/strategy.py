"""Training on several devices and machines: selection of devices, placement of weights and batches on them.

On TensorFlow every device holds all weights and a part of each batch (`tf.distribute`); the summed gradients update all
copies of the weights. On JAX one program runs on all devices (`keras.distribution`): weights are replicated, or large
ones sharded, and batches are cut if their sizes allow it. Either way a step equals that of one device.

With several machines, each runs the same command. If `TF_CONFIG` or Slurm defines several processes, each of them is a
worker: it makes the same batches as the others and uses its part of each. The first worker is the chief, the only one
that writes files and console output.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from nnrec.core.devices.cluster import cluster
from nnrec.core.errors import ConfigError

Devices = int | Literal["auto", "cpu", "all"]
# On JAX with shard_tables, weights with at least this many elements are sharded.
LARGE = 2**20
# JAX: seconds without a heartbeat after which a worker is considered lost.
PATIENCE = 30


@dataclass
class _Current:
    """The devices of this process."""

    strategy: Any = None  # TensorFlow's distribution strategy, if there are several devices
    mesh: Any = None  # JAX's device mesh, if there are several devices
    lost: bool = False  # whether another worker is lost


_current = _Current()


def barrier() -> None:
    """Waits for all workers."""
    all_gather(0)


def all_gather(number: int) -> list[int]:
    """Returns the numbers of all workers; each passes its own. Waits for all of them."""
    workers = cluster()
    if workers is None:
        return [number]
    import keras

    if keras.backend.backend() == "jax":
        from jax.experimental import multihost_utils

        every = multihost_utils.process_allgather(np.array([number], np.int32), tiled=True)
        return [int(each) for each in every]
    import tensorflow as tf

    @tf.function
    def ask() -> Any:
        def gather() -> Any:
            return tf.distribute.get_replica_context().all_gather(tf.constant([number]), axis=0)

        return _current.strategy.experimental_local_results(_current.strategy.run(gather))[0]

    every = ask().numpy().tolist()
    return every[:: len(every) // len(workers.workers)]  # the devices of a worker hold the same number


def is_lost(error: Exception) -> bool:
    """Returns whether an error was raised because another worker is lost."""
    if cluster() is None:
        return False
    if _current.lost:
        return True
    import keras

    if keras.backend.backend() == "jax":
        import jax

        return isinstance(error, jax.errors.JaxRuntimeError)
    import tensorflow as tf

    lost = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError, tf.errors.InternalError)
    return isinstance(error, lost)


def note_loss() -> None:
    """Records that another worker does not answer; errors that the backend raises later do not show this cause."""
    _current.lost = True


def small_integers() -> str:
    """Returns the dtype for weights with values below 256; not uint8 with workers: TensorFlow cannot send it."""
    return "uint8" if cluster() is None else "int32"


def scope() -> AbstractContextManager[Any]:
    """Context in which models and their optimizers are created on all devices."""
    return contextlib.nullcontext() if _current.strategy is None else _current.strategy.scope()


def check(devices: Any) -> None:
    """Raises ConfigError if trainer.devices is invalid."""
    whole = isinstance(devices, int) and not isinstance(devices, bool) and devices > 0
    if not whole and devices not in ("auto", "cpu", "all"):
        raise ConfigError(f"trainer.devices must be auto, cpu, all, or a number of devices. Received: {devices!r}")


def one_of(devices: Devices) -> Devices:
    """Returns the setting that selects a single one of these devices."""
    return "cpu" if devices == "cpu" else "auto"


def prepare(devices: Devices) -> None:
    """Sets the environment variables that the backend reads when it is imported."""
    if devices == "cpu":
        os.environ |= {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": "-1"}
    if isinstance(devices, int) and devices > 1:  # takes effect only without accelerators
        flag = f"--xla_force_host_platform_device_count={devices}"
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flag}".strip()


def start(devices: Devices, shard_tables: bool = False) -> None:
    """Selects the devices; call it before the backend runs its first operation.

    Args:
        devices: "auto", one accelerator if there is one; "cpu"; a number of accelerators, or "all". Without
            accelerators a number divides the CPU into virtual devices, for tests: it is not faster.
        shard_tables: on JAX, shard large weights among the devices instead of replicating them.

    Raises:
        ConfigError: there are fewer devices, or the backend does not support the setting.
    """
    import keras

    if keras.backend.backend() == "jax":
        _start_jax(devices, shard_tables)
        return
    if shard_tables:
        raise ConfigError("trainer.shard_tables works on JAX alone: set KERAS_BACKEND=jax.")
    _start_tensorflow(devices)


def _start_tensorflow(devices: Devices) -> None:
    import tensorflow as tf

    workers = cluster()
    if workers is not None:
        if devices not in ("auto", "all", "cpu", 1):
            raise ConfigError(
                "With several workers on TensorFlow each takes all its GPUs: choose them by CUDA_VISIBLE_DEVICES, and "
                f"leave trainer.devices=auto. Received: {devices}"
            )
        os.environ["TF_CONFIG"] = workers.to_tf_config()
        _current.strategy = tf.distribute.MultiWorkerMirroredStrategy()
        return
    accelerators = [] if devices == "cpu" else tf.config.list_physical_devices("GPU")
    number = _number(devices, len(accelerators))
    if number == 1:
        return
    if not accelerators:
        (cpu, *_) = tf.config.list_physical_devices("CPU")
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * number)
    kind = "GPU" if accelerators else "CPU"
    _current.strategy = tf.distribute.MirroredStrategy([f"{kind}:{place}" for place in range(number)])


def _start_jax(devices: Devices, shard_tables: bool) -> None:
    import jax

    workers = cluster()
    if workers is not None:
        jax.distributed.initialize(
            workers.workers[0], len(workers.workers), workers.index, heartbeat_timeout_seconds=PATIENCE
        )
        found = jax.devices()
    else:
        accelerators = 0 if jax.default_backend() == "cpu" else jax.device_count()
        found = jax.devices()[: _number(devices, accelerators)]
    if len(found) == 1:
        return
    import keras

    from nnrec.core.devices import keras_patches

    _current.mesh = jax.sharding.Mesh(np.array(found), ("batch",))
    keras.distribution.set_distribution(keras_patches.of(found, LARGE if shard_tables else None))


def _number(devices: Devices, accelerators: int) -> int:
    """Returns the number of devices to use."""
    if devices == "all":
        return max(accelerators, 1)
    if not isinstance(devices, int):
        return 1
    if accelerators and devices > accelerators:
        raise ConfigError(f"trainer.devices={devices}: there are {accelerators} accelerators. Choose at most as many.")
    return devices


def placed(batch: Mapping[str, Any], axes: Mapping[str, int]) -> Mapping[str, Any]:
    """On JAX, places a batch on the devices: arrays are cut along their axis if divisible, else replicated."""
    if _current.mesh is None:
        return batch
    import jax
    from jax.sharding import NamedSharding, PartitionSpec

    def place(name: str, array: np.ndarray) -> Any:
        axis, spec = axes.get(name), PartitionSpec()
        if axis is not None and array.shape[axis] % _current.mesh.size == 0:
            spec = PartitionSpec(*[None] * axis, "batch")
        sharding = NamedSharding(_current.mesh, spec)
        return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])

    return {name: place(name, np.asarray(array)) for name, array in batch.items()}
