import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from symskip_jax import models
from symskip_jax.models import AutoEncoder, Classifier, Head, Layer, Spec

activations = jax.jit(models.activations, static_argnums=0)

TINY = Spec(
    "tiny",
    (Layer(3, 1, 4), Layer(3, 2, 4), Layer(3, 1, 6), Layer(1, 1, 6), Layer(3, 2, 6)),
    "pool_linear",
)


def images_of(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def init(model, images, seed=0):
    return jax.jit(model.init, static_argnames="train")(jax.random.key(seed), images, train=False)


def infer(model, variables, images):
    return jax.jit(model.apply, static_argnames="train")(variables, images, train=False)


def train(model, variables, images):
    apply = jax.jit(model.apply, static_argnames=("train", "mutable"))
    return apply(variables, images, train=True, mutable=("batch_stats",))


def test_auto_encoder_names_every_activation():
    images = images_of(2, 9, 6, 3)
    model = AutoEncoder(TINY, 3, initializer="he")
    variables = init(model, images)
    got = activations(model, variables, images)
    shapes = [(2, 9, 6, 4), (2, 5, 3, 4), (2, 5, 3, 6), (2, 5, 3, 6), (2, 3, 2, 6)]
    expected = {f"encoder.{i}.{kind}": s for i, s in enumerate(shapes) for kind in ("raw", "relu")}
    for i, shape in enumerate(shapes[:-1]):
        expected |= {f"decoder.{i + 1}.{kind}": shape for kind in ("raw", "relu")}
    expected["decoder.0.raw"] = (2, 9, 6, 3)
    assert {name: value.shape for name, value in got.items()} == expected
    assert all((value.min() < 0) == name.endswith("raw") for name, value in got.items())
    np.testing.assert_allclose(
        images + got["decoder.0.raw"], infer(model, variables, images), atol=1e-6
    )


@pytest.mark.parametrize(
    ("kind", "hidden"),
    [("pool_linear", ()), ("conv_pool", ()), ("fully_connected", (7, 8))],
)
def test_classifier_names_every_activation(kind, hidden):
    images = images_of(2, 9, 6, 3)
    model = Classifier(Spec("tiny", TINY.layers, kind, hidden), 5, dropout=0.5, initializer="he")
    variables = init(model, images)
    got = activations(model, variables, images)
    head = {name: value.shape for name, value in got.items() if name.startswith("head")}
    expected = {f"head.fc{i}.{k}": (2, w) for i, w in enumerate(hidden) for k in ("raw", "relu")}
    assert head == expected | {"head.logits": (2, 5)}
    assert len(got) == 2 * len(TINY.layers) + len(head)
    np.testing.assert_allclose(got["head.logits"], infer(model, variables, images), atol=1e-6)
    features = model.apply(variables, images, train=False, method=model.features)
    np.testing.assert_allclose(got["encoder.4.relu"], features, atol=1e-6)


@pytest.mark.parametrize(
    "model",
    [AutoEncoder(TINY, 3, initializer="he"), Classifier(TINY, 5, initializer="he")],
    ids=lambda model: type(model).__name__,
)
def test_bfloat16_computes_low_and_keeps_float32_state(model):
    images = images_of(4, 9, 6, 3)
    low_dtype = np.dtype(jnp.bfloat16)
    low = model.clone(dtype=low_dtype)
    variables = init(low, images)
    outputs, updated = train(low, variables, images)
    assert {leaf.dtype for leaf in jax.tree.leaves((variables, updated))} == {np.dtype("float32")}
    assert {leaf.dtype for leaf in activations(low, variables, images).values()} == {
        jnp.dtype(jnp.bfloat16)
    }
    assert outputs.dtype == jnp.float32
    exact = infer(model, variables, images)
    inferred = infer(low, variables, images)
    assert inferred.dtype == jnp.float32
    error = np.linalg.norm(inferred - exact) / np.linalg.norm(exact)
    assert 1e-5 < error < 2e-2


@pytest.mark.parametrize("skip", ["symmetric", "none"])
def test_input_reaches_the_output_past_a_silent_decoder(skip):
    images = images_of(2, 9, 6, 3)
    model = AutoEncoder(TINY, 3, skip=skip)
    variables = init(model, images)
    last = variables["params"]["decoder"]["0"]["deconv"]
    assert set(last) == {"kernel", "bias"}
    last["kernel"] = jnp.zeros_like(last["kernel"])
    np.testing.assert_array_equal(infer(model, variables, images), images)
    last["bias"] = jnp.array([1.0, 2.0, 3.0])
    np.testing.assert_array_equal(infer(model, variables, images), images + last["bias"])


@pytest.mark.parametrize(("skip", "passed"), [("symmetric", True), ("none", False)])
def test_only_skips_pass_a_silent_deepest_layer(skip, passed):
    images = images_of(2, 9, 6, 3)
    model = AutoEncoder(TINY, 3, skip=skip, initializer="he")
    variables = init(model, images)
    deepest = variables["params"]["decoder"]["4"]["deconv"]
    deepest["kernel"] = jnp.zeros_like(deepest["kernel"])
    residual = infer(model, variables, images) - images
    assert bool(jnp.abs(residual[0] - residual[1]).max() > 1e-3) == passed


def test_raw_activation_of_a_decoder_layer_is_without_its_skip():
    images = images_of(2, 9, 6, 3)
    model = AutoEncoder(TINY, 3, initializer="he")
    variables = init(model, images)
    joined = activations(model, variables, images)
    alone = activations(model.clone(skip="none"), variables, images)
    np.testing.assert_array_equal(joined["decoder.4.raw"], alone["decoder.4.raw"])
    assert (joined["decoder.4.relu"] != alone["decoder.4.relu"]).any()


def test_batch_norm_takes_its_statistics_over_the_mapped_axis():
    images = images_of(6, 9, 6, 3)
    alone = AutoEncoder(TINY, 3, initializer="he")
    variables = init(alone, images)
    whole, updated = train(alone, variables, images)
    mapped = alone.clone(axis_name="devices")
    parts, parts_updated = jax.vmap(
        lambda part: train(mapped, variables, part), axis_name="devices"
    )(images.reshape(2, 3, 9, 6, 3))
    np.testing.assert_allclose(parts.reshape(whole.shape), whole, atol=1e-4)
    jax.tree.map(
        lambda ours, theirs: np.testing.assert_allclose(ours, [theirs] * 2, atol=1e-5),
        parts_updated,
        updated,
    )


@pytest.mark.parametrize("initializer", ["gaussian", "he"])
def test_initial_values(initializer):
    spec = Spec("wide", (Layer(3, 1, 32), Layer(3, 2, 96)), "fully_connected", hidden=(512,))
    images = images_of(1, 4, 4, 3)
    models = [AutoEncoder(spec, 3), Classifier(spec, 40)]
    for model in [model.clone(initializer=initializer) for model in models]:
        variables = init(model, images)
        for path, leaf in jax.tree_util.tree_leaves_with_path(variables):
            kind = path[-1].key
            if kind != "kernel":
                assert (np.asarray(leaf) == (kind in ("scale", "var"))).all(), path
                continue
            std = 0.01 if initializer == "gaussian" else math.sqrt(2 / np.prod(leaf.shape[:-1]))
            spread = 5 / math.sqrt(2 * leaf.size)
            assert np.std(leaf) == pytest.approx(std, rel=spread), path
            assert abs(np.mean(leaf)) < 5 * std / math.sqrt(leaf.size), path


def test_initial_values_depend_on_the_key_alone():
    images = images_of(1, 4, 4, 3)
    first, again, other = (init(AutoEncoder(TINY, 3), images, seed)["params"] for seed in (0, 0, 1))
    jax.tree.map(np.testing.assert_array_equal, first, again)
    kernel = first["encoder"]["0"]["conv"]["kernel"]
    assert (kernel != other["encoder"]["0"]["conv"]["kernel"]).all()


def test_dropout_falls_on_hidden_units_in_training_only():
    head = Head("fully_connected", 3, hidden=(64,), dropout=0.5, initializer="he")
    features = images_of(4, 2, 2, 5)
    variables = head.init(jax.random.key(0), features, train=False)
    full = head.apply(variables, features, train=False)
    draws = jax.vmap(
        lambda key: head.apply(variables, features, train=True, rngs={"dropout": key})
    )(jax.random.split(jax.random.key(1), 500))
    assert (draws[0] != draws[1]).any()
    # The last layer is linear, so its mean over many draws is what it gives without dropout.
    spread = draws.std(0) / math.sqrt(500)
    assert (jnp.abs(draws.mean(0) - full) < 5 * spread).all()
    assert (spread > 0).all()
