import jax
import jax.numpy as jnp
import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from sklearn.metrics import accuracy_score

from symskip_jax import metrics

psnr = jax.jit(metrics.psnr, static_argnames="peak")
ssim = jax.jit(metrics.ssim, static_argnames="peak")


def image_pair(shape, noise=20.0, seed=0):
    """Smooth uint8 images and float32 noisy copies, so that the SSIM is neither 0 nor 1."""
    rng = np.random.default_rng(seed)
    ramp = np.linspace(0, 200, shape[1] * shape[2]).reshape(shape[1], shape[2], 1)
    references = (ramp + rng.integers(0, 56, shape)).astype(np.uint8)
    noisy = np.clip(references + rng.normal(0, noise, shape), 0, 255).astype(np.float32)
    return noisy, references


def skimage_ssim(image, reference, peak):
    return structural_similarity(
        image.astype(np.float64),
        reference.astype(np.float64),
        data_range=peak,
        channel_axis=-1,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )


@pytest.mark.parametrize("peak", [255.0, 1.0])
def test_psnr_is_scikit_images(peak):
    images, references = image_pair((4, 9, 13, 3))
    images, references = images * (peak / 255), references * (peak / 255)
    expected = [
        peak_signal_noise_ratio(r.astype(np.float64), i.astype(np.float64), data_range=peak)
        for i, r in zip(images, references, strict=True)
    ]
    got = psnr(images, references, peak=peak)
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, expected, atol=1e-4)


def test_psnr_of_bytes_does_not_wrap_around():
    dark, light = np.zeros((1, 4, 4, 1), np.uint8), np.full((1, 4, 4, 1), 255, np.uint8)
    np.testing.assert_allclose(psnr(dark, light), [0.0], atol=1e-5)
    np.testing.assert_allclose(psnr(light, dark), [0.0], atol=1e-5)


def test_psnr_of_equal_images_is_the_ceiling_and_has_a_finite_gradient():
    _, references = image_pair((2, 8, 8, 1))
    np.testing.assert_allclose(psnr(references, references), metrics.PSNR_CEILING_DB)
    gradient = jax.grad(lambda x: psnr(x, references).mean())(jnp.float32(references))
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("shape", [(3, 11, 11, 1), (2, 32, 32, 3), (2, 29, 17, 3), (1, 64, 61, 1)])
@pytest.mark.parametrize("peak", [255.0, 1.0])
def test_ssim_is_scikit_images(shape, peak):
    images, references = image_pair(shape)
    images, references = images * (peak / 255), references * (peak / 255)
    expected = [skimage_ssim(i, r, peak) for i, r in zip(images, references, strict=True)]
    assert 0.05 < np.mean(expected) < 0.95
    got = ssim(images, references, peak=peak)
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, expected, atol=1e-5)


@pytest.mark.parametrize(("level", "shift"), [(0.0, 4.0), (250.0, 0.0)], ids=["dark", "bright"])
def test_ssim_keeps_its_digits_in_nearly_flat_images(level, shift):
    images, references = image_pair((2, 16, 16, 1), noise=1.0)
    images, references = level + shift + images / 100, level + references / 100
    expected = [skimage_ssim(i, r, 255.0) for i, r in zip(images, references, strict=True)]
    np.testing.assert_allclose(ssim(images, references), expected, atol=1e-4)


@pytest.mark.parametrize(("side", "window"), [(8, 7), (7, 7), (10, 9), (1, 1)])
def test_ssim_of_small_images_uses_the_largest_odd_window(side, window):
    images, references = image_pair((1, side, side, 1))
    offsets = np.arange(window) - window // 2
    weights = np.exp(-np.add.outer(offsets**2, offsets**2) / (2 * 1.5**2)).ravel()
    positions = []
    for top in range(side - window + 1):
        for left in range(side - window + 1):
            patch = np.s_[0, top : top + window, left : left + window, 0]
            x, y = np.float64(images[patch]).ravel(), np.float64(references[patch]).ravel()
            mean_x, mean_y = np.average(x, weights=weights), np.average(y, weights=weights)
            (xx, xy), (_, yy) = np.cov(x, y, ddof=0, aweights=weights)
            c1, c2 = 2.55**2, 7.65**2
            luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
            positions.append(luminance * (2 * xy + c2) / (xx + yy + c2))
    np.testing.assert_allclose(ssim(images, references), [np.mean(positions)], atol=1e-5)


@pytest.mark.parametrize("shape", [(2, 8, 8, 1), (2, 32, 32, 3)])
def test_ssim_of_equal_images_is_one(shape):
    _, references = image_pair(shape)
    np.testing.assert_allclose(ssim(references, references), 1.0, atol=1e-5)


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_each_image_is_measured_alone(metric):
    images, references = image_pair((3, 12, 12, 3))
    one_by_one = [metric(images[i : i + 1], references[i : i + 1])[0] for i in range(len(images))]
    np.testing.assert_allclose(metric(images, references), one_by_one, rtol=1e-5)
    assert len(set(np.round(one_by_one, 4))) == 3


def test_accuracy_is_scikit_learns():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(50, 4)).astype(np.float32)
    labels = rng.integers(0, 4, 50)
    got = jax.jit(metrics.accuracy)(logits, labels)
    assert got.dtype == jnp.float32
    assert set(np.unique(got)) == {0.0, 1.0}
    assert float(got.mean()) == pytest.approx(accuracy_score(labels, logits.argmax(-1)))
