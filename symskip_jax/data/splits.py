"""Which images are labelled and which are held out: pure functions of labels and a seed."""

import hashlib

import numpy as np

from symskip_jax.data.base import UNLABELLED
from symskip_jax.errors import NoSuchSplitError, UserError


def draw_labelled(labels_n: np.ndarray, num_labels: int, seed: int) -> np.ndarray:
    """Draw the images whose labels may be used, evenly over the classes (section 5.3).

    Args:
        labels_n: integer [N]; images with label -1 are never drawn.
        num_labels: how many to draw; where the number of classes does not divide it, the sizes of
            two classes differ by one at most, and the seed decides which classes get one more.
        seed: 0 to 2**32 - 1. The same arguments give the same draw on every machine and version.

    Returns:
        int64 [num_labels], sorted, each index once.

    Raises:
        UserError: no image is labelled, there are not enough labelled images in some class, or
            the seed is outside its range.
    """
    if not 0 <= seed < 2**32:
        raise UserError(f"cannot draw labels with seed {seed}: it must be from 0 to 2**32 - 1")
    labels_n = np.asarray(labels_n)
    classes, counts = np.unique(labels_n[labels_n != UNLABELLED], return_counts=True)
    if not len(classes):
        raise UserError(
            f"cannot draw {num_labels} labels: none of the {len(labels_n)} images has one"
        )
    if not 1 <= num_labels <= counts.sum():
        raise UserError(
            f"cannot draw {num_labels} labels from {counts.sum()} labelled images: "
            f"ask for 1 to {counts.sum()}"
        )
    share, num_larger = divmod(num_labels, len(classes))
    can_be_larger = np.flatnonzero(counts > share)
    if counts.min() < share or len(can_be_larger) < num_larger:
        smallest = counts.argmin()
        raise UserError(
            f"cannot draw {num_labels} labels evenly from {len(classes)} classes: class "
            f"{classes[smallest]} has {counts[smallest]} images; ask for "
            f"{counts.min() * len(classes) + (counts > counts.min()).sum()} or fewer"
        )
    # RandomState, because numpy keeps its streams for ever and those of Generator may change.
    random = np.random.RandomState(seed)
    larger = random.permutation(can_be_larger)[:num_larger]
    drawn = [
        random.permutation(np.flatnonzero(labels_n == label))[: share + (position in larger)]
        for position, label in enumerate(classes)
    ]
    return np.sort(np.concatenate(drawn)).astype(np.int64)


def draw_evenly(labels_n: np.ndarray, num_drawn: int, seed: int) -> np.ndarray:
    """Draw images as evenly over the classes as their sizes allow.

    A class that has less than its share is taken whole, and the others make up for it.

    Args:
        labels_n: integer [N], none of them -1.
        num_drawn: how many to draw, N at most.
        seed: as in `draw_labelled`.

    Returns:
        int64 [num_drawn], sorted, each index once.
    """
    whole: list[np.ndarray] = []
    rest = np.arange(len(labels_n))
    while True:
        classes, counts = np.unique(labels_n[rest], return_counts=True)
        small = classes[counts * len(classes) < num_drawn]
        if not len(small):
            break
        is_small_n = np.isin(labels_n[rest], small)
        whole.append(rest[is_small_n])
        num_drawn -= int(is_small_n.sum())
        rest = rest[~is_small_n]
    drawn = rest[draw_labelled(labels_n[rest], num_drawn, seed)] if num_drawn else rest[:0]
    return np.sort(np.concatenate([*whole, drawn])).astype(np.int64)


def mark_split(labels_n: np.ndarray, split: str, name: str) -> np.ndarray:
    """Mark the images of "train" or "test" in a dataset that came without splits.

    "test" is a tenth of each class, up or down to a whole number, and of the images without a
    label a tenth, rounded up: a fixed random draw, the same for the same labels. "train" is the
    rest. A class of 2 to 9 images has one in "test"; the image of a class that has no other is in
    "train", where it can be learnt, unless that would leave "test" empty.

    Args:
        labels_n: integer [N], -1 where there is no label.
        split: "train" or "test".
        name: of the dataset, for messages.

    Returns:
        bool [N].

    Raises:
        NoSuchSplitError: there is no such split.
        UserError: there is a single image, which cannot be split.
    """
    if split not in ("train", "test"):
        raise NoSuchSplitError(f"{name}: there is no split '{split}', only 'train' and 'test'")
    if len(labels_n) < 2:
        raise UserError(f"{name}: {len(labels_n)} image cannot be split into train and test")
    shuffled = np.random.RandomState(0).permutation(len(labels_n))
    by_class = shuffled[np.argsort(labels_n[shuffled], kind="stable")]
    is_test_n = np.zeros(len(labels_n), bool)
    is_test_n[by_class[::10]] = True
    # Every tenth passes over small classes. Those of 10 images and more have always been drawn so,
    # and runs and results depend on it; so have those without a label, which come first.
    classes, starts, counts = np.unique(labels_n[by_class], return_index=True, return_counts=True)
    is_small = (classes != UNLABELLED) & (counts < 10)
    is_test_n[by_class[np.repeat(is_small, counts)]] = False
    is_test_n[by_class[starts[is_small & (counts >= 2)]]] = True
    if not is_test_n.any():  # each image is a class of its own
        is_test_n[by_class[::10]] = True
    return is_test_n if split == "test" else ~is_test_n


def indices_hash(indices: np.ndarray) -> str:
    """A short name (16 hexadecimal digits) for a draw, to be logged and compared."""
    return hashlib.sha256(np.asarray(indices).astype("<i8").tobytes()).hexdigest()[:16]
