"""Stronger augmentation: shifts, colours and an erased block."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageEnhance
from skimage.data import astronaut

from symskip_jax.transforms import (
    Augmentation,
    StrongAugmentation,
    jitter_colours,
    random_shift,
)

COUNT = 900


def keys_of(count, seed=0):
    return jax.random.split(jax.random.key(seed), count)


def test_a_shift_takes_every_place_equally_often_and_mirrors_what_comes_in():
    image = np.arange(35, dtype=np.float32).reshape(7, 5, 1)
    shifted = np.asarray(random_shift(keys_of(COUNT), np.tile(image, (COUNT, 1, 1, 1)), (1, 2)))
    windows = {
        np.pad(image, ((1, 1), (2, 2), (0, 0)), "reflect")[top : top + 7, left : left + 5].tobytes()
        for top in range(3)
        for left in range(5)
    }
    found, counts = np.unique([window.tobytes() for window in shifted], return_counts=True)
    assert set(found) == {np.bytes_(window) for window in windows} and len(windows) == 15
    assert np.abs(counts - COUNT / 15).max() < 5 * np.sqrt(COUNT / 15)


@pytest.mark.parametrize("factors", [(0.6, 1, 1), (1.4, 1, 1), (1, 0.6, 1), (1, 1.4, 1), (1, 1, 0)])
def test_colours_are_those_of_pillow(factors):
    image = Image.fromarray(astronaut()[100:140, 200:248])
    expected = image
    for enhance, factor in zip(
        (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color), factors, strict=True
    ):
        expected = enhance(expected).enhance(factor)
    pixels = jnp.asarray(np.asarray(image), jnp.float32)[None]
    got = np.asarray(jitter_colours(jnp.array([factors], jnp.float32), pixels))[0]
    # Pillow rounds to whole levels, greys and their mean too.
    np.testing.assert_allclose(got, np.asarray(expected, np.float32), atol=1.6)
    assert np.abs(np.asarray(expected, np.float32) - pixels[0]).mean() > 3


def test_colours_of_one_channel_have_no_saturation():
    images = np.float32(np.random.default_rng(0).integers(0, 256, (1, 5, 4, 1)))
    jittered = jitter_colours(jnp.array([[1.0, 1.0, 0.0]]), images)
    np.testing.assert_allclose(jittered, images, rtol=1e-6)


def test_strong_augmentation_erases_one_block_of_every_image_with_the_fill():
    images = np.full((COUNT, 10, 9, 3), 100, np.uint8)
    strong = StrongAugmentation(Augmentation((8, 8), flip=True), (-1.0, -2.0, -3.0))
    augmented = np.asarray(jax.jit(strong)(keys_of(COUNT), images))
    assert augmented.shape == (COUNT, 8, 8, 3) and augmented.dtype == np.float32
    erased = (augmented == [-1.0, -2.0, -3.0]).all(-1)
    rows, columns = erased.any(2), erased.any(1)
    assert (rows.sum(1) == 3).all() and (columns.sum(1) == 3).all()
    assert (erased.sum((1, 2)) == 9).all()
    # What is left of a flat grey image tells the brightness alone: from 60 to 140.
    levels = augmented[~erased].reshape(COUNT, -1)
    assert (np.ptp(levels, axis=1) < 1e-3).all()
    spread = 80 / np.sqrt(12)
    assert abs(levels[:, 0].mean() - 100) < 5 * spread / np.sqrt(COUNT)
    assert 60 <= levels.min() < 62 and 138 < levels.max() <= 140
