"""Context Encoder: the channel-wise layer, the discriminator, the joint step, the masked loss."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from symskip_jax.models import (
    Discriminator,
    Layer,
    activations,
    discriminator_layers,
)
from symskip_jax.models.context_encoder import ChannelWise
from symskip_jax.models.layers import kernel_init
from symskip_jax.training.adversarial import (
    DISCRIMINATOR_RATE,
    context_encoder_step,
    init_context_encoder,
    slow_discriminator,
)
from symskip_jax.training.reconstruction import VISIBLE_WEIGHT, masked_error
from symskip_jax.training.schedules import make_optimizer, milestone_schedule
from symskip_jax.training.state import init_state
from symskip_jax.transforms import Corruption, image_keys

BATCH = tiny.make_batch(16)
SGD = tiny.sgd(0.1)
MASKS = Corruption("center", fill=tiny.NORMALIZATION.mean)
MODEL = tiny.autoencoder(tiny.ONE_LAYER, skip="none", bottleneck="channel_wise")
DISCRIMINATOR = Discriminator((Layer(5, 2, 3), Layer(5, 2, 5)))


def channels_first(x):
    return np.asarray(x).transpose(0, 3, 1, 2)


# The layers.


def test_the_channel_wise_layer_is_torchs_grouped_convolution():
    torch = pytest.importorskip("torch")
    batch, height, width, channels = 2, 3, 4, 5
    places = height * width
    features = np.random.default_rng(0).normal(size=(batch, height, width, channels))
    features = features.astype(np.float32)
    layer = ChannelWise("he")
    shapes = jax.eval_shape(lambda: layer.init(jax.random.key(0), features, train=False))
    variables = jax.tree.map(
        lambda leaf: np.random.default_rng(1).uniform(0.5, 1.5, leaf.shape).astype(np.float32),
        shapes,
    )
    captured = layer.apply(variables, features, train=False, mutable=["intermediates"])[1]
    kernel = torch.tensor(np.array(variables["params"]["kernel"]))  # channel, from, to
    assert kernel.shape == (channels, places, places)
    # A group is a channel; its inputs and outputs are that channel's places.
    flat = torch.tensor(channels_first(features)).reshape(batch, channels * places, 1)
    weight = kernel.transpose(1, 2).reshape(channels * places, places, 1)
    spread = torch.nn.functional.conv1d(flat, weight, groups=channels)
    mix = torch.tensor(np.array(variables["params"]["conv"]["kernel"])[0, 0])  # from, to
    expected = torch.nn.functional.conv2d(
        spread.reshape(batch, channels, height, width), mix.T[:, :, None, None]
    )
    raw = captured["intermediates"]["raw"][0]
    np.testing.assert_allclose(channels_first(raw), expected, rtol=1e-4, atol=1e-5)


def test_the_matrices_of_channels_start_with_hes_deviation():
    kernel = kernel_init("he", batch_axis=(0,))(jax.random.key(0), (20, 36, 36))
    assert np.std(kernel) == pytest.approx(np.sqrt(2 / 36), rel=5 / np.sqrt(2 * kernel.size))


@pytest.mark.parametrize(("side", "count", "widest"), [(225, 6, 512), (29, 3, 256), (3, 1, 64)])
def test_a_discriminator_halves_an_image_down_to_four_pixels(side, count, widest):
    layers = discriminator_layers((side, side))
    assert len(layers) == count
    assert max(layer.width for layer in layers) == widest


def test_the_discriminator_is_torchs():
    torch = pytest.importorskip("torch")
    variables = fresh_state().variables
    own = {name: tree["discriminator"] for name, tree in variables.items()}
    images = np.float32(tiny.NORMALIZATION.normalize(BATCH["image"]))
    found = DISCRIMINATOR.apply(own, images, train=False)

    def tensor(*path):
        value = functools.reduce(lambda tree, name: tree[name], path, own)
        return torch.tensor(np.array(value))

    def convolve(x, i):
        weight = tensor("params", f"conv{i}", "kernel").permute(3, 2, 0, 1)
        return torch.nn.functional.conv2d(x, weight, stride=2, padding=2)

    x = torch.nn.functional.leaky_relu(convolve(torch.tensor(channels_first(images)), 0), 0.2)
    statistics = (tensor("batch_stats", "bn1", name) for name in ("mean", "var"))
    affine = (tensor("params", "bn1", name) for name in ("scale", "bias"))
    x = torch.nn.functional.batch_norm(convolve(x, 1), *statistics, *affine, eps=1e-5)
    x = torch.nn.functional.leaky_relu(x, 0.2).permute(0, 2, 3, 1).flatten(1)
    expected = x @ tensor("params", "clean", "kernel") + tensor("params", "clean", "bias")
    np.testing.assert_allclose(found, expected[:, 0], rtol=1e-4, atol=1e-4)


# The losses.


def test_the_masked_loss_is_a_weighted_mean_of_each_image():
    random = np.random.default_rng(0)
    output, target = random.normal(size=(2, 3, 5, 4, 3)).astype(np.float32)
    mask = (random.random((3, 5, 4, 1)) < 0.3).astype(np.float32)
    mask[2] = 0  # then it is the plain mean
    weights = np.broadcast_to(np.where(mask == 1, 1, VISIBLE_WEIGHT), output.shape)
    errors = (output - target) ** 2
    expected = [np.average(e, weights=w) for e, w in zip(errors, weights, strict=True)]
    np.testing.assert_allclose(masked_error(output, target, mask), np.mean(expected), rtol=1e-5)
    assert expected[2] == pytest.approx(errors[2].mean(), rel=1e-6)


@functools.cache
def fresh_state(optimizer=SGD):
    """Of both networks, with the numbers of `tiny.make_state`."""
    return tiny.make_pair_state(MODEL, DISCRIMINATOR, optimizer)


@functools.cache
def joint_step(weight, optimizer=SGD, loss="masked"):
    bound = tiny.bind_pretrain(MODEL, optimizer, MASKS, loss=loss).keywords
    step = functools.partial(
        context_encoder_step, discriminator=DISCRIMINATOR, adversarial_weight=weight, **bound
    )
    return jax.jit(step)(fresh_state(optimizer), BATCH)


def test_the_joint_loss_is_of_torchs_cross_entropies():
    torch = pytest.importorskip("torch")
    state = fresh_state()
    measured = joint_step(0.25)[1]
    transform = tiny.bind_pretrain(MODEL, SGD, MASKS).keywords["transform"]
    corrupted, clean, mask = transform.with_mask(image_keys(state.step_key(), 16), BATCH["image"])
    target = tiny.NORMALIZATION.normalize(clean)
    output, _ = MODEL.apply(
        state.variables,
        tiny.NORMALIZATION.normalize(corrupted),
        train=True,
        mutable=["batch_stats"],
    )
    own = {name: tree["discriminator"] for name, tree in state.variables.items()}

    def cross_entropy(images, label):
        logits, _ = DISCRIMINATOR.apply(own, images, train=True, mutable=["batch_stats"])
        logits = torch.tensor(np.array(logits))
        labels = torch.full_like(logits, label)
        return torch.nn.functional.binary_cross_entropy_with_logits(logits, labels).item()

    told = cross_entropy(target, 1.0) + cross_entropy(output, 0.0)
    fooled, error = cross_entropy(output, 1.0), masked_error(output, target, mask)
    expected = {
        "discriminator_loss": told,
        "adversarial_loss": fooled,
        "reconstruction_loss": error,
        "loss": 0.75 * error + 0.25 * fooled,
        "mse": jnp.square(output - target).mean(),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(measured[name], value, rtol=1e-4, err_msg=name)


@pytest.mark.parametrize("loss", ["masked", "image"])
def test_without_weight_the_autoencoder_learns_as_if_there_were_no_discriminator(loss):
    model_state = tiny.make_state(MODEL, SGD)
    alone, measured_alone = jax.jit(tiny.bind_pretrain(MODEL, SGD, MASKS, loss=loss))(
        model_state, BATCH
    )
    state, measured = joint_step(0.0, loss=loss)
    gradients = tiny.gradients_of(state)
    for name, expected in tiny.gradients_of(alone).items():
        tiny.assert_close(gradients[name], expected, rtol=1e-5)
    tiny.assert_close(measured["loss"], measured_alone["loss"], rtol=1e-6)
    tiny.assert_close(measured["psnr"], measured_alone["psnr"], rtol=1e-6)


def test_the_weight_moves_the_autoencoder_and_not_the_discriminator():
    light, heavy = (tiny.gradients_of(joint_step(weight)[0]) for weight in (0.0, 0.25))
    tiny.assert_close(heavy["discriminator"], light["discriminator"], rtol=1e-5)
    for name in ("encoder", "decoder", "channel_wise"):
        pairs = zip(jax.tree.leaves(light[name]), jax.tree.leaves(heavy[name]), strict=True)
        assert all((a != b).any() for a, b in pairs), name


def test_a_step_moves_everything_the_discriminator_a_tenth_as_far():
    rate = 1e-3
    optimizer = slow_discriminator(make_optimizer(milestone_schedule(rate, (), 0.1, 1)))
    before, (after, _) = fresh_state(optimizer), joint_step(0.25, optimizer)
    moved = jax.tree.map(lambda a, b: np.abs(a - b), before.params, after.params)
    for name, branch in moved.items():
        # Adam's first step is the rate, whatever the gradient, where that is not next to nothing.
        expected = rate * (DISCRIMINATOR_RATE if name == "discriminator" else 1)
        sizes = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(branch)])
        assert np.median(sizes) == pytest.approx(expected, rel=0.02), name
    changed = jax.tree.map(lambda a, b: (a != b).any(), before.batch_stats, after.batch_stats)
    assert all(jax.tree.leaves(changed))


def test_a_fresh_pair_has_the_encoder_of_a_plain_run():
    plain, shape = tiny.autoencoder(tiny.ONE_LAYER, skip="none"), (8, 8, 3)
    alone = jax.jit(lambda: init_state(plain, SGD, 7, shape))()
    pair = jax.jit(lambda: init_context_encoder(MODEL, DISCRIMINATOR, SGD, 7, shape))()
    assert jax.tree.structure(pair) == jax.tree.structure(fresh_state())
    for name in alone.params:
        tiny.assert_same(pair.params[name], alone.params[name])
    tiny.assert_same(pair.batch_stats["encoder"], alone.batch_stats["encoder"])
    tiny.assert_same(pair.key, alone.key)


def test_nothing_of_an_image_passes_beside_the_bottleneck():
    images = tiny.NORMALIZATION.normalize(BATCH["image"])
    variables = tiny.make_state(MODEL, SGD).variables
    assert set(variables["params"]) == {"encoder", "decoder", "channel_wise"}
    assert {"channel_wise.raw", "channel_wise.relu"} < set(activations(MODEL, variables, images))
    closed = jax.tree.map(lambda x: x, variables)
    closed["params"]["channel_wise"]["conv"]["kernel"] *= 0
    output = MODEL.apply(closed, images, train=False)
    np.testing.assert_array_equal(output[0], output[1])
    assert (MODEL.apply(variables, images, train=False)[0] != output[0]).any()
