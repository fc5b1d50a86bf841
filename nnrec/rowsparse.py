"""The training step for tables too large to be touched whole at every step.

One step gathers the rows that the batch touches, differentiates with respect to those alone, and
writes them back. Its cost follows the batch, not the table. The batch names the rows (`touched`;
the padding repeats the first of them, its `touched_scale` is 0), so that shapes stay static for XLA.

A model takes part by listing its tables in `row_tables`, created with `trainable=False` (the
optimizer must not see them whole), and by reading them through `Recommender.rows_of`.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


def tensorflow_step(model: Any, batch: Any) -> Any:
    """One step on the TensorFlow backend; returns the logs.

    XLA fuses the many small operations between gathering and writing back. Those two stay outside:
    inside, it would copy whole tables.
    """
    import tensorflow as tf

    optimizer, touched, dense = model.optimizer, batch["touched"], model.trainable_variables
    stores = [[table, *moments] for table, moments in zip(model.row_tables, optimizer.row_moments, strict=True)]

    @tf.function(jit_compile=True)
    def compute(batch: Any, parts: list) -> Any:
        rows = [part[0] for part in parts]
        with tf.GradientTape() as tape:
            tape.watch(rows)
            with model.gathered(rows):
                model(batch, training=True)
            loss = sum(model.losses)
        gradients = tape.gradient(loss, [variable.value for variable in dense] + rows)
        rate, iteration = optimizer.learning_rate, optimizer.iterations + 0
        optimizer.apply(gradients[: len(dense)], dense)
        rates = [rate * model.rate_factor(table) for table in model.row_tables]
        row_gradients = zip(parts, gradients[len(dense) :], rates, strict=True)
        return loss, [_updated(optimizer, batch, *part, iteration) for part in row_gradients]

    parts = [[tf.gather(variable.value, touched) for variable in store] for store in stores]
    loss, updated = compute(batch, parts)
    for store, new_parts in zip(stores, updated, strict=True):
        for variable, new in zip(store, new_parts, strict=True):
            variable.value.scatter_update(tf.IndexedSlices(new, touched))
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
            _, counted, losses = model.stateless_call(trainable, others, batch, training=True, return_losses=True)
        return sum(losses), counted

    differentiate = jax.value_and_grad(loss_of, argnums=(0, 1), has_aux=True)
    (loss, others), (gradients, row_gradients) = differentiate(trainable, rows)
    others = list(others)
    rate = optimizer_state[_place(optimizer._learning_rate, optimizer.variables)]
    iteration = optimizer_state[_place(optimizer.iterations, optimizer.variables)]
    trainable, optimizer_state = optimizer.stateless_apply(optimizer_state, gradients, trainable)
    optimizer_state = list(optimizer_state)
    tables = zip(model.row_tables, places, rows, row_gradients, optimizer.row_moments, strict=True)
    for table, place, row, gradient, moments in tables:
        moment_places = [_place(moment, optimizer.variables) for moment in moments]
        parts = [row, *(optimizer_state[moment][touched] for moment in moment_places)]
        new_row, *new_moments = _updated(optimizer, batch, parts, gradient, rate * model.rate_factor(table), iteration)
        others[place] = others[place].at[touched].set(new_row)
        for moment, new in zip(moment_places, new_moments, strict=True):
            optimizer_state[moment] = optimizer_state[moment].at[touched].set(new)
    with keras.StatelessScope(state_mapping=list(zip(model.metrics_variables, metrics_state, strict=True))) as scope:
        model._loss_tracker.update_state(loss)
        logs = model.get_metrics_result()
    metrics_state = [scope.get_current_value(variable) for variable in model.metrics_variables]
    return logs, (trainable, others, optimizer_state, metrics_state)


def _updated(optimizer: Any, batch: Any, parts: list, gradient: Any, rate: Any, iteration: Any) -> list:
    """A table's touched rows and their moments after the step; the padding repeats the first row's."""
    valid = batch["touched_scale"] > 0
    valid = ops.reshape(valid, [-1] + [1] * (len(parts[0].shape) - 1))
    changes = optimizer.row_step(parts[0], gradient, *parts[1:], rate, iteration)
    return [ops.where(valid, part + change, (part + change)[:1]) for part, change in zip(parts, changes, strict=True)]


def _place(variable: Any, variables: list) -> int:
    return next(place for place, other in enumerate(variables) if other is variable)
