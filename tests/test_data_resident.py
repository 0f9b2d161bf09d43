import os

import numpy as np
import pytest
from data_helpers import noise_images, user_error, write_image

from symskip_jax.data.base import Features, Stored
from symskip_jax.data.parts import parts_of
from symskip_jax.data.reading import Faults
from symskip_jax.data.resident import load_resident
from symskip_jax.data.sources import ArraySource, Example, Source, open_source
from symskip_jax.errors import ReadFailedError


class ListSource(Source):
    """A source as a user would write one."""

    name = "a list"

    def __init__(self, examples, class_names=("cat", "dog")):
        self.examples = examples
        self.features = Features((None, None, 3), "class", class_names)

    def __len__(self):
        return len(self.examples)

    def stored(self, index):
        return Stored(*self.examples[index])


def test_every_image_and_label_is_there_in_order():
    images, labels = noise_images(2500, 4, 5, 3), np.arange(2500) % 2
    data = load_resident(ListSource([*map(Example, images, labels)]))
    np.testing.assert_array_equal(data.images_nhwc, images)
    np.testing.assert_array_equal(data.labels_n, labels)
    assert data.images_nhwc.dtype == np.uint8 and data.images_nhwc.flags.c_contiguous
    assert data.labels_n.dtype == np.int32
    assert data.class_names == ("cat", "dog") and data.name == "a list" and len(data) == 2500


def test_large_images_are_not_read_all_at_once():
    held = []

    class Counting(ListSource):
        def stored_many(self, indices):
            held.append(len(indices))
            return super().stored_many(indices)

    image = np.zeros((2048, 4096, 3), np.uint8)
    load_resident(Counting([Example(image, 0)] * 7))
    assert sum(held[1:]) == 7  # after the one that tells the size
    assert max(held) * (os.cpu_count() or 1) * image.nbytes <= max(64 * 2**20, image.nbytes)


def test_a_broken_image_is_masked_where_it_is_to_be_skipped(tmp_path, caplog):
    for number in range(6):
        write_image(tmp_path / "train" / "a" / f"{number}.png", noise_images(4, 4, 3, seed=number))
    source = open_source(f"folder:{tmp_path}", "train")
    path = tmp_path / "train" / "a" / "2.png"
    path.write_bytes(path.read_bytes()[:50])
    assert str(path) in user_error(lambda: load_resident(source))
    data = load_resident(source, Faults("skip"))
    assert np.flatnonzero(~data.mask_n).tolist() == [2]
    np.testing.assert_array_equal(data.images_nhwc[2], data.images_nhwc[3])
    assert f"skipped {path}" in caplog.text and "1 so far" in caplog.text
    assert data.take(np.array([1, 2])).mask_n.tolist() == [True, False]
    counted = [
        i for p in parts_of({"x": data.labels_n}, 4, data.mask_n) for i in p.indices_b[p.mask_b]
    ]
    assert counted == [0, 1, 3, 4, 5]


def test_an_array_is_taken_as_it_is():
    images = noise_images(3, 4, 4, 1)
    data = load_resident(ArraySource("x", images, np.array([0, 1, 0]), ("a", "b")))
    assert np.shares_memory(data.images_nhwc, images)
    assert data.images_nhwc.shape == (3, 4, 4, 1)


def test_class_names_are_dropped_where_no_image_has_a_label():
    images = noise_images(2, 4, 4, 1)
    for labels, class_names in (([-1, -1], None), ([-1, 1], ("a", "b"))):
        data = load_resident(ArraySource("x", images, np.array(labels), ("a", "b")))
        assert data.class_names == class_names


def test_take_keeps_the_order_asked_for():
    data = load_resident(open_source("digits", "test"))
    part = data.take(np.array([7, 3]))
    np.testing.assert_array_equal(part.images_nhwc, data.images_nhwc[[7, 3]])
    np.testing.assert_array_equal(part.labels_n, data.labels_n[[7, 3]])
    assert part.class_names == data.class_names


def test_the_fingerprint_changes_with_any_pixel_label_or_shape():
    images, labels = noise_images(4, 2, 6, 1), np.array([0, 1, 0, 1])

    def fingerprint(images, labels):
        return load_resident(ArraySource("x", images, labels, ("a", "b"))).fingerprint()

    pixel, label = images.copy(), labels.copy()
    pixel[3, 1, 5, 0] ^= 1
    label[2] = 1
    variants = [(images, labels), (pixel, labels), (images, label)]
    variants.append((images.reshape(4, 6, 2, 1), labels))
    assert len({fingerprint(*variant) for variant in variants}) == 4
    assert fingerprint(images.copy(), labels.astype(np.int16)) == fingerprint(images, labels)
    for variant in variants:
        assert ArraySource("x", *variant, ("a", "b")).fingerprint() == fingerprint(*variant)


def test_a_skipped_image_that_cannot_be_read_again_ends_nothing(caplog):
    class Vanishing(Source):
        name, features = "vanishing", Features((4, 4, 3), "none", None)
        was_read = False

        def __len__(self):
            return 3

        def stored(self, index):
            if index != 1:
                return Stored(np.full((4, 4, 3), index, np.uint8), -1)
            if self.was_read:
                raise ReadFailedError("image 1 cannot be read: Input/output error")
            self.was_read = True
            return Stored(b"no image", -1)

    data = load_resident(Vanishing(), Faults("skip"))
    assert data.images_nhwc[:, 0, 0, 0].tolist() == [0, 2, 2]
    (message,) = [record.getMessage() for record in caplog.records]
    assert "skipped image 1 of vanishing" in message


def test_images_of_two_sizes_are_named_with_their_sizes():
    images = [np.zeros((4, 5, 3), np.uint8)] * 3 + [np.zeros((6, 7, 3), np.uint8)]
    message = user_error(lambda: load_resident(ListSource([Example(image, 0) for image in images])))
    for part in ("image 3 of a list is 7x6", "others are 5x4", "resize"):
        assert part in message


def test_grey_among_colour_is_named():
    images = [np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4, 1), np.uint8)]
    message = user_error(lambda: load_resident(ListSource([Example(image, 0) for image in images])))
    assert "with 3 channels" in message and "with 1 channel," in message


@pytest.mark.parametrize(
    ("labels", "class_names", "parts"),
    [
        ([0, 2, 1], ("a", "b"), ["label 2", "image 1 of x", "0 to 1"]),
        ([0, 1, -2], ("a", "b"), ["label -2", "image 2 of x", "0 to 1"]),
        ([-1, 0, -1], None, ["label 0", "image 1 of x", "-1"]),
    ],
)
def test_labels_outside_the_range_are_named(labels, class_names, parts):
    source = ArraySource("x", noise_images(3, 4, 4, 1), np.array(labels), class_names)
    message = user_error(lambda: load_resident(source))
    assert all(part in message for part in parts), message


def test_nothing_to_load():
    assert "a list" in user_error(lambda: load_resident(ListSource([])))
