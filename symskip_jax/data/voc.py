"""PASCAL VOC as its devkit has it: which classes an image shows, and masks of them."""

import hashlib
import io
import os
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from symskip_jax.data.base import VOID, Features, Source, Stored
from symskip_jax.data.catalog import VOC_SPLITS
from symskip_jax.data.header import image_size
from symskip_jax.data.listing import file_sizes
from symskip_jax.data.paths import local_path
from symskip_jax.errors import (
    BadImageError,
    MissingDataError,
    NoSuchSplitError,
    ReadFailedError,
    UserError,
)

CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa"),
    *("train", "tvmonitor"),
)
# The coarse classes of the challenge, by which table 5 of the paper sums up.
COARSE_CLASSES = {
    "animal": ("bird", "cat", "cow", "dog", "horse", "sheep"),
    "vehicle": ("aeroplane", "bicycle", "boat", "bus", "car", "motorbike", "train"),
    "indoor": ("bottle", "chair", "diningtable", "pottedplant", "sofa", "tvmonitor"),
    "person": ("person",),
}


class _VocSource(Source):
    """The images of one of the devkit's lists.

    Args:
        scheme: what the dataset is called before the colon.
        path: of a folder VOC2007 or VOC2012, or of a VOCdevkit with one of them in it.
        split: a list in ImageSets/`task`: train, val, trainval or test.
        task: "Main" or "Segmentation".

    Raises:
        UserError: there is no such folder or list, or an image of the list is missing.
    """

    def __init__(self, scheme: str, path: str, split: str, task: str):
        self.name = f"{scheme}:{path} {split}"
        self._root = _find_year(f"{scheme}:{path}", local_path(path))
        self._ids = _read_list(self._root / "ImageSets" / task, split, f"{scheme}:{path}")
        self._check_files("JPEGImages", ".jpg")

    def __len__(self) -> int:
        return len(self._ids)

    def describe(self, index: int, /) -> str:
        """Give the path of one image."""
        return str(self._root / "JPEGImages" / f"{self._ids[index]}.jpg")

    def names(self, indices: Sequence[int], /) -> list[str]:
        """Give VOC's ids of images."""
        return [self._ids[index] for index in indices]

    def fingerprint(self) -> str:
        """Give 16 digits of the devkit's ids and of the sizes of the images' files.

        No image is read: one overwritten by another of the same size goes unnoticed.
        """
        facts = repr((self.features, self._ids, self._file_sizes("JPEGImages", ".jpg")))
        return hashlib.sha256(facts.encode()).hexdigest()[:16]

    def _file_sizes(self, folder: str, suffix: str) -> list[int]:
        return file_sizes([str(self._root / folder / f"{it}{suffix}") for it in self._ids]).tolist()

    def _check_files(self, folder: str, suffix: str) -> None:
        path = self._root / folder
        try:
            there = set(os.listdir(path))
        except FileNotFoundError:
            there = set()
        except OSError as error:
            raise UserError(f"{path} cannot be listed: {error.strerror}") from error
        missing = [name for it in self._ids if (name := f"{it}{suffix}") not in there]
        if missing:
            raise UserError(
                f"{self.name}: {len(missing)} of {len(self._ids)} files are missing, the first is "
                f"{path / missing[0]}: extract the archive again"
            )


class VocSource(_VocSource):
    """The images of VOC, labelled with every class of which they show an object.

    Labels are int8 [20], the classes in alphabetical order: 1 where an object of the class is
    there, 0 where none is, -1 where all of them are marked as difficult. They are read from all the
    annotations of the split when it is opened.

    Raises:
        UserError: there is no such folder or list; an image or annotation is missing; an annotation
            cannot be read or names another class.
    """

    features = Features((None, None, 3), "classes", CLASSES)

    def __init__(self, path: str, split: str):
        super().__init__("voc", path, split, "Main")
        self._check_files("Annotations", ".xml")
        annotations = self._root / "Annotations"
        self._labels_nk = np.stack([_read_classes(annotations / f"{it}.xml") for it in self._ids])

    def stored(self, index: int, /) -> Stored:
        """Read one file."""
        return Stored(_read(Path(self.describe(index))), self._labels_nk[index])

    def fingerprint(self) -> str:
        """Give 16 digits of the ids, the labels and the sizes of files; no image is read."""
        facts = super().fingerprint().encode() + self._labels_nk.tobytes()
        return hashlib.sha256(facts).hexdigest()[:16]


class VocSegmentation(_VocSource):
    """The images of VOC, each with the mask of its classes.

    Labels are uint8 [H, W]: 0 is the background, 1 to 20 are the classes in alphabetical order, and
    255 is void. They are read as they are asked for.

    Raises:
        UserError: there is no such folder or list; an image or mask is missing; when reading, a
            mask is cut short, is not of the image's size, has no palette or another class in it.
    """

    features = Features((None, None, 3), "mask", ("background", *CLASSES))

    def __init__(self, path: str, split: str):
        super().__init__("voc_segmentation", path, split, "Segmentation")
        self._check_files("SegmentationClass", ".png")

    def fingerprint(self) -> str:
        """Give 16 digits of the ids and of the sizes of images and masks; none is read."""
        facts = super().fingerprint() + repr(self._file_sizes("SegmentationClass", ".png"))
        return hashlib.sha256(facts.encode()).hexdigest()[:16]

    def stored(self, index: int, /) -> Stored:
        """Read one file and its mask."""
        path = Path(self.describe(index))
        content = _read(path)
        try:
            size = image_size(content)
        except BadImageError as error:
            raise BadImageError(f"{path} {error}") from error
        mask = self._root / "SegmentationClass" / f"{self._ids[index]}.png"
        return Stored(content, _read_mask(mask, size))


def multi_label(present: set[int], counted: set[int], num_classes: int) -> np.ndarray:
    """Make the label of an image.

    Args:
        present: classes of which there is any object.
        counted: those of which there is one that is not difficult.
        num_classes: of the dataset.

    Returns:
        int8 [num_classes]: 1 for those counted, -1 for the others present, 0 for the rest.
    """
    label_k = np.zeros(num_classes, np.int8)
    label_k[list(present)] = -1
    label_k[list(counted)] = 1
    return label_k


def _find_year(name: str, path: Path) -> Path:
    if not path.is_dir():
        raise MissingDataError(f"{name} is no folder: name a VOC2007 or VOC2012 of a VOCdevkit")
    if os.path.isdir(path / "ImageSets"):
        return path
    years = sorted(it.parent for it in path.glob("VOC*/ImageSets"))
    if len(years) != 1:
        there = f"several: {', '.join(it.name for it in years)}" if years else "none"
        raise UserError(f"{name} must hold ImageSets, or one folder VOC... with it; it has {there}")
    return years[0]


def _read_list(folder: Path, split: str, name: str) -> list[str]:
    # Not by a glob: "train_val" is the class "train" in "val".
    there = [it for it in VOC_SPLITS if os.path.isfile(folder / f"{it}.txt")]
    if split not in there:
        raise NoSuchSplitError(
            f"{name} has no split '{split}': in {folder} are {', '.join(there) or 'none'}"
        )
    try:
        lines = _read(folder / f"{split}.txt").decode().splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{folder / split}.txt is no list of images") from error
    ids = [line.strip() for line in lines if line.strip()]
    if not ids:
        raise UserError(f"{name} {split}: {folder / split}.txt names no images")
    return ids


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ReadFailedError(f"{path} cannot be read: {error.strerror}") from error


class _PlainTree(ElementTree.TreeBuilder):
    """Refuses what entities could be defined by, and with them files that explode."""

    def doctype(self, *_) -> None:
        raise ValueError("a DOCTYPE is not allowed")


def _read_classes(path: Path) -> np.ndarray:
    """int8 [20] of one annotation."""
    try:
        parser = ElementTree.XMLParser(target=_PlainTree())
        root = ElementTree.fromstring(_read(path), parser)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise UserError(f"{path} is no annotation that can be read: {error}") from error
    present, counted = set(), set()
    for found in root.iter("object"):
        name = (found.findtext("name") or "").strip()
        if name not in CLASSES:
            raise UserError(f"{path} has an object {name!r}, which is no class of VOC")
        present.add(CLASSES.index(name))
        if (found.findtext("difficult") or "0").strip() != "1":
            counted.add(CLASSES.index(name))
    return multi_label(present, counted, len(CLASSES))


def _read_mask(path: Path, size: tuple[int, int]) -> np.ndarray:
    """uint8 [H, W] of an image of this height and width."""
    content = _read(path)
    try:
        mask_size = image_size(content)
    except BadImageError as error:
        raise BadImageError(f"{path} {error}") from error
    if mask_size != size:
        raise BadImageError(
            f"{path} is {mask_size[1]}x{mask_size[0]}, its image {size[1]}x{size[0]}: they must be "
            "of one size"
        )
    try:
        # By Pillow, because OpenCV gives colours, not their numbers in the palette.
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            mask, mode = np.array(image), image.mode
    except Exception as error:  # whatever Pillow stumbles over in a damaged file
        raise BadImageError(f"{path} is cut short or damaged: {error}") from error
    if mode not in ("P", "L"):
        raise BadImageError(f"{path} is no image with a palette (its mode is {mode})")
    if wrong := sorted(set(np.unique(mask).tolist()) - {*range(len(CLASSES) + 1), VOID}):
        raise BadImageError(f"{path} has class {wrong[0]}: classes are 0 to {len(CLASSES)}, or 255")
    return mask
