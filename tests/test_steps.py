"""The pure steps: what they compute, what they draw from, what they leave alone."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from scipy.special import softmax
from skimage.metrics import peak_signal_noise_ratio
from sklearn.metrics import accuracy_score, log_loss

from symskip_jax.data.base import VOID
from symskip_jax.models import Segmenter
from symskip_jax.training.losses import multi_label_loss, segmentation_loss
from symskip_jax.training.schedules import make_optimizer, milestone_schedule
from symskip_jax.training.state import init_state
from symskip_jax.transforms import image_keys

BATCH = tiny.make_batch(16)
SGD = tiny.sgd(0.1)


@functools.cache
def compiled(bind, model, *, optimizer=SGD, **kwargs):
    return jax.jit(bind(model, optimizer, **kwargs))


def pretrain(spec=tiny.ONE_LAYER, **kwargs):
    """A pre-training step, its auto-encoder and a state."""
    model = tiny.autoencoder(spec)
    return compiled(tiny.bind_pretrain, model, **kwargs), model, tiny.make_state(model, SGD)


def finetune(spec=tiny.ONE_LAYER, **kwargs):
    """A fine-tuning step, its classifier and a state."""
    model = tiny.classifier(spec)
    return compiled(tiny.bind_finetune, model, **kwargs), model, tiny.make_state(model, SGD)


def train_outputs(model, state, pixels):
    outputs, _ = jax.jit(functools.partial(model.apply, train=True, mutable=["batch_stats"]))(
        state.variables, tiny.NORMALIZATION.normalize(pixels)
    )
    return np.asarray(outputs)


# What a step computes.


def test_the_loss_of_pretraining_is_the_mean_squared_error_and_psnr_that_of_clipped_pixels():
    step, model, state = pretrain(tiny.SPEC)
    _, measured = step(state, BATCH)

    transform = tiny.bind_pretrain(model, SGD).keywords["transform"]
    corrupted, clean = transform(image_keys(state.step_key(), 16), BATCH["image"])
    np.testing.assert_array_equal(clean, BATCH["image"])
    mean, std = (np.array(x) for x in tiny.NORMALIZATION)
    reconstruction = train_outputs(model, state, corrupted)
    loss = np.mean((reconstruction - (BATCH["image"] - mean) / std) ** 2)
    np.testing.assert_allclose(measured["loss"], loss, rtol=1e-5)
    pixels = np.clip(reconstruction * std + mean, 0, 255)
    psnr = [
        peak_signal_noise_ratio(image, pixel, data_range=255)
        for image, pixel in zip(BATCH["image"].astype(float), pixels, strict=True)
    ]
    np.testing.assert_allclose(measured["psnr"], np.mean(psnr), rtol=1e-5)


def test_the_loss_of_finetuning_is_the_cross_entropy():
    step, model, state = finetune(tiny.SPEC, corruption=tiny.NO_CORRUPTION)
    _, measured = step(state, BATCH)
    logits = train_outputs(model, state, BATCH["image"])
    chances = softmax(logits.astype(np.float64), axis=-1)
    expected = log_loss(BATCH["label"], chances, labels=range(tiny.CLASSES))
    np.testing.assert_allclose(measured["loss"], expected, rtol=1e-5)
    assert measured["accuracy"] == accuracy_score(BATCH["label"], logits.argmax(-1))


@pytest.mark.parametrize("make", [pretrain, finetune])
def test_a_step_lowers_its_loss_and_moves_every_parameter_and_statistic(make):
    step, _, state = make(corruption=tiny.NO_CORRUPTION)
    new, first = step(state, BATCH)
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), state.variables, new.variables)
    assert all(jax.tree.leaves(moved)), moved
    assert step(new, BATCH)[1]["loss"] < first["loss"]


@pytest.mark.parametrize("make", [tiny.autoencoder, tiny.classifier])
def test_a_few_dozen_steps_learn(make):
    model = make()
    bind = tiny.bind_pretrain if make is tiny.autoencoder else tiny.bind_finetune
    optimizer = make_optimizer(milestone_schedule(1e-2, (), 0.1, 1))
    step = jax.jit(bind(model, optimizer))
    state, losses = tiny.make_state(model, optimizer), []
    for i in range(40):
        state, measured = step(state, tiny.make_batch(32, seed=i))
        losses.append(float(measured["loss"]))
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])


def test_bfloat16_computes_near_float32_and_keeps_float32_parameters():
    step, _, state = pretrain()
    narrow = jax.jit(tiny.bind_pretrain(tiny.autoencoder(tiny.ONE_LAYER, dtype=jnp.bfloat16), SGD))
    (new, measured), (_, wide) = narrow(state, BATCH), step(state, BATCH)
    kept = (new.params, new.batch_stats, tiny.gradients_of(new), measured)
    assert {leaf.dtype for leaf in jax.tree.leaves(kept)} == {jnp.dtype("float32")}
    assert measured["loss"] != wide["loss"]  # or it would not be bfloat16 at all
    np.testing.assert_allclose(measured["loss"], wide["loss"], rtol=0.02)


# Purity and randomness.


@pytest.mark.parametrize("make", [pretrain, finetune])
def test_a_step_is_a_function_of_its_arguments(make):
    step, _, state = make()
    new, measured = step(state, BATCH)
    again, measured_again = step(jax.tree.map(jnp.array, state), BATCH)
    tiny.assert_same(again, new)
    tiny.assert_same(measured_again, measured)
    assert new.step == state.step + 1
    np.testing.assert_array_equal(new.key, state.key)


def reconstruct_the_input(state):
    """The state with a zero last layer: the loss is the mean squared corruption, whatever else."""
    zeros = jax.tree.map(jnp.zeros_like, state.params["decoder"]["0"])
    return state.replace(
        params={**state.params, "decoder": {**state.params["decoder"], "0": zeros}}
    )


def test_the_randomness_of_a_step_depends_on_key_and_step_alone():
    step, _, state = pretrain()

    def corruption_of(state):
        return float(step(reconstruct_the_input(state), BATCH)[1]["loss"])

    trained = step(state, BATCH)[0]
    assert corruption_of(trained.replace(step=state.step)) == corruption_of(state)
    assert corruption_of(trained) == corruption_of(state.replace(step=jnp.int32(1)))
    other_key = tiny.make_state(tiny.autoencoder(tiny.ONE_LAYER), SGD, seed=1).key
    steps = [corruption_of(state.replace(step=jnp.int32(k))) for k in range(4)]
    keys = [corruption_of(state.replace(key=other_key, step=jnp.int32(k))) for k in range(4)]
    assert len({*steps, *keys}) == 8


def test_images_are_corrupted_alike_however_the_batch_is_cut():
    (whole, _, state), (cut, _, _) = pretrain(), pretrain(accumulate=4)
    state = reconstruct_the_input(state)
    loss, loss_of_cut = (step(state, BATCH)[1]["loss"] for step in (whole, cut))
    np.testing.assert_allclose(loss_of_cut, loss, rtol=1e-6)


@pytest.mark.parametrize("bind", [tiny.bind_pretrain, tiny.bind_finetune, tiny.bind_head])
@pytest.mark.parametrize("accumulate", [3, 32, 0])
def test_a_batch_that_cannot_be_cut_is_refused(bind, accumulate):
    pretrains = bind is tiny.bind_pretrain
    model = (tiny.autoencoder if pretrains else tiny.classifier)(tiny.ONE_LAYER)
    step = bind(model, SGD, accumulate=accumulate)
    with pytest.raises(ValueError, match=f"^accumulate={accumulate} .* a batch of 16 images"):
        jax.eval_shape(step, tiny.make_state(model, SGD), BATCH)


def test_dropout_is_drawn_anew_at_each_step():
    def losses(dropout, steps):
        model = tiny.classifier(tiny.FULLY_CONNECTED, dropout=dropout)
        step = jax.jit(tiny.bind_finetune(model, SGD, tiny.NO_CORRUPTION))
        state = tiny.make_state(model, SGD)
        return [float(step(state.replace(step=jnp.int32(k)), BATCH)[1]["loss"]) for k in steps]

    first, second, third, again = losses(0.5, [0, 1, 2, 0])
    assert len({first, second, third}) == 3 and first == again
    assert len(set(losses(0.0, [0, 1]))) == 1


def test_the_seed_decides_parameters_and_draws():
    model = tiny.classifier(tiny.ONE_LAYER)
    make = jax.jit(lambda seed: init_state(model, SGD, seed, (8, 8, 3)))
    first, again, other = make(0), make(0), make(1)
    tiny.assert_same(first, again)
    assert jax.tree.structure(first) == jax.tree.structure(tiny.make_state(model, SGD))
    assert first.step == 0
    for part in ("params", "key"):
        a, b = (jax.tree.leaves(getattr(state, part)) for state in (first, other))
        assert not all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


# Gradient accumulation.


@pytest.mark.parametrize("make", [pretrain, finetune])
def test_accumulation_is_the_mean_over_micro_batches_one_after_the_other(make):
    # Without corruption the keys, which differ between a batch and its parts, decide nothing.
    plain, _, state = make(corruption=tiny.NO_CORRUPTION)
    cut, _, _ = make(corruption=tiny.NO_CORRUPTION, accumulate=4)
    new, measured = cut(state, BATCH)

    parts, batch_stats = [], state.batch_stats
    for k in range(4):
        micro = {name: values[k::4] for name, values in BATCH.items()}
        after, measured_of_part = plain(state.replace(batch_stats=batch_stats), micro)
        batch_stats = after.batch_stats
        parts.append((tiny.gradients_of(after), measured_of_part))
    gradients, means = jax.tree.map(lambda *xs: np.mean(xs, 0), *parts)
    tiny.assert_close(tiny.gradients_of(new), gradients, rtol=1e-5)
    tiny.assert_close(new.batch_stats, batch_stats, rtol=1e-6)
    tiny.assert_close(measured, means, rtol=1e-6)
    assert new.step == 1


def half_labelled(shape):
    """Integer labels, 0 and 1, or -1: other numbers of them count in other images, in one none."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, shape).reshape(shape[0], -1)
    counted = np.arange(labels.shape[1]) < random.permutation(len(labels))[:, None]
    return np.where(counted, labels, -1).reshape(shape)


@pytest.mark.parametrize("kind", ["several classes", "masks"])
def test_labels_that_do_not_count_are_left_out_of_the_mean_however_the_batch_is_cut(kind):
    spec = dataclasses.replace(tiny.SPEC, batch_norm=False)  # each image for itself
    labels = half_labelled((16, tiny.CLASSES) if kind == "several classes" else (16, 8, 8))
    if kind == "masks":
        model, loss = Segmenter(spec, 2), segmentation_loss
        labels = np.where(labels < 0, VOID, labels)
    else:
        model, loss = tiny.classifier(spec), multi_label_loss
    state, batch = tiny.make_state(model, SGD), {**BATCH, "label": labels}
    (whole, measured), *cuts = (
        compiled(
            tiny.bind_finetune,
            model,
            corruption=tiny.NO_CORRUPTION,
            task_loss=loss,
            accumulate=accumulate,
        )(state, batch)
        for accumulate in (1, 2, 16)
    )
    for cut, measured_too in cuts:
        tiny.assert_close(measured_too, measured, rtol=1e-5)
        tiny.assert_close(tiny.gradients_of(cut), tiny.gradients_of(whole), rtol=1e-5)


# The new layers alone.


def test_a_head_step_has_no_gradient_for_the_encoder():
    model = tiny.classifier(tiny.ONE_LAYER)
    state = tiny.make_state(model, SGD)
    new, _ = compiled(tiny.bind_head, model)(state, BATCH)
    tiny.assert_same(new.params["encoder"], state.params["encoder"])
    tiny.assert_same(new.batch_stats, state.batch_stats)
    assert (
        new.params["head"]["classes"]["kernel"] != state.params["head"]["classes"]["kernel"]
    ).all()


def head_setup(learning_rate, head_steps):
    model = tiny.classifier(tiny.ONE_LAYER)
    schedule = milestone_schedule(learning_rate, (), 0.1, 1)
    optimizer = make_optimizer(schedule, frozen=("encoder",), frozen_steps=head_steps)
    return model, optimizer, tiny.make_state(model, optimizer)


def test_a_head_step_trains_a_linear_layer_on_fixed_features():
    torch = pytest.importorskip("torch")
    rate, steps = 1e-2, 5
    model, optimizer, start = head_setup(rate, steps)
    step = jax.jit(tiny.bind_head(model, optimizer, tiny.NO_CORRUPTION))
    state, losses = start, []
    for _ in range(steps):
        state, measured = step(state, BATCH)
        losses.append(float(measured["loss"]))
    tiny.assert_same(state.params["encoder"], start.params["encoder"])
    tiny.assert_same(state.batch_stats, start.batch_stats)

    pixels = tiny.NORMALIZATION.normalize(BATCH["image"])
    features = model.apply(start.variables, pixels, train=False, method=model.features)
    inputs, labels = torch.tensor(np.asarray(features.mean((1, 2)))), torch.tensor(BATCH["label"])
    linear = torch.nn.Linear(inputs.shape[1], tiny.CLASSES)
    before, after = (s.params["head"]["classes"] for s in (start, state))
    with torch.no_grad():
        linear.weight.copy_(torch.tensor(np.asarray(before["kernel"]).T))
        linear.bias.copy_(torch.tensor(np.asarray(before["bias"])))
    adam, expected = torch.optim.Adam(linear.parameters(), lr=rate), []
    for _ in range(steps):
        loss = torch.nn.functional.cross_entropy(linear(inputs), labels.long())
        adam.zero_grad()
        loss.backward()
        adam.step()
        expected.append(loss.item())
    np.testing.assert_allclose(losses, expected, rtol=1e-4)
    np.testing.assert_allclose(after["kernel"], linear.weight.detach().numpy().T, atol=1e-5)
    np.testing.assert_allclose(after["bias"], linear.bias.detach().numpy(), atol=1e-5)


def test_the_encoder_thaws_with_fresh_moments():
    rate, head_steps = 1e-3, 3
    model, optimizer, start = head_setup(rate, head_steps)
    head = jax.jit(tiny.bind_head(model, optimizer, tiny.NO_CORRUPTION))
    everything = jax.jit(tiny.bind_finetune(model, optimizer, tiny.NO_CORRUPTION))
    state = start
    for _ in range(head_steps):
        state, _ = head(state, BATCH)
    thawed, _ = everything(state, BATCH)

    def updates(name):
        moved = jax.tree.map(jnp.subtract, thawed.params[name], state.params[name])
        return np.concatenate([np.abs(leaf).ravel() for leaf in jax.tree.leaves(moved)])

    # Adam's first step is the rate times the sign of the gradient; had the moments counted the
    # frozen steps, it would be 0.58 of that here.
    np.testing.assert_allclose(updates("encoder"), rate, rtol=0.02)
    # The head takes its fourth step, whose sizes differ by more than the encoder's may.
    assert np.std(updates("head")) > 0.02 * rate
