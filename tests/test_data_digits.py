import numpy as np
import pytest
from data_helpers import user_error
from sklearn.datasets import load_digits

from symskip_jax.data.sources import open_source


@pytest.fixture(scope="module")
def splits():
    return {split: open_source("digits", split) for split in ("train", "test")}


def rows(source) -> list[tuple]:
    return [(*source[i].image.ravel().tolist(), source[i].label) for i in range(len(source))]


def test_sizes_and_types(splits):
    assert {split: len(source) for split, source in splits.items()} == {"train": 1297, "test": 500}
    for source in splits.values():
        image, label = source[0]
        assert image.shape == (8, 8, 1) and image.dtype == np.uint8
        assert type(label) is int
        assert source.class_names == tuple("0123456789")


def test_the_two_splits_together_are_what_scikit_learn_has(splits):
    digits = load_digits()
    expected = [
        (*np.round(pixels * 255 / 16).astype(int).tolist(), int(label))
        for pixels, label in zip(digits.data, digits.target, strict=True)
    ]
    assert sorted(rows(splits["train"]) + rows(splits["test"])) == sorted(expected)


def test_the_test_split_is_balanced_and_shares_nothing_with_the_training_split(splits):
    assert np.bincount([label for *_, label in rows(splits["test"])]).tolist() == [50] * 10
    assert not set(rows(splits["test"])) & set(rows(splits["train"]))


def test_it_is_the_same_every_time(splits):
    assert rows(splits["train"]) == rows(open_source("digits", "train"))


def test_another_split_is_refused_by_name():
    message = user_error(lambda: open_source("digits", "val"))
    assert "digits" in message and "'val'" in message and "'train'" in message
