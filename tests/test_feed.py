"""Streamed batches on their way to the devices."""

import jax
import numpy as np
import pytest
from data_helpers import noise_images

from symskip_jax.data.base import ArraySource, Stored
from symskip_jax.data.order import epoch_order
from symskip_jax.data.stream import Stream
from symskip_jax.errors import BadImageError
from symskip_jax.training.feed import Feed
from symskip_jax.training.mesh import data_mesh
from symskip_jax.training.timing import Timing

LABELS = np.arange(21)
SOURCE = ArraySource("s", noise_images(21, 4, 4, 3), LABELS, tuple(map(str, LABELS)))
TOTAL = 10


def feed(source=SOURCE):
    return Feed(Stream(source, None, batch_size=8, seed=3), data_mesh(), TOTAL, Timing())


def expected(step: int) -> np.ndarray:
    epoch, place = divmod(step, 2)
    return epoch_order(3, epoch, 21)[8 * place : 8 * place + 8]


def test_a_batch_is_that_of_its_step_whatever_was_asked_for_before():
    batches = feed()
    for step in (0, 1, 2, 3, 7, 8, 9, 4, 5, 0):
        batch = batches.batch_of(step)
        np.testing.assert_array_equal(batch["label"], expected(step))
        np.testing.assert_array_equal(batch["image"], SOURCE.images_nhwc[expected(step)])


def test_a_batch_is_split_over_the_devices():
    image = feed().batch_of(0)["image"]
    assert len(image.sharding.device_set) == jax.device_count() == 8
    assert image.addressable_shards[0].data.shape == (1, 4, 4, 3)


def test_nothing_is_asked_for_beyond_the_last_step():
    beyond = set(expected(TOTAL)) | set(expected(TOTAL + 1))

    class Broken(ArraySource):
        """Breaks what the step behind the last would read, once the last one is read."""

        is_broken = False

        def stored(self, index):
            if self.is_broken and index in beyond:
                raise BadImageError(f"image {index} of s cannot be decoded")
            return Stored(self.images_nhwc[index], int(self.labels_n[index]))

    source = Broken("s", SOURCE.images_nhwc, LABELS, SOURCE.class_names)
    batches = feed(source)
    batches.batch_of(TOTAL - 2)
    source.is_broken = True
    np.testing.assert_array_equal(batches.batch_of(TOTAL - 1)["label"], expected(TOTAL - 1))
    with pytest.raises(BadImageError):
        next(Stream(source, None, batch_size=8, seed=3).batches(TOTAL))
