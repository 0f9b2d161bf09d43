"""When the learning rate falls, what Adam makes of it, and when a run looks up from training."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from symskip_jax.training.loop import Plan
from symskip_jax.training.schedules import make_optimizer, milestone_schedule, plateau_scale

# Milestones.


@pytest.mark.parametrize(
    ("milestones", "factor", "steps_per_epoch", "expected"),
    [
        # Pre-training and fine-tuning of supplement B, on 50,000 images in batches of 128.
        ((60, 90), 0.1, 390, [(0, 1), (23399, 1), (23400, 0.1), (35099, 0.1), (35100, 0.01)]),
        (
            (60, 120, 160),
            0.2,
            390,
            [(23399, 1), (23400, 0.2), (46799, 0.2), (46800, 0.04), (62399, 0.04), (62400, 0.008)],
        ),
        ((1.5, 2.25), 0.1, 4, [(5, 1), (6, 0.1), (8, 0.1), (9, 0.01), (100, 0.01)]),
        ((0.25, 0.5), 0.1, 1, [(0, 0.01)]),  # both fall on the first step
        ((), 0.1, 390, [(10**6, 1)]),
    ],
)
def test_the_rate_falls_at_the_first_step_of_a_milestone(
    milestones, factor, steps_per_epoch, expected
):
    schedule = milestone_schedule(1e-4, milestones, factor, steps_per_epoch)
    for step, share in expected:
        np.testing.assert_allclose(schedule(step), 1e-4 * share, rtol=1e-5, err_msg=str(step))


# Adam, beside torch's.

SHAPES = {"encoder": (3, 4), "head": (5,)}


def descend(optimizer, gradients, losses=None):
    """Yields (parameters, state of the optimiser) after each step, from ones."""
    params = {name: jnp.ones(shape) for name, shape in SHAPES.items()}
    opt_state = optimizer.init(params)
    update = jax.jit(optimizer.update)
    for i, gradient in enumerate(gradients):
        loss = jnp.float32(0.0 if losses is None else losses[i])
        updates, opt_state = update(gradient, opt_state, params, value=loss)
        params = jax.tree.map(jnp.add, params, updates)
        yield jax.device_get(params), opt_state


def draw_gradients(count, seed=0):
    random = np.random.default_rng(seed)
    return [
        {name: random.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}
        for _ in range(count)
    ]


def torch_adam(rates, gradients):
    """The parameter after each step of torch's Adam, from ones."""
    torch = pytest.importorskip("torch")
    parameter = torch.ones(gradients[0].shape, requires_grad=True)
    adam = torch.optim.Adam([parameter])
    for rate, gradient in zip(rates, gradients, strict=True):
        adam.param_groups[0]["lr"] = rate
        parameter.grad = torch.tensor(gradient)
        adam.step()
        yield parameter.detach().numpy().copy()


# The rate of steps 4 and later is a tenth, and that of steps 8 and later a hundredth.
SCHEDULE = milestone_schedule(1e-2, (2, 4), 0.1, steps_per_epoch=2)
RATES = [1e-2] * 4 + [1e-3] * 4 + [1e-4] * 4


def assert_descends_alike(found, expected):
    # Sizes near 1e-2 about parameters near 1: four digits of the last update are left.
    np.testing.assert_allclose(found, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", SHAPES)
def test_adam_and_its_milestones_are_those_of_torch(name):
    gradients = draw_gradients(12)
    expected = torch_adam(RATES, [gradient[name] for gradient in gradients])
    for (params, _), parameter in zip(
        descend(make_optimizer(SCHEDULE), gradients), expected, strict=True
    ):
        assert_descends_alike(params[name], parameter)


def test_what_is_frozen_stays_and_thaws_as_if_adam_began_there():
    gradients, frozen_steps = draw_gradients(12), 3
    optimizer = make_optimizer(SCHEDULE, frozen=("encoder",), frozen_steps=frozen_steps)
    steps = [params for params, _ in descend(optimizer, gradients)]
    free = torch_adam(RATES, [gradient["head"] for gradient in gradients])
    for params, parameter in zip(steps, free, strict=True):
        assert_descends_alike(params["head"], parameter)
    for params in steps[:frozen_steps]:
        np.testing.assert_array_equal(params["encoder"], 1)
    thawed = [gradient["encoder"] for gradient in gradients[frozen_steps:]]
    expected = torch_adam(RATES[frozen_steps:], thawed)
    for params, parameter in zip(steps[frozen_steps:], expected, strict=True):
        assert_descends_alike(params["encoder"], parameter)


# The plateau rule.

PATIENCE, STEPS_PER_EPOCH = 3, 4


def plateau_optimizer():
    return make_optimizer(
        milestone_schedule(1e-2, (), 0.1, 1),
        plateau_patience=PATIENCE,
        plateau_factor=0.5,
        steps_per_epoch=STEPS_PER_EPOCH,
    )


def torch_scales(losses_of_epochs):
    """What torch's rule has multiplied the rate by after each epoch."""
    torch = pytest.importorskip("torch")
    sgd = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    # torch's patience is how many epochs are let pass before the one that counts.
    rule = torch.optim.lr_scheduler.ReduceLROnPlateau(sgd, factor=0.5, patience=PATIENCE - 1)
    for loss in losses_of_epochs:
        rule.step(loss)
        yield sgd.param_groups[0]["lr"]


@pytest.mark.parametrize("seed", range(3))
def test_the_plateau_rule_is_that_of_torch_on_the_mean_loss_of_an_epoch(seed):
    random = np.random.default_rng(seed)
    epochs = 1 + 0.9 ** np.arange(30) + random.normal(0, 0.05, 30)
    within = random.normal(0, 1, (30, STEPS_PER_EPOCH))  # far larger than the progress
    losses = epochs[:, None] + within - within.mean(1, keepdims=True)
    gradients = draw_gradients(1) * losses.size
    states = [state for _, state in descend(plateau_optimizer(), gradients, losses.ravel())]
    scales = [plateau_scale(state) for state in states[STEPS_PER_EPOCH - 1 :: STEPS_PER_EPOCH]]
    expected = list(torch_scales(epochs))
    assert expected[-1] < 0.5  # the rule has struck more than once
    assert scales == expected


def test_the_plateau_rule_multiplies_the_updates():
    losses = [1.0] * STEPS_PER_EPOCH * (1 + PATIENCE)  # the first epoch, then no progress
    gradients = [jax.tree.map(np.ones_like, draw_gradients(1)[0])] * (len(losses) + 2)
    steps = list(descend(plateau_optimizer(), gradients, [*losses, 1.0, 1.0]))
    heads = [params["head"] for params, _ in steps]
    # Adam's update under a constant gradient is the rate.
    np.testing.assert_allclose(heads[1] - heads[0], -1e-2, rtol=1e-3)
    np.testing.assert_allclose(heads[-1] - heads[-2], -0.5e-2, rtol=1e-3)
    assert [plateau_scale(state) for _, state in steps[-4:]] == [1.0, 0.5, 0.5, 0.5]


def test_without_the_plateau_rule_its_scale_is_one():
    optimizer = make_optimizer(SCHEDULE, frozen=("encoder",), frozen_steps=2)
    assert [plateau_scale(state) for _, state in descend(optimizer, draw_gradients(3))] == [1.0] * 3


# The plan of a run.

plans = st.builds(
    Plan,
    epochs=st.integers(1, 6),
    steps_per_epoch=st.integers(1, 15),
    batch_size=st.just(1),
    steps_per_dispatch=st.integers(1, 20),
    eval_every=st.floats(0.05, 8),
    checkpoint_every=st.floats(0.05, 8),
)


def stops_from(plan, step):
    stops = []
    while step < plan.total_steps:
        step = plan.next_stop(step)
        stops.append(step)
    return stops


@given(plan=plans)
def test_stops_cut_the_run_where_something_happens_and_nowhere_else(plan):
    stops = stops_from(plan, 0)
    assert stops[-1] == plan.total_steps == plan.epochs * plan.steps_per_epoch
    starts = [0, *stops[:-1]]
    due = {
        step
        for step in range(1, plan.total_steps + 1)
        if plan.evaluates(step) or plan.saves(step) or step % plan.steps_per_epoch == 0
    }
    assert plan.evaluates(plan.total_steps) and plan.saves(plan.total_steps)
    for start, stop in zip(starts, stops, strict=True):
        assert start < stop <= start + plan.steps_per_dispatch
        assert not due & set(range(start + 1, stop))  # nothing is passed over
        assert stop in due or stop == start + plan.steps_per_dispatch


@given(plan=plans, data=st.data())
def test_a_run_resumed_anywhere_meets_the_same_evaluations_and_checkpoints(plan, data):
    start = data.draw(st.integers(0, plan.total_steps - 1))
    whole, rest = stops_from(plan, 0), stops_from(plan, start)
    for happens in (plan.evaluates, plan.saves):
        assert [s for s in rest if happens(s)] == [s for s in whole if happens(s) and s > start]


@pytest.mark.parametrize(
    ("every", "expected"),
    [
        (1, [10, 20, 30, 40]),
        (2, [20, 40]),
        (3, [30, 40]),  # and the end
        (0.5, [5, 10, 15, 20, 25, 30, 35, 40]),
        (1.25, [12, 24, 36, 40]),  # 12.5 steps, rounded
        (0.01, list(range(1, 41))),  # no oftener than each step
        (99, [40]),
    ],
)
def test_periods_are_counted_in_epochs(every, expected):
    make = functools.partial(Plan, 4, 10, 1, 100)
    steps = range(1, 41)
    assert [s for s in steps if make(every, 99).evaluates(s)] == expected
    assert [s for s in steps if make(99, every).saves(s)] == expected
