"""Learning-rate factors, compared with values computed by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnrec.training.schedules import Constant, Cosine, Plateau, Steps


def factors(schedule, epochs, losses=()):
    history = [{"val_rmse": loss} for loss in losses]
    return [schedule(epoch, epochs, history[:epoch]) for epoch in range(epochs)]


def test_constant():
    assert factors(Constant(), 3) == [1, 1, 1]


def test_cosine():
    # epoch e of 4 is taken at its middle: (1 + cos(pi (e + 1/2) / 4)) / 2
    expected = [0.5 * (1 + math.cos(math.pi * share)) for share in (1 / 8, 3 / 8, 5 / 8, 7 / 8)]
    assert factors(Cosine(), 4) == pytest.approx(expected)
    assert expected[0] == pytest.approx(0.96194, abs=1e-5)
    # halfway down to a floor of .2: .2 + .8 / 2
    assert Cosine(floor=0.2)(0, 1, []) == pytest.approx(0.6)


def test_cosine_warms_up():
    # two epochs of warm-up: 1/3, 2/3; then four on the wave
    rates = factors(Cosine(warmup=2), 6)
    assert rates[:2] == pytest.approx([1 / 3, 2 / 3])
    assert rates[2:] == pytest.approx(factors(Cosine(), 4))


def test_cosine_ends_where_it_ends():
    assert Cosine(floor=0.1)(50, 10, []) == pytest.approx(0.1)
    assert factors(Cosine(warmup=5), 3) == pytest.approx([1 / 6, 2 / 6, 3 / 6])


def test_steps():
    # at 50% and 80% of 10 epochs: from epoch 5 and from epoch 8
    rates = factors(Steps(at=(0.5, 0.8), factor=0.1), 10)
    assert rates == pytest.approx([1] * 5 + [0.1] * 3 + [0.01] * 2)


def test_plateau():
    losses = [1.0, 0.9, 0.95, 0.92, 0.8, 0.8, 0.81, 0.82, 0.83]
    # .95 and .92 are two epochs without a new lowest: halved before epoch 4. .8 is a new lowest; .8 (not lower) and
    # .81: halved before epoch 7; .82 and .83 would come after the end.
    rates = factors(Plateau(factor=0.5, patience=2), 9, losses)
    assert rates == [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25]


def test_plateau_looks_at_its_column_and_stops_at_its_floor():
    history = [{"val_mae": 1.0, "val_rmse": float(-epoch)} for epoch in range(9)]
    assert Plateau(monitor="val_mae", factor=0.1, patience=1, floor=0.05)(9, 9, history) == 0.05
    assert Plateau(patience=1)(9, 9, history) == 1


@given(
    losses=st.lists(st.floats(0, 10), min_size=1, max_size=30),
    patience=st.integers(1, 5),
    factor=st.floats(0.1, 0.9),
)
def test_plateau_never_rises(losses, patience, factor):
    rates = factors(Plateau(factor=factor, patience=patience), len(losses), losses)
    assert all(after <= before for before, after in zip(rates, rates[1:], strict=False))
    assert rates[-1] >= min(1e-3, factor)


def test_a_plateau_finds_the_loss_that_there_is():
    history = [{"loss": 1.0, "val_auc": 0.7, "val_log_loss": value} for value in (0.5, 0.4, 0.45)]
    assert Plateau(monitor="auto", patience=1)(3, 9, history) == 0.1
    ratings = [{"loss": 1.0, "val_rmse": value} for value in (0.9, 0.8, 0.7)]
    assert Plateau(monitor="auto", patience=1)(3, 9, ratings) == 1.0
