"""Mult-DAE: the multinomial loss of normalised, half-hidden inputs, by hand."""

from __future__ import annotations

from math import log

import numpy as np
import pytest

from nnrec.core.config.compose import compose
from nnrec.models.autoencoders.mult_dae import MultDAE
from tests.models.test_dsstne import TINY, loss_of


def test_the_multinomial_autoencoder_normalises_hides_and_sums():
    model = MultDAE(2, 3, hidden_units=(1,), activation="linear", relevant=4)
    model.adapt(TINY)
    model.encoders[0][0].assign([[1.0], [1.0], [0.0]])
    model.decoder.assign([[0.0], [0.0], [-1.0]])
    # user 0: 2 / sqrt 2: logits 0, 0, -sqrt 2: 2 ln(2 + exp(-sqrt 2)); user 1: 0: logits 0: ln 3
    expected = (2 * log(2 + np.exp(-(2**0.5))) + log(3)) / 2
    assert loss_of(model, TINY) == pytest.approx(expected, rel=1e-5)
    batch = next(model.batches(model.training_rows(TINY), 2, seed=0).epoch())
    inputs = np.asarray(model._inputs(batch, training=True)[0])[batch["weight"] > 0]
    # each is hidden, or doubled
    assert all(min(abs(value - right) for right in (0, 2 / 2**0.5, 2)) < 1e-6 for value in inputs)


def test_the_file_says_what_the_class_would_do_by_itself():
    config = dict(compose("train", ["model=mult_dae"]).model)
    defaults = MultDAE(3, 2).get_config()
    assert {key: defaults[key] for key in config if key != "_target_"} == {
        key: tuple(value) if key == "hidden_units" else value for key, value in config.items() if key != "_target_"
    }
