import logging
from pathlib import Path

import cv2
import numpy as np
import pytest
from data_helpers import noise_images, user_error, write_image
from PIL import Image, ImageOps

from symskip_jax.data.resident import load_resident
from symskip_jax.data.sources import open_source

FORMATS = ("bmp", "jpeg", "jpg", "png", "tif", "tiff", "webp")


def smooth_image(*shape: int, seed: int = 0) -> np.ndarray:
    """An image that a lossy format keeps nearly as it is."""
    small = noise_images(4, 4, *shape[2:], seed=seed)
    return cv2.resize(small, shape[1::-1], interpolation=cv2.INTER_LINEAR)


def write_flat(folder: Path, count: int = 20) -> None:
    for index in range(count):
        write_image(folder / f"{index:03}.png", np.full((4, 4), index, np.uint8))


def write_classes(folder: Path, counts: dict[str, int]) -> None:
    for name, count in counts.items():
        write_flat(folder / name, count)


def read_all(path: Path) -> dict[str, list[str]]:
    """The paths below the folder in each split, in order."""
    sources = {split: open_source(f"folder:{path}", split) for split in ("train", "test")}
    return {
        split: [
            Path(source.describe(index)).relative_to(path).as_posix()
            for index in range(len(source))
        ]
        for split, source in sources.items()
    }


@pytest.mark.parametrize("extension", [*FORMATS, "PNG", "JPG"])
def test_each_format_is_read_as_rgb(tmp_path, extension):
    image = smooth_image(16, 24, 3)
    write_image(tmp_path / "train" / f"a.{extension.lower()}", image)
    (tmp_path / "train" / f"a.{extension.lower()}").rename(tmp_path / "train" / f"a.{extension}")
    read = open_source(f"folder:{tmp_path}", "train")[0].image
    assert read.dtype == np.uint8 and read.shape == (16, 24, 3)
    expected = np.asarray(Image.open(tmp_path / "train" / f"a.{extension}").convert("RGB"))
    # Decoders of lossy formats may round differently.
    assert np.abs(read.astype(int) - expected).max() <= (4 if extension[0] in "jJ" else 0)
    assert np.abs(read.astype(int) - image).mean() < 8


@pytest.mark.parametrize(
    "image",
    [noise_images(8, 9), noise_images(8, 9).astype(np.uint16) * 257],
    ids=["grey", "16 bits"],
)
def test_other_kinds_of_pixels_become_rgb(tmp_path, image):
    write_image(tmp_path / "train" / "a.png", image)
    read = open_source(f"folder:{tmp_path}", "train")[0].image
    eight_bits = (image >> 8 if image.dtype == np.uint16 else image).astype(np.uint8)
    expected = np.asarray(Image.fromarray(eight_bits).convert("RGB"))
    np.testing.assert_array_equal(read, expected)


def test_a_palette_becomes_rgb(tmp_path):
    (tmp_path / "train").mkdir()
    Image.fromarray(smooth_image(8, 9, 3)).quantize(16).save(tmp_path / "train" / "a.png")
    read = open_source(f"folder:{tmp_path}", "train")[0].image
    expected = Image.open(tmp_path / "train" / "a.png").convert("RGB")
    np.testing.assert_array_equal(read, np.asarray(expected))


def test_exif_orientation_is_applied(tmp_path):
    (tmp_path / "train").mkdir()
    image = Image.fromarray(smooth_image(16, 24, 3))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "train" / "a.jpg", exif=exif)
    read = open_source(f"folder:{tmp_path}", "train")[0].image
    expected = np.asarray(ImageOps.exif_transpose(Image.open(tmp_path / "train" / "a.jpg")))
    assert read.shape == (24, 16, 3)
    assert np.abs(read.astype(int) - expected).max() <= 4


def test_a_flat_folder_is_unlabelled_and_loses_a_tenth_to_the_test_split(tmp_path):
    write_flat(tmp_path, 41)
    data = {
        split: load_resident(open_source(f"folder:{tmp_path}", split))
        for split in ("train", "test")
    }
    assert {split: len(it) for split, it in data.items()} == {"train": 36, "test": 5}
    values = np.concatenate([it.images_nhwc[:, 0, 0, 0] for it in data.values()])
    assert sorted(values) == list(range(41))
    for it in data.values():
        assert it.class_names is None and set(it.labels_n) == {-1}


@pytest.mark.parametrize(("num_labels", "in_train"), [(12, 5), (4, 1)])
def test_a_few_labels_among_many_images_are_in_both_splits(tmp_path, num_labels, in_train):
    write_flat(tmp_path, 40)
    rows = [f"{i * 3:03}.png,{('ant', 'bee')[i % 2]}" for i in range(num_labels)]
    (tmp_path / "labels.csv").write_text("\n".join(["file,label", *rows]))
    for split, per_class in (("train", in_train), ("test", 1)):
        labels_n = open_source(f"folder:{tmp_path}", split).labels()
        assert np.bincount(labels_n[labels_n >= 0], minlength=2).tolist() == [per_class] * 2


def test_sub_folders_are_classes_at_any_depth_in_sorted_order(tmp_path):
    write_classes(tmp_path, {"dog/small": 10, "dog": 10, "Cat": 10, "ant/a/b": 10})
    names = read_all(tmp_path)
    for split, per_class in (("train", {0: 9, 1: 9, 2: 18}), ("test", {0: 1, 1: 1, 2: 2})):
        data = load_resident(open_source(f"folder:{tmp_path}", split))
        assert data.class_names == ("Cat", "ant", "dog")
        labels, counts = np.unique(data.labels_n, return_counts=True)
        assert dict(zip(labels.tolist(), counts.tolist(), strict=True)) == per_class
        classes = [name.split("/")[0] for name in names[split]]
        assert [data.class_names[label] for label in data.labels_n] == classes
        assert [tuple(name.split("/")) for name in names[split]] == sorted(
            tuple(name.split("/")) for name in names[split]
        )
    assert not set(names["train"]) & set(names["test"])


def test_an_image_outside_the_classes_has_no_label(tmp_path):
    write_classes(tmp_path / "train", {"cat": 2})
    write_image(tmp_path / "train" / "b.png", noise_images(4, 4))
    data = load_resident(open_source(f"folder:{tmp_path}", "train"))
    assert data.labels_n.tolist() == [-1, 0, 0] and data.class_names == ("cat",)


@pytest.mark.parametrize("second", ["test", "val"])
def test_folders_of_splits_are_the_splits(tmp_path, second):
    write_classes(tmp_path / "train", {"cat": 3, "dog": 2})
    write_classes(tmp_path / second, {"dog": 4, "emu": 1})
    train, test = (open_source(f"folder:{tmp_path}", split) for split in ("train", "test"))
    assert len(train) == 5 and len(test) == 5
    assert train.class_names == test.class_names == ("cat", "dog", "emu")
    assert [test[index].label for index in range(5)] == [1, 1, 1, 1, 2]


def test_test_is_test_where_there_is_val_too(tmp_path):
    for count, split in enumerate(("train", "test", "val"), start=1):
        write_flat(tmp_path / split, count)
    for count, split in enumerate(("train", "test", "val"), start=1):
        source = open_source(f"folder:{tmp_path}", split)
        assert len(source) == count and source.class_names is None


def test_hidden_files_are_passed_over_and_others_counted(tmp_path, caplog):
    write_flat(tmp_path, 10)
    write_flat(tmp_path / ".thumbnails", 5)
    (tmp_path / "._000.png").write_bytes(b"x")
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "more.txt").write_text("x")
    (tmp_path / "README").write_text("x")
    with caplog.at_level(logging.WARNING):
        assert sum(map(len, read_all(tmp_path).values())) == 10
    assert "3 files that are no images (2 .txt, 1 without extension)" in caplog.text


def test_links_to_folders_are_followed(tmp_path):
    write_flat(tmp_path / "elsewhere", 3)
    (tmp_path / "data" / "train").mkdir(parents=True)
    (tmp_path / "data" / "train" / "cat").symlink_to(tmp_path / "elsewhere")
    assert open_source(f"folder:{tmp_path / 'data'}", "train").class_names == ("cat",)


def encoded(extension: str) -> bytes:
    ok, content = cv2.imencode(extension, smooth_image(64, 96, 3) ^ noise_images(64, 96, 3) // 16)
    assert ok
    return content.tobytes()


@pytest.mark.parametrize("extension", ["bmp", "jpg", "png", "tif", "webp"])
@pytest.mark.parametrize("kept", [0, 0.02, 0.5, 0.97, -1])
def test_a_truncated_image_is_named(tmp_path, extension, kept):
    content = encoded(f".{extension}")
    end = kept if kept == -1 else int(len(content) * kept)
    broken = tmp_path / "train" / f"broken.{extension}"
    write_flat(tmp_path / "train", 3)
    broken.write_bytes(content[:end])
    source = open_source(f"folder:{tmp_path}", "train")
    message = user_error(lambda: load_resident(source))
    assert str(broken) in message and "cut short" in message
    broken.write_bytes(content)
    assert source[3].image.shape == (64, 96, 3)


def test_a_truncated_jpeg_with_a_whole_thumbnail_inside_is_named(tmp_path):
    whole = encoded(".jpg")
    thumbnail = cv2.imencode(".jpg", smooth_image(8, 8, 3))[1].tobytes()
    segment = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    path = tmp_path / "train" / "a.jpg"
    path.parent.mkdir()
    path.write_bytes(whole[:2] + segment + whole[2:])
    source = open_source(f"folder:{tmp_path}", "train")
    assert source[0].image.shape == (64, 96, 3)
    path.write_bytes(whole[:2] + segment + whole[2:-500])
    assert str(path) in user_error(lambda: source[0])


def test_bytes_after_the_end_of_a_jpeg_do_no_harm(tmp_path):
    path = tmp_path / "train" / "a.jpg"
    path.parent.mkdir()
    path.write_bytes(encoded(".jpg") + bytes(100))
    assert open_source(f"folder:{tmp_path}", "train")[0].image.shape == (64, 96, 3)


def test_what_is_no_image_is_named(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "a.png").write_text("no picture")
    source = open_source(f"folder:{tmp_path}", "train")
    assert str(tmp_path / "train" / "a.png") in user_error(lambda: source[0])


def test_a_file_gone_since_is_named(tmp_path):
    write_flat(tmp_path / "train", 1)
    source = open_source(f"folder:{tmp_path}", "train")
    (tmp_path / "train" / "000.png").unlink()
    message = user_error(lambda: source[0])
    assert str(tmp_path / "train" / "000.png") in message and "No such file" in message


def test_mixed_sizes_are_named_with_their_sizes(tmp_path):
    write_flat(tmp_path / "train", 3)
    write_image(tmp_path / "train" / "z.png", noise_images(6, 5))
    source = open_source(f"folder:{tmp_path}", "train")
    message = user_error(lambda: load_resident(source))
    for part in ("z.png is 5x6", "others are 4x4", "data.input=streamed", "resize"):
        assert part in message


def test_folders_that_cannot_be_used(tmp_path):
    def message(path: Path, split: str = "train") -> str:
        text = user_error(lambda: open_source(f"folder:{path}", split))
        assert str(path) in text
        return text

    assert "does not exist" in message(tmp_path / "nowhere")
    (tmp_path / "file").write_text("x")
    assert "not a folder" in message(tmp_path / "file")
    (tmp_path / "empty").mkdir()
    assert "no files" in message(tmp_path / "empty")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.heic").write_text("x")
    assert ".jpg" in message(tmp_path / "other") and "1 .heic" in message(tmp_path / "other")
    write_flat(tmp_path / "flat", 3)
    assert "'val'" in message(tmp_path / "flat", "val")
    write_flat(tmp_path / "one", 1)
    assert "1 image" in message(tmp_path / "one")
    write_flat(tmp_path / "half" / "train", 3)
    assert "train" in message(tmp_path / "half", "test") and "'test'" in message(
        tmp_path / "half", "test"
    )
    (tmp_path / "half" / "test").mkdir()
    assert "no images" in message(tmp_path / "half", "test")
