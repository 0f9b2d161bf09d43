"""A dataset as a whole: its splits, and which of its images are broken."""

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np

from symskip_jax.data.base import UNLABELLED, Source
from symskip_jax.data.catalog import Prepared, resolve_data_dir
from symskip_jax.data.gcs import is_bucket
from symskip_jax.data.paths import local_path
from symskip_jax.data.resident import check_labels
from symskip_jax.data.sources import open_source
from symskip_jax.errors import NoSuchSplitError, UserError

# What the splits of a dataset may be called that does not list them.
SPLITS = ("train", "val", "trainval", "test")

CHUNK = 64


def open_splits(name: str, data_dir: str | None) -> dict[str, Source]:
    """Open every split of a dataset, by its name.

    Where a folder has "val" and no "test", for which "val" stands in, it is not opened twice.

    Raises:
        UserError: it has none, for the reason why it has no "train"; or one that it has cannot be
            opened.
    """
    prepared = find_named(name, data_dir)
    splits = tuple(prepared.num_images) if prepared else SPLITS
    opened, first_error = {}, None
    for split in splits:
        try:
            source = open_source(name, split, data_dir)
        except NoSuchSplitError as error:
            first_error = first_error or error
            continue
        stands_in = split == "test" and name.startswith("folder:") and "val" in opened
        if not (stands_in and opened["val"].fingerprint() == source.fingerprint()):
            opened[split] = source
    if not opened and first_error:
        raise first_error
    return opened


def find_named(name: str, data_dir: str | None) -> Prepared | None:
    """Find the TFDS dataset that a name stands for, if it is one and is here."""
    scheme, _, rest = name.partition(":")
    if scheme != "tfds":
        return None
    # Imported here, so that a folder does not wait for TFDS.
    from symskip_jax.data.tfds_source import find_dataset

    try:
        return find_dataset(rest, resolve_data_dir(data_dir))
    except UserError:
        return None


def size_on_disk(name: str, data_dir: str | None) -> int | None:
    """Sum up the bytes of the files that a dataset lies in.

    Returns:
        None where it lies in no files of its own on this machine.
    """
    scheme, _, rest = name.partition(":")
    if prepared := find_named(name, data_dir):
        path = None if is_bucket(prepared.path) else prepared.path
    else:
        path = local_path(rest) if scheme in ("folder", "npz", "voc", "voc_segmentation") else None
    if path is None or path.is_file():
        return path and path.stat().st_size
    num_bytes = 0
    for folder, _, files in os.walk(path, followlinks=False):
        for file in files:
            with suppress(OSError):  # a link that leads nowhere
                num_bytes += os.stat(os.path.join(folder, file)).st_size
    return num_bytes


def count_labels(source: Source) -> dict[str, int]:
    """Count the images of each class that have a label, of a source with one class an image.

    Returns:
        The numbers by the name of the class, in the order of the classes, 0 among them.

    Raises:
        UserError: a label is no class.
    """
    labels_n, names = source.labels(), source.class_names or ()
    check_labels(source, labels_n)
    counts = np.bincount(labels_n[labels_n != UNLABELLED], minlength=len(names))
    return dict(zip(names, counts.tolist(), strict=True))


def nearly_same(names: Iterable[str]) -> list[list[str]]:
    """Group the names that differ in case and blanks alone, two or more in a group."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault("".join(name.split()).casefold(), []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def check_images(source: Source) -> Iterator[list[str]]:
    """Read and decode every image, in threads.

    Yields:
        What is broken, a line each, of one image after the other.
    """
    chunks = [
        range(start, min(start + CHUNK, len(source))) for start in range(0, len(source), CHUNK)
    ]
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        for broken in pool.map(lambda chunk: [_check(source, index) for index in chunk], chunks):
            yield from broken
    finally:
        pool.shutdown(cancel_futures=True)


def _check(source: Source, index: int) -> list[str]:
    where = source.describe(index)
    try:
        image, label = source[index]
    except UserError as error:
        reason = str(error)
        return [reason if where in reason else f"{where}: {reason}"]
    shape = source.features.fixed_shape
    if shape is not None and image.shape != shape:
        return [f"{where} is {list(image.shape)}, and the dataset says {list(shape)}"]
    num_classes = len(source.class_names or ())
    if isinstance(label, int | np.integer) and not UNLABELLED <= label < num_classes:
        return [f"{where} has the label {label}, and there are {num_classes} classes"]
    return []
