"""What `symskip bench input` times, each in a process of its own; prints one line of JSON.

Imports come late and each reader has only its own, because they are part of what is timed. Memory
is read from /proc, so only Linux will do.
"""

import argparse
import json
import multiprocessing
import os
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from symskip_jax.memory import keep_freed_memory

CROP = (225, 225)
BATCH_SIZE = 64
MIN_AREA = 0.08  # of a random-resized window


def ours(arguments: argparse.Namespace) -> dict[str, float]:
    """Time this package's stream over the ArrayRecord dataset."""
    from symskip_jax.data.sources import open_source
    from symskip_jax.data.stream import Parallel, Stream
    from symskip_jax.data.views import View

    source = open_source("tfds:photographs", "train", str(arguments.data / "array_record"))
    stream = Stream(
        source,
        View(CROP, arguments.kind, min_area=MIN_AREA),
        batch_size=BATCH_SIZE,
        seed=0,
        parallel=Parallel(arguments.threads, arguments.workers),
    )
    batches: Any = stream.batches()  # a generator, which ends its threads when it is closed
    with closing(batches):
        return _time((batch["image"] for batch in batches), arguments)


def tf_data(arguments: argparse.Namespace) -> dict[str, float]:
    """Time tf.data over the TFRecord dataset, as TFDS and TensorFlow advise to write it."""
    import tensorflow as tf
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(arguments.data / "tfrecord/photographs/1.0.0")
    dataset = builder.as_dataset(
        split="train", shuffle_files=True, decoders={"image": tfds.decode.SkipDecoding()}
    )
    if arguments.shuffle_buffer:
        dataset = dataset.shuffle(arguments.shuffle_buffer)
    decode = _tf_crop if arguments.kind == "crop" else _tf_random_resized
    dataset = (
        dataset.repeat()
        .map(lambda record: decode(record["image"]), tf.data.AUTOTUNE, deterministic=False)
        .batch(BATCH_SIZE, drop_remainder=True)
        .prefetch(tf.data.AUTOTUNE)
    )
    return _time(dataset.as_numpy_iterator(), arguments)


def resident(arguments: argparse.Namespace) -> dict[str, float]:
    """Time how CIFAR-10 is loaded, and count what is sent to the device in steady state.

    Whatever is sent without being asked for ends it (the guard in `resident_advance`); what is sent
    on purpose is counted. The step is a stand-in that looks at every pixel of its batch.
    """
    from symskip_jax.data.resident import load_resident
    from symskip_jax.data.sources import open_source

    source = open_source("tfds:cifar10", "train", str(arguments.data))
    opened_s = time.time() - arguments.started
    start = time.perf_counter()
    data = load_resident(source)
    load_s = time.perf_counter() - start

    import jax
    import jax.numpy as jnp
    from flax import struct

    from symskip_jax.training.dispatch import resident_advance
    from symskip_jax.training.mesh import data_mesh, replicated

    @struct.dataclass
    class State:
        step: jax.Array

    def look(state: Any, batch: Any) -> tuple[Any, Any]:
        return State(state.step + 1), {"sum": batch["image"].astype(jnp.float32).sum()}

    mesh = data_mesh(jax.devices())
    batch: dict[str, Any] = {"image": data.images_nhwc, "label": data.labels_n}
    steps = 20
    advance = resident_advance(
        look, mesh, batch, batch_size=BATCH_SIZE, seed=0, steps_per_dispatch=steps
    )
    state: Any = jax.device_put(State(jnp.int32(0)), replicated(mesh))
    state, _ = advance(state, 0, steps)
    sent: list[int] = []
    put = jax.device_put

    def counting(values: Any, *args: Any, **kwargs: Any) -> Any:
        sent.extend(getattr(it, "nbytes", 8) for it in jax.tree.leaves(values))
        return put(values, *args, **kwargs)

    jax.device_put = counting
    state, _ = advance(state, steps, steps)
    jax.device_put = put
    return {
        "images": len(data),
        "opened_s": opened_s,
        "load_s": load_s,
        "peak_mib": _peak_mib(),
        "steps": steps,
        "bytes_sent_in_these_steps": sum(sent),
        "largest_thing_sent_bytes": max(sent, default=0),
    }


def compare(arguments: argparse.Namespace) -> dict[str, float]:
    """Cut the same windows with both decoders, and say how far they are apart in levels of 255."""
    import numpy as np
    import tensorflow as tf

    from symskip_jax.data.sources import open_source
    from symskip_jax.data.views import View

    source = open_source("tfds:photographs", "train", str(arguments.data / "array_record"))
    view = View(CROP)
    differences = []
    for index in range(min(len(source), 32)):
        content = source.stored(index).image
        assert isinstance(content, bytes)
        height, width, _ = source[index].image.shape
        window = view.random_window(height, width, np.random.default_rng(index))
        cut = view.random(content, 3, np.random.default_rng(index))
        theirs = tf.image.decode_and_crop_jpeg(content, list(window), channels=3).numpy()
        differences.append(np.abs(cut.astype(int) - theirs).ravel())
    together = np.concatenate(differences)
    return {
        "images": len(differences),
        "mean_difference": float(together.mean()),
        "largest_difference": float(together.max()),
    }


def _tf_crop(content: Any) -> Any:
    import tensorflow as tf

    shape = tf.io.extract_jpeg_shape(content)
    top = tf.random.uniform([], 0, shape[0] - CROP[0] + 1, tf.int32)
    left = tf.random.uniform([], 0, shape[1] - CROP[1] + 1, tf.int32)
    return tf.image.decode_and_crop_jpeg(content, [top, left, *CROP], channels=3)


def _tf_random_resized(content: Any) -> Any:
    import tensorflow as tf

    start, size, _ = tf.image.sample_distorted_bounding_box(
        tf.io.extract_jpeg_shape(content),
        tf.zeros([1, 0, 4]),
        aspect_ratio_range=(3 / 4, 4 / 3),
        area_range=(MIN_AREA, 1.0),
        max_attempts=10,
        use_image_if_no_bounding_boxes=True,
    )
    window = tf.stack([start[0], start[1], size[0], size[1]])
    image = tf.image.decode_and_crop_jpeg(content, window, channels=3)
    return tf.cast(tf.image.resize(image, CROP), tf.uint8)


def _time(batches: Iterator[Any], arguments: argparse.Namespace) -> dict[str, float]:
    shape = next(batches).shape
    first_batch_s = time.time() - arguments.started
    assert shape == (BATCH_SIZE, *CROP, 3), shape
    _count(batches, arguments.warm_up)
    start, cpu_start = time.perf_counter(), _cpu_s()
    images = _count(batches, arguments.seconds) * BATCH_SIZE
    cpu_s = _cpu_s() - cpu_start
    return {
        "images_per_s": images / (time.perf_counter() - start),
        "cpu_ms_per_image": 1000 * cpu_s / images,
        "first_batch_s": first_batch_s,
        "peak_mib": _peak_mib(),
    }


def _count(batches: Iterator[Any], seconds: float) -> int:
    """Take batches, one at least, until the time is up."""
    end, count = time.perf_counter() + seconds, 0
    while not count or time.perf_counter() < end:
        next(batches)
        count += 1
    return count


def _peak_mib() -> float:
    # Not getrusage: what that says of a process can be what its parent had.
    lines = [line for status in _of_processes("status") for line in status.splitlines()]
    return sum(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))


def _cpu_s() -> float:
    # The name, in brackets, may have spaces; user and system time are the 14th and 15th field.
    fields = [stat.rpartition(")")[2].split() for stat in _of_processes("stat")]
    return sum(int(it[11]) + int(it[12]) for it in fields) / os.sysconf("SC_CLK_TCK")


def _of_processes(file: str) -> list[str]:
    """What /proc says of this process and of its workers."""
    processes = ["self", *(str(it.pid) for it in multiprocessing.active_children())]
    return [Path(f"/proc/{it}/{file}").read_text() for it in processes]


def main() -> None:
    """Run one reader and print what it measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    readers = {"ours": ours, "tf_data": tf_data, "resident": resident, "compare": compare}
    parser.add_argument("reader", choices=readers)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--started", type=float, default=time.time())
    parser.add_argument("--kind", choices=("crop", "random_resized"), default="crop")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--shuffle-buffer", type=int, default=0)
    parser.add_argument("--warm-up", type=float, default=3.0)
    parser.add_argument("--seconds", type=float, default=8.0)
    arguments = parser.parse_args()
    if arguments.reader == "ours":
        keep_freed_memory()  # as the command does
    print(json.dumps(readers[arguments.reader](arguments)))


# Worker processes import this file too.
if __name__ == "__main__":
    main()
