"""scikit-learn's handwritten digits: 1,797 real 8x8 images inside a wheel, no download."""

from typing import Any

import numpy as np
from sklearn.datasets import load_digits

from symskip_jax.data.base import ArraySource
from symskip_jax.data.splits import draw_labelled
from symskip_jax.errors import NoSuchSplitError

NUM_TEST = 500
SPLIT_SEED = 0


def open_digits(split: str) -> ArraySource:
    """Open the digits: uint8 [N, 8, 8, 1], grey levels 0..16 scaled to 0..255.

    "test" is a fixed draw of 500 images, 50 a class; "train" is the other 1,297.
    """
    digits: Any = load_digits()
    labels_n = digits.target
    is_test_n = np.zeros(len(labels_n), bool)
    is_test_n[draw_labelled(labels_n, NUM_TEST, SPLIT_SEED)] = True
    match split:
        case "train":
            chosen_n = ~is_test_n
        case "test":
            chosen_n = is_test_n
        case _:
            raise NoSuchSplitError(f"digits has no split '{split}': use 'train' or 'test'")
    images_nhwc = np.rint(digits.images[chosen_n, :, :, None] * (255 / 16)).astype(np.uint8)
    class_names = tuple(str(name) for name in digits.target_names)
    return ArraySource(f"digits {split}", images_nhwc, labels_n[chosen_n], class_names)
