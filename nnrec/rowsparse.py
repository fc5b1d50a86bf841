"""The training step for tables too large to be touched whole at every step.

One step gathers the rows that the batch touches, differentiates with respect to those alone, and adds their changes.
Its cost follows the batch, not the table. The batch names the rows (`RowList`), padded so that shapes stay static for
XLA.

A model takes part by listing its tables in `row_tables`, created with `trainable=False` (the optimizer must not see
them whole), and by reading them through `Recommender.rows_of`. Where a step is small, a host call makes many of them:
a batch with `steps` holds the arrays of K steps, each with a leading axis K, of which the first `steps` are made.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
from keras import ops


class RowList(NamedTuple):
    """Which arrays of a batch say what it touches of a table.

    Attributes:
        rows: name of (U,) int32 rows; what is not moved may repeat others.
        moves: name of (U,) float32, 0 for rows that are not to move.
    """

    rows: str = "touched"
    moves: str = "touched_scale"


def tensorflow_step(model: Any, batch: Any) -> Any:
    """One host call on the TensorFlow backend; returns the logs."""
    import tensorflow as tf

    update = _tensorflow_update(model)
    if "steps" not in batch:
        model._loss_tracker.update_state(update(batch))
        return model.get_metrics_result()
    arrays = {name: array for name, array in batch.items() if name != "steps"}

    def body(step: Any, total: Any) -> Any:
        return step + 1, total + update({name: array[step] for name, array in arrays.items()})

    steps = batch["steps"]
    _, total = tf.while_loop(lambda step, _: step < steps, body, (0, 0.0), parallel_iterations=1)
    made = tf.cast(steps, tf.float32)
    model._loss_tracker.update_state(tf.math.divide_no_nan(total, made), sample_weight=made)
    return model.get_metrics_result()


def _tensorflow_update(model: Any) -> Any:
    """A function of a batch that makes one step and returns the loss.

    XLA fuses the many small operations between gathering and adding. Those two stay outside: inside, it would copy
    whole tables.
    """
    import tensorflow as tf

    optimizer, dense = model.optimizer, model.trainable_variables
    stores = [[table, *moments] for table, moments in zip(model.row_tables, optimizer.row_moments, strict=True)]

    @tf.function(jit_compile=model.compiled_rows)
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
        each = zip(parts, gradients[len(dense) :], rates, model.lists_of_rows(), strict=True)
        return loss, [_changes(optimizer, batch, *of_table, iteration) for of_table in each]

    def update(batch: Any) -> Any:
        touched = [batch[rows] for rows, _ in model.lists_of_rows()]
        parts = [
            [tf.gather(variable.value, rows) for variable in store] for store, rows in zip(stores, touched, strict=True)
        ]
        loss, changes = compute(batch, parts)
        for store, new_parts, rows in zip(stores, changes, touched, strict=True):
            for variable, change in zip(store, new_parts, strict=True):
                variable.value.scatter_add(tf.IndexedSlices(change, rows))
        return loss

    return update


def jax_step(model: Any, state: Any, batch: Any) -> Any:
    """One host call on the JAX backend, on explicit state; returns the logs and the new state."""
    import jax

    state = tuple([*part] for part in state)
    if "steps" not in batch:
        state = _jax_update(model, state, batch)
    else:
        arrays = {name: array for name, array in batch.items() if name != "steps"}

        def body(step: Any, state: Any) -> Any:
            return _jax_update(model, state, {name: array[step] for name, array in arrays.items()})

        state = jax.lax.fori_loop(0, batch["steps"], body, state)
    with keras.StatelessScope(state_mapping=list(zip(model.metrics_variables, state[3], strict=True))):
        logs = model.get_metrics_result()
    return logs, state


def _jax_update(model: Any, state: Any, batch: Any) -> Any:
    """The state after one step."""
    import jax

    trainable, others, optimizer_state, metrics_state = state
    optimizer = model.optimizer
    touched = [batch[rows] for rows, _ in model.lists_of_rows()]
    places = [_place(table, model.non_trainable_variables) for table in model.row_tables]
    gathered = [others[place][rows] for place, rows in zip(places, touched, strict=True)]

    def loss_of(trainable, rows):
        with model.gathered(rows):
            _, counted, losses = model.stateless_call(trainable, others, batch, training=True, return_losses=True)
        return sum(losses), counted

    differentiate = jax.value_and_grad(loss_of, argnums=(0, 1), has_aux=True)
    (loss, others), (gradients, row_gradients) = differentiate(trainable, gathered)
    others = [*others]
    rate = optimizer_state[_place(optimizer._learning_rate, optimizer.variables)]
    iteration = optimizer_state[_place(optimizer.iterations, optimizer.variables)]
    trainable, optimizer_state = optimizer.stateless_apply(optimizer_state, gradients, trainable)
    trainable, optimizer_state = [*trainable], [*optimizer_state]
    for number, (table, moments) in enumerate(zip(model.row_tables, optimizer.row_moments, strict=True)):
        rows, names, size = touched[number], model.lists_of_rows()[number], table.shape[0]
        stores = [(others, places[number]), *((optimizer_state, _place(kind, optimizer.variables)) for kind in moments)]
        parts = [gathered[number], *(array[place][rows] for array, place in stores[1:])]
        rate_of_table = rate * model.rate_factor(table)
        changes = _changes(optimizer, batch, parts, row_gradients[number], rate_of_table, names, iteration)
        # Set, not added to: what is written then depends on what is read, and XLA need not copy the table to have both.
        written = jax.numpy.where(batch[names.moves] > 0, rows, size)
        for (array, place), part, change in zip(stores, parts, changes, strict=True):
            array[place] = array[place].at[written].set(part + change, mode="drop")
    with keras.StatelessScope(state_mapping=list(zip(model.metrics_variables, metrics_state, strict=True))) as scope:
        model._loss_tracker.update_state(loss)
    metrics_state = [scope.get_current_value(variable) for variable in model.metrics_variables]
    return trainable, others, optimizer_state, metrics_state


def _changes(
    optimizer: Any, batch: Any, parts: list, gradient: Any, rate: Any, names: RowList, iteration: Any
) -> list[Any]:
    """What to add to a table's touched rows and their moments: nothing where they are not to move."""
    moves = batch[names.moves] > 0
    moves = ops.reshape(moves, [-1] + [1] * (len(parts[0].shape) - 1))
    changes = optimizer.row_step(parts[0], gradient, *parts[1:], rate, iteration)
    return [ops.where(moves, change, 0.0) for change in changes]


def _place(variable: Any, variables: list) -> int:
    return next(place for place, other in enumerate(variables) if other is variable)
