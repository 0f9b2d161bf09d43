"""VOC: devkits made here, byte for byte as the real one, and the real one itself."""

import errno
import io
import os
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
import pytest
from data_helpers import noise_images, user_error
from PIL import Image

from symskip_jax.data.reading import Faults, Reader
from symskip_jax.data.sources import open_source
from symskip_jax.errors import BadImageError

BIRD, DOG, PERSON, TRAIN = 2, 11, 14, 18
# Objects of each image: class, difficult.
IMAGES = {
    "000001": [("dog", 0), ("person", 1), ("dog", 1)],
    "000002": [("train", 1)],
    "000003": [],
    "000004": [("bird", 0), ("bird", 0)],
}


def annotation(objects: list[tuple[str, int]]) -> str:
    found = "".join(
        f"<object><name>{name}</name><pose>Left</pose><difficult>{difficult}</difficult>"
        "<bndbox><xmin>1</xmin></bndbox><part><name>head</name></part></object>"
        for name, difficult in objects
    )
    return f"<annotation><filename>x.jpg</filename>{found}</annotation>"


def mask_of(index: int) -> np.ndarray:
    mask = np.zeros((6, 8), np.uint8)
    mask[1:3, 2:5], mask[0], mask[5] = index + 1, 255, 20
    return mask


def write_mask(path: Path, mask: np.ndarray) -> None:
    image = Image.fromarray(mask)
    # Colours by which the classes could not be told apart.
    image.putpalette([7, 7, 7] * 256)
    image.save(path)


@pytest.fixture
def devkit(tmp_path) -> Path:
    year = tmp_path / "VOCdevkit" / "VOC2007"
    for folder in ("JPEGImages", "Annotations", "SegmentationClass"):
        (year / folder).mkdir(parents=True)
    for task in ("Main", "Segmentation"):
        (year / "ImageSets" / task).mkdir(parents=True)
        (year / "ImageSets" / task / "train.txt").write_text("000001\n000002 \n000003\n")
        (year / "ImageSets" / task / "val.txt").write_text("000004\n")
        # The class "train" in the split "val".
        (year / "ImageSets" / task / "train_val.txt").write_text("000004 -1\n")
    for index, (name, objects) in enumerate(IMAGES.items()):
        cv2.imwrite(str(year / "JPEGImages" / f"{name}.jpg"), noise_images(6, 8, 3, seed=index))
        (year / "Annotations" / f"{name}.xml").write_text(annotation(objects))
        write_mask(year / "SegmentationClass" / f"{name}.png", mask_of(index))
    return year


def test_labels_are_present_absent_or_difficult(devkit):
    source = open_source(f"voc:{devkit}", "train")
    assert len(source) == 3 and source.features.label_kind == "classes"
    assert source.class_names is not None and len(source.class_names) == 20
    assert list(source.class_names) == sorted(source.class_names)
    expected = np.zeros((3, 20), np.int8)
    expected[0, DOG], expected[0, PERSON], expected[1, TRAIN] = 1, -1, -1
    for index, label in enumerate(expected):
        image, found = source[index]
        assert isinstance(found, np.ndarray) and found.dtype == np.int8
        np.testing.assert_array_equal(found, label)
        assert image.shape == (6, 8, 3)
    assert source.describe(1) == str(devkit / "JPEGImages" / "000002.jpg")
    (label,) = (it.label for it in open_source(f"voc:{devkit}", "val").stored_many([0]))
    assert np.flatnonzero(label).tolist() == [BIRD]


def test_masks_are_the_numbers_of_the_palette(devkit):
    source = open_source(f"voc_segmentation:{devkit}", "train")
    assert source.features.label_kind == "mask"
    assert source.class_names is not None and len(source.class_names) == 21
    assert source.class_names[0] == "background" and source.class_names[15] == "person"
    for index in range(3):
        image, mask = source[index]
        assert isinstance(mask, np.ndarray) and mask.dtype == np.uint8
        np.testing.assert_array_equal(mask, mask_of(index))
        assert image.shape[:2] == mask.shape


@pytest.mark.parametrize("scheme", ["voc", "voc_segmentation"])
def test_a_devkit_of_one_year_can_be_named_and_of_several_cannot(devkit, scheme):
    name = f"{scheme}:{devkit.parent}"
    assert len(open_source(name, "train")) == 3
    (devkit.parent / "VOC2012" / "ImageSets").mkdir(parents=True)
    message = user_error(lambda: open_source(name, "train"))
    assert name in message and "VOC2007, VOC2012" in message


def test_paths_and_splits_that_there_are_not(devkit, tmp_path):
    assert "is no folder" in user_error(lambda: open_source("voc:/nowhere", "train"))
    (tmp_path / "empty").mkdir()
    message = user_error(lambda: open_source(f"voc:{tmp_path / 'empty'}", "train"))
    assert "ImageSets" in message and "none" in message
    for split in ("test", "train_val", "", "dog_train"):
        message = user_error(lambda split=split: open_source(f"voc:{devkit}", split))
        assert f"'{split}'" in message and "train, val" in message
    (devkit / "ImageSets" / "Main" / "test.txt").write_text("\n")
    assert "names no images" in user_error(lambda: open_source(f"voc:{devkit}", "test"))


@pytest.mark.parametrize(
    ("scheme", "file"),
    [
        ("voc", "JPEGImages/000002.jpg"),
        ("voc", "Annotations/000003.xml"),
        ("voc_segmentation", "JPEGImages/000001.jpg"),
        ("voc_segmentation", "SegmentationClass/000002.png"),
    ],
)
def test_what_is_missing_is_named(devkit, scheme, file):
    (devkit / file).unlink()
    message = user_error(lambda: open_source(f"{scheme}:{devkit}", "train"))
    assert str(devkit / file) in message and "1 of 3" in message


@pytest.mark.parametrize("scheme", ["voc", "voc_segmentation"])
def test_folders_and_lists_that_cannot_be_read_are_named(devkit, scheme, monkeypatch):
    # What raises PermissionError for others than root.
    def refusing(path, *_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(os, "listdir", refusing)
        message = user_error(lambda: open_source(f"{scheme}:{devkit}", "train"))
    assert message == f"{devkit / 'JPEGImages'} cannot be listed: Permission denied"
    with monkeypatch.context() as patch:
        patch.setattr(io, "open", refusing)
        message = user_error(lambda: open_source(f"{scheme}:{devkit}", "train"))
    assert "train.txt cannot be read: Permission denied" in message


BOMB = '<!DOCTYPE a [<!ENTITY x "ha"><!ENTITY y "&x;&x;">]><annotation>&y;</annotation>'


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (annotation([("unicorn", 0)]).encode(), "'unicorn'"),
        (b"<annotation><object></object></annotation>", "''"),
        (annotation([("two\nlines", 0)]).encode(), "'two\\nlines'"),
        (annotation([])[:-5].encode(), "no annotation that can be read"),
        (b"", "no annotation that can be read"),
        (b"\xff\xfe\x00", "no annotation that can be read"),
        (BOMB.encode(), "DOCTYPE"),
        (('<?xml version="1.0" encoding="utf-16"?>' + BOMB).encode("utf-16"), "DOCTYPE"),
        (b'<?xml version="1.0" encoding="nonsense"?><annotation/>', "no annotation"),
    ],
)
def test_annotations_that_cannot_be_used_are_named(devkit, content, part):
    path = devkit / "Annotations" / "000002.xml"
    path.write_bytes(content)
    message = user_error(lambda: open_source(f"voc:{devkit}", "train"))
    assert str(path) in message and part in message


def test_masks_that_cannot_be_used_are_named(devkit):
    path = devkit / "SegmentationClass" / "000002.png"
    source = open_source(f"voc_segmentation:{devkit}", "train")
    whole = path.read_bytes()

    def message() -> str:
        with pytest.raises(BadImageError):
            source.stored(1)
        text = user_error(lambda: source[1])
        assert str(path) in text
        return text

    write_mask(path, np.zeros((6, 9), np.uint8))
    assert "9x6" in message() and "8x6" in message()
    write_mask(path, np.full((6, 8), 21, np.uint8))
    assert "class 21" in message()
    Image.new("RGB", (8, 6)).save(path)
    assert "RGB" in message()
    for end in (0, 10, 40, len(whole) // 2, len(whole) - 24):
        path.write_bytes(whole[:end])
        assert "cut short" in message()
    path.write_bytes(whole)
    source.stored(1)


@pytest.mark.parametrize("damaged", [{1}, {0, 1}])
def test_an_image_with_a_damaged_mask_can_be_skipped(devkit, damaged):
    source = open_source(f"voc_segmentation:{devkit}", "train")
    for index in damaged:
        path = devkit / "SegmentationClass" / f"00000{index + 1}.png"
        path.write_bytes(path.read_bytes()[:-24])
    read = Reader(source, None, Faults("skip")).read([0, 1, 2])
    np.testing.assert_array_equal(read.bad_b, [i if i in damaged else -1 for i in range(3)])
    np.testing.assert_array_equal(read.images_bhwc[1], source[2].image)
    with pytest.raises(BadImageError, match="SegmentationClass"):
        Reader(source, None, Faults("fail")).read([0, 1, 2])


def test_a_broken_image_is_named(devkit):
    path = devkit / "JPEGImages" / "000001.jpg"
    path.write_bytes(path.read_bytes()[:-50])
    for scheme in ("voc", "voc_segmentation"):
        source = open_source(f"{scheme}:{devkit}", "train")
        assert str(path) in user_error(lambda source=source: source[0])


def test_the_fingerprint_tells_lists_and_labels_apart(devkit):
    def fingerprint(scheme="voc", split="train"):
        return open_source(f"{scheme}:{devkit}", split).fingerprint()

    before = fingerprint()
    found = {before, fingerprint("voc_segmentation"), fingerprint(split="val")}
    assert before == fingerprint()
    (devkit / "Annotations" / "000003.xml").write_text(annotation([("cat", 0)]))
    assert len(found | {fingerprint()}) == 4


@pytest.mark.parametrize(
    ("scheme", "file"),
    [
        ("voc", "JPEGImages/000002.jpg"),
        ("voc_segmentation", "JPEGImages/000002.jpg"),
        ("voc_segmentation", "SegmentationClass/000002.png"),
    ],
)
def test_the_fingerprint_changes_with_the_size_of_a_file(devkit, scheme, file):
    before = open_source(f"{scheme}:{devkit}", "train").fingerprint()
    with (devkit / file).open("ab") as opened:
        opened.write(b"\0")
    assert open_source(f"{scheme}:{devkit}", "train").fingerprint() != before


@pytest.mark.parametrize("split", ["train", "val"])
def test_labels_are_those_of_the_devkits_own_lists(real_data, split):
    root = real_data / "VOCdevkit" / "VOC2012"
    source = open_source(f"voc:{real_data / 'VOCdevkit'}", split)
    assert source.class_names is not None
    labels_nk = np.stack([np.asarray(source.stored(i).label) for i in range(len(source))])
    names = [Path(source.describe(i)).stem for i in range(len(source))]
    # In the devkit 1 is present, -1 is absent and 0 is difficult.
    meaning = {"1": 1, "-1": 0, "0": -1}
    for k, class_name in enumerate(source.class_names):
        lines = (root / "ImageSets" / "Main" / f"{class_name}_{split}.txt").read_text().splitlines()
        listed = {name: meaning[value] for name, value in map(str.split, lines)}
        assert [listed[name] for name in names] == labels_nk[:, k].tolist(), class_name
    assert {-1, 0, 1} == set(np.unique(labels_nk).tolist())


def test_masks_show_the_classes_of_the_annotations(real_data):
    root = real_data / "VOCdevkit" / "VOC2012"
    source = open_source(f"voc_segmentation:{root}", "val")
    assert source.class_names is not None
    agreed = defaultdict(int)
    for index in range(len(source)):
        image, mask = source[index]
        assert np.asarray(mask).shape == image.shape[:2]
        shown = {source.class_names[value] for value in np.unique(mask) if 0 < value < 255}
        name = Path(source.describe(index)).stem
        objects = ElementTree.parse(root / "Annotations" / f"{name}.xml").iter("object")
        agreed[shown <= {it.findtext("name") for it in objects}] += 1
    assert agreed[True] >= 0.95 * len(source)
