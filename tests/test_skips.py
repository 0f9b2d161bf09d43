"""Inner skips: placed after the activation, gated, dropped image by image, faded out."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from scipy.stats import binomtest

from symskip_jax.models import AutoEncoder, Layer, Spec, activations, count_inner_skips
from symskip_jax.models.autoencoder import DeconvBlock
from symskip_jax.training.skips import ALL_SKIPS, SkipSchedule

LAYERS = (Layer(3, 1, 4), Layer(3, 2, 4), Layer(3, 1, 6), Layer(1, 1, 6), Layer(3, 2, 6))
SPEC = Spec("tiny", LAYERS, "pool_linear")  # skips end in decoder layers 2 and 4
IMAGES = np.random.default_rng(0).normal(size=(3, 9, 6, 3)).astype(np.float32)
BATCH = tiny.make_batch(16)
SGD = tiny.sgd(0.1)


@functools.cache
def variables_of(**kwargs):
    return tiny.make_state(AutoEncoder(SPEC, 3, **kwargs), SGD).variables


@functools.cache
def compiled(**kwargs):
    return jax.jit(functools.partial(AutoEncoder(SPEC, 3, **kwargs).apply, train=False))


def infer(variables, skip_scale=None, **kwargs):
    return compiled(**kwargs)(variables, IMAGES, skip_scale=skip_scale)


# Where a skip ends.


def test_a_skip_placed_after_adds_activation_to_activation():
    variables = variables_of()
    of = functools.partial(jax.jit(activations, static_argnums=0), variables=variables)
    after = of(AutoEncoder(SPEC, 3, skip_placement="after"), images_bhwc=IMAGES)
    alone = of(AutoEncoder(SPEC, 3, skip="none"), images_bhwc=IMAGES)
    # The deepest skip meets what the network without skips computes too.
    expected = alone["decoder.4.relu"] + alone["encoder.3.relu"]
    np.testing.assert_allclose(after["decoder.4.relu"], expected, atol=1e-6)
    assert (after["decoder.2.raw"] != alone["decoder.2.raw"]).any()


def test_placement_changes_no_parameter():
    before, after = variables_of(), variables_of(skip_placement="after")
    tiny.assert_same(after, before)
    placed_before, placed_after = infer(before), infer(before, skip_placement="after")
    assert jnp.abs(placed_before - placed_after).max() > 1e-3


# Learned gates.


def test_a_gate_starts_open_and_can_close():
    plain = variables_of()
    gates = {
        name: layer["skip_gate"].shape
        for name, layer in variables_of(skip_gate="learned")["params"]["decoder"].items()
        if "skip_gate" in layer
    }
    assert gates == {"2": (4,), "4": (6,)}

    def with_gates(value):
        decoder = {name: {**layer} for name, layer in plain["params"]["decoder"].items()}
        for name, shape in gates.items():
            decoder[name]["skip_gate"] = jnp.full(shape, value)
        return {**plain, "params": {**plain["params"], "decoder": decoder}}

    opened, halved, closed = (
        infer(with_gates(value), skip_gate="learned") for value in (1.0, 0.5, 0.0)
    )
    np.testing.assert_allclose(opened, infer(variables_of()), atol=1e-6)
    np.testing.assert_allclose(halved, infer(variables_of(), 0.5), atol=1e-6)
    np.testing.assert_allclose(closed, infer(variables_of(), skip="none"), atol=1e-6)

    block = DeconvBlock(Layer(1, 1, 2), 2, "he", jnp.float32, None, skip_gate="learned")
    images = np.zeros((1, 1, 1, 2), np.float32)
    fresh = block.init(jax.random.key(0), images, images, (1, 1), train=False)
    np.testing.assert_array_equal(fresh["params"]["skip_gate"], [1, 1])


# The scale of the skips.


@pytest.mark.parametrize("placement", ["before", "after"])
def test_a_scale_of_zero_is_a_network_without_skips_and_one_is_all_of_them(placement):
    variables, after = variables_of(), {"skip_placement": placement}
    joined, alone = infer(variables, **after), infer(variables, skip="none")
    assert jnp.abs(joined - alone).max() > 1e-3
    np.testing.assert_allclose(infer(variables, 0.0, **after), alone, atol=1e-6)
    np.testing.assert_allclose(infer(variables, 1.0, **after), joined, atol=1e-6)
    # In inference mode an image does not see the others.
    mixed = infer(variables, jnp.array([[0.0, 0.0], [1.0, 1.0], [0.0, 1.0]]), **after)
    np.testing.assert_allclose(mixed[0], alone[0], atol=1e-6)
    np.testing.assert_allclose(mixed[1], joined[1], atol=1e-6)
    assert jnp.abs(mixed[2] - joined[2]).max() > 1e-3 < jnp.abs(mixed[2] - alone[2]).max()


def test_nothing_depends_on_a_skip_that_is_left_out():
    assert count_inner_skips(SPEC) == 2
    variables = variables_of(skip_gate="learned")
    model = AutoEncoder(SPEC, 3, skip_gate="learned")

    @jax.jit
    def gradients(scale):
        def loss(params):
            variables_now = {**variables, "params": params}
            output, _ = model.apply(
                variables_now, IMAGES, train=True, mutable=["batch_stats"], skip_scale=scale
            )
            return jnp.square(output).mean()

        decoder = jax.grad(loss)(variables["params"])["decoder"]
        return decoder["2"]["skip_gate"], decoder["4"]["skip_gate"]

    for dropped in (0, 1):
        scale = jnp.ones((3, 2)).at[:, dropped].set(0.0)
        by_skip = gradients(scale)
        assert (by_skip[dropped] == 0).all()
        assert (by_skip[1 - dropped] != 0).any()


# When they are how strong.


def test_skips_fade_linearly_between_two_steps():
    schedule = SkipSchedule(fade=(10, 20))
    found = [float(schedule.strength(step)) for step in (0, 10, 11, 15, 20, 99)]
    assert found == pytest.approx([1, 1, 0.9, 0.5, 0, 0])
    assert ALL_SKIPS.strength(5) is None and ALL_SKIPS.scale(None, 5, 2) is None


def test_skips_are_dropped_by_the_key_of_each_image():
    keys = jax.random.split(jax.random.key(0), 2000)
    scale = np.asarray(SkipSchedule(drop=0.25).scale(keys, jnp.int32(0), 2))
    assert set(np.unique(scale)) == {0, 1}
    for kept, chance in ((scale[:, 0], 0.75), (scale[:, 1], 0.75), (scale.prod(1), 0.75**2)):
        assert binomtest(int(kept.sum()), len(keys), chance).pvalue > 1e-4
    some = SkipSchedule(drop=0.25).scale(keys[5:9], jnp.int32(0), 2)
    np.testing.assert_array_equal(some, scale[5:9])
    half = SkipSchedule(drop=0.25, fade=(0, 4)).scale(keys, jnp.int32(2), 2)
    np.testing.assert_array_equal(half, scale / 2)


@functools.cache
def step_from(step, skip="symmetric", skips=ALL_SKIPS):
    """The state after a pre-training step, taken as the step of that number."""
    model = tiny.autoencoder(skip=skip)
    state = tiny.make_state(model, SGD).replace(step=jnp.int32(step))
    return jax.jit(tiny.bind_pretrain(model, SGD, skips=skips))(state, BATCH)


@pytest.mark.parametrize("skips", [SkipSchedule(drop=1.0), SkipSchedule(fade=(0, 4))])
def test_a_step_whose_skips_are_gone_is_that_of_a_network_without(skips):
    (alone, measured_alone), (state, measured) = (
        step_from(4, skip="none"),
        step_from(4, skips=skips),
    )
    tiny.assert_close(measured, measured_alone, rtol=1e-6)
    tiny.assert_close(tiny.gradients_of(state), tiny.gradients_of(alone), rtol=1e-5)
    assert measured["loss"] != step_from(4)[1]["loss"]


def test_half_dropped_skips_lie_between_and_change_with_the_step():
    skips = SkipSchedule(drop=0.5)
    losses = [float(step_from(k, skips=skips)[1]["loss"]) for k in (4, 5)]
    all_or_none = {float(step_from(4, **kwargs)[1]["loss"]) for kwargs in ({}, {"skip": "none"})}
    assert len({*losses, *all_or_none}) == 4
