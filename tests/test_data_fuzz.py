"""Datasets with bytes changed, cut or put in: read, or refused in one line, and no third."""

import csv
import io
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import archives
import cv2
import numpy as np
import pytest
from data_helpers import noise_images, write_tfds
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from symskip_jax.data.decode import decode_rows
from symskip_jax.data.sources import open_source
from symskip_jax.data.views import View
from symskip_jax.errors import BadImageError, UserError

FEW = settings(max_examples=150)


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        place = st.integers(0, len(changed))
        at = draw(st.one_of(st.integers(0, min(100, len(changed))), place))
        at = draw(st.sampled_from([at, len(changed) - at]))
        match draw(st.sampled_from(["flip", "set", "cut", "insert", "remove"])):
            case "flip" if at < len(changed):
                changed[at] ^= 1 << draw(st.integers(0, 7))
            case "set" if at < len(changed):
                changed[at] = draw(st.integers(0, 255))
            case "cut":
                del changed[at:]
            case "insert":
                changed[at:at] = draw(st.binary(min_size=1, max_size=8))
            case _:
                del changed[at : at + draw(st.integers(1, 8))]
    return bytes(changed)


def read_or_refused(call: Callable[[], object], error: type[UserError] = UserError) -> None:
    """Nothing but this error may be raised, in one line, and nothing is warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            call()
        except error as refused:
            assert len(str(refused).splitlines()) == 1 and len(str(refused)) < 1000
    assert not caught


def read_all(name: str, split: str, data_dir: str | None = None) -> None:
    source = open_source(name, split, data_dir)
    for index in range(len(source)):
        try:
            assert source[index].image.dtype == np.uint8
        except UserError as refused:
            assert len(str(refused).splitlines()) == 1


def encoded(kind: str, mode: str, **options) -> bytes:
    image = Image.fromarray(noise_images(9, 7, 3)).resize((70, 90)).convert(mode)
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


IMAGES = {
    "jpeg": encoded("JPEG", "RGB"),
    "jpeg, restarts": encoded("JPEG", "RGB", restart_marker_blocks=2),
    "jpeg, progressive": encoded("JPEG", "RGB", progressive=True),
    "jpeg, grey": encoded("JPEG", "L"),
    "png": encoded("PNG", "RGB"),
    "png, palette": encoded("PNG", "P"),
}
CHANNELS, REDUCTIONS = st.sampled_from([1, 3]), st.sampled_from([1, 2, 4, 8])


@pytest.mark.parametrize("kind", IMAGES)
@FEW
@given(data=st.data(), channels=CHANNELS, reduction=REDUCTIONS, rows=st.integers(1, 90))
def test_rows_of_a_damaged_image(kind, data, channels, reduction, rows):
    content = data.draw(damaged(IMAGES[kind]))

    def decode() -> None:
        image = decode_rows(content, channels, reduction, rows)
        assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == channels
        assert min(image.shape) > 0

    read_or_refused(decode, BadImageError)


@pytest.mark.parametrize("kind", IMAGES)
@FEW
@given(data=st.data(), channels=CHANNELS, seed=st.integers(0, 9))
def test_a_view_of_a_damaged_image(kind, data, channels, seed):
    content = data.draw(damaged(IMAGES[kind]))
    view = data.draw(
        st.builds(
            View,
            st.sampled_from([(8, 8), (30, 20), (100, 100)]),
            st.sampled_from(["crop", "random_resized"]),
            st.sampled_from([0, 16, 128]),
        )
    )

    def show() -> None:
        shown = view.random(content, channels, np.random.default_rng(seed))
        assert shown.dtype == np.uint8 and shown.shape == (*view.crop, channels)
        assert view.central(content, channels).shape == (*view.crop, channels)

    read_or_refused(show, BadImageError)


def npz(save: Callable[..., None]) -> bytes:
    file = io.BytesIO()
    save(file, images=noise_images(6, 3, 3, 3), labels=np.arange(6), class_names=np.array([*"ab"]))
    return file.getvalue()


@pytest.mark.parametrize("content", [npz(np.savez), npz(np.savez_compressed)], ids=["", "packed"])
@FEW
@given(data=st.data())
def test_a_damaged_npz(content, data):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.npz"
        path.write_bytes(data.draw(damaged(content)))
        read_or_refused(lambda: read_all(f"npz:{path}", "train"))


ROWS = 'file,label,split\na.png,cat,train\nb/c.png,"big, dog",test\n'
TEXT = st.text(st.sampled_from('abc./\\,"\n\r\0 \ufeffé\u2028'), max_size=12)


@FEW
@given(
    damaged(ROWS.encode())
    | st.lists(st.lists(TEXT, max_size=4), max_size=4).map(
        lambda rows: ("file,label\n" + "\n".join(map(",".join, rows))).encode()
    )
)
def test_a_damaged_label_file(content):
    with tempfile.TemporaryDirectory() as folder:
        for name in ("a.png", "b/c.png"):
            path = Path(folder) / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(IMAGES["png"])
        (Path(folder) / "labels.csv").write_bytes(content)
        read_or_refused(lambda: read_all(f"folder:{folder}", "train"))


@pytest.mark.parametrize("name", ["b\x0c.png", "b\u2028.png", '"b\n.png"', "b" * 5000])
@pytest.mark.parametrize("row", ["{},cat,train", "a.png,cat,{}", "a.png,cat,train\na.png,{},train"])
def test_odd_fields_of_the_label_file_are_a_line(name, row, tmp_path):
    (tmp_path / "a.png").write_bytes(IMAGES["png"])
    text = f"file,label,split\n{row.format(name)}\n"
    (tmp_path / "labels.csv").write_text(text, encoding="utf-8")
    read_or_refused(lambda: read_all(f"folder:{tmp_path}", "train"))


def test_an_npz_whose_lengths_of_names_are_wrong_is_a_short_line(tmp_path):
    content = bytearray(npz(np.savez))
    content[27] = 2  # 512 more characters of the first file's name
    (tmp_path / "a.npz").write_bytes(content)
    read_or_refused(lambda: read_all(f"npz:{tmp_path / 'a.npz'}", "train"))


def test_a_field_of_the_label_file_that_is_too_long_is_a_line(tmp_path):
    (tmp_path / "a.png").write_bytes(IMAGES["png"])
    long = "x" * (csv.field_size_limit() + 1)
    (tmp_path / "labels.csv").write_text(f"file,label\na.png,{long}\n")
    read_or_refused(lambda: read_all(f"folder:{tmp_path}", "train"))


def mask(mode: str) -> bytes:
    numbers = (noise_images(6, 5) % 21).astype(np.uint8)
    image = Image.fromarray(numbers)
    if mode == "P":
        image.putpalette([7, 7, 7] * 256)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


ANNOTATION = (
    b'<?xml version="1.0" encoding="utf-8"?>\n<annotation><filename>a.jpg</filename><object>'
    b"<name>dog</name><difficult>1</difficult></object></annotation>"
)
VOC = {
    "voc": ("Annotations/a.xml", [ANNOTATION]),
    "voc_segmentation": ("SegmentationClass/a.png", [mask("P"), mask("L"), IMAGES["png"]]),
}


@pytest.mark.parametrize("scheme", VOC)
@FEW
@given(data=st.data())
def test_a_damaged_annotation_or_mask_or_image_of_voc(scheme, data):
    file, contents = VOC[scheme]
    files = {
        "ImageSets/Main/train.txt": b"a\n",
        "ImageSets/Segmentation/train.txt": b"a\n",
        "JPEGImages/a.jpg": archives.jpeg(0),
        file: data.draw(st.sampled_from(contents)),
    }
    harmed = data.draw(st.sampled_from([file, file, file, *files]))
    files[harmed] = data.draw(damaged(files[harmed]))
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            (Path(folder) / name).parent.mkdir(parents=True, exist_ok=True)
            (Path(folder) / name).write_bytes(content)
        read_or_refused(lambda: read_all(f"{scheme}:{folder}", "train"))


@settings(max_examples=60)
@given(data=st.data())
def test_a_damaged_file_of_tfds(data):
    with tempfile.TemporaryDirectory() as data_dir:
        folder = write_tfds(Path(data_dir), {"train": (noise_images(3, 4, 4, 3), [0, 1, 0])})
        path = folder / data.draw(
            st.sampled_from(
                [
                    *["scribbles-train.array_record-00000-of-00001"] * 4,
                    "features.json",
                    "dataset_info.json",
                ]
            )
        )
        path.write_bytes(data.draw(damaged(path.read_bytes())))

        def read() -> None:
            read_all("tfds:scribbles", "train", data_dir)

        read_or_refused(read)


def test_the_images_are_whole_to_begin_with():
    for content in IMAGES.values():
        assert cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR) is not None
        assert decode_rows(content, 3, 1, 90).shape == (90, 70, 3)
