import os

import numpy as np
import pytest
from data_helpers import noise_images, user_error

from symskip_jax.data.resident import load_resident
from symskip_jax.data.sources import open_source

IMAGES = noise_images(30, 4, 5, 3)
LABELS = np.tile([0, 1, 2], 10)


@pytest.fixture
def write(tmp_path):
    def write(**arrays) -> str:
        np.savez(tmp_path / "data.npz", **arrays)
        return f"npz:{tmp_path / 'data.npz'}"

    return write


def load(name: str, split: str):
    return load_resident(open_source(name, split))


def test_without_splits_a_tenth_of_each_class_is_held_out(write):
    name = write(images=IMAGES, labels=LABELS)
    train, test = load(name, "train"), load(name, "test")
    assert np.bincount(test.labels_n).tolist() == [1, 1, 1]
    assert train.class_names == test.class_names == ("0", "1", "2")
    label_of = {image.tobytes(): label for image, label in zip(IMAGES, LABELS, strict=True)}
    images = np.concatenate([train.images_nhwc, test.images_nhwc])
    labels = np.concatenate([train.labels_n, test.labels_n])
    assert {image.tobytes() for image in images} == set(label_of)
    assert [label_of[image.tobytes()] for image in images] == labels.tolist()


def test_splits_in_the_file_are_the_splits(write):
    name = write(
        train_images=IMAGES[:20],
        train_labels=LABELS[:20],
        test_images=IMAGES[20:],
        test_labels=LABELS[20:].astype(np.uint8),
        class_names=np.array(["ant", "bee", "cow", "dog"]),
    )
    for split, part in (("train", slice(0, 20)), ("test", slice(20, 30))):
        data = load(name, split)
        np.testing.assert_array_equal(data.images_nhwc, IMAGES[part])
        np.testing.assert_array_equal(data.labels_n, LABELS[part])
        assert data.class_names == ("ant", "bee", "cow", "dog")


def test_both_splits_name_the_same_classes(write):
    name = write(
        train_images=IMAGES[:2],
        train_labels=np.array([0, 1]),
        test_images=IMAGES[2:4],
        test_labels=np.array([0, 4]),
    )
    assert load(name, "train").class_names == load(name, "test").class_names == tuple("01234")


def test_without_labels_there_are_no_classes(write):
    name = write(images=IMAGES, class_names=np.array(["ant"]))
    assert open_source(name, "train").class_names is None
    assert set(load(name, "train").labels_n) == {-1}
    name = write(train_images=IMAGES, test_images=IMAGES[:3], test_labels=LABELS[:3])
    assert load(name, "train").class_names is None
    assert load(name, "test").class_names == ("0", "1", "2")


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1)])
def test_grey_images_have_one_channel(write, shape):
    images = noise_images(3, *shape)
    data = load(write(train_images=images), "train")
    np.testing.assert_array_equal(data.images_nhwc, images.reshape(3, 4, 5, 1))


def test_the_only_copy_is_the_one_in_memory(write):
    source = open_source(write(train_images=IMAGES), "train")
    assert np.shares_memory(load_resident(source).images_nhwc, source.images_nhwc)


def test_compressed_files_and_the_home_folder(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "data.npz", train_images=IMAGES)
    monkeypatch.setenv("HOME", str(tmp_path))
    np.testing.assert_array_equal(load("npz:~/data.npz", "train").images_nhwc, IMAGES)


@pytest.mark.parametrize(
    ("arrays", "split", "parts"),
    [
        ({"x_train": IMAGES}, "train", ["'train_images'", "x_train", "images, labels"]),
        ({"train_images": IMAGES}, "test", ["'test_images'", "only train_images"]),
        ({"images": IMAGES}, "val", ["'val'", "'train'"]),
        ({"images": IMAGES.astype(np.float32)}, "train", ["'images'", "float32", "uint8"]),
        ({"images": IMAGES[0, 0]}, "train", ["'images'", "[5, 3]", "[N, H, W]"]),
        ({"images": noise_images(3, 4, 4, 4)}, "train", ["[3, 4, 4, 4]", "1 or 3 channels"]),
        ({"images": IMAGES[:0]}, "train", ["[0, 4, 5, 3]", "not empty"]),
        ({"images": IMAGES[:1]}, "train", ["1 image"]),
        ({"images": IMAGES, "labels": LABELS[:29]}, "train", ["30 'images'", "29 'labels'"]),
        ({"images": IMAGES, "labels": LABELS * 1.0}, "train", ["'labels'", "float64", "integers"]),
        ({"images": IMAGES, "labels": LABELS[:, None]}, "train", ["'labels'", "[30, 1]"]),
        ({"images": IMAGES, "labels": LABELS - 1}, "train", ["label -1 of image 0", "0 to"]),
        ({"images": IMAGES, "labels": LABELS + 10**9}, "train", ["label 1000000000 of image 0"]),
        (
            {"images": IMAGES, "labels": LABELS, "class_names": np.array(["a", "b"])},
            "train",
            ["label 2 of image 2", "'labels'", "0 to 1"],
        ),
        (
            {"images": IMAGES, "labels": LABELS, "class_names": np.arange(3)},
            "train",
            ["'class_names'", "strings"],
        ),
        (
            {"images": IMAGES, "labels": LABELS, "class_names": np.array([b"\xff"] * 3)},
            "train",
            ["'class_names'", "no text"],
        ),
        ({"images": np.array([{}, {}])}, "train", ["'images'", "cannot be read", "Object arrays"]),
    ],
)
def test_arrays_that_cannot_be_used(write, arrays, split, parts):
    name = write(**arrays)
    message = user_error(lambda: open_source(name, split))
    assert message.startswith(name)
    assert all(part in message for part in parts), message


def test_files_that_cannot_be_used(tmp_path):
    path = tmp_path / "data.npz"
    name = f"npz:{path}"

    def message() -> str:
        text = user_error(lambda: open_source(name, "train"))
        assert text.startswith(name)
        return text

    assert "does not exist" in message()
    path.mkdir()
    assert "not a whole .npz" in message()
    path.rmdir()
    path.write_text("no archive")
    assert "not a whole .npz" in message()
    np.save(tmp_path / "a.npy", IMAGES)
    (tmp_path / "a.npy").rename(path)
    assert "not a whole .npz" in message()
    np.savez_compressed(path, images=IMAGES)
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    assert "not a whole .npz" in message()
    damaged = bytearray(whole)
    damaged[500:600] = bytes(100)
    path.write_bytes(damaged)
    assert "'images' cannot be read" in message()
    directory = bytearray(whole)
    directory[whole.index(b"PK\x01\x02") + 1] = 0
    path.write_bytes(directory)
    assert "is damaged" in message()
    # A way of packing that zipfile does not know, in both places where it stands.
    unknown = bytearray(whole)
    for at in (8, whole.index(b"PK\x01\x02") + 10):
        unknown[at] = 77
    path.write_bytes(unknown)
    assert "cannot be read" in message()
    path.unlink()
    os.mkfifo(path)
    assert "not a whole .npz" in message()
