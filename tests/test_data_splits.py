import subprocess
import sys

import numpy as np
import pytest
from data_helpers import user_error
from hypothesis import assume, given
from hypothesis import strategies as st

from symskip_jax.data.splits import draw_labelled, indices_hash, mark_split


@st.composite
def drawable(draw: st.DrawFn) -> tuple[np.ndarray, int]:
    """Labels in any order, some missing, and a number that can be drawn evenly from them."""
    counts = draw(st.lists(st.integers(1, 30), min_size=1, max_size=8))
    labels = [label for label, count in enumerate(counts) for _ in range(count)]
    labels += [-1] * draw(st.integers(0, 10))
    most = min(counts) * len(counts) + sum(count > min(counts) for count in counts)
    num_labels = draw(st.integers(1, most))
    return np.array(draw(st.permutations(labels))), num_labels


@given(drawable(), st.integers(0, 2**32 - 1))
def test_draws_are_balanced_sorted_unique_labelled_and_decided_by_the_seed(case, seed):
    labels_n, num_labels = case
    drawn = draw_labelled(labels_n, num_labels, seed)
    assert drawn.dtype == np.int64 and drawn.shape == (num_labels,)
    assert (np.diff(drawn) > 0).all()
    assert drawn[0] >= 0 and drawn[-1] < len(labels_n)
    assert (labels_n[drawn] >= 0).all()
    num_classes = labels_n.max() + 1
    sizes = np.bincount(labels_n[drawn], minlength=num_classes)
    assert sizes.max() - sizes.min() <= 1
    np.testing.assert_array_equal(drawn, draw_labelled(labels_n.copy(), num_labels, seed))


def test_seeds_draw_different_images_and_different_larger_classes():
    labels_n = np.repeat(np.arange(10), 100)
    draws = [draw_labelled(labels_n, 105, seed) for seed in range(20)]
    assert len({indices_hash(draw) for draw in draws}) == 20
    assert len({tuple(np.bincount(labels_n[draw])) for draw in draws}) > 10


def test_every_image_of_a_class_is_as_likely():
    labels_n = np.tile([0, 1], 10)
    counts = np.bincount(
        np.concatenate([draw_labelled(labels_n, 10, seed) for seed in range(2000)]), minlength=20
    )
    # Binomial(2000, 1/2): standard deviation 22.
    assert abs(counts - 1000).max() < 5 * 22.4


def test_a_draw_is_the_same_in_another_process_and_for_ever():
    code = (
        "import numpy as np; from symskip_jax.data.splits import *;"
        "print(indices_hash(draw_labelled(np.arange(1000) % 7, 40, 3)))"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    # The value was written down when this was first run: results are published under it.
    assert other.stdout.strip() == "f7fff6922f6162e4"
    assert indices_hash(draw_labelled(np.arange(1000) % 7, 40, 3)) == other.stdout.strip()


def test_a_class_too_small_for_one_more_is_not_asked_for_it():
    labels_n = np.array([0, 0, 1, 1, 1, 2, 2, 2])
    for seed in range(20):
        assert np.bincount(labels_n[draw_labelled(labels_n, 8, seed)]).tolist() == [2, 3, 3]


def test_hash_is_of_the_values_not_of_their_type():
    assert indices_hash(np.array([1, 2])) == indices_hash(np.array([1, 2], np.int32))
    assert indices_hash(np.array([1, 2])) != indices_hash(np.array([2, 1]))


@pytest.mark.parametrize(
    ("labels", "num_labels", "parts"),
    [
        ([-1, -1], 2, ["2 labels", "none of the 2 images"]),
        ([0, 1, 1], 4, ["4 labels", "from 3 labelled", "1 to 3"]),
        ([0, 1], 0, ["0 labels", "1 to 2"]),
        ([0, 1, 1, 1], 4, ["4 labels", "class 0 has 1 image", "3 or fewer"]),
        ([0, 0, 1, 1, 1, 2], 6, ["6 labels", "class 2 has 1 image", "5 or fewer"]),
    ],
)
def test_what_cannot_be_drawn_is_said(labels, num_labels, parts):
    message = user_error(lambda: draw_labelled(np.array(labels), num_labels, 0))
    assert all(part in message for part in parts), message


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_outside_its_range_is_said(seed):
    assert str(seed) in user_error(lambda: draw_labelled(np.array([0, 1]), 2, seed))


@given(st.lists(st.integers(-1, 4), min_size=2, max_size=200))
def test_each_image_without_a_split_falls_into_exactly_one(labels):
    labels_n = np.array(labels)
    is_train_n, is_test_n = mark_split(labels_n, "train", "x"), mark_split(labels_n, "test", "x")
    assert (is_train_n ^ is_test_n).all()
    assert is_train_n.any() and is_test_n.any()
    for label in set(labels):
        count, num_test = (labels_n == label).sum(), (is_test_n & (labels_n == label)).sum()
        assert abs(num_test - count / 10) < 1
        assert num_test or (count == 1 and label != -1)


def test_a_few_labels_are_split_on_their_own():
    """12 of 40 images are labelled: one of each class is tested, however many have no label."""
    for num_unlabelled in range(30):
        labels_n = np.array([0] * 6 + [1] * 6 + [-1] * num_unlabelled)
        labels_n = np.random.RandomState(num_unlabelled).permutation(labels_n)
        found = np.bincount(labels_n[mark_split(labels_n, "test", "x")] + 1, minlength=3)
        assert found.tolist() == [-(-num_unlabelled // 10), 1, 1]


@pytest.mark.parametrize(
    ("labels", "in_test"),
    [([0, 0, 1], [1, 0]), ([0, 1, 1, -1], [0, 1]), ([0, -1], [0, 0]), ([0, 1], [1, 0])],
)
def test_an_only_image_is_for_training_if_another_can_be_for_the_test(labels, in_test):
    labels_n = np.array(labels)
    tested = labels_n[mark_split(labels_n, "test", "x")]
    assert [(tested == label).sum() for label in (0, 1)] == in_test


LARGE = st.lists(st.integers(10, 35), min_size=0, max_size=6)


@given(LARGE, st.integers(0, 35), st.integers(0, 2**32 - 1))
def test_classes_of_ten_and_more_are_split_as_ever(counts, num_unlabelled, seed):
    """Results and runs depend on it: this is how every class was once split."""
    labels_n = np.repeat(np.arange(-1, len(counts)), [num_unlabelled, *counts])
    assume(len(labels_n) >= 2)
    labels_n = np.random.RandomState(seed).permutation(labels_n)
    shuffled = np.random.RandomState(0).permutation(len(labels_n))
    by_class = shuffled[np.argsort(labels_n[shuffled], kind="stable")]
    tested = np.flatnonzero(mark_split(labels_n, "test", "x"))
    np.testing.assert_array_equal(tested, np.sort(by_class[::10]))


@pytest.mark.parametrize(
    ("labels_n", "digits"),
    [
        (np.full(41, -1), "888e40e5f748cebc"),
        (np.arange(1000) % 7, "9aff5f18324e6888"),
        (np.repeat([0, 1, 2], [10, 11, 15]), "a43da3fad9152de4"),
        (np.repeat([-1, 0, 1], [3, 10, 14]), "782c0149a917be30"),
    ],
)
def test_a_split_is_the_same_for_ever(labels_n, digits):
    # The digits were written down before small classes were split on their own.
    assert indices_hash(np.flatnonzero(mark_split(labels_n, "test", "x"))) == digits


def test_the_held_out_images_are_spread_at_random():
    """Every tenth image would be all of one class where classes take turns."""
    held_out = np.flatnonzero(mark_split(np.full(1000, -1), "test", "x"))
    assert len(set(held_out % 10)) == 10


def test_splits_that_there_are_not():
    message = user_error(lambda: mark_split(np.zeros(5, int), "val", "npz:a"))
    assert "npz:a" in message and "'val'" in message and "'train'" in message
    assert "1 image" in user_error(lambda: mark_split(np.zeros(1, int), "train", "npz:a"))
