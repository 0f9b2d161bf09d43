"""Unions and mixtures of sources."""

import pickle
from collections import Counter

import numpy as np
import pytest
from data_helpers import noise_images, user_error, write_image

from symskip_jax.data.base import ArraySource
from symskip_jax.data.resident import load_resident
from symskip_jax.data.sources import open_source
from symskip_jax.data.union import mix


def archive(path, count, *, first=0, channels=3, names=("a", "b"), size=(4, 5)) -> str:
    """Images that are known by their grey level, of two classes, in a split `train`."""
    levels = np.arange(first, first + count, dtype=np.uint8)
    images = np.tile(levels[:, None, None, None], (1, *size, channels))
    labels = {"train_labels": np.arange(count) % 2, "class_names": np.array(names)} if names else {}
    np.savez(path, train_images=images, test_images=images[:1], test_labels=np.array([1]), **labels)
    return f"npz:{path}"


def levels(source) -> list[int]:
    return [int(source[index].image[0, 0, 0]) for index in range(len(source))]


def test_a_union_is_one_source_after_the_other(tmp_path):
    a, b = archive(tmp_path / "a.npz", 3), archive(tmp_path / "b.npz", 4, first=100)
    union = open_source(f"{a} + {b}", "train")
    assert levels(union) == [0, 1, 2, 100, 101, 102, 103]
    assert union.features.image_shape == (4, 5, 3)
    assert union.name == f"{a} + {b} train"
    assert union.features.label_kind == "class" and union.class_names == ("a", "b")
    assert union.labels().tolist() == [0, 1, 0, 0, 1, 0, 1]
    assert [union[index].label for index in range(7)] == union.labels().tolist()
    many = union.stored_many([6, 0, 3, 3, 1])
    assert [int(it.image[0, 0, 0]) for it in many] == [103, 0, 100, 100, 1]
    assert union.describe(4) == f"image 1 of {b} train"
    assert load_resident(union).images_nhwc[:, 0, 0, 0].tolist() == levels(union)
    assert levels(pickle.loads(pickle.dumps(union))) == levels(union)


def test_labels_of_other_classes_are_dropped(tmp_path):
    a = archive(tmp_path / "a.npz", 3)
    for number, names in enumerate((("a", "c"), None)):
        b = archive(tmp_path / f"{number}.npz", 3, names=names)
        union = open_source(f"{a} + {b}", "train")
        assert union.features.label_kind == "none" and union.class_names is None
        assert (
            union.labels().tolist()
            == [-1] * 6
            == [it.label for it in union.stored_many([*range(6)])]
        )


def test_sizes_and_channels_may_differ(tmp_path):
    grey = archive(tmp_path / "grey.npz", 2, channels=1, size=(6, 6))
    write_image(tmp_path / "photos" / "train" / "x.png", noise_images(3, 7, seed=1))
    union = open_source(f"{grey} + folder:{tmp_path / 'photos'}", "train")
    assert union.features.image_shape == (None, None, 3)
    assert [union[index].image.shape for index in range(3)] == [(6, 6, 3), (6, 6, 3), (3, 7, 3)]
    assert union.describe(2) == str(tmp_path / "photos" / "train" / "x.png")
    assert open_source(f"{grey} + {grey}", "train").features.image_shape == (6, 6, 1)


def test_a_part_may_have_a_split_of_its_own(tmp_path):
    a = archive(tmp_path / "a.npz", 3)
    assert len(open_source(f"{a} + {a}@test", "train")) == 4
    assert open_source(f"{a} + {a}@test", "train").name == f"{a} + {a}@test train"
    assert len(open_source(f"{a}@train + digits@test", "test")) == 503
    assert open_source(f"{a}@train + digits@test", "test").name == f"{a}@train + digits@test"
    message = user_error(lambda: open_source(f"{a} + digits@valid", "train"))
    assert "digits" in message and "'valid'" in message


def test_paths_may_have_a_plus_and_an_at(tmp_path):
    for name in ("a + b", "me@work/c"):
        for index in range(3):
            write_image(tmp_path / name / "train" / f"{index}.png", noise_images(4, 4))
    assert len(open_source(f"folder:{tmp_path}/a + b", "train")) == 3
    union = f"folder:{tmp_path}/a + b + folder:{tmp_path}/me@work/c@train"
    assert len(open_source(union, "train")) == 6


@pytest.mark.parametrize("weights", [(0.7, 0.3), (1, 1), (3, 1), (0.5, 20)])
def test_a_mixture_has_the_shares_asked_for_and_leaves_no_image_out(tmp_path, weights):
    a, b = archive(tmp_path / "a.npz", 60), archive(tmp_path / "b.npz", 90, first=100)
    mixture = open_source(f"{weights[0]}*{a} + {weights[1]}*{b}", "train")
    counts = Counter(levels(mixture))
    assert set(counts) == {*range(60), *range(100, 190)}
    of_a = sum(count for level, count in counts.items() if level < 100)
    assert of_a / len(mixture) == pytest.approx(weights[0] / sum(weights), abs=0.5 / len(mixture))
    for part in (range(60), range(100, 190)):
        often = [counts[level] for level in part]
        assert max(often) - min(often) <= 1
        # Those repeated once more are not the first ones, which may all be of one class.
        assert max(often) == min(often) or often != sorted(often, reverse=True)
    assert min(counts.values()) == 1
    assert mixture.labels().tolist() == [
        it.label for it in mixture.stored_many(range(len(mixture)))
    ]
    place = levels(mixture).index(100)
    assert mixture.describe(place) == f"image 0 of {b} train"


def test_mixtures_that_cannot_be_meant(tmp_path):
    a = archive(tmp_path / "a.npz", 3)
    assert "every part" in user_error(lambda: open_source(f"0.5*{a} + {a}", "train"))
    assert "more than 0" in user_error(lambda: open_source(f"0*{a} + 1.0*{a}", "train"))
    message = user_error(lambda: open_source(f"0.0001*{a} + 1*{a}", "train"))
    assert "6 images" in message and "30003" in message


def test_a_part_that_cannot_be_opened_is_named(tmp_path):
    a = archive(tmp_path / "a.npz", 3)
    assert "npz:/nowhere" in user_error(lambda: open_source(f"{a} + npz:/nowhere", "train"))
    message = user_error(lambda: open_source("digits + nonsense", "train"))
    assert "'digits + nonsense'" in message and "NAME + NAME" in message


def test_the_fingerprint_tells_parts_order_and_weights_apart():
    def source(count, level):
        images = np.full((count, 2, 2, 3), level, np.uint8)
        return ArraySource("x", images, np.full(count, -1), None)

    a, b = source(3, 0), source(4, 0)
    mixtures = [mix("x", parts, (1, w)) for parts in ((a, b), (b, a)) for w in (1, 2)]
    found = {it.fingerprint() for it in mixtures}
    assert len(found) == 4 and mix("y", (a, b), (1, 1)).fingerprint() in found
