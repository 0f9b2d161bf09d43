"""Tiny made-up datasets for every role, to see that all commands run: not for learning anything."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from symskip_jax.data.voc import CLASSES

_SIDE, _LARGE = 16, 40


def make_smoke_data(folder: Path) -> Mapping[str, str]:
    """Makes the datasets in a folder, where they are not there yet, and returns names by role."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    names = {}
    for role, classes, side in (
        ("cifar10", 10, _SIDE),
        ("cifar100", 100, _SIDE),
        ("stl10", 10, _SIDE),
        ("imagenet", 10, _LARGE),
    ):
        path = folder / f"{role}.npz"
        if not path.exists():
            _write_arrays(path, random, classes, side)
        names[role] = f"npz:{path}"
    for role, year, scheme in (
        ("voc2007", "VOC2007", "voc"),
        ("voc2012", "VOC2012", "voc_segmentation"),
    ):
        if not (folder / year).exists():
            _write_devkit(folder / year, random)
        names[role] = f"{scheme}:{folder / year}"
    for role, count in (("photographs", 12), ("set12", 2)):
        if not (folder / role).exists():
            (folder / role).mkdir()
            for i in range(count):
                picture = _pictures(random, np.array([i]), 24)[0].mean(-1).astype(np.uint8)
                Image.fromarray(picture).save(folder / role / f"{i:02}.png")
        names[role] = f"folder:{folder / role}"
    return names


def _pictures(random: np.random.Generator, labels_n: np.ndarray, side: int) -> np.ndarray:
    """Noise with a bright stripe whose place is the class; uint8 [N, side, side, 3]."""
    images = random.integers(0, 120, (len(labels_n), side, side, 3), np.uint8)
    for image, label in zip(images, labels_n, strict=True):
        row = int(label) % (side // 2) * 2
        image[row : row + 2] += 130
    return images


def _write_arrays(path: Path, random: np.random.Generator, classes: int, side: int) -> None:
    arrays: dict[str, Any] = {"class_names": np.array([f"class_{i}" for i in range(classes)])}
    for split, count in (("train", max(40, classes)), ("test", 20)):
        labels = np.arange(count) % classes
        arrays |= {
            f"{split}_images": _pictures(random, labels, side),
            f"{split}_labels": labels,
        }
    np.savez(path, **arrays)


def _write_devkit(root: Path, random: np.random.Generator) -> None:
    for name in ("JPEGImages", "Annotations", "SegmentationClass"):
        (root / name).mkdir(parents=True)
    ids = [f"{i:06}" for i in range(12)]
    lists = {"train": ids[:8], "val": ids[8:], "trainval": ids[:8], "test": ids[8:]}
    for task in ("Main", "Segmentation"):
        (root / "ImageSets" / task).mkdir(parents=True)
        for split, members in lists.items():
            (root / "ImageSets" / task / f"{split}.txt").write_text("\n".join(members) + "\n")
    for number, name in enumerate(ids):
        # Photographs lie and stand: their sizes differ.
        height, width = (_LARGE, _LARGE + 8) if number % 2 else (_LARGE + 4, _LARGE)
        picture = _pictures(random, np.array([number]), _LARGE + 8)[0][:height, :width]
        Image.fromarray(picture).save(root / "JPEGImages" / f"{name}.jpg")
        found = "".join(
            f"<object><name>{CLASSES[k]}</name><difficult>{difficult}</difficult></object>"
            for k, difficult in ((number % 20, 0), ((number * 7 + 3) % 20, int(number % 5 == 0)))
        )
        (root / "Annotations" / f"{name}.xml").write_text(f"<annotation>{found}</annotation>")
        mask = np.zeros((height, width), np.uint8)
        mask[4:20, 6:30], mask[0] = 1 + number % 20, 255
        image = Image.fromarray(mask)
        image.putpalette([*range(256)] * 3)
        image.save(root / "SegmentationClass" / f"{name}.png")
