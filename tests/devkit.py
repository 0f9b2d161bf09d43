"""Devkits of PASCAL VOC as small as can be: images of several sizes, their classes and masks."""

from pathlib import Path

import numpy as np
from data_helpers import write_image
from PIL import Image

# Where an image is bright, it shows a cat; where it is dark, a dog, and else nothing.
CAT, DOG = "cat", "dog"
CAT_MASK, DOG_MASK, VOID = 8, 12, 255
LEVELS = {0: 100, CAT_MASK: 230, DOG_MASK: 10}


def write_devkit(root: Path, *, train: int = 8, test: int = 3) -> Path:
    """Writes VOC2012 with the splits train and val; returns its folder.

    The sizes of images differ, and every third dog is difficult.
    """
    year = root / "VOCdevkit" / "VOC2012"
    for task in ("Main", "Segmentation"):
        (year / "ImageSets" / task).mkdir(parents=True)
    for folder in ("Annotations", "SegmentationClass"):
        (year / folder).mkdir()
    names = [f"{number:06}" for number in range(train + test)]
    for task in ("Main", "Segmentation"):
        for split, of_split in (("train", names[:train]), ("val", names[train:])):
            (year / "ImageSets" / task / f"{split}.txt").write_text("\n".join(of_split))
    for number, name in enumerate(names):
        mask = _mask(number)
        _write_png_as_jpg(year / "JPEGImages" / f"{name}.jpg", image_of(mask, number))
        palette = Image.fromarray(mask)
        palette.putpalette([7, 7, 7] * 256)
        palette.save(year / "SegmentationClass" / f"{name}.png")
        objects = "".join(
            f"<object><name>{name}</name><difficult>{difficult}</difficult></object>"
            for value, name, difficult in (
                (CAT_MASK, CAT, 0),
                (DOG_MASK, DOG, int(number % 3 == 0)),
            )
            if (mask == value).any()
        )
        (year / "Annotations" / f"{name}.xml").write_text(f"<annotation>{objects}</annotation>")
    return year


def image_of(mask: np.ndarray, seed: int) -> np.ndarray:
    """An image, uint8 [H, W, 3], that shows what a mask [H, W] says, but for a little noise."""
    levels = np.full(mask.shape, LEVELS[0], np.uint8)
    for value, level in LEVELS.items():
        levels[mask == value] = level
    noise = np.random.default_rng(seed).integers(0, 20, (*mask.shape, 3), np.uint8)
    return levels[..., None] + noise


def _mask(number: int) -> np.ndarray:
    height, width = 14 + number % 4, 17 - number % 3
    mask = np.zeros((height, width), np.uint8)
    if number % 4 != 1:
        mask[2:8, 1:8] = CAT_MASK
    if number % 4 != 2:
        mask[7:13, 8:15] = DOG_MASK
    mask[0] = VOID
    return mask


def _write_png_as_jpg(path: Path, image: np.ndarray) -> None:
    # Without loss: what a file holds is told by its content.
    png = path.with_suffix(".png")
    write_image(png, image)
    png.rename(path)
