"""Streamed batches: which images, cut how, whoever reads them, and what happens when one cannot."""

import signal
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
from data_helpers import noise_images, user_error, write_image

from symskip_jax.data.base import ArraySource, Features, Source, Stored
from symskip_jax.data.order import epoch_order
from symskip_jax.data.parts import Shard
from symskip_jax.data.reading import Faults
from symskip_jax.data.sources import open_source
from symskip_jax.data.stream import Parallel, Stream, pass_over
from symskip_jax.data.views import View
from symskip_jax.errors import ReadFailedError

COUNT, BATCH_SIZE = 23, 6
VIEW = View(crop=(6, 8), kind="random_resized")
SKIP = Faults(bad_image="skip")


def photographs(folder: Path, count: int = COUNT) -> Source:
    """Images of every size in two classes; a tenth is held out."""
    for number in range(count):
        shape = (10 + number % 7, 12 + number % 5, 3)
        write_image(
            folder / "ab"[number % 2] / f"{number:03}.png", noise_images(*shape, seed=number)
        )
    return open_source(f"folder:{folder}", "train")


def numbered(count: int = COUNT) -> ArraySource:
    """Image i is full of i and has label i."""
    images = np.tile(np.arange(count, dtype=np.uint8)[:, None, None, None], (1, 4, 4, 1))
    return ArraySource("numbered", images, np.arange(count), tuple(map(str, range(count))))


def take(stream: Stream, steps: int, start: int = 0) -> list[dict[str, np.ndarray]]:
    batches = stream.batches(start)
    taken = [next(batches) for _ in range(steps)]
    batches.close()
    return taken


def assert_equal(a: list[dict[str, np.ndarray]], b: list[dict[str, np.ndarray]]) -> None:
    assert len(a) == len(b)
    for x, y in zip(a, b, strict=True):
        for name in ("image", "label"):
            np.testing.assert_array_equal(x[name], y[name])


def test_an_epoch_visits_the_images_in_its_order_and_the_next_in_another():
    stream = Stream(numbered(), None, batch_size=BATCH_SIZE, seed=5)
    assert stream.steps_per_epoch == 3
    seen = np.concatenate([batch["label"] for batch in take(stream, 6)]).reshape(2, 18)
    for epoch in range(2):
        np.testing.assert_array_equal(seen[epoch], epoch_order(5, epoch, COUNT)[:18])
        assert len(set(seen[epoch])) == 18
    assert (seen[0] != seen[1]).any()


def test_resumed_at_any_step_the_batches_are_those_that_would_have_come(tmp_path):
    stream = Stream(photographs(tmp_path), VIEW, batch_size=BATCH_SIZE, seed=1)
    whole = take(stream, 8)
    assert whole[0]["image"].shape == (6, 6, 8, 3) and whole[0]["image"].dtype == np.uint8
    assert whole[0]["label"].dtype == np.int32
    for start in (1, 2, 3, 7):
        assert_equal(take(stream, 8 - start, start), whole[start:])


def test_threads_and_workers_change_nothing(tmp_path):
    source = photographs(tmp_path)
    one = take(Stream(source, VIEW, batch_size=BATCH_SIZE, seed=1, parallel=Parallel(1)), 8)
    for parallel in (Parallel(4), Parallel(1, workers=2)):
        stream = Stream(source, VIEW, batch_size=BATCH_SIZE, seed=1, parallel=parallel)
        assert_equal(take(stream, 8), one)
        assert_equal(take(stream, 3, 5), one[5:])


def test_each_process_reads_its_part_of_every_batch_and_nothing_else():
    class Watched(ArraySource):
        def __init__(self):
            plain = numbered(240)
            super().__init__("watched", plain.images_nhwc, plain.labels_n, plain.class_names)
            self.read: list[int] = []

        def stored(self, index):
            self.read.append(index)
            return super().stored(index)

    whole = take(Stream(numbered(240), VIEW, batch_size=BATCH_SIZE, seed=1), 4)
    order = epoch_order(1, 0, 240).reshape(-1, 3, 2)  # step, process, image
    parts = []
    for rank in range(3):
        source = Watched()
        stream = Stream(source, VIEW, batch_size=BATCH_SIZE, seed=1, shard=Shard(rank, 3))
        parts.append(take(stream, 4))
        assert set(order[:4, rank].ravel()) <= set(source.read) <= set(order[:, rank].ravel())
    joined = [
        {name: np.concatenate([p[step][name] for p in parts]) for name in ("image", "label")}
        for step in range(4)
    ]
    assert_equal(joined, whole)


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_a_pass_shows_every_image_once_and_masks_what_fills_it_up(processes):
    labels, indices, lengths = [], [], []
    for rank in range(processes):
        parts = list(pass_over(numbered(), None, batch_size=6, shard=Shard(rank, processes)))
        lengths.append(len(parts))
        for part in parts:
            assert len(part.indices_b) == 6 // processes == len(part.batch["image"])
            np.testing.assert_array_equal(part.batch["label"], part.indices_b)
            labels += part.batch["label"][part.mask_b].tolist()
            indices += part.indices_b[part.mask_b].tolist()
    assert sorted(labels) == list(range(COUNT))
    assert set(lengths) == {4}  # none waits for another


def test_a_pass_shows_the_middle():
    image = noise_images(9, 13, 3)
    source = ArraySource("one", image[None], np.array([-1]), None)
    (part,) = pass_over(source, View(crop=(5, 5)), batch_size=2)
    np.testing.assert_array_equal(part.batch["image"][0], image[2:7, 4:9])
    assert part.mask_b.tolist() == [True, False]


def test_a_draw_shows_the_same_random_windows_however_images_are_batched(tmp_path):
    source = photographs(tmp_path, 20)

    def shown(draw: int | None, batch_size: int = 5, **kwargs) -> np.ndarray:
        parts = pass_over(source, VIEW, batch_size=batch_size, draw=draw, **kwargs)
        return np.concatenate([part.batch["image"][part.mask_b] for part in parts])

    first = shown(0)
    assert len(first) == len(source)
    np.testing.assert_array_equal(shown(0, 8, threads=1), first)
    for other in (shown(1), shown(None)):
        assert not (other == first).all((1, 2, 3)).any()


def break_image(folder: Path, number: int) -> Path:
    path = folder / "ab"[number % 2] / f"{number:03}.png"
    path.write_bytes(path.read_bytes()[:60])
    return path


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_image_is_fatal_and_named(tmp_path, workers):
    source = photographs(tmp_path)
    path = break_image(tmp_path, 7)
    stream = Stream(
        source, VIEW, batch_size=len(source), seed=0, parallel=Parallel(2, workers=workers)
    )
    message = user_error(lambda: take(stream, 1))
    assert str(path) in message and "cut short" in message


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_image_is_skipped_counted_and_replaced(tmp_path, caplog, workers):
    source = photographs(tmp_path)
    index = next(i for i in range(len(source)) if source.describe(i).endswith("009.png"))
    path = break_image(tmp_path, 9)

    def batches(parallel: Parallel) -> tuple[Stream, list[dict[str, np.ndarray]]]:
        stream = Stream(
            source, VIEW, batch_size=len(source), seed=0, parallel=parallel, faults=SKIP
        )
        return stream, take(stream, 3)

    stream, taken = batches(Parallel(2, workers=workers))
    assert list(stream.skipped) == [index]
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 1 and str(path) in lines[0] and "1 so far" in lines[0]
    labels = source.labels()
    for epoch, batch in enumerate(taken):
        order = epoch_order(0, epoch, len(source))
        expected = labels[np.where(order == index, index + 1, order)]
        np.testing.assert_array_equal(batch["label"], expected)
    assert_equal(batches(Parallel(1))[1], taken)


def test_a_broken_image_is_masked_where_it_would_be_measured(tmp_path, caplog):
    source = photographs(tmp_path)
    path = break_image(tmp_path, 9)
    parts = list(pass_over(source, VIEW, batch_size=4, faults=SKIP))
    counted = [source.describe(i) for part in parts for i in part.indices_b[part.mask_b].tolist()]
    assert len(counted) == len(source) - 1 and str(path) not in counted
    assert f"left out {path}" in caplog.text


def test_nothing_but_broken_images_ends_with_a_line(tmp_path):
    source = photographs(tmp_path, 4)
    for number in range(4):
        break_image(tmp_path, number)
    stream = Stream(source, VIEW, batch_size=1, seed=0, faults=SKIP)
    assert "symskip data check" in user_error(lambda: take(stream, 1))


class Flaky(Source):
    """Fails to be read, so many times each image."""

    def __init__(self, failures: int):
        self.name, self.features = "flaky", Features((4, 4, 1), "none", None)
        self._left = dict.fromkeys(range(8), failures)
        self._lock = threading.Lock()

    def __len__(self):
        return 8

    def stored(self, index):
        with self._lock:
            self._left[index] -= 1
            if self._left[index] >= 0:
                raise ReadFailedError(f"image {index} cannot be read: Input/output error")
        return Stored(np.full((4, 4, 1), index, np.uint8), -1)


def test_a_read_that_fails_is_tried_again_so_many_times(monkeypatch, caplog):
    monkeypatch.setattr("symskip_jax.data.reading.FIRST_PAUSE", 1e-3)
    stream = Stream(Flaky(1), None, batch_size=2, seed=0, faults=Faults(read_retries=2))
    images = np.concatenate([b["image"][:, 0, 0, 0] for b in take(stream, 4)])
    np.testing.assert_array_equal(images, epoch_order(0, 0, 8))
    assert "trying again" in caplog.text
    stream = Stream(Flaky(9), None, batch_size=2, seed=0, faults=Faults("skip", read_retries=2))
    message = user_error(lambda: take(stream, 1))
    assert "Input/output error" in message and "3 times" in message


def test_a_worker_that_dies_ends_the_stream_with_its_reason(tmp_path):
    class Deadly(ArraySource):
        def stored(self, index):
            if index == 3:
                signal.raise_signal(signal.SIGKILL)
            return super().stored(index)

    images = noise_images(8, 4, 4, 3)
    source = Deadly("deadly", images, np.zeros(8), None)
    stream = Stream(source, None, batch_size=4, seed=0, parallel=Parallel(1, workers=1))
    message = user_error(lambda: take(stream, 2))
    assert "died" in message and "-9" in message


def test_images_of_other_size_than_declared_are_named():
    class Lying(ArraySource):
        def stored(self, index):
            image, label = super().stored(index)
            return Stored(image[:3] if index == 2 else image, label)

    source = Lying("lying", noise_images(4, 4, 5, 3), np.zeros(4), None)
    stream = Stream(source, None, batch_size=4, seed=0)
    assert "image 2 of lying is 5x3" in user_error(lambda: take(stream, 1))


def windows(view: View, height: int, width: int, count: int = 300) -> np.ndarray:
    random = np.random.default_rng(0)
    return np.array([view.random_window(height, width, random) for _ in range(count)])


@pytest.mark.parametrize("size", [(375, 500), (500, 375), (60, 300), (31, 32)])
@pytest.mark.parametrize(
    "view",
    [
        View((32, 48)),
        View((32, 48), resize=64),
        View((32, 48), "random_resized", min_area=0.1),
        View((48, 48), "random_resized", resize=64, min_area=1),
    ],
)
def test_every_window_lies_inside_the_image(view, size):
    top, left, height, width = windows(view, *size).T
    assert (top >= 0).all() and (left >= 0).all() and (height > 0).all() and (width > 0).all()
    assert (top + height <= size[0]).all() and (left + width <= size[1]).all()
    inner = view.central_window(*size)
    assert abs((inner.top + inner.height / 2) - size[0] / 2) <= 0.5
    assert abs((inner.left + inner.width / 2) - size[1] / 2) <= 0.5


def test_a_crop_takes_pixels_as_they_are_at_every_place():
    image = noise_images(6, 7, 3)
    seen = set()
    for seed in range(100):
        shown = View((5, 5)).random(image, 3, np.random.default_rng(seed))
        (place,) = [
            (y, x)
            for y in range(2)
            for x in range(3)
            if (image[y : y + 5, x : x + 5] == shown).all()
        ]
        seen.add(place)
    assert len(seen) == 6


def test_random_resized_windows_spread_over_areas_and_shapes():
    view = View((32, 32), "random_resized", min_area=0.1)
    _, _, height, width = windows(view, 300, 400, 2000).T
    share = height * width / (300 * 400)
    assert 0.09 < share.min() < 0.15 and share.max() > 0.65
    assert (width / height).min() < 0.8 and (width / height).max() > 1.25


def test_windows_of_elongated_images_keep_their_aspect():
    view = View((32, 32), "random_resized", min_area=1)
    _, _, height, width = windows(view, 60, 300).T
    assert height.max() <= 60 and (height / width).min() > 0.73 and (width / height).min() > 0.73


def test_a_batch_that_processes_do_not_divide_is_refused():
    source = numbered()
    assert "3 processes" in user_error(
        lambda: Stream(source, None, batch_size=7, seed=0, shard=Shard(0, 3))
    )
    parts = pass_over(source, None, batch_size=7, shard=Shard(0, 3))
    assert "3 processes" in user_error(lambda: next(parts))


def test_a_resized_crop_is_that_of_the_resized_image():
    # A smooth image, so that resampling's own differences are small.
    y, x = np.mgrid[:300, :400]
    image = np.stack([y * 0.8, x * 0.6, 120 + 100 * np.sin(x / 40)], -1).astype(np.uint8)
    shown = View((80, 80), resize=100).central(image, 3)
    resized = cv2.resize(image, (133, 100), interpolation=cv2.INTER_AREA)[10:90, 26:106]
    assert np.abs(shown.astype(int) - resized).mean() < 2
    file = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 98])[1].tobytes()
    assert np.abs(View((80, 80), resize=100).central(file, 3).astype(int) - shown).mean() < 2


def test_an_image_smaller_than_the_crop_is_enlarged():
    shown = View((8, 8)).central(np.full((4, 6, 1), 7, np.uint8), 1)
    assert shown.shape == (8, 8, 1) and (shown == 7).all()
