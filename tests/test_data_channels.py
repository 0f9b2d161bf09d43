"""Images are grey or colour as the configuration asks."""

import numpy as np
import pytest
from command import write_images
from data_helpers import noise_images, user_error, write_image
from PIL import Image

from symskip_jax.config import ConfigDict, apply_overrides, base_config
from symskip_jax.data.channels import with_channels
from symskip_jax.data.sources import open_source
from symskip_jax.experiments.checks import check_config
from symskip_jax.experiments.inputs import load_split, load_train_and_test


def configured(name: str, *fields: str) -> ConfigDict:
    overrides = [f"--config.data.{field}" for field in (f"name={name}", *fields)]
    return apply_overrides(base_config(), overrides)


@pytest.fixture
def folder(tmp_path):
    for index in range(12):
        write_image(tmp_path / f"{index:02}.png", noise_images(9, 8, 3, seed=index))
    return f"folder:{tmp_path}"


@pytest.mark.parametrize("kind", ["files", "array"])
def test_colour_becomes_its_luma(kind, folder, tmp_path):
    name = folder if kind == "files" else write_images(tmp_path / "images.npz")
    colour, source = (open_source(name, "train") for _ in range(2))
    grey = with_channels(source, 1)
    assert len(grey) == len(colour) and grey.features.image_shape[2] == 1
    for index in (0, 1):
        luma = np.asarray(Image.fromarray(colour[index].image).convert("L"), int)  # ITU-R 601
        assert np.abs(grey[index].image[..., 0] - luma).max() <= 1
    np.testing.assert_array_equal(grey.labels(), colour.labels())
    assert grey.describe(1) == colour.describe(1)
    assert grey.fingerprint() != colour.fingerprint()


def test_grey_becomes_rgb():
    grey, colour = open_source("digits", "train"), with_channels(open_source("digits", "train"), 3)
    (example,) = colour.__getitems__([3])
    np.testing.assert_array_equal(example.image, np.repeat(grey[3].image, 3, axis=2))


def test_what_has_the_channels_is_left_alone(folder):
    source = open_source(folder, "train")
    assert with_channels(source, 3) is source


@pytest.mark.parametrize("how", ["resident", "streamed"])
def test_a_split_is_read_with_them(folder, how):
    split = load_split(configured(folder, "channels=1", "crop=(8, 8)", f"input={how}"), "train")
    assert split.how == how and split.channels == 1
    assert split.first(3).shape[-1] == 1 and len(split.normalization().mean) == 1


def test_colour_and_grey_can_be_trained_and_tested_on_together(folder):
    config = configured(folder, "crop=(8, 8)", "pretrain_name=digits")
    mend = user_error(lambda: load_train_and_test(config, "train", "digits"))
    assert "data.channels" in mend
    config.data.channels = 1
    train, test = load_train_and_test(config, "train", "digits")
    assert train.channels == test.channels == 1


def test_two_channels_are_refused():
    message = user_error(lambda: check_config(configured("digits", "channels=2")))
    assert message == "config key data.channels=2 must be 0, 1 or 3"
