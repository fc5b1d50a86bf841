"""Prints the losses of the first steps of models on a number of devices, as JSON.

    python tests/models/first_losses.py devices steps [--sharded] [case ...]

A case is a model and its variant, such as autorec-item; no case = all neural models. Training uses plain SGD, with the
random draws that the model's `noise` settings switch on. With --sharded (JAX), tables are sharded over the devices.
With several workers (TF_CONFIG), only the chief prints.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from nnrec.core.devices import backend, cluster, strategy
from nnrec.training.settings import Trainer
from tests.models import session_trials, trials
from tests.models import test_impression_contract as impressions

# Their losses lie far apart: with these, twenty steps move every one of them.
RATES = {"dsstne": 0.05, "rbm": 0.05, "mult_dae": 0.2, "mult_vae": 0.2, "cnn3d": 0.05, "item2vec": 1.0, "deepfm": 0.05}


def cases() -> dict[str, tuple[Any, Any, dict[str, Any]]]:
    """name -> module, case, noise."""
    found: dict[str, tuple[Any, Any, dict[str, Any]]] = {}
    for module in (trials, session_trials):
        for case in filter(module.is_neural, module.CASES):
            found["-".join(case)] = (module, case, dict(module.MODELS.get(case[0], trials.Trial()).noise))
    for name, changes in impressions.CASES:
        found["-".join([name, *map(str, changes)])] = (impressions, (name, changes), {})
    return found


def first_losses(name: str, steps: int) -> list[float]:
    """The loss of each of the first steps."""
    import keras

    from nnrec.training.loop import Stage

    module, case, noise = cases()[name]
    trainer = Trainer(
        epochs=1,
        batch_size=48 if case[0] == "cnn3d" else 24,
        learning_rate=RATES.get(case[0], 0.01),
        optimizer="sgd",
        refit=False,
    )
    with strategy.scope():
        if module is impressions:
            data: Any = impressions.rows()
            model = impressions.fresh(case, trainer=trainer)
        else:
            data = trials.data_of(case) if module is trials else session_trials.clicks()
            model = module.fresh(case, data, trainer=trainer, **noise)
    losses: list[float] = []

    class Note(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            self.model.reset_metrics()

        def on_train_batch_end(self, batch, logs=None):
            losses.append(float(logs["loss"]))

    stage = Stage("refit", replace(trainer, epochs=50), model, data, seed=3, epochs=50)
    if hasattr(stage.batches, "steps_per_call"):
        stage.batches.steps_per_call = 1
    epoch = 0
    while len(losses) < steps:
        model.begin_epoch(epoch)
        model.fit(stage.feed(epoch), steps_per_epoch=len(stage.batches), shuffle=False, verbose=0, callbacks=[Note()])
        epoch += 1
    return losses[:steps]


def main() -> None:
    sharded = "--sharded" in sys.argv
    devices, steps, *names = (word for word in sys.argv[1:] if word != "--sharded")
    if sharded:
        strategy.LARGE = 64
    backend.start(int(devices) if devices.isdigit() else devices, shard_tables=sharded)
    found = {name: first_losses(name, int(steps)) for name in names or cases()}
    if cluster.is_chief():
        print(json.dumps(found))


if __name__ == "__main__":
    main()
