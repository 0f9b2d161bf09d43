"""Images read while training runs, by Grain, in threads or in processes of their own.

Every batch is a pure function of the step: which images are in it, how they are cut, what stands in
for a broken one. So the position of a stream is the step that a checkpoint holds, and nothing else.
"""

import functools
import logging
import os
import signal
import threading
import time
from collections.abc import Generator, Iterator
from typing import Any, NamedTuple

import grain
import numpy as np
from absl import flags

from symskip_jax.data.base import Source
from symskip_jax.data.notices import warn_once
from symskip_jax.data.order import epoch_order
from symskip_jax.data.parts import Part, Shard
from symskip_jax.data.reading import Faults, Images, Reader, why_bad
from symskip_jax.data.views import View
from symskip_jax.errors import UserError
from symskip_jax.memory import keep_freed_memory

# Images that one thread reads at a time: enough to make little of Grain's cost for each.
MAX_CHUNK = 16
ENDLESS = 2**40
# Of the windows of evaluations, the same in all runs; no run can have it.
DRAW_SEED = 2**32

log = logging.getLogger(__name__)


class Parallel(NamedTuple):
    """How images are read at once.

    threads: of this process, or of each worker.
    workers: processes beside this one; 0 for none.
    """

    threads: int = 2
    workers: int = 0


class Stream:
    """The batches of a training run.

    Attributes:
        steps_per_epoch: full batches in the source; the few images left over are left out, others
            in each epoch.
        skipped: why each image that could not be decoded was skipped, by index.
    """

    def __init__(
        self,
        source: Source,
        view: View | None,
        *,
        batch_size: int,
        seed: int,
        shard: Shard = Shard(),
        parallel: Parallel = Parallel(),
        faults: Faults = Faults(),
    ):
        """Describes the stream; nothing is read yet.

        Args:
            source: of the images.
            view: what is shown of each; None where all have one size and are shown whole.
            batch_size: images a step, over all processes.
            seed: of the order and the windows.
            shard: which part of each batch this process reads; their number divides batch_size.
            parallel: threads and workers; they change nothing but speed.
            faults: what is done about what cannot be read.
        """
        _check_split(batch_size, shard)
        self.source = source
        self.steps_per_epoch = len(source) // batch_size
        self.skipped: dict[int, str] = {}
        self._local = batch_size // shard.count
        self._chunk = _chunk_size(self._local)
        self._parallel = parallel
        self._chunks = _TrainingChunks(
            Reader(source, view, faults), batch_size, seed, shard, self._chunk
        )

    def batches(self, start_step: int = 0) -> Iterator[dict[str, np.ndarray]]:
        """Gives the batches of the steps from `start_step` on, without end.

        Yields:
            `image`, uint8 [b, h, w, C], and `label`, as `Images` has them; b is this process's part
            of the batch.

        Raises:
            UserError: an image cannot be decoded or read; a worker died.
        """
        chunks_per_batch = self._local // self._chunk
        read = _read_in_parallel(
            self._chunks, start_step * chunks_per_batch, chunks_per_batch, self._parallel
        )
        for images in read:
            self._note_bad(images.bad_b)
            yield {"image": images.images_bhwc, "label": images.labels_b}

    def _note_bad(self, bad_b: np.ndarray) -> None:
        for index in sorted(set(bad_b[bad_b >= 0].tolist()) - set(self.skipped)):
            self.skipped[index] = why_bad(self.source, index)
            log.warning("skipped %s (%d so far)", self.skipped[index], len(self.skipped))


def pass_over(
    source: Source,
    view: View | None,
    *,
    batch_size: int,
    shard: Shard = Shard(),
    threads: int = 2,
    faults: Faults = Faults(),
    draw: int | None = None,
) -> Generator[Part]:
    """Gives every image once, in order, in batches of one size, each process its own part.

    The last batch is filled up, and what fills it is masked: all processes see as many batches.
    Images are read by threads of this process, and shown by their central window or, where a draw
    is named, by a random one, which depends on the draw and the place of the image in the source
    alone. The other arguments and the errors are those of `Stream`.
    """
    _check_split(batch_size, shard)
    local = batch_size // shard.count
    chunk = _chunk_size(local)
    num_batches = -(-len(source) // batch_size)
    chunks = _EvaluationChunks(
        Reader(source, view, faults), batch_size, shard, chunk, num_batches * local // chunk, draw
    )
    read = _read_in_parallel(chunks, 0, local // chunk, Parallel(threads))
    for number, images in enumerate(read):
        indices_b = number * batch_size + shard.index * local + np.arange(local)
        is_bad = images.bad_b >= 0
        for index in images.bad_b[is_bad & (indices_b < len(source))].tolist():
            warn_once(log, f"left out {why_bad(source, index)}")
        yield Part(
            {"image": images.images_bhwc, "label": images.labels_b},
            np.minimum(indices_b, len(source) - 1),
            (indices_b < len(source)) & ~is_bad,
        )


class _TrainingChunks(grain.sources.RandomAccessDataSource):
    """Chunk k of the endless sequence of this process's images: the unit that a thread reads."""

    def __init__(self, reader: Reader, batch_size: int, seed: int, shard: Shard, chunk: int):
        self._reader = reader
        self._batch_size = batch_size
        self._seed = seed
        self._shard = shard
        self._chunk = chunk
        self._orders: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return ENDLESS

    def __getitem__(self, k: Any, /) -> Images:
        local = self._batch_size // self._shard.count
        step, part = divmod(int(k), local // self._chunk)
        positions = self._shard.index * local + part * self._chunk + np.arange(self._chunk)
        epoch, step_in_epoch = divmod(step, len(self._reader.source) // self._batch_size)
        order = self._order(epoch)
        indices = order[step_in_epoch * self._batch_size + positions].tolist()
        randoms = [_generator(self._seed, step, position) for position in positions.tolist()]
        return self._reader.read(indices, randoms)

    def _order(self, epoch: int) -> np.ndarray:
        # Two threads may both make it, which costs time and nothing else.
        order = self._orders.get(epoch)
        if order is None:
            order = epoch_order(self._seed, epoch, len(self._reader.source))
            self._orders = {e: o for e, o in self._orders.items() if e == epoch - 1} | {
                epoch: order
            }
        return order


class _EvaluationChunks(grain.sources.RandomAccessDataSource):
    """Chunk k of this process's images in order, the last image standing in beyond the end."""

    def __init__(
        self,
        reader: Reader,
        batch_size: int,
        shard: Shard,
        chunk: int,
        count: int,
        draw: int | None,
    ):
        self._reader = reader
        self._draw = draw
        self._batch_size = batch_size
        self._shard = shard
        self._chunk = chunk
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, k: Any, /) -> Images:
        local = self._batch_size // self._shard.count
        batch, part = divmod(int(k), local // self._chunk)
        start = batch * self._batch_size + self._shard.index * local + part * self._chunk
        indices = np.minimum(start + np.arange(self._chunk), len(self._reader.source) - 1)
        draw, places = self._draw, indices.tolist()
        if draw is None:
            return self._reader.read(places)
        return self._reader.read(places, [_generator(DRAW_SEED, draw, place) for place in places])


def _read_in_parallel(
    chunks: grain.sources.RandomAccessDataSource,
    start: int,
    chunks_per_batch: int,
    parallel: Parallel,
) -> Iterator[Images]:
    options = grain.ReadOptions(
        num_threads=parallel.threads, prefetch_buffer_size=parallel.threads + chunks_per_batch
    )
    dataset = grain.MapDataset.source(chunks)[start:].to_iter_dataset(options)
    if parallel.workers:
        # Grain reads a flag in its workers' parent.
        if not flags.FLAGS.is_parsed():
            flags.FLAGS.mark_as_parsed()
        dataset = dataset.mp_prefetch(
            grain.MultiprocessingOptions(parallel.workers, chunks_per_batch),
            worker_init_fn=functools.partial(_start_worker, os.getpid()),
        )
    if chunks_per_batch > 1:
        dataset = dataset.batch(chunks_per_batch, drop_remainder=True).map(_joined)
    iterator: Any = iter(dataset)
    try:
        while True:
            try:
                images = next(iterator)
            except StopIteration:
                return
            except RuntimeError as error:
                if not parallel.workers:
                    raise
                raise UserError(f"a process that reads images died: {error}") from error
            yield images
    finally:
        iterator.close()


def _joined(chunks: Images) -> Images:
    """From [chunks, images of a chunk, ...] to [images, ...]."""
    return Images(*(x.reshape(-1, *x.shape[2:]) for x in chunks))


def _start_worker(parent: int, worker: int, num_workers: int) -> None:
    """Prepares a worker process: it ends with its parent, which Grain does not see to."""
    keep_freed_memory()
    # A terminal's Ctrl-C and a scheduler's SIGTERM go to all processes of a run; it is the parent
    # that saves and leaves.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _generator(seed: int, step: int, position: int) -> np.random.Generator:
    """The random numbers of one image of one batch, in whatever thread or process it is read.

    Of an evaluation the step is the number of the draw, and the position that in the source.
    """
    return np.random.Generator(np.random.Philox(key=[seed, step], counter=[0, 0, 0, position]))


def _check_split(batch_size: int, shard: Shard) -> None:
    if batch_size % shard.count:
        raise UserError(f"a batch of {batch_size} cannot be split over {shard.count} processes")


def _chunk_size(local: int) -> int:
    return max(size for size in range(1, MAX_CHUNK + 1) if local % size == 0)
