"""Which images a step gets, when the data lies on the device."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from symskip_jax.data.order import epoch_order
from symskip_jax.training.dispatch import (
    drawing,
    in_a_loop,
    one_by_one,
    resident_advance,
)
from symskip_jax.training.mesh import data_mesh, replicated, split_over_devices
from symskip_jax.training.state import new_state

COUNT, BATCH_SIZE = 23, 5
STEPS_PER_EPOCH = 4  # and three images over
# An image is full of its number, and its label is ten times that.
DATA = {
    "image": np.tile(np.arange(COUNT, dtype=np.uint8)[:, None, None, None], (1, 2, 2, 1)),
    "label": 10 * np.arange(COUNT, dtype=np.int32),
}
MESH = data_mesh(jax.devices()[:1])


def report(state, batch):
    """A step that learns nothing and tells what it was given."""
    seen = {"image": batch["image"][:, 1, 1, 0], "label": batch["label"]}
    return state.replace(step=state.step + 1), seen


def make_advance(seed=3, data=DATA):
    return resident_advance(
        report, MESH, data, batch_size=BATCH_SIZE, seed=seed, steps_per_dispatch=STEPS_PER_EPOCH
    )


def state_at(step):
    state = new_state({}, {}, optax.identity(), jax.random.key(0))
    return jax.device_put(state.replace(step=jnp.int32(step)), replicated(MESH))


def images_of(epochs, advance):
    """The numbers of the images [epochs, steps, B], each epoch in two dispatches."""
    state, seen = state_at(0), []
    for step in range(0, epochs * STEPS_PER_EPOCH, STEPS_PER_EPOCH):
        for first, n in ((step, 1), (step + 1, STEPS_PER_EPOCH - 1)):
            state, measured = advance(state, first, n)
            np.testing.assert_array_equal(measured["label"], 10 * measured["image"].astype(int))
            seen.append(measured["image"])
    assert state.step == epochs * STEPS_PER_EPOCH
    return np.concatenate(seen).reshape(epochs, STEPS_PER_EPOCH, BATCH_SIZE)


def test_an_epoch_visits_every_image_once_but_those_that_fill_no_batch():
    epochs = images_of(12, make_advance())
    for images in epochs:
        assert len(np.unique(images)) == images.size == STEPS_PER_EPOCH * BATCH_SIZE
    assert set(epochs.ravel()) == set(range(COUNT))  # nobody is left out for ever
    assert len({tuple(images.ravel()) for images in epochs}) == 12


def test_the_order_is_a_function_of_seed_and_epoch():
    epochs = images_of(3, make_advance(seed=3))
    np.testing.assert_array_equal(images_of(3, make_advance(seed=3)), epochs)
    for epoch, images in enumerate(epochs):
        order = np.asarray(epoch_order(3, epoch, COUNT))
        assert sorted(order) == list(range(COUNT))
        np.testing.assert_array_equal(images.ravel(), order[: images.size])
    others = images_of(3, make_advance(seed=4))
    assert not any((others[i] == epochs[j]).all() for i in range(3) for j in range(3))


def test_a_run_resumed_at_any_step_gets_the_batches_that_it_would_have_got():
    whole = images_of(3, make_advance()).reshape(-1, BATCH_SIZE)
    advance = make_advance()
    for step in range(len(whole)):
        to_the_end_of_the_epoch = STEPS_PER_EPOCH - step % STEPS_PER_EPOCH
        _, measured = advance(state_at(step), step, to_the_end_of_the_epoch)
        np.testing.assert_array_equal(
            measured["image"], whole[step : step + to_the_end_of_the_epoch]
        )


@pytest.mark.parametrize("seed", [0, 2**31, 2**32 - 1])
def test_every_seed_that_a_configuration_may_have_orders_the_images(seed):
    assert len(np.unique(images_of(1, make_advance(seed)))) == STEPS_PER_EPOCH * BATCH_SIZE


@pytest.mark.parametrize("compile_run", [one_by_one, lambda *args: in_a_loop(*args, most=7)])
def test_both_ways_to_dispatch_run_any_number_of_steps(compile_run):
    whole = replicated(MESH)
    take = drawing(report, STEPS_PER_EPOCH, BATCH_SIZE, split_over_devices(MESH))
    run = compile_run(take, MESH)
    order = jax.device_put(np.arange(COUNT)[::-1].copy(), whole)
    data = jax.device_put(DATA, whole)
    for n in (1, 2, STEPS_PER_EPOCH):
        state, measured = run(state_at(0), data, order, n)
        assert state.step == n
        expected = np.arange(COUNT)[::-1][: n * BATCH_SIZE].reshape(n, BATCH_SIZE)
        np.testing.assert_array_equal(measured["image"], expected)


def test_no_data_goes_to_the_device_once_it_is_there():
    advance = make_advance()
    state, _ = advance(state_at(0), 0, STEPS_PER_EPOCH)
    with jax.transfer_guard_host_to_device("disallow"):
        with pytest.raises(Exception, match="Disallowed host-to-device transfer"):
            jnp.asarray(DATA["label"])  # the guard is awake
        state, _ = advance(state, STEPS_PER_EPOCH, 1)
        advance(state, STEPS_PER_EPOCH + 1, STEPS_PER_EPOCH - 1)


def test_nor_does_any_in_a_loop():
    whole = replicated(MESH)
    run = in_a_loop(drawing(report, 4, BATCH_SIZE, split_over_devices(MESH)), MESH, most=4)
    data, order = jax.device_put((DATA, np.arange(COUNT)), whole)
    state, _ = run(state_at(0), data, order, 4)
    with jax.transfer_guard_host_to_device("disallow"):
        run(state, data, order, 2)
