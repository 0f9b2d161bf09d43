"""Crops, flips, normalisation, and the pipelines made of them."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from symskip_jax.transforms import (
    Augmentation,
    Corruption,
    FinetuneTransform,
    MaskTransform,
    Normalization,
    PretrainTransform,
    center_crop,
    measure_normalization,
    random_crop,
    random_flip,
)

COUNT = 1200
HEIGHT, WIDTH, CROP = 7, 6, (5, 4)  # nine places for a crop
# Channel 0 counts the pixels; channel 1 tells that channels stay together.
IMAGE = np.stack([np.arange(42), 100 + np.arange(42)], axis=-1).reshape(HEIGHT, WIDTH, 2)
IMAGES = np.tile(np.uint8(IMAGE), (COUNT, 1, 1, 1))
FLAT = np.full((COUNT, HEIGHT, WIDTH, 1), 128, np.uint8)
NOISE = Corruption("gaussian", sigma=20.0)


def keys_of(count, seed=0):
    return jax.random.split(jax.random.key(seed), count)


def place_of(window):
    """Top, left and whether mirrored, of a window of IMAGE, which must be one."""
    mirrored = bool(window[0, 0, 0] > window[0, -1, 0])
    upright = window[:, ::-1] if mirrored else window
    top, left = divmod(int(upright[0, 0, 0]), WIDTH)
    height, width = window.shape[:2]
    np.testing.assert_array_equal(upright, IMAGE[top : top + height, left : left + width])
    return top, left, mirrored


def assert_equally_often(places, kinds):
    """Each of so many kinds of places occurs, five standard errors around its share."""
    _, counts = np.unique(places, axis=0, return_counts=True)
    assert len(counts) == kinds
    share = len(places) / kinds
    assert np.abs(counts - share).max() < 5 * np.sqrt(share * (1 - 1 / kinds))


def test_random_crop_cuts_every_window_equally_often():
    windows = random_crop(keys_of(COUNT), IMAGES, CROP)
    assert windows.shape == (COUNT, *CROP, 2)
    assert windows.dtype == np.uint8
    places = [place_of(window) for window in np.asarray(windows)]
    assert not any(mirrored for _, _, mirrored in places)
    assert_equally_often(places, 9)


def test_random_crop_of_the_whole_image_is_the_image():
    np.testing.assert_array_equal(random_crop(keys_of(3), IMAGES[:3], (HEIGHT, WIDTH)), IMAGES[:3])


@settings(max_examples=20)
@given(data=st.data())
def test_center_crop_leaves_equal_margins_or_one_more_below_and_right(data):
    height, width = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40))
    size = data.draw(st.tuples(st.integers(1, height), st.integers(1, width)))
    rows, columns = np.mgrid[:height, :width]
    window = center_crop(np.stack([rows, columns], axis=-1)[None], size)[0]
    assert window.shape == (*size, 2)
    for first, last, length in zip(window[0, 0], window[-1, -1], (height, width), strict=True):
        before, after = first, length - 1 - last
        assert before <= after <= before + 1


def test_random_flip_mirrors_half_of_the_images_from_left_to_right():
    flipped = random_flip(keys_of(COUNT), IMAGES)
    assert flipped.dtype == np.uint8
    places = [place_of(image) for image in np.asarray(flipped)]
    assert_equally_often(places, 2)


def test_augmentation_crops_and_flips_independently():
    augmented = np.asarray(Augmentation(CROP, flip=True)(keys_of(COUNT), IMAGES))
    assert augmented.dtype == np.float32
    assert_equally_often([place_of(window) for window in augmented], 18)


@pytest.mark.parametrize("size", [CROP, (HEIGHT, CROP[1]), (CROP[0], WIDTH)])
def test_augmentation_without_flip_only_crops(size):
    augmented = np.asarray(Augmentation(size, flip=False)(keys_of(50), IMAGES[:50]))
    assert augmented.shape == (50, *size, 2)
    assert not any(mirrored for _, _, mirrored in map(place_of, augmented))


def test_augmentation_that_does_nothing_gives_the_images_as_float32():
    augmented = Augmentation((HEIGHT, WIDTH), flip=False)(keys_of(3), IMAGES[:3])
    assert augmented.dtype == np.float32
    np.testing.assert_array_equal(augmented, IMAGES[:3])


def test_pretraining_corrupts_the_very_image_it_asks_back():
    augmentation = Augmentation(CROP, flip=True)
    transform = PretrainTransform(augmentation, NOISE)
    corrupted, clean = transform(keys_of(COUNT), IMAGES)
    assert corrupted.dtype == clean.dtype == np.float32
    np.testing.assert_array_equal(clean, augmentation(keys_of(COUNT), IMAGES))
    z = np.ravel(corrupted - clean) / 20
    assert abs(z.mean()) < 5 * np.sqrt(1 / z.size)
    assert abs((z**2).mean() - 1) < 5 * np.sqrt(2 / z.size)


@pytest.mark.parametrize("probability", [0.0, 1.0, 0.5, 0.1])
def test_finetuning_corrupts_with_the_probability_asked_for(probability):
    augmentation = Augmentation((HEIGHT, WIDTH), flip=False)
    inputs = FinetuneTransform(augmentation, NOISE, probability)(keys_of(COUNT), FLAT)
    assert inputs.dtype == np.float32
    corrupted, clean = PretrainTransform(augmentation, NOISE)(keys_of(COUNT), FLAT)
    chosen = np.any(inputs != 128, axis=(1, 2, 3))
    np.testing.assert_array_equal(inputs, np.where(chosen[:, None, None, None], corrupted, clean))
    spread = np.sqrt(probability * (1 - probability) / COUNT)
    assert abs(chosen.mean() - probability) <= 5 * spread


def test_finetuning_chooses_independently_of_the_noise():
    augmentation = Augmentation((HEIGHT, WIDTH), flip=False)
    inputs = FinetuneTransform(augmentation, NOISE, 0.5)(keys_of(COUNT), FLAT)
    noise, _ = PretrainTransform(augmentation, NOISE)(keys_of(COUNT), FLAT)
    chosen = np.any(inputs != 128, axis=(1, 2, 3))
    correlations = np.corrcoef(chosen, noise.reshape(COUNT, -1), rowvar=False)[0, 1:]
    assert np.abs(correlations).max() < 5 / np.sqrt(COUNT)


def test_finetuning_chooses_independently_of_the_flip():
    transform = FinetuneTransform(Augmentation((HEIGHT, WIDTH), flip=True), NOISE, 0.5)
    ramp = np.tile(np.uint8([0, 0, 0, 255, 255, 255])[:, None], (COUNT, HEIGHT, 1, 1))
    inputs = np.asarray(transform(keys_of(COUNT), ramp))
    mirrored = inputs[:, :, :3].mean((1, 2, 3)) > 128
    chosen = ((inputs != 0) & (inputs != 255)).any((1, 2, 3))
    assert_equally_often(np.stack([mirrored, chosen], axis=1), 4)


@settings(max_examples=10)
@given(
    shape=st.tuples(st.integers(2, 2500), *[st.integers(1, 9)] * 2, st.integers(1, 3)),
    seed=st.integers(0, 2**31 - 1),
)
def test_normalization_is_measured_as_by_numpy(shape, seed):
    images = np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)
    measured = measure_normalization([images])
    np.testing.assert_allclose(measured.mean, images.mean((0, 1, 2), np.float64), rtol=1e-12)
    np.testing.assert_allclose(measured.std, images.std((0, 1, 2), np.float64), rtol=1e-12)


@pytest.mark.parametrize("level", [0, 7, 255])
def test_channel_without_variation_is_only_centred(level):
    images = np.random.default_rng(0).integers(0, 256, (20, 5, 4, 2)).astype(np.uint8)
    images[..., 1] = level
    measured = measure_normalization([images])
    assert (measured.mean[1], measured.std[1]) == (level, 1.0)
    assert measured.std[0] == pytest.approx(images[..., 0].std())
    normalized = measured.normalize(images)
    assert (normalized[..., 1] == 0).all()


def test_normalized_images_have_mean_zero_and_deviation_one():
    rng = np.random.default_rng(0)
    images = (rng.uniform(0, 1, (50, 6, 6, 3)) * [255, 100, 30]).astype(np.uint8)
    normalization = measure_normalization([images])
    normalized = normalization.normalize(images)
    assert normalized.dtype == np.float32
    np.testing.assert_allclose(np.mean(normalized, (0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(np.std(normalized, (0, 1, 2)), 1, atol=1e-5)
    restored = normalization.denormalize(normalized)
    assert restored.dtype == np.float32
    np.testing.assert_allclose(restored, images, atol=1e-4)


def test_denormalized_images_are_not_clipped():
    normalization = Normalization((100.0, 50.0), (10.0, 20.0))
    restored = normalization.denormalize(np.float32([[[[-20, 20]]]]))
    np.testing.assert_array_equal(restored, [[[[-100, 450]]]])


def test_masks_are_cropped_and_flipped_with_their_images():
    augmentation, keys = Augmentation(CROP, flip=True), keys_of(64)
    images = FinetuneTransform(augmentation, NOISE, 0.0)(keys, IMAGES[:64])
    masks = MaskTransform(augmentation)(keys, IMAGES[:64, :, :, 1])
    assert masks.dtype == np.int32
    np.testing.assert_array_equal(masks, images[..., 1])
    assert len(np.unique(masks, axis=0)) == 18  # nine windows, and each mirrored
