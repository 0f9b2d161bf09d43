"""Listing a folder: what is found, what is remembered, and when it is not believed."""

import json
import os
import shutil
import time
from pathlib import Path

import pytest
from data_helpers import user_error

from symskip_jax.data import listing
from symskip_jax.data.listing import list_images
from symskip_jax.data.sources import open_source


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    """Every listing is remembered, and where a test can see it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(listing, "MIN_REMEMBERED", 1)
    return tmp_path / "cache" / "symskip_jax" / "listings"


@pytest.fixture
def root(tmp_path) -> Path:
    for name in ("b/1.png", "b/2.JPG", "b.c/3.tif", "a.webp", "notes.txt", ".hidden/4.png"):
        (tmp_path / "root" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "root" / name).touch()
    return settle(tmp_path / "root")


def settle(root: Path) -> Path:
    """Make every folder as old as those that are believed to stay as they are."""
    for folder, _, _ in os.walk(root):
        os.utime(folder, ns=(time.time_ns() - 10**10,) * 2)
    return root


def scanned(root: Path, monkeypatch) -> tuple[listing.Listing, int]:
    """A listing, and how many folders were opened for it."""
    opened = []
    with monkeypatch.context() as patch:
        scandir = os.scandir
        patch.setattr(os, "scandir", lambda path: opened.append(path) or scandir(path))
        return list_images(root), len(opened)


def test_paths_are_in_the_order_of_their_parts(root):
    found = list_images(root)
    assert found.paths == ["a.webp", "b/1.png", "b/2.JPG", "b.c/3.tif"]
    assert found.paths == sorted(found.paths, key=lambda path: Path(path).parts)
    assert found.others == {".txt": 1}


def test_pipes_and_devices_are_no_images_and_broken_links_are(root):
    os.mkfifo(root / "pipe.jpg")
    (root / "link.jpg").symlink_to(root / "pipe.jpg")
    (root / "null.png").symlink_to("/dev/null")
    (root / "gone.png").symlink_to(root / "nowhere")
    (root / "right.png").symlink_to(root / "a.webp")
    found = list_images(root)
    assert [it for it in found.paths if "/" not in it] == ["a.webp", "gone.png", "right.png"]
    assert found.others == {".txt": 1, ".jpg": 2, ".png": 1}


def test_a_second_listing_opens_no_folder_and_is_the_same(root, monkeypatch):
    first, opened = scanned(root, monkeypatch)
    assert opened == 3
    assert scanned(root, monkeypatch) == (first, 0)
    # By another name, too.
    (root.parent / "link").symlink_to(root)
    assert scanned(root.parent / "link", monkeypatch) == (first, 0)


@pytest.mark.parametrize("place", [".", "b", "b.c"])
def test_a_change_in_any_folder_is_seen(root, place, monkeypatch):
    before = list_images(root)
    (root / place / "new.bmp").touch()
    after, opened = scanned(root, monkeypatch)
    assert opened == 3 and len(after.paths) == len(before.paths) + 1
    settle(root)
    (root / place / "new.bmp").unlink()
    assert list_images(root) == before


def test_a_folder_changed_just_now_is_not_remembered(root, cache, monkeypatch):
    (root / "b" / "new.png").touch()
    list_images(root)
    assert not cache.exists()


def test_small_listings_are_not_remembered(root, cache, monkeypatch):
    monkeypatch.setattr(listing, "MIN_REMEMBERED", 5)
    list_images(root)
    assert not cache.exists()


def test_a_folder_gone_since_is_seen(root, tmp_path):
    (root / "b.c" / "3.tif").unlink()
    settle(root)
    list_images(root)
    (root / "b.c").rmdir()
    settle(root)
    assert list_images(root).paths == ["a.webp", "b/1.png", "b/2.JPG"]


def test_a_file_overwritten_in_its_place_makes_it_another_dataset(root, cache, tmp_path):
    def fingerprint(folder: Path) -> str:
        return open_source(f"folder:{folder}", "train").fingerprint()

    paths = [root / path for path in list_images(root).paths]
    before = fingerprint(root)
    (remembered,) = cache.iterdir()
    written_ns = remembered.stat().st_mtime_ns
    for path in paths:
        path.write_bytes(b"longer")
    after = fingerprint(root)
    assert after != before and remembered.stat().st_mtime_ns == written_ns
    copy = shutil.copytree(root, tmp_path / "copy", copy_function=shutil.copyfile)
    assert fingerprint(copy) == after


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: "[]",
        lambda text: "\x00\xff",
        lambda text: json.dumps(json.loads(text) | {"folders": {}}),
        lambda text: json.dumps(json.loads(text) | {"folders": {"": [1]}}),
        lambda text: json.dumps(json.loads(text) | {"root": "/elsewhere"}),
        lambda text: text.replace('"1.png"', "7"),
        lambda text: text.replace('".txt": 1', '".txt": "x"'),
        lambda text: text.replace('{".txt": 1}', "3"),
    ],
)
def test_a_damaged_cache_is_made_anew(root, cache, change):
    first = list_images(root)
    (file,) = cache.iterdir()
    whole = file.read_text()
    file.write_text(change(whole))
    assert list_images(root) == first
    assert [it.name for it in cache.iterdir()] == [file.name] and file.read_text() == whole


def test_a_cache_that_cannot_be_written_does_no_harm(root, cache, monkeypatch):
    cache.parent.mkdir(parents=True)
    cache.write_text("a file, not a folder")
    assert len(list_images(root).paths) == 4

    def full(*_):
        raise OSError(28, "No space left on device")

    cache.unlink()
    monkeypatch.setattr(os, "replace", full)
    assert len(list_images(root).paths) == 4
    assert not list(cache.iterdir())


def test_names_that_are_no_utf8_are_kept(root):
    name = os.fsdecode(b"caf\xe9.png")
    (root / "b" / name).touch()
    settle(root)
    assert list_images(root) == list_images(root)
    assert f"b/{name}" in list_images(root).paths


def test_links_are_followed_but_not_in_circles(root, tmp_path):
    (tmp_path / "elsewhere" / "deep").mkdir(parents=True)
    (tmp_path / "elsewhere" / "deep" / "5.png").touch()
    (tmp_path / "elsewhere" / "back").symlink_to(root)
    for name, target in (
        ("b/up", root),
        ("x", tmp_path / "elsewhere"),
        ("y", tmp_path / "elsewhere"),
        ("itself", root / "itself"),
        ("nowhere", root / "nothing"),
        ("picture.png", root / "a.webp"),
    ):
        (root / name).symlink_to(target)
    found = list_images(root)
    linked = ["picture.png", "x/deep/5.png", "y/deep/5.png"]
    assert found.paths == ["a.webp", "b/1.png", "b/2.JPG", "b.c/3.tif", *linked]


def test_a_folder_that_cannot_be_opened_is_named(root, monkeypatch):
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("b.c/"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    message = user_error(lambda: list_images(root))
    assert f"{root}/b.c/ cannot be listed: Permission denied" in message
