"""Named parts of a split: STL-10's folds, and ImageNet's animals and vehicles."""

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import numpy as np

from symskip_jax.data.catalog import Prepared
from symskip_jax.data.splits import draw_evenly
from symskip_jax.errors import UserError

SUBSETS_FILE = "subsets.json"

# Subsets of a dataset's "train" by lists of classes, and how many images of them are drawn.
CLASS_LISTS = {"imagenet2012": ("animals", "vehicles")}
NUM_DRAWN = 93_000
DRAW_SEED = 0

# What only the original archive has.
_DROPPED_BY_TFDS = {"stl10": (re.compile(r"fold_\d"), "stl10_binary.tar.gz")}


class Subset(NamedTuple):
    """Some images of a split.

    split: the whole.
    indices: integers [N], each the index of an image in the whole.
    """

    split: str
    indices: np.ndarray


def subset_names(prepared: Prepared) -> tuple[str, ...]:
    """The names that `find_subset` knows for a dataset, beside its splits."""
    return (*_read_subsets(prepared), *CLASS_LISTS.get(prepared.name, ()))


def find_subset(
    prepared: Prepared,
    name: str,
    class_names: tuple[str, ...] | None,
    scan_labels: Callable[[str], np.ndarray],
) -> Subset | None:
    """Look a subset up by its name.

    Args:
        prepared: the dataset.
        name: such as "fold_0" or "animals".
        class_names: of the dataset.
        scan_labels: gives the labels of a split by reading all of it, integers [N]; called only
            where no list of them is kept, which is kept then.

    Returns:
        None if there is no subset of that name.

    Raises:
        UserError: there should be one, but not in this copy of the data.
    """
    if found := _read_subsets(prepared).get(name):
        return found
    pattern, archive = _DROPPED_BY_TFDS.get(prepared.name, (None, ""))
    if pattern and pattern.fullmatch(name):
        raise UserError(
            f"'{name}' of tfds:{prepared.name} is not in {prepared.path}, as TFDS leaves it out: "
            f"remove that folder and run `symskip data import {prepared.name} {archive}`"
        )
    if name in CLASS_LISTS.get(prepared.name, ()) and "train" in prepared.num_images:
        chosen = {wnid for wnid, _ in read_class_list(name)}
        is_chosen_k = np.array([it in chosen for it in class_names or ()])
        labels_n = _labels(prepared, "train", scan_labels)
        return Subset("train", _draw(labels_n, is_chosen_k))
    return None


def read_class_list(name: str) -> list[tuple[str, str]]:
    """The classes of a subset of ImageNet: (wnid, words) of each, from the list's file."""
    text = (resources.files(__package__) / "wnids" / f"{name}.txt").read_text()
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in lines]


def write_subsets(folder: Path, subsets: Mapping[str, Subset]) -> None:
    """Keep subsets in the folder of their dataset."""
    content = {
        name: {"split": it.split, "indices": it.indices.tolist()} for name, it in subsets.items()
    }
    (folder / SUBSETS_FILE).write_text(json.dumps(content))


def write_labels(folder: Path, split: str, labels_n: np.ndarray) -> None:
    """Keep the labels of a split in the folder of its dataset, to spare reading its images."""
    np.save(_labels_file(folder, split), labels_n.astype(np.int32))


def _draw(labels_n: np.ndarray, is_chosen_k: np.ndarray) -> np.ndarray:
    chosen = np.flatnonzero(np.append(is_chosen_k, False)[labels_n])  # -1, no label, is the last
    if len(chosen) <= NUM_DRAWN:
        return chosen
    return chosen[draw_evenly(labels_n[chosen], NUM_DRAWN, DRAW_SEED)]


def _read_subsets(prepared: Prepared) -> dict[str, Subset]:
    path = prepared.path / SUBSETS_FILE
    try:
        if not path.exists():
            return {}
        return {
            name: _checked(it["split"], np.array(it["indices"]), prepared)
            for name, it in json.loads(path.read_text()).items()
        }
    except (ValueError, TypeError, LookupError, AttributeError, OSError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"{path} is damaged: import {prepared.name} again or remove that file ({reason})"
        ) from error


def _checked(split: str, indices: np.ndarray, prepared: Prepared) -> Subset:
    size = prepared.num_images[split]
    if indices.ndim != 1 or indices.dtype.kind != "i" or not ((0 <= indices) & (indices < size)).all():
        raise ValueError(f"indices outside of {split}")
    return Subset(split, indices)


def _labels(
    prepared: Prepared, split: str, scan_labels: Callable[[str], np.ndarray]
) -> np.ndarray:
    for path in (_labels_file(prepared.path, split), cached := _cached_labels(prepared, split)):
        try:
            labels_n = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError):
            continue
        if labels_n.shape == (prepared.num_images[split],) and labels_n.dtype.kind == "i":
            return labels_n
    labels_n = scan_labels(split)
    with suppress(OSError):  # the next time will be as slow, no more
        cached.parent.mkdir(parents=True, exist_ok=True)
        part = cached.with_name(f"{os.getpid()}.npy")
        np.save(part, labels_n.astype(np.int32))
        part.replace(cached)
    return labels_n


def _labels_file(folder: Path, split: str) -> Path:
    return folder / f"labels-{split}.npy"


def _cached_labels(prepared: Prepared, split: str) -> Path:
    changed = (prepared.path / "dataset_info.json").stat().st_mtime_ns
    key = f"{prepared.path.absolute()} {changed} {split}"
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "symskip_jax"
    return cache / "labels" / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.npy"
