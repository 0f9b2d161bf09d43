"""What a probe measures: softmax regression and a stack of deconvolutions on frozen activations."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny
import torch
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from symskip_jax.analysis.deconvolution_probe import Recipe, train_stack
from symskip_jax.analysis.features import pooled
from symskip_jax.analysis.frozen import FrozenNetwork
from symskip_jax.analysis.softmax_probe import HELD_OUT, fit_softmax
from symskip_jax.analysis.standardize import ChannelScale, measure_scale
from symskip_jax.data.splits import draw_labelled
from symskip_jax.models.deconvolutions import DeconvolutionStack, sizes_between, stack_shape

COUNT, CLASSES = 60, 3


def features(width: int, seed: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Of about unit length; three of them tell the classes apart, the others do not."""
    random = np.random.default_rng(width if seed is None else seed)
    labels = np.arange(COUNT) % CLASSES
    found = random.normal(size=(COUNT, width)).astype(np.float32)
    found[:, :CLASSES] += 3 * np.eye(CLASSES, dtype=np.float32)[labels]
    return found / np.float32(np.sqrt(width)), labels


def scikit_learns(found: np.ndarray, labels: np.ndarray, l2: float) -> LogisticRegression:
    model = LogisticRegression(C=1 / (l2 * len(found)), tol=1e-10, max_iter=10_000)
    return model.fit(found.astype(np.float64), labels)


@pytest.mark.parametrize("width", [20, COUNT, 400])
def test_the_regression_is_scikit_learns_with_fewer_and_more_features_than_images(width):
    found, labels = features(width)
    ours = fit_softmax(jnp.asarray(found), labels, CLASSES, (1e-2,), seed=0)
    theirs = scikit_learns(found, labels, 1e-2)
    assert ours.weights_dk.shape == (width, CLASSES)
    # Images that were not fitted, so that the weights count and not the fit alone.
    new, _ = features(width, seed=1000 + width)
    expected = theirs.predict_proba(new.astype(np.float64))
    np.testing.assert_allclose(jax.nn.softmax(ours.logits(jnp.asarray(new))), expected, atol=2e-3)


@pytest.mark.parametrize(("length", "is_minimum"), [(1, True), (1e5, False)])
def test_how_far_from_the_minimum_a_fit_was_left_is_told(length, is_minimum):
    found, labels = features(20)
    found *= np.float32(length)  # of 1e5, roundings alone are more than the gradient may be
    ours = fit_softmax(jnp.asarray(found), labels, CLASSES, (1e-2,), seed=0)
    x, weights = found.astype(np.float64), np.asarray(ours.weights_dk, np.float64)
    wrong = softmax(x @ weights + np.asarray(ours.bias_k), axis=1) - np.eye(CLASSES)[labels]
    gradient = np.concatenate([x.T @ wrong / COUNT + 1e-2 * weights, wrong.mean(0)[None]])
    assert (ours.gradient_norm <= 1e-4) == is_minimum
    assert ours.gradient_norm == pytest.approx(np.linalg.norm(gradient), rel=0.2, abs=1e-6)


def test_the_penalty_is_the_one_that_does_best_on_images_held_out():
    found, labels = features(400)
    l2s = (1e-3, 1.0, 1e-2)
    chosen = []
    for seed in (4, 5, 7):
        held_out = np.zeros(COUNT, bool)
        held_out[draw_labelled(labels, COUNT // HELD_OUT, seed)] = True
        scores = {
            l2: scikit_learns(found[~held_out], labels[~held_out], l2).score(
                found[held_out], labels[held_out]
            )
            for l2 in sorted(l2s, reverse=True)
        }
        chosen.append(max(scores, key=lambda l2, scores=scores: scores[l2]))
        ours = fit_softmax(jnp.asarray(found), labels, CLASSES, l2s, seed)
        assert ours.l2 == chosen[-1]
    assert set(chosen) == set(l2s)


def test_the_channels_are_scaled_as_scikit_learn_scales_columns():
    random = np.random.default_rng(0)
    found = random.normal(5, 3, (7, 4, 3, 5)).astype(np.float32)
    found[..., 1] *= np.float32(1e-9)
    found[..., 2] = np.float32(1 / 3)  # it shows nothing: centred, not blown up
    scale = measure_scale([found[:3], found[3:4], found[4:]])
    expected = StandardScaler().fit_transform(found.reshape(-1, 5).astype(np.float64))
    expected[:, 2] = 0
    np.testing.assert_allclose(np.asarray(scale(found)).reshape(-1, 5), expected, atol=1e-4)


def test_pooling_to_a_grid_is_torchs():
    found = np.random.default_rng(0).normal(size=(2, 8, 12, 3)).astype(np.float32)
    expected = torch.nn.functional.adaptive_avg_pool2d(
        torch.from_numpy(found).permute(0, 3, 1, 2), 4
    ).permute(0, 2, 3, 1)
    np.testing.assert_allclose(pooled(jnp.asarray(found), 4), expected, atol=1e-6)
    np.testing.assert_array_equal(pooled(jnp.asarray(found), 0), found)
    np.testing.assert_array_equal(pooled(jnp.asarray(found), 20), found)
    # Uneven cells: every position counts in one of them.
    narrow = pooled(jnp.asarray(found[:, :5]), 2)
    np.testing.assert_allclose(narrow[:, 0, 0], found[:, :2, :6].mean((1, 2)), atol=1e-6)


@pytest.mark.parametrize("parameters", [20_000, 100_000])
@pytest.mark.parametrize(
    ("image", "sizes"),
    [
        ((29, 29, 3), [(29, 29), (15, 15), (8, 8), (4, 4)]),
        ((225, 40, 1), [(225, 40), (113, 20), (57, 10), (29, 5)]),
    ],
)
def test_every_layer_gets_a_stack_of_as_many_parameters(parameters, image, sizes):
    for size, channels in zip(sizes, (12, 96, 192, 512), strict=True):
        shape = stack_shape((*size, channels), image, layers=4, parameters=parameters)
        stack = DeconvolutionStack(shape)
        blank = jax.ShapeDtypeStruct((2, *size, channels), jnp.float32)
        output, variables = jax.eval_shape(
            lambda x, stack=stack: stack.init_with_output(jax.random.key(0), x), blank
        )
        assert output.shape == (2, *image)
        count = sum(leaf.size for leaf in jax.tree.leaves(variables))
        assert count == shape.parameters == pytest.approx(parameters, rel=0.01)
        assert len(variables["params"]) == 4


def test_a_stack_learns_the_same_in_steps_and_in_loops(monkeypatch):
    """CPUs take it step by step, accelerators an epoch at once."""
    model = tiny.autoencoder(tiny.ONE_LAYER)
    state = tiny.make_state(model, optax.identity())
    network = FrozenNetwork(model, state.variables, tiny.NORMALIZATION, (8, 8))
    shape = stack_shape((4, 4, 4), (8, 8, 3), layers=3, parameters=500)
    images = jnp.asarray(tiny.make_batch(10)["image"])
    unscaled = ChannelScale(np.zeros(4, np.float32), np.ones(4, np.float32))

    def learnt():
        recipe = Recipe(epochs=2, batch_size=4, learning_rate=1e-2, seed=3)
        stack = DeconvolutionStack(shape)
        return train_stack(stack, network, "encoder.0.relu", unscaled, images, recipe)

    in_steps = learnt()
    assert in_steps[1].shape == (2,) and in_steps[1][1] < in_steps[1][0]
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    tiny.assert_close(learnt(), in_steps, rtol=1e-3)


def test_a_size_that_no_halving_gives_is_refused():
    assert sizes_between((4, 4), (29, 29)) == ((8, 8), (15, 15), (29, 29))
    assert sizes_between((29, 29), (29, 29)) == ()
    with pytest.raises(ValueError, match="halved"):
        sizes_between((5, 5), (29, 29))
