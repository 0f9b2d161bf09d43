"""Measures of images and of predictions: pure functions of arrays.

Those of single examples give a value per example, float32, rather than a mean, so that the caller
can leave padding out of it. Those of a whole dataset take NumPy arrays of all of it.
"""

import jax
import jax.numpy as jnp
import numpy as np

PSNR_CEILING_DB = 100.0

_SSIM_WINDOW = 11
_SSIM_SIGMA = 1.5
_SSIM_K1 = 0.01
_SSIM_K2 = 0.03


def psnr(images_bhwc: jax.Array, references_bhwc: jax.Array, peak: float = 255.0) -> jax.Array:
    """Peak signal-to-noise ratio of each image, what supplement C compares reconstructions by.

    10 log10(peak² / MSE), the MSE over pixels and channels. Values above 100 dB come back as
    exactly that, and so do equal images: their true value is infinite, and one of them would make
    the mean over a dataset infinite. 100 dB is an MSE of 6.5e-6 at peak 255, one step of one value
    in a 225x225 colour image.

    Args:
        images_bhwc: [B, H, W, C], any real dtype.
        references_bhwc: [B, H, W, C], any real dtype.
        peak: the largest value a pixel can have.

    Returns:
        [B] float32, in dB.
    """
    difference = _as_fraction(images_bhwc, peak) - _as_fraction(references_bhwc, peak)
    mse_b = jnp.mean(jnp.square(difference), axis=(1, 2, 3))
    return -10.0 * jnp.log10(jnp.maximum(mse_b, 10.0 ** (-PSNR_CEILING_DB / 10.0)))


def ssim(images_bhwc: jax.Array, references_bhwc: jax.Array, peak: float = 255.0) -> jax.Array:
    """Structural similarity of each image (Wang et al. 2004).

    An 11x11 Gaussian window of sigma 1.5, K1 = 0.01, K2 = 0.03, population
    (co)variances. Each channel is measured alone; the mean is taken over the channels and over the
    (H - 10) x (W - 10) window positions that lie wholly inside the image. This is scikit-image's
    `structural_similarity(gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
    data_range=peak, channel_axis=-1)`.

    In an image with a side below 11 px the window is the largest odd square that fits (7x7 for
    8x8), its weights the same Gaussian cut short and normalised; scikit-image refuses such images.

    Args:
        images_bhwc: [B, H, W, C], any real dtype.
        references_bhwc: [B, H, W, C], any real dtype.
        peak: the largest value a pixel can have.

    Returns:
        [B] float32, at most 1 to rounding.
    """
    _, height, width, _ = images_bhwc.shape
    window = _window(min(height, width))
    x, y = _as_fraction(images_bhwc, peak), _as_fraction(references_bhwc, peak)
    moments = jnp.concatenate([x, y, x * x, y * y, x * y], axis=-1)
    mean_x, mean_y, mean_xx, mean_yy, mean_xy = jnp.split(_smooth(moments, window), 5, axis=-1)

    variances = (mean_xx - mean_x * mean_x) + (mean_yy - mean_y * mean_y)
    covariance = mean_xy - mean_x * mean_y
    c1, c2 = _SSIM_K1**2, _SSIM_K2**2
    luminance = (2.0 * mean_x * mean_y + c1) / (mean_x * mean_x + mean_y * mean_y + c1)
    structure = (2.0 * covariance + c2) / (variances + c2)
    return jnp.mean(luminance * structure, axis=(1, 2, 3))


def accuracy(logits_bn: jax.Array, labels_b: jax.Array) -> jax.Array:
    """Whether the largest logit is the label's (tables 1 to 3, means of it); the first wins a tie.

    Args:
        logits_bn: [B, number of classes]; axes between, as those of pixels, are kept.
        labels_b: [B] integer.

    Returns:
        [B] float32 of 0 and 1.
    """
    return (jnp.argmax(logits_bn, axis=-1) == labels_b).astype(jnp.float32)


def average_precision(scores_n: np.ndarray, labels_n: np.ndarray) -> float:
    """The average precision of one class as PASCAL VOC 2007 measures it (tables 4 and 5).

    Images are ranked by score, the highest first, equal scores in their order. At each of the
    recalls 0, 0.1, ..., 1 stands the highest precision at that recall or a higher one.

    Args:
        scores_n: [N] real.
        labels_n: [N] integer: 1 where the class is there, 0 where not, -1 where the image does not
            count, neither for nor against (in VOC: all of its objects are difficult).

    Returns:
        The mean of the eleven precisions, 0 to 1; NaN where no image shows the class.
    """
    counted = labels_n >= 0
    ranking = np.argsort(-scores_n[counted], kind="stable")
    found_n = np.cumsum(labels_n[counted][ranking] == 1)
    if not len(found_n) or not found_n[-1]:
        return float("nan")
    precision_n = found_n / np.arange(1, len(found_n) + 1)
    # In whole numbers, as 0.3 of the positives is a recall that fractions may miss.
    precisions = [precision_n[10 * found_n >= k * found_n[-1]].max() for k in range(11)]
    return float(np.mean(precisions))


def confusion_matrices(
    predictions_bhw: jax.Array, masks_bhw: jax.Array, num_classes: int
) -> jax.Array:
    """Counts the pixels of each image by their class and the predicted one (section 5.4.2).

    Args:
        predictions_bhw: [B, H, W] integer, 0 to K - 1.
        masks_bhw: [B, H, W] integer; pixels whose class is none of the K do not count.
        num_classes: K.

    Returns:
        [B, K, K] int32; rows are true classes.
    """
    pairs = masks_bhw.astype(jnp.int32) * num_classes + predictions_bhw
    beyond = num_classes**2
    pairs = jnp.where(masks_bhw < num_classes, pairs, beyond).reshape(len(pairs), -1)
    counts = jax.vmap(lambda x: jnp.bincount(x, length=beyond + 1))(pairs)
    return counts[:, :beyond].reshape(-1, num_classes, num_classes)


def intersections_over_unions(confusion_kk: np.ndarray) -> np.ndarray:
    """The intersection over union of each class, whose mean figure 4 shows (section 5.4.2).

    As PASCAL VOC counts it (Everingham et al. 2015), over all pixels of a dataset at once.

    Args:
        confusion_kk: [K, K] integer, summed over a dataset; rows are true classes.

    Returns:
        [K] float64, 0 to 1; NaN for a class that no pixel has and none was given.
    """
    right_k = np.diag(confusion_kk).astype(np.float64)
    union_k = confusion_kk.sum(0) + confusion_kk.sum(1) - right_k
    return np.divide(right_k, union_k, out=np.full(len(right_k), np.nan), where=union_k > 0)


def _as_fraction(images: jax.Array, peak: float) -> jax.Array:
    return jnp.asarray(images, jnp.float32) / peak


def _window(shortest_side: int) -> np.ndarray:
    size = min(_SSIM_WINDOW, shortest_side - 1 + shortest_side % 2)
    offsets = np.arange(size) - size // 2
    weights = np.exp(-0.5 * (offsets / _SSIM_SIGMA) ** 2)
    return (weights / weights.sum()).astype(np.float32)


def _smooth(images: jax.Array, window: np.ndarray) -> jax.Array:
    """Filter rows and columns by `window`, keeping only the positions where it fits inside.

    A sum of shifted slices, because XLA's depthwise convolution took 8 to 20 times longer on a CPU
    and would need its precision raised on GPUs and TPUs.
    """
    for axis in (1, 2):
        fits = images.shape[axis] - len(window) + 1
        images = sum(
            (
                w * jax.lax.slice_in_dim(images, i, i + fits, axis=axis)
                for i, w in enumerate(window)
            ),
            start=jnp.zeros((), jnp.float32),
        )
    return images
