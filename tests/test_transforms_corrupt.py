import jax
import numpy as np
import pytest
from data_helpers import user_error
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import label
from scipy.stats import kstest

from symskip_jax.transforms import Corruption, gaussian_noise, mask_blocks
from symskip_jax.transforms.masks import region_masks

HEIGHT, WIDTH = 9, 7


def keys_of(count, seed=0):
    return jax.random.split(jax.random.key(seed), count)


def masks(count, num_blocks, block_size, seed=0):
    """Where `mask_blocks` painted, [count, HEIGHT, WIDTH] bool."""
    images = np.ones((count, HEIGHT, WIDTH, 1), np.float32)
    painted = mask_blocks(keys_of(count, seed), images, num_blocks, block_size, (0.0,))
    return np.asarray(painted)[..., 0] == 0


@pytest.mark.parametrize("sigma", [0.5, 30.0])
def test_noise_is_normal_with_the_deviation_asked_for(sigma):
    images = np.random.default_rng(0).uniform(0, 255, (8, 32, 32, 3)).astype(np.float32)
    noisy = gaussian_noise(keys_of(8), images, sigma)
    assert noisy.dtype == np.float32
    z = (np.float64(noisy) - images).ravel() / sigma
    # Five standard errors of each moment of so many normal numbers; rounding is far below them.
    assert abs(z.mean()) < 5 * np.sqrt(1 / z.size)
    assert abs((z**2).mean() - 1) < 5 * np.sqrt(2 / z.size)
    assert abs((z**3).mean()) < 5 * np.sqrt(15 / z.size)
    assert abs((z**4).mean() - 3) < 5 * np.sqrt(96 / z.size)


def test_noise_is_not_clipped():
    extremes = np.tile(np.float32([0, 255]), (1, 16, 16, 1))
    noisy = gaussian_noise(keys_of(1), extremes, 10.0)
    assert noisy[..., 0].min() < 0
    assert noisy[..., 1].max() > 255


def test_noise_of_pixels_and_channels_is_independent():
    noise = gaussian_noise(keys_of(4), np.zeros((4, 32, 32, 3), np.float32), 1.0)
    across = {
        "rows": (noise[:, 1:], noise[:, :-1]),
        "columns": (noise[:, :, 1:], noise[:, :, :-1]),
        "channels": (noise[..., 1:], noise[..., :-1]),
    }
    for name, (a, b) in across.items():
        assert abs(np.corrcoef(np.ravel(a), np.ravel(b))[0, 1]) < 5 / np.sqrt(a.size), name


@settings(max_examples=12)
@given(
    num_blocks=st.integers(1, 3),
    block_h=st.integers(1, HEIGHT),
    block_w=st.integers(1, WIDTH),
    seed=st.integers(0, 2**31 - 1),
)
def test_masked_pixels_are_at_least_one_block_and_at_most_all(num_blocks, block_h, block_w, seed):
    counts = masks(20, num_blocks, (block_h, block_w), seed).sum((1, 2))
    assert counts.min() >= block_h * block_w
    assert counts.max() <= min(num_blocks * block_h * block_w, HEIGHT * WIDTH)


@pytest.mark.parametrize("block_size", [(4, 3), (1, 1), (HEIGHT, 2), (HEIGHT, WIDTH)])
def test_one_block_lies_anywhere_inside_with_equal_chance(block_size):
    count = 2000
    block_h, block_w = block_size
    places = (HEIGHT - block_h + 1) * (WIDTH - block_w + 1)
    found = np.zeros((HEIGHT, WIDTH), int)
    for mask in masks(count, 1, block_size):
        top, left = np.argwhere(mask)[0]
        assert mask.sum() == block_h * block_w
        assert mask[top : top + block_h, left : left + block_w].all()
        found[top, left] += 1
    found = found[: HEIGHT - block_h + 1, : WIDTH - block_w + 1]
    spread = np.sqrt(count / places * (1 - 1 / places))
    assert np.abs(found - count / places).max() <= 5 * spread


def test_masked_fraction_of_several_blocks_is_that_of_independent_ones():
    count, num_blocks, (block_h, block_w) = 2000, 4, (3, 2)
    tops, lefts = np.arange(HEIGHT - block_h + 1), np.arange(WIDTH - block_w + 1)
    rows, columns = np.arange(HEIGHT)[:, None], np.arange(WIDTH)[:, None]
    in_rows = ((tops <= rows) & (rows < tops + block_h)).mean(1)
    in_columns = ((lefts <= columns) & (columns < lefts + block_w)).mean(1)
    expected = 1 - (1 - np.outer(in_rows, in_columns)) ** num_blocks
    measured = masks(count, num_blocks, (block_h, block_w)).mean(0)
    spread = np.sqrt(expected * (1 - expected) / count)
    assert (np.abs(measured - expected) < 5 * spread).all()


def test_blocks_paint_all_channels_with_the_fill_and_leave_the_rest():
    fill = (-1.0, -2.0, -3.0)
    images = np.random.default_rng(0).uniform(0, 255, (5, HEIGHT, WIDTH, 3)).astype(np.float32)
    painted = np.asarray(Corruption("blocks", 0.0, 2, (3, 2), fill)(keys_of(5), images))
    assert painted.dtype == np.float32
    mask = painted[..., 0] == -1
    assert mask.sum((1, 2)).min() >= 6
    np.testing.assert_array_equal(painted[mask], np.tile(fill, (mask.sum(), 1)))
    np.testing.assert_array_equal(painted[~mask], images[~mask])


@pytest.mark.parametrize(
    "corruption",
    [
        Corruption("gaussian", sigma=0.0),
        Corruption("blocks", num_blocks=0, block_size=(3, 3)),
        Corruption("none", sigma=20.0, num_blocks=3, block_size=(3, 3)),
        lambda keys, images: mask_blocks(keys, images, 0, (3, 3), (0.0, 0.0, 0.0)),
    ],
    ids=["sigma 0", "no blocks", "none", "mask_blocks with no blocks"],
)
def test_no_corruption_is_the_identity(corruption):
    images = np.random.default_rng(0).uniform(0, 255, (3, HEIGHT, WIDTH, 3)).astype(np.float32)
    np.testing.assert_array_equal(corruption(keys_of(3), images), images)


def test_gaussian_corruption_is_the_noise_of_its_sigma():
    images = np.zeros((2, HEIGHT, WIDTH, 3), np.float32)
    np.testing.assert_array_equal(
        Corruption("gaussian", sigma=7.0)(keys_of(2), images),
        gaussian_noise(keys_of(2), images, 7.0),
    )


def test_each_image_has_a_noise_level_of_its_own():
    images = np.zeros((400, 24, 24, 3), np.float32)
    noisy = np.asarray(Corruption("gaussian", sigma=10.0, sigma_max=50.0)(keys_of(400), images))
    levels = noisy.std((1, 2, 3))
    # So many pixels tell a level to a fiftieth.
    assert 9.5 < levels.min() < 11 and 49 < levels.max() < 53
    assert kstest(levels, "uniform", args=(10, 40)).pvalue > 1e-3
    assert kstest((noisy / levels[:, None, None, None]).ravel()[::50], "norm").pvalue > 1e-3


# Context Encoder's masks.


def mask_of(kind, count=20, size=(29, 29), seed=0):
    """Where a corruption says that it masks, [count, *size]; it paints there and only there."""
    fill = (-1.0, -2.0, -3.0)
    images = np.random.default_rng(0).uniform(0, 255, (count, *size, 3)).astype(np.float32)
    corruption = Corruption(kind, num_blocks=2, block_size=(3, 2), fill=fill)
    painted, mask = corruption.with_mask(keys_of(count, seed), images)
    assert mask.shape == (count, *size, 1) and mask.dtype == np.float32
    np.testing.assert_array_equal(painted, np.where(mask == 1, np.float32(fill), images))
    return np.asarray(mask)[..., 0]


def test_blocks_say_where_they_are():
    assert 6 <= mask_of("blocks").sum((1, 2)).min() <= mask_of("blocks").sum((1, 2)).max() <= 12


def test_the_center_is_half_of_each_side():
    (mask,) = mask_of("center", 1, (29, 12))
    rows, columns = np.nonzero(mask)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (7, 20, 3, 8)
    assert mask.sum() == 14 * 6


@pytest.mark.parametrize("size", [(29, 29), (64, 40)])
def test_regions_are_a_few_pieces_of_about_a_quarter_of_the_image(size):
    masks = np.asarray(jax.jit(region_masks, static_argnums=1)(keys_of(400), size))
    shares = masks.mean((1, 2))
    assert 0.19 < shares.min() < 0.22 and 0.28 < shares.max() < 0.31
    # As many pixels strewn at random would fall into a hundred pieces.
    assert np.median([label(mask)[1] for mask in masks[:50]]) < 12
    # No place is masked more often than another.
    spread = np.sqrt(0.25 * 0.75 / len(masks))
    assert np.abs(masks.mean(0) - 0.25).max() < 5 * spread


@pytest.mark.parametrize("kind", ["blocks", "center", "regions"])
def test_a_call_paints_where_the_mask_says_and_each_image_by_its_own_key(kind):
    images = np.random.default_rng(0).uniform(0, 255, (5, HEIGHT, WIDTH, 3)).astype(np.float32)
    corruption = Corruption(kind, num_blocks=2, block_size=(3, 2), fill=(-1.0, -2.0, -3.0))
    painted, mask = jax.jit(corruption.with_mask)(keys_of(5), images)
    np.testing.assert_array_equal((painted < 0).all(-1, keepdims=True), mask == 1)
    np.testing.assert_array_equal(jax.jit(corruption)(keys_of(5)[2:4], images[2:4]), painted[2:4])


@pytest.mark.parametrize("kind", ["gaussian", "none"])
def test_what_masks_nothing_is_refused_by_name(kind):
    images = np.zeros((1, 4, 4, 3), np.float32)
    message = user_error(lambda: Corruption(kind).with_mask(keys_of(1), images))
    assert f"corruption.kind={kind}" in message and "blocks, center, regions" in message


def test_a_kind_that_there_is_not_is_refused_where_it_is_named():
    message = user_error(lambda: Corruption("gausian"))
    assert "corruption.kind=gausian" in message
    assert "gaussian, blocks, center, regions, none" in message
