"""Named parts of a split: STL-10's folds, and ImageNet's animals and vehicles."""

import hashlib
import io
import json
import re
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import numpy as np

from symskip_jax.data.base import Source
from symskip_jax.data.catalog import Prepared
from symskip_jax.data.gcs import answering, is_bucket
from symskip_jax.data.paths import cache_folder
from symskip_jax.data.splits import draw_evenly
from symskip_jax.errors import UserError

SUBSETS_FILE = "subsets.json"

# Subsets of a dataset's "train" by lists of classes, and how many images of them are drawn; of its
# "validation", as NAME_validation, all are taken.
CLASS_LISTS = {"imagenet2012": ("animals", "vehicles")}
NUM_DRAWN = 93_000
DRAW_SEED = 0

# What only the original archive has.
_DROPPED_BY_TFDS = {"stl10": (re.compile(r"fold_\d"), "stl10_binary.tar.gz")}


class NamedSubset(NamedTuple):
    """Some images of a split.

    split: the whole.
    indices: integers [N], each the index of an image in the whole.
    """

    split: str
    indices: np.ndarray


def subset_names(prepared: Prepared) -> tuple[str, ...]:
    """The names that `find_subset` knows for a dataset, beside its splits."""
    lists = CLASS_LISTS.get(prepared.name, ())
    unseen = (f"{it}_validation" for it in lists if "validation" in prepared.num_images)
    return (*_read_subsets(prepared), *lists, *unseen)


def find_subset(
    prepared: Prepared, name: str, open_split: Callable[[str], Source]
) -> NamedSubset | None:
    """Look a subset up by its name.

    Args:
        prepared: the dataset.
        name: such as "fold_0" or "animals".
        open_split: opens a split of it.

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
    listed = name.removesuffix("_validation")
    split = "train" if listed == name else "validation"
    if listed in CLASS_LISTS.get(prepared.name, ()) and split in prepared.num_images:
        source = open_split(split)
        chosen = {wnid for wnid, _ in read_class_list(listed)}
        is_chosen_k = np.array([it in chosen for it in source.class_names or ()], bool)
        return NamedSubset(split, _draw(source.labels(), is_chosen_k))
    return None


def kept_labels(prepared: Prepared, split: str) -> np.ndarray | None:
    """The labels of a split, int32 [N], where a list of them is kept."""
    if split not in prepared.num_images:
        return None
    for path in (_labels_file(prepared.path, split), _cached_labels(prepared, split)):
        try:
            labels_n = np.load(io.BytesIO(path.read_bytes()), allow_pickle=False)
        except (OSError, ValueError, EOFError):
            continue
        if labels_n.shape == (prepared.num_images[split],) and labels_n.dtype == np.int32:
            return labels_n
    return None


def read_class_list(name: str) -> list[tuple[str, str]]:
    """The classes of a subset of ImageNet: (wnid, words) of each, from the list's file."""
    text = (resources.files("symskip_jax.data") / "wnids" / f"{name}.txt").read_text()
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in lines]


def write_subsets(folder: Path, subsets: Mapping[str, NamedSubset]) -> None:
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


def _read_subsets(prepared: Prepared) -> dict[str, NamedSubset]:
    path = prepared.path / SUBSETS_FILE
    try:
        with answering(path):
            content = path.read_bytes()
        return {
            name: _checked(it["split"], np.array(it["indices"]), prepared)
            for name, it in json.loads(content).items()
        }
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, LookupError, AttributeError, OSError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"{path} is damaged: import {prepared.name} again or remove that file ({reason})"
        ) from error


def _checked(split: str, indices: np.ndarray, prepared: Prepared) -> NamedSubset:
    size = prepared.num_images[split]
    is_list = indices.ndim == 1 and indices.dtype.kind == "i"
    if not is_list or not ((indices >= 0) & (indices < size)).all():
        raise ValueError(f"indices outside of {split}")
    return NamedSubset(split, indices)


def cache_labels(prepared: Prepared, split: str, labels_n: np.ndarray) -> None:
    """Keep the labels of a whole split where `kept_labels` looks for them, if that can be."""
    path = _cached_labels(prepared, split)
    with suppress(OSError):  # the next time will be as slow, no more
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{uuid.uuid4().hex}.npy")
        np.save(part, labels_n.astype(np.int32))
        part.replace(path)


def _labels_file(folder: Path, split: str) -> Path:
    return folder / f"labels-{split}.npy"


def _cached_labels(prepared: Prepared, split: str) -> Path:
    info = prepared.path / "dataset_info.json"
    if is_bucket(info):
        key = f"{info} {hashlib.sha256(info.read_bytes()).hexdigest()} {split}"
    else:
        key = f"{prepared.path.absolute()} {info.stat().st_mtime_ns} {split}"
    return cache_folder() / "labels" / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.npy"
