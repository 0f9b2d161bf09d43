"""What every random transform promises of its draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from symskip_jax.transforms import (
    Augmentation,
    Corruption,
    FinetuneTransform,
    PretrainTransform,
    Purpose,
    StrongAugmentation,
    gaussian_noise,
    image_keys,
    keys_for,
    mask_blocks,
    random_crop,
    random_flip,
    random_shift,
)

NOISE = Corruption("gaussian", sigma=20.0)
AUGMENTATION = Augmentation((7, 6), flip=True)
TRANSFORMS = {
    "gaussian_noise": lambda keys, images: gaussian_noise(keys, images, 20.0),
    "mask_blocks": lambda keys, images: mask_blocks(keys, images, 2, (3, 2), (0.0,)),
    "random_crop": lambda keys, images: random_crop(keys, images, (7, 6)),
    "random_flip": random_flip,
    "random_shift": lambda keys, images: random_shift(keys, images, (3, 2)),
    "pretrain": lambda *batch: jnp.stack(PretrainTransform(AUGMENTATION, NOISE)(*batch), axis=1),
    "finetune": FinetuneTransform(AUGMENTATION, NOISE, corruption_probability=0.5),
    "strong": StrongAugmentation(AUGMENTATION, (0.0,), shift=0.4),
}
every_transform = pytest.mark.parametrize(
    "transform", [pytest.param(jax.jit(t), id=name) for name, t in TRANSFORMS.items()]
)


def images_of(count, seed=0):
    """Images no pixel of which looks like another."""
    rng = np.random.default_rng(seed)
    shape = (count, 9, 8, 1)
    return rng.permutation(np.prod(shape)).reshape(shape).astype(np.float32) + 1


def keys_of(count, seed=0):
    return jax.random.split(jax.random.key(seed), count)


@every_transform
def test_same_key_gives_the_same_draw_and_another_key_another(transform):
    images = images_of(6)
    first = transform(keys_of(6), images)
    np.testing.assert_array_equal(first, transform(keys_of(6), images))
    assert (first != transform(keys_of(6, seed=1), images)).any()


@every_transform
def test_an_image_does_not_leak_into_the_others(transform):
    keys, images = keys_of(6), images_of(6)
    changed = images.copy()
    changed[2] = images_of(1, seed=1)[0]
    before, after = transform(keys, images), transform(keys, changed)
    others = np.arange(6) != 2
    np.testing.assert_array_equal(before[others], after[others])
    assert (before[2] != after[2]).any()


@every_transform
def test_a_draw_belongs_to_the_key_and_not_to_the_place_in_the_batch(transform):
    keys, images = keys_of(6), images_of(6)
    order = np.array([3, 0, 5, 1, 4, 2])
    whole = transform(keys, images)
    np.testing.assert_array_equal(transform(keys[order], images[order]), whole[order])
    np.testing.assert_array_equal(transform(keys[1:3], images[1:3]), whole[1:3])


@every_transform
def test_draws_are_independent_across_images_and_steps(transform):
    steps, batch = 400, 3
    run_key = jax.random.key(0)
    keys = jax.vmap(lambda step: image_keys(jax.random.fold_in(run_key, step), batch))(
        jnp.arange(steps)
    )
    image = images_of(1)
    results = transform(keys.reshape(-1), np.repeat(image, steps * batch, axis=0))
    # One number of each draw: any that differs from draw to draw would do.
    weights = np.random.default_rng(1).normal(size=results.shape[1:])
    draws = np.tensordot(results, weights, weights.ndim).reshape(steps, batch)
    series = [*draws[1:].T, *draws[:-1].T]  # each image now, and a step before
    correlations = np.corrcoef(series)[~np.eye(2 * batch, dtype=bool)]
    assert np.abs(correlations).max() < 4.5 / np.sqrt(steps)


def test_keys_of_every_image_and_purpose_differ():
    keys = image_keys(jax.random.key(0), 5)
    used = [keys, *(keys_for(keys, purpose) for purpose in Purpose)]
    data = np.concatenate([jax.random.key_data(k) for k in used])
    assert len(np.unique(data, axis=0)) == 5 * (1 + len(Purpose))


def test_numbers_of_the_purposes_stay():
    assert {purpose.name: purpose.value for purpose in Purpose} == {
        "CROP": 0,
        "FLIP": 1,
        "CORRUPTION": 2,
        "CORRUPT_OR_NOT": 3,
        "DROPOUT": 4,
        "SHIFT": 10,
        "COLOURS": 11,
        "ERASURE": 12,
        "SKIP_DROP": 20,
    }


def test_devices_share_out_the_keys_of_the_global_batch():
    key = jax.random.key(3)
    shards = jax.vmap(
        lambda _: jax.random.key_data(image_keys(key, 3, "devices")), axis_name="devices"
    )(jnp.arange(4))
    assert shards.shape == (4, 3, 2)
    np.testing.assert_array_equal(shards.reshape(12, 2), jax.random.key_data(image_keys(key, 12)))
