"""Learning rates: the milestones of supplement B and the plateau rule of section 4."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from symskip_jax.training.schedules import make_optimizer, milestone_schedule, plateau_scale


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


def test_the_plateau_rule_is_torchs_on_the_mean_loss_of_an_epoch():
    torch = pytest.importorskip("torch")
    means = [1.0, 0.9, 0.95, 0.94, 0.93, 0.8, 0.81, 0.82, 0.83, 0.84]
    weight = torch.nn.Parameter(torch.zeros(1))
    peer = torch.optim.SGD([weight], lr=1.0)
    rule = torch.optim.lr_scheduler.ReduceLROnPlateau(peer, factor=0.1, patience=1, threshold=1e-4)
    optimizer = make_optimizer(
        optax.constant_schedule(1.0), plateau_patience=2, plateau_factor=0.1, steps_per_epoch=2
    )
    params = {"encoder": jnp.zeros(1)}
    state = optimizer.init(params)
    for mean in means:
        for loss in (mean - 0.3, mean + 0.3):  # no single loss drops as the means do
            _, state = optimizer.update(params, state, params, value=jnp.float32(loss))
        rule.step(mean)
        # Torch counts the epochs that patience forgives, optax those that end it: one apart.
        np.testing.assert_allclose(plateau_scale(state), peer.param_groups[0]["lr"], rtol=1e-5)
    assert plateau_scale(state) < 0.05
