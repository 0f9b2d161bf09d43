"""Maps of a layer: how alike they are, which are the most active, where on the image they lie."""

import numpy as np
import pytest
from scipy import stats
from scipy.interpolate import RegularGridInterpolator
from sklearn.metrics.pairwise import cosine_similarity

from symskip_jax.analysis.maps import (
    measure_stability,
    rank_by_activity,
    selectivity,
    share_kept,
    top_channels,
    upsample,
)

RANDOM = np.random.default_rng(0)
CLEAN = np.maximum(RANDOM.normal(size=(6, 5, 4, 3)), 0)
CORRUPTED = np.maximum(CLEAN + RANDOM.normal(size=CLEAN.shape), 0)


def test_the_likeness_is_the_cosine_of_scikit_learn():
    found = measure_stability(CLEAN, CORRUPTED)
    for channel in range(3):
        clean, corrupted = (x[..., channel].reshape(6, -1) for x in (CLEAN, CORRUPTED))
        pairs = np.diag(cosine_similarity(clean, corrupted))
        assert found.corrupted_c[channel] == pytest.approx(pairs.mean())
        others = cosine_similarity(clean)[~np.eye(6, dtype=bool)]
        assert found.between_c[channel] == pytest.approx(others.mean())


def test_maps_that_show_nothing_are_unlike_all_but_each_other():
    clean, corrupted = CLEAN.copy(), CORRUPTED.copy()
    clean[..., 0] = corrupted[..., 0] = 0  # a dead channel
    clean[0, ..., 1] = 0  # one image on which only the corrupted one shows something
    clean[1, ..., 2] = corrupted[1, ..., 2] = 0  # one on which neither does
    found = measure_stability(clean, corrupted)
    assert np.isnan(found.corrupted_c[0]) and np.isnan(found.between_c[0])
    whole = measure_stability(clean[1:], corrupted[1:])
    assert found.corrupted_c[1] == pytest.approx(whole.corrupted_c[1] * 5 / 6)
    assert found.between_c[1] == pytest.approx(whole.between_c[1] * 20 / 30)
    without = measure_stability(clean[[0, 2, 3, 4, 5]], corrupted[[0, 2, 3, 4, 5]])
    assert found.corrupted_c[2] == pytest.approx(without.corrupted_c[2])
    overall = found.overall()
    assert overall["corrupted"] == pytest.approx(found.corrupted_c[1:].mean())


def test_what_is_kept_is_all_of_equal_maps_and_none_of_another_images():
    kept = measure_stability(CLEAN, 3 * CLEAN).overall()
    assert kept["corrupted"] == pytest.approx(1) and kept["kept"] == pytest.approx(1)
    shifted = [measure_stability(CLEAN, np.roll(CLEAN, n, axis=0)).corrupted_c for n in range(1, 6)]
    between = measure_stability(CLEAN, CLEAN).between_c
    np.testing.assert_allclose(np.mean(shifted, axis=0), between)
    nothing = measure_stability(0 * CLEAN, 0 * CLEAN).overall()
    assert set(nothing.values()) == {None}
    single = measure_stability(CLEAN[:1], CORRUPTED[:1]).overall()
    assert single["between"] is None and single["kept"] is None and single["corrupted"]


def test_the_most_active_channel_comes_first():
    scaled = CLEAN * np.array([1.0, 3.0, 2.0])
    assert rank_by_activity(scaled).tolist() == [1, 2, 0]


def test_selectivity_is_the_t_statistic_of_scipy_less_the_numbers_of_images():
    one, other = CLEAN[:4] + np.array([0.0, 2.0, 0.0]), CLEAN[4:]
    found = selectivity(one, other)
    expected = stats.ttest_ind(one.mean((1, 2)), other.mean((1, 2))).statistic
    np.testing.assert_allclose(found, expected * np.sqrt(1 / 4 + 1 / 2))
    assert selectivity(0 * one, 0 * other).tolist() == [0, 0, 0]


def test_the_top_channels_tell_two_kinds_of_images_apart_from_both_sides():
    raised = np.array([0.0, 2.0, -2.0])
    one, other = np.maximum(CLEAN[:3] + raised, 0), CLEAN[3:]
    assert [it.tolist() for it in top_channels(2, one, other)] == [[1], [2]]
    assert [it.tolist() for it in top_channels(9, one, other)] == [[1, 0], [2]]
    assert [it.tolist() for it in top_channels(2, CLEAN * np.array([1.0, 3.0, 2.0]))] == [[1, 2]]
    # What goes from one side to the other is not kept.
    assert share_kept([np.array([1, 0]), np.array([2])], [np.array([1, 2]), np.array([0])]) == 1 / 3


def test_over_a_magnified_image_a_map_lies_on_the_middle_of_its_pixel():
    maps = np.zeros((1, 4, 4, 1))
    maps[0, 1, 2] = 1.0
    for magnification, stride in ((4, 2), (5, 1), (16, 2)):
        found = upsample(maps, stride, (32 * magnification,) * 2, magnification)[0, ..., 0]
        rows, columns = (found.sum(axis) for axis in (1, 0))
        for pixel, shares in ((1 * stride, rows), (2 * stride, columns)):
            first = pixel * magnification
            middle = first + (magnification - 1) / 2
            assert (np.arange(len(shares)) @ shares) / shares.sum() == pytest.approx(middle)
            assert first <= shares.argmax() < first + magnification


def test_a_map_lies_where_the_convolution_saw_it():
    size, stride = (17, 13), 4
    found = upsample(CLEAN, stride, size)
    assert found.shape == (6, *size, 3)
    np.testing.assert_allclose(found[:, ::stride, ::stride], CLEAN)
    rows, columns = stride * np.arange(5), stride * np.arange(4)
    expected = RegularGridInterpolator((rows, columns), CLEAN[2, ..., 1])
    places = np.stack(np.meshgrid(np.arange(17), np.arange(13), indexing="ij"), -1)
    np.testing.assert_allclose(found[2, ..., 1], expected(places))
