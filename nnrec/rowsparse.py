"""The training step for tables too large to be touched whole at every step.

One step gathers the rows that the batch touches, differentiates with respect to those alone, and
scatters their changes back. Its cost follows the batch, not the table. The batch names the rows
(`touched`, padded; `touched_scale` is 0 in the padding), so that shapes stay static for XLA.

A model takes part by listing its tables in `row_tables`, created with `trainable=False` (the
optimizer must not see them whole), and by reading them through `Recommender.rows_of`.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


def tensorflow_step(model: Any, batch: Any) -> Any:
    """One step on the TensorFlow backend; returns the logs."""
    import tensorflow as tf

    optimizer, touched = model.optimizer, batch["touched"]
    tables = [table.value for table in model.row_tables]
    rows = [tf.gather(table, touched) for table in tables]
    dense = model.trainable_variables
    with tf.GradientTape() as tape:
        tape.watch(rows)
        with model.gathered(rows):
            model(batch, training=True)
        loss = sum(model.losses)
    gradients = tape.gradient(loss, [variable.value for variable in dense] + rows)
    rate, iteration = optimizer.learning_rate, optimizer.iterations + 0
    optimizer.apply(gradients[: len(dense)], dense)
    for table, row, gradient, moments in zip(tables, rows, gradients[len(dense) :], optimizer.row_moments, strict=True):
        stores = [table, *(moment.value for moment in moments)]
        parts = [row, *(tf.gather(store, touched) for store in stores[1:])]
        for store, change in zip(stores, _changes(optimizer, batch, parts, gradient, rate, iteration), strict=True):
            store.scatter_add(tf.IndexedSlices(change, touched))
    model._loss_tracker.update_state(loss)
    return model.get_metrics_result()


def jax_step(model: Any, state: Any, batch: Any) -> Any:
    """One step on the JAX backend, on explicit state; returns the logs and the new state."""
    import jax

    trainable, others, optimizer_state, metrics_state = (list(part) for part in state)
    optimizer, touched = model.optimizer, batch["touched"]
    places = [_place(table, model.non_trainable_variables) for table in model.row_tables]
    rows = [others[place][touched] for place in places]

    def loss_of(trainable, rows):
        with model.gathered(rows):
            _, _, losses = model.stateless_call(trainable, others, batch, training=True, return_losses=True)
        return sum(losses)

    loss, (gradients, row_gradients) = jax.value_and_grad(loss_of, argnums=(0, 1))(trainable, rows)
    rate = optimizer_state[_place(optimizer._learning_rate, optimizer.variables)]
    iteration = optimizer_state[_place(optimizer.iterations, optimizer.variables)]
    trainable, optimizer_state = optimizer.stateless_apply(optimizer_state, gradients, trainable)
    optimizer_state = list(optimizer_state)
    for place, row, gradient, moments in zip(places, rows, row_gradients, optimizer.row_moments, strict=True):
        moment_places = [_place(moment, optimizer.variables) for moment in moments]
        parts = [row, *(optimizer_state[moment][touched] for moment in moment_places)]
        change, *moment_changes = _changes(optimizer, batch, parts, gradient, rate, iteration)
        others[place] = others[place].at[touched].add(change)
        for moment, moment_change in zip(moment_places, moment_changes, strict=True):
            optimizer_state[moment] = optimizer_state[moment].at[touched].add(moment_change)
    with keras.StatelessScope(state_mapping=list(zip(model.metrics_variables, metrics_state, strict=True))) as scope:
        model._loss_tracker.update_state(loss)
        logs = model.get_metrics_result()
    metrics_state = [scope.get_current_value(variable) for variable in model.metrics_variables]
    return logs, (trainable, others, optimizer_state, metrics_state)


def _changes(optimizer: Any, batch: Any, parts: list, gradient: Any, rate: Any, iteration: Any) -> list:
    """The changes of a table's touched rows and of their moments, 0 in the padding."""
    valid = ops.cast(batch["touched_scale"] > 0, "float32")
    valid = ops.reshape(valid, [-1] + [1] * (len(parts[0].shape) - 1))
    return [valid * change for change in optimizer.row_step(parts[0], gradient, *parts[1:], rate, iteration)]


def _place(variable: Any, variables: list) -> int:
    return next(place for place, other in enumerate(variables) if other is variable)
