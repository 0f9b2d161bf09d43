"""Wide ResNet: the published sizes, the authors' blocks in torch, and its mirror."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from symskip_jax import models
from symskip_jax.errors import UserError
from symskip_jax.models import WideAutoEncoder, WideClassifier, count_inner_skips, wide_resnet

TREES = ("params", "batch_stats")
TINY = wide_resnet(16, 2).scaled(0.25)  # 4, then 8, 16 and 32 filters; two blocks in a group


activations = jax.jit(models.activations, static_argnums=0)


def images_of(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@functools.partial(jax.jit, static_argnums=0, static_argnames="method")
def infer(model, variables, images, method=None):
    return model.apply(variables, images, train=False, method=method)


@functools.cache
def shapes_of(model, size=(32, 32)):
    image = jnp.zeros((1, *size, 3))
    return jax.eval_shape(lambda: model.init(jax.random.key(0), image, train=False))


def filled(model, seed=0):
    """Variables none of which is what it was initialised with."""
    random = np.random.default_rng(seed)

    def fill(path, leaf):
        if path[-1].key in ("kernel", "bias", "mean"):
            deviation = np.sqrt(1 / np.prod(leaf.shape[:-1])) if leaf.ndim > 1 else 0.1
            return np.float32(random.normal(0, deviation, leaf.shape))
        return np.float32(random.uniform(0.5, 1.5, leaf.shape))

    return jax.tree.map_with_path(fill, shapes_of(model))


# Millions of parameters for CIFAR-10, as the authors' table 4 has them.
@pytest.mark.parametrize(
    ("depth", "widen", "millions"),
    [(40, 1, 0.6), (40, 4, 8.9), (16, 8, 11.0), (22, 8, 17.2), (28, 10, 36.5), (28, 12, 52.5)],
)
def test_parameters_are_as_many_as_published(depth, widen, millions):
    params = shapes_of(WideClassifier(wide_resnet(depth, widen), 10))["params"]
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    assert round(count / 1e6, 1) == millions


@pytest.mark.parametrize(("depth", "widen"), [(27, 10), (4, 1), (28, 0)])
def test_what_makes_no_network_is_answered_in_a_line(depth, widen):
    with pytest.raises(UserError, match=f"model.depth={depth} and model.widen={widen} "):
        wide_resnet(depth, widen)


def torch_encoder(variables, images):
    """The authors' blocks, one after the other, on our parameters."""
    torch = pytest.importorskip("torch")
    f = torch.nn.functional
    params, stats = variables["params"]["encoder"], variables["batch_stats"]["encoder"]

    def tensor(x):
        return torch.tensor(np.asarray(x))

    def conv(x, kernel, stride):
        weight = tensor(kernel).permute(3, 2, 0, 1)
        return f.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)

    def bn_relu(x, i):
        bn, running = params[str(i)]["bn"], stats[str(i)]["bn"]
        arrays = (running["mean"], running["var"], bn["scale"], bn["bias"])
        return f.relu(f.batch_norm(x, *map(tensor, arrays), eps=1e-5))

    x = conv(tensor(images).permute(0, 3, 1, 2), params["0"]["conv"]["kernel"], 1)
    for block in range(6):
        first, second = 2 * block + 1, 2 * block + 2
        stride = 2 if block in (2, 4) else 1
        opened = bn_relu(x, first - 1)
        y = conv(opened, params[str(first)]["conv"]["kernel"], stride)
        y = conv(bn_relu(y, first), params[str(second)]["conv"]["kernel"], 1)
        shortcut = params.get(f"shortcut{first}")
        x = y + (x if shortcut is None else conv(opened, shortcut["kernel"], stride))
    return bn_relu(x, 12).permute(0, 2, 3, 1).numpy()


def test_the_encoder_is_the_authors():
    model = WideClassifier(TINY, 5)
    variables, images = filled(model), images_of(2, 13, 10, 3)
    assert {k for k in variables["params"]["encoder"] if k.startswith("s")} == {
        "shortcut1",
        "shortcut5",
        "shortcut9",
    }
    features = infer(model, variables, images, method="features")
    np.testing.assert_allclose(features, torch_encoder(variables, images), atol=1e-4)
    classes = variables["params"]["head"]["classes"]
    logits = np.asarray(features).mean((1, 2)) @ classes["kernel"] + classes["bias"]
    np.testing.assert_allclose(infer(model, variables, images), logits, atol=1e-4)


@pytest.mark.parametrize(("spec", "size"), [(TINY, (9, 6)), (wide_resnet(10, 1), (1, 5))])
def test_the_mirror_gives_back_any_size_and_names_every_activation(spec, size):
    model = WideAutoEncoder(spec, 3)
    variables, images = filled(model), images_of(2, *size, 3)
    got = activations(model, variables, images)
    sizes = spec.sizes(*size)
    expected = {"decoder.0.raw": (2, *size, 3)}
    for i, layer in enumerate(spec.layers):
        shape = (2, *sizes[i + 1], layer.width)
        expected |= {f"encoder.{i}.{kind}": shape for kind in ("raw", "relu")}
        if i + 1 < len(spec.layers):
            expected |= {f"decoder.{i + 1}.{kind}": shape for kind in ("raw", "relu")}
    assert {name: value.shape for name, value in got.items()} == expected
    output = infer(model, variables, images)
    np.testing.assert_allclose(images + got["decoder.0.raw"], output, atol=1e-6)


def silent(variables, *layers):
    """The variables with convolutions of the decoder that give nothing, shortcuts too."""
    decoder = dict(variables["params"]["decoder"])
    for layer in layers:
        decoder[layer] = jax.tree.map_with_path(
            lambda path, leaf: leaf if path[0].key == "bn" else np.zeros_like(leaf), decoder[layer]
        )
    return {**variables, "params": {**variables["params"], "decoder": decoder}}


@pytest.mark.parametrize("skip", ["symmetric", "none"])
def test_the_end_of_a_block_adds_its_shortcut_and_its_skip(skip):
    model = WideAutoEncoder(TINY, 3, skip=skip)
    # The convolutions give nothing, nor do the shortcuts where sizes or widths change.
    changing = ("1", "5", "9")
    variables = silent(filled(model), "11", *changing, *(f"shortcut{i}" for i in changing))
    got = activations(model, variables, images_of(2, 9, 6, 3))

    def assert_made_of(layer, summed):
        bn, running = (variables[tree]["decoder"][layer]["bn"] for tree in TREES)
        z = (summed - running["mean"]) / np.sqrt(running["var"] + 1e-5)
        relu = np.maximum(z * bn["scale"] + bn["bias"], 0)
        np.testing.assert_allclose(got[f"decoder.{layer}.relu"], relu, atol=1e-5)

    if skip == "symmetric":
        assert_made_of("1", got["encoder.0.raw"])
    else:
        # The first block of the decoder has the shortcut of the features that it is given.
        assert_made_of("11", got["encoder.12.relu"])
    for layer in changing:
        relu = got[f"decoder.{layer}.relu"]
        assert (jnp.ptp(relu, axis=(0, 1, 2)).max() > 0) == (skip == "symmetric")


def test_what_scales_the_skips_takes_each_in_its_order():
    joined = WideAutoEncoder(TINY, 3)
    alone = joined.clone(skip="none")
    assert count_inner_skips(TINY) == 6
    variables, image = filled(joined), images_of(1, 9, 6, 3)
    # The outermost skip alone reaches the output past the last block, where that is silent.
    past = silent(variables, "1", "shortcut1")
    scales = jnp.array([[0.0] * 6, [1.0] * 6, [1.0] + [0.0] * 5, [0.0] + [1.0] * 5])
    scaled, scaled_past = (
        jax.jit(lambda v: joined.apply(v, image.repeat(4, 0), train=False, skip_scale=scales))(v)
        for v in (variables, past)
    )
    for got, of in ((scaled[:2], variables), (scaled_past[:2], past)):
        expected = [infer(model, of, image)[0] for model in (alone, joined)]
        np.testing.assert_allclose(got, expected, atol=1e-5)
        assert jnp.abs(got[0] - got[1]).max() > 1e-3
    np.testing.assert_allclose(scaled_past[2:], scaled_past[1::-1], atol=1e-5)


def test_the_input_reaches_the_output_past_a_silent_decoder():
    images = images_of(2, 9, 6, 3)
    model = WideAutoEncoder(TINY, 3)
    variables = silent(filled(model), "0")
    np.testing.assert_array_equal(infer(model, variables, images), images)
