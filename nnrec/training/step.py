"""The training step: on one device or several, dense or with row-sparse updates of large tables.

For large tables a step gathers the rows that occur in the batch, differentiates with respect to these alone, and writes
them back. Its cost is proportional to the batch, not to the table. The batch lists the rows (`RowList`), padded so that
shapes stay static for XLA. A model lists these tables in `row_tables`, creates them with `trainable=False` (so that the
optimizer does not update them whole), and reads them through `Recommender.rows_of`. All other weights are
differentiated whole.

On several TensorFlow devices each device runs the step on its part of the batch. Its loss is divided by the number of
parts, and the sum of all gradients updates the weights, which are the same on all devices.

If a step is small, one host call makes many: a batch with the key `steps` holds the arrays of K steps, each with a
leading axis K, of which the first `steps` are made.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import keras
from keras import ops

from nnrec.core.devices import keras_patches
from nnrec.core.devices.cluster import cluster
from nnrec.core.devices.collectives import global_sum, num_parts


def training_step(model: Any, *arguments: Any) -> Any:
    """One host call on either backend, as Keras's `train_step`: same arguments (the last is the batch) and result."""
    batch = arguments[-1]
    batch = batch[0] if isinstance(batch, (tuple, list)) else batch
    if keras.backend.backend() == "jax":
        return jax_step(model, arguments[0], batch)
    logs = tensorflow_step(model, batch)
    return logs if cluster() is None else keras_patches.figures(logs)


def tensorflow_step(model: Any, batch: Any) -> Any:
    """One host call on the TensorFlow backend; returns the logs.

    With row tables, XLA compiles the whole step: it fuses the many small operations and updates the tables in place.
    For a model without `fuses_step`, and on several devices, XLA compiles only the optimizer's update of the rows.
    """
    import tensorflow as tf

    in_xla = bool(model.row_tables) and model.fuses_step and num_parts() == 1

    def make(arrays: Any, steps: Any) -> Any:
        if steps is None:
            return _tensorflow_update(model, arrays, in_xla)

        def body(step: Any, total: Any) -> Any:
            batch = {name: array[step] for name, array in arrays.items()}
            return step + 1, total + _tensorflow_update(model, batch, in_xla)

        if num_parts() > 1:  # collectives do not work within a loop: a call makes one step
            return body(0, 0.0)[1]
        return tf.while_loop(lambda step, _: step < steps, body, (0, 0.0), parallel_iterations=1)[1]

    arrays = dict(batch)
    steps = arrays.pop("steps", None)
    make = tf.function(make, jit_compile=True) if in_xla else make
    total, made = make(arrays, steps), 1.0 if steps is None else tf.cast(steps, tf.float32)
    model._loss_tracker.update_state(tf.math.divide_no_nan(total, made), sample_weight=made)
    return model.get_metrics_result()


def _tensorflow_update(model: Any, batch: Any, in_xla: bool) -> Any:
    """Makes one step and returns the loss."""
    import tensorflow as tf

    optimizer, dense, lists = model.optimizer, model.trainable_variables, model.lists_of_rows()
    stores = _stores(model)
    parts = [
        [tf.gather(variable.value, batch[names.rows]) for variable in store]
        for store, names in zip(stores, lists, strict=True)
    ]
    rows = [part[0] for part in parts]
    with tf.GradientTape() as tape:
        tape.watch(rows)
        with model.in_step(rows) as losses:
            model(batch, training=True)
        loss = sum(losses)
        share = optimizer.scale_loss(loss / num_parts())
    wanted = [variable.value for variable in dense] + rows
    gradients = tape.gradient(share, wanted, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    gradients = [tf.convert_to_tensor(gradient) for gradient in gradients]  # sums over repeated rows
    of_rows = gradients[len(dense) :]
    of_rows = global_sum(of_rows) if of_rows else []  # for the dense weights, the optimizer sums
    rate, iteration = optimizer.learning_rate, optimizer.iterations + 0
    optimizer.apply(gradients[: len(dense)], dense)
    move = tf.function(partial(_moved, optimizer), jit_compile=True)
    for store, part, gradient, names in zip(stores, parts, of_rows, lists, strict=True):
        moves, rate_of_table = batch[names.moves], rate * model.rate_factor(store[0])
        new = move(moves, part, gradient, rate_of_table, iteration)
        _write(store, batch[names.rows], moves > 0, new, in_xla)
    return loss


def _write(store: list, rows: Any, moving: Any, new: list, in_xla: bool) -> None:
    """Assigns the rows that change; adding to them would take ten times as long."""
    import tensorflow as tf

    if in_xla:  # XLA ignores indices that are out of range
        places = tf.where(moving, rows, store[0].shape[0])[:, None]
        for variable, part in zip(store, new, strict=True):
            variable.value.assign(tf.tensor_scatter_nd_update(variable.value, places, part))
        return
    which = tf.where(moving)[:, 0]
    for variable, part in zip(store, new, strict=True):
        variable.value.scatter_update(tf.IndexedSlices(tf.gather(part, which), tf.gather(rows, which)))


def _stores(model: Any) -> list[list[Any]]:
    """Each row table with its moments."""
    if not model.row_tables:
        return []
    return [[table, *moments] for table, moments in zip(model.row_tables, model.optimizer.row_moments, strict=True)]


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
    """Makes one step and returns the new state."""
    import jax

    trainable, others, optimizer_state, metrics_state = state
    optimizer = model.optimizer
    unique_ids = [batch[rows] for rows, _ in model.lists_of_rows()]
    places = [_place(table, model.non_trainable_variables) for table in model.row_tables]
    gathered = [others[place][rows] for place, rows in zip(places, unique_ids, strict=True)]

    def loss_of(trainable, rows):
        with model.in_step(rows) as losses:
            _, counted = model.stateless_call(trainable, others, batch, training=True)
        with keras.StatelessScope(state_mapping=list(zip(optimizer.variables, optimizer_state, strict=True))):
            return optimizer.scale_loss(sum(losses)), (counted, sum(losses))

    differentiate = jax.value_and_grad(loss_of, argnums=(0, 1), has_aux=True)
    (_, (others, loss)), (gradients, row_gradients) = differentiate(trainable, gathered)
    others = [*others]
    if model.row_tables:
        rate = optimizer_state[_place(optimizer._learning_rate, optimizer.variables)]
        iteration = optimizer_state[_place(optimizer.iterations, optimizer.variables)]
    trainable, optimizer_state = optimizer.stateless_apply(optimizer_state, gradients, trainable)
    trainable, optimizer_state = [*trainable], [*optimizer_state]
    for number, (table, *moments) in enumerate(_stores(model)):
        rows, names, size = unique_ids[number], model.lists_of_rows()[number], table.shape[0]
        stores = [(others, places[number]), *((optimizer_state, _place(kind, optimizer.variables)) for kind in moments)]
        parts = [gathered[number], *(array[place][rows] for array, place in stores[1:])]
        rate_of_table = rate * model.rate_factor(table)
        moves = batch[names.moves]
        moved = _moved(optimizer, moves, parts, row_gradients[number], rate_of_table, iteration)
        # Assigned, not added: the written values then depend on the read ones, so that XLA need not copy the table.
        written = jax.numpy.where(moves > 0, rows, size)
        for (array, place), part in zip(stores, moved, strict=True):
            array[place] = array[place].at[written].set(part, mode="drop")
    with keras.StatelessScope(state_mapping=list(zip(model.metrics_variables, metrics_state, strict=True))) as scope:
        model._loss_tracker.update_state(loss)
    metrics_state = [scope.get_current_value(variable) for variable in model.metrics_variables]
    return trainable, others, optimizer_state, metrics_state


def _moved(optimizer: Any, moves: Any, parts: list, gradient: Any, rate: Any, iteration: Any) -> list[Any]:
    """The gathered rows and their moments after the step; rows with `moves` of 0 stay unchanged."""
    moves = ops.reshape(moves > 0, [-1] + [1] * (len(parts[0].shape) - 1))
    changes = optimizer.row_step(parts[0], gradient, *parts[1:], rate, iteration)
    return [ops.where(moves, part + change, part) for part, change in zip(parts, changes, strict=True)]


def _place(variable: Any, variables: list) -> int:
    return next(place for place, other in enumerate(variables) if other is variable)
