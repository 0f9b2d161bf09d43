"""What images are called, through all that sources are wrapped in."""

import numpy as np
import pytest
import tensorflow_datasets as tfds
from data_helpers import noise_images, write_image, write_tfds
from devkit import write_devkit

from symskip_jax.data.channels import with_channels
from symskip_jax.data.sources import open_source
from symskip_jax.data.subset import Subset


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("folder")
    for name in ("train/a/1.png", "train/b/1.png", "test/a/2.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        write_image(root / name, noise_images(5, 5, 3))
    return root


def test_files_go_by_their_paths_below_the_folder(folder):
    source = open_source(f"folder:{folder}", "train")
    assert source.names([1, 0]) == ["train/b/1.png", "train/a/1.png"]


def test_voc_has_ids(tmp_path):
    root = write_devkit(tmp_path).parent
    assert open_source(f"voc:{root}", "val").names([0, 2]) == ["000008", "000010"]


def test_arrays_have_places(tmp_path):
    assert open_source("digits", "test").names([0, 7]) == ["0", "7"]


@pytest.mark.parametrize(
    ("feature", "texts", "expected"),
    [
        ("id", [b"train/cat/1", b"x", b"\xff"], ["train/cat/1", "x", "\\xff"]),
        ("file_name", [b"1.jpg", b"2.jpg", b""], ["1.jpg", "2.jpg", ""]),
        ("caption", [b"a cat", b"a dog", b"none"], ["0", "1", "2"]),
    ],
)
def test_tfds_names_images_by_what_stands_for_an_id(tmp_path, feature, texts, expected):
    features = {
        "image": tfds.features.Image(shape=(None, None, 3)),
        "label": tfds.features.ClassLabel(names=["cat", "dog"]),
        feature: tfds.features.Text(),
    }
    labels = [{"label": [0], feature: [text]} for text in texts]
    write_tfds(tmp_path, {"train": (noise_images(3, 6, 5, 3), labels)}, features=features)
    source = open_source("tfds:scribbles", "train", str(tmp_path))
    assert source.names([0, 1, 2]) == expected
    assert source.names([2]) == expected[2:] and source.names([]) == []


def test_what_a_source_is_wrapped_in_passes_names_on(folder):
    both = open_source(f"folder:{folder}@train + folder:{folder}@test", "train")
    names = ["train/a/1.png", "train/b/1.png", "test/a/2.png"]
    assert both.names(range(3)) == names
    assert with_channels(both, 1).names([2, 0]) == [names[2], names[0]]
    assert Subset(both, np.array([2, 1])).names([0, 1]) == [names[2], names[1]]
