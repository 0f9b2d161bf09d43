"""Paths that no file can have are answered in a line, whatever dataset they are of."""

import os

import pytest
from data_helpers import user_error

from symskip_jax.data.archives.importing import import_archives
from symskip_jax.data.catalog import list_datasets
from symskip_jax.data.sources import open_source

LONG = "/".join(["x" * 200] * 30)
WRONG = {"~nosuchuser/x": "nobody", LONG: "too long", "x" * 300: "too long", "a\0b": "null"}


@pytest.mark.parametrize(("path", "part"), WRONG.items())
def test_paths_that_there_cannot_be(path, part, tmp_path):
    for scheme in ("folder", "npz", "voc", "voc_segmentation"):
        assert part in user_error(lambda scheme=scheme: open_source(f"{scheme}:{path}", "train"))
    assert part in user_error(lambda: open_source("tfds:mnist", "train", path))
    assert part in user_error(lambda: list_datasets(path))
    assert part in user_error(lambda: import_archives("cifar10", [path], str(tmp_path)))
    assert part in user_error(lambda: import_archives("cifar10", ["x"], path))
    assert "unknown dataset" in user_error(lambda: open_source(path, "train"))


def test_a_link_to_itself_is_no_path(tmp_path):
    os.symlink("loop", tmp_path / "loop")
    message = user_error(lambda: open_source(f"folder:{tmp_path / 'loop'}", "train"))
    assert "symbolic links" in message


def test_a_data_dir_that_is_nearly_too_long_is_refused_in_a_line(tmp_path):
    archive = tmp_path / "archive"
    archive.write_bytes(b"x")
    room = os.pathconf("/", "PC_PATH_MAX") - 2 - len(str(tmp_path))
    data_dir = str(tmp_path) + "/x" * (room // 2)
    message = user_error(
        lambda: import_archives("cifar10", [str(archive)], data_dir, any_checksum=True)
    )
    assert "too long" in message
