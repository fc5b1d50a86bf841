"""Mult-VAE: the divergence and its annealing by hand; draws from the posterior."""

from __future__ import annotations

from math import log

import numpy as np
import pytest

from nnrec.batches.rows import RowBatches
from nnrec.core.config.compose import compose
from nnrec.core.errors import ConfigError
from nnrec.models.autoencoders.mult_vae import MultVAE
from tests.models.test_autorec import make_ratings
from tests.models.test_dsstne import TINY, loss_of


def test_the_variational_autoencoder_adds_the_divergence():
    model = MultVAE(2, 3, hidden_units=(), latent_units=1, kl_weight=0.5, annealing_steps=4, relevant=4)
    model.adapt(TINY)
    model.encoders[0][0].assign([[1.0, 0.0], [1.0, 0.0], [0.0, log(4)]])
    model.decoder.assign([[0.0], [0.0], [0.0]])
    # user 0: mean sqrt 2, variance 1: KL = 2 / 2 = 1; user 1: mean 0, variance 4: KL = (4 - ln 4 - 1) / 2
    divergence = (1 + (3 - log(4)) / 2) / 2
    plain = (2 * log(3) + log(3)) / 2
    assert loss_of(model, TINY) == pytest.approx(plain, rel=1e-5)
    model.steps.assign(2.0)  # half of the way
    assert loss_of(model, TINY) == pytest.approx(plain + 0.25 * divergence, rel=1e-5)
    model.steps.assign(100.0)
    assert loss_of(model, TINY) == pytest.approx(plain + 0.5 * divergence, rel=1e-5)


def test_the_variational_autoencoder_draws_from_the_posterior():
    model = MultVAE(1, 3, hidden_units=(), latent_units=2000, denoising=0.0)
    model.encoders[0][0].assign(np.concatenate([np.full((3, 2000), 1.0), np.full((3, 2000), log(4))], axis=1))
    batch = next(RowBatches(make_ratings([0], [2], [5], 1, 3).rows("user"), 1, seed=0).epoch())
    drawn = np.asarray(model._forward(batch, training=True)[0])
    assert drawn.mean() == pytest.approx(1.0, abs=0.2)
    assert drawn.std() == pytest.approx(2.0, abs=0.15)
    np.testing.assert_allclose(model.encode(batch), 1.0, rtol=1e-6)


def test_variational_settings_are_checked():
    with pytest.raises(ConfigError, match="model.kl_weight must not be negative"):
        MultVAE(3, 2, kl_weight=-1.0)


def test_the_file_says_what_the_class_would_do_by_itself():
    config = dict(compose("train", ["model=mult_vae"]).model)
    defaults = MultVAE(3, 2).get_config()
    assert {key: defaults[key] for key in config if key != "_target_"} == {
        key: tuple(value) if key == "hidden_units" else value for key, value in config.items() if key != "_target_"
    }
