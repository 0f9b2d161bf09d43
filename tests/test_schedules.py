"""Learning rates: milestones, cosine, warm-up and the plateau rule of section 4."""

import math

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from symskip_jax.config import base_config
from symskip_jax.experiments.running import make_schedule
from symskip_jax.training.schedules import (
    ADAM,
    cosine_schedule,
    make_optimizer,
    milestone_schedule,
    plateau_scale,
    sgd,
    warmed_up,
)


@pytest.mark.parametrize(
    ("milestones", "factor", "rates"),
    [
        ((60, 90), 0.1, {0: 1e-4, 59.9: 1e-4, 60: 1e-5, 89.9: 1e-5, 90: 1e-6, 119: 1e-6}),
        ((60, 120, 160), 0.2, {59.9: 1e-4, 60: 2e-5, 120: 4e-6, 160: 8e-7, 199: 8e-7}),
        ((1, 1.001), 0.1, {0: 1e-4, 1: 1e-6}),  # two milestones of one step both count
    ],
)
def test_milestones_are_epochs(milestones, factor, rates):
    schedule = milestone_schedule(1e-4, milestones, factor, steps_per_epoch=10)
    for epoch, rate in rates.items():
        assert float(schedule(round(epoch * 10))) == pytest.approx(rate, rel=1e-5)


@pytest.mark.parametrize("warmup", [0, 5])
def test_the_cosine_is_torchs_after_a_line(warmup):
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3)
    peer = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=20 - warmup)
    expected = list(np.linspace(0, 0.3, warmup, endpoint=False))
    for _ in range(20 - warmup):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        peer.step()
    schedule = warmed_up(cosine_schedule(0.3, warmup, 20), warmup)
    np.testing.assert_allclose([schedule(i) for i in range(21)], [*expected, 0.0], atol=1e-7)


def test_a_warm_up_leaves_the_milestones_where_they_are():
    plain = milestone_schedule(0.3, (1, 2), 0.1, steps_per_epoch=4)
    warm = warmed_up(plain, 6)
    rates = [0, 0.05, 0.1, 0.15, 0.02, 0.025, 0.03, 0.03, 0.003]
    np.testing.assert_allclose([warm(i) for i in range(9)], rates, rtol=1e-5)
    assert warmed_up(plain, 0) is plain


def test_the_rate_rises_once_the_head_has_learnt_alone():
    recipe = base_config().finetune
    recipe.learning_rate, recipe.epochs, recipe.warmup_epochs = 0.3, 5, 1.0
    recipe.schedule = "cosine"
    schedule = make_schedule(recipe, steps_per_epoch=3, frozen_steps=6)
    rates = [0.3] * 6 + [0.0, 0.1, 0.2] + [0.15 * (1 + math.cos(math.pi * i / 6)) for i in range(7)]
    np.testing.assert_allclose([schedule(i) for i in range(16)], rates, atol=1e-7)
    recipe.schedule, recipe.milestones, recipe.milestone_factor = "milestones", (2, 4), 0.5
    schedule = make_schedule(recipe, steps_per_epoch=3, frozen_steps=6)
    rates = [0.3] * 6 + [0.0, 0.05, 0.1, 0.15, 0.15, 0.15, 0.075]
    np.testing.assert_allclose([schedule(i) for i in range(13)], rates, atol=1e-7)


@pytest.mark.parametrize("rule", [ADAM, sgd(0.9, 0.01)])
def test_the_plateau_rule_is_torchs_on_the_mean_loss_of_an_epoch(rule):
    torch = pytest.importorskip("torch")
    means = [1.0, 0.9, 0.95, 0.94, 0.93, 0.8, 0.81, 0.82, 0.83, 0.84]
    weight = torch.nn.Parameter(torch.zeros(1))
    peer = torch.optim.SGD([weight], lr=1.0)
    waits = torch.optim.lr_scheduler.ReduceLROnPlateau(peer, factor=0.1, patience=1, threshold=1e-4)
    optimizer = make_optimizer(
        optax.constant_schedule(1.0),
        rule=rule,
        plateau_patience=2,
        plateau_factor=0.1,
        steps_per_epoch=2,
    )
    params = {"encoder": jnp.zeros(1)}
    state = optimizer.init(params)
    for mean in means:
        for loss in (mean - 0.3, mean + 0.3):  # no single loss drops as the means do
            _, state = optimizer.update(params, state, params, value=jnp.float32(loss))
        waits.step(mean)
        # Torch counts the epochs that patience forgives, optax those that end it: one apart.
        np.testing.assert_allclose(plateau_scale(state), peer.param_groups[0]["lr"], rtol=1e-5)
    assert plateau_scale(state) < 0.05
