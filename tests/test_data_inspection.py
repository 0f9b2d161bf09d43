"""`symskip data info` and `symskip data check`."""

import os
import pty
from pathlib import Path

import archives
import numpy as np
import pytest
import tensorflow_datasets as tfds
from command import finish, start
from data_helpers import noise_images, user_error, write_image, write_tfds

from symskip_jax import cli
from symskip_jax.data.facts import FACTS, how_to_get, known_name
from symskip_jax.data.inspection import check_images, open_splits
from symskip_jax.data.sources import open_source


@pytest.fixture
def photos(tmp_path) -> Path:
    for split, count in (("train", 70), ("val", 3)):
        for index in range(count):
            path = tmp_path / "photos" / split / "cat" / f"{index:02}.png"
            write_image(path, noise_images(5, 6, 3, seed=index))
    return tmp_path / "photos"


def test_every_split_is_opened_once(photos, tmp_path):
    assert [*open_splits(f"folder:{photos}", None)] == ["train", "val"]
    (photos / "test").mkdir()
    write_image(photos / "test" / "cat" / "x.png", noise_images(5, 6))
    assert [*open_splits(f"folder:{photos}", None)] == ["train", "val", "test"]
    assert [*open_splits("digits", None)] == ["train", "test"]
    images = noise_images(4, 4, 4, 3)
    write_tfds(tmp_path, {"odd": (images, [0] * 4), "train": (images[:2], [0, 1])})
    for name in ("tfds:scribbles", "tfds:scribbles:1.0.0"):
        found = open_splits(name, str(tmp_path))
        assert {split: len(it) for split, it in found.items()} == {"odd": 4, "train": 2}
    assert "does not exist" in user_error(lambda: open_splits("folder:/nowhere", None))
    assert "tfds:cifar10" in user_error(lambda: open_splits("tfds:cifar10", str(tmp_path)))


def test_a_split_that_cannot_be_opened_is_not_passed_over(tmp_path, capfd):
    files = archives.voc("2007", ["a", "b"], {"train": ["a"], "test": ["a", "b"]})
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    voc = f"voc:{tmp_path / 'VOCdevkit' / 'VOC2007'}"
    assert [*open_splits(voc, None)] == ["train", "test"]
    gone = tmp_path / "VOCdevkit" / "VOC2007" / "JPEGImages" / "b.jpg"
    gone.unlink()
    assert str(gone) in user_error(lambda: open_splits(voc, None))
    for verb in ("check", "info"):
        assert cli.main(["data", verb, voc]) == 2
        assert str(gone) in capfd.readouterr().err
    both = {"train_images": noise_images(4, 4, 4, 3), "test_images": noise_images(2, 4, 4, 4)}
    np.savez(tmp_path / "a.npz", **both)
    message = user_error(lambda: open_splits(f"npz:{tmp_path / 'a.npz'}", None))
    assert "'test_images'" in message


def test_whole_images_are_not_complained_of(photos):
    source = open_source(f"folder:{photos}", "train")
    assert [*check_images(source)] == [[]] * 70


def test_each_broken_image_is_named_with_its_reason(photos):
    cut, gone = photos / "train" / "cat" / "07.png", photos / "train" / "cat" / "69.png"
    source = open_source(f"folder:{photos}", "train")
    cut.write_bytes(cut.read_bytes()[:-30])
    gone.unlink()
    found = [*check_images(source)]
    assert [index for index, lines in enumerate(found) if lines] == [7, 69]
    assert found[7][0].startswith(f"{cut} is cut short")
    assert found[69][0].startswith(f"{gone} cannot be read")


def test_wrong_labels_and_sizes_of_records_are_named(tmp_path):
    features = {
        "image": tfds.features.Image(shape=(6, 5, 3)),
        "label": tfds.features.ClassLabel(names=["cat", "dog"]),
    }
    images = [noise_images(6, 5, 3), noise_images(6, 5, 3), noise_images(6, 4, 3)]
    write_tfds(tmp_path, {"train": (images, [0, 2, 1])}, features=features)
    found = [*check_images(open_source("tfds:scribbles", "train", str(tmp_path)))]
    assert found[0] == []
    assert "image 1 of tfds:scribbles train has the label 2" in found[1][0]
    assert "image 2 of tfds:scribbles train is [6, 4, 3]" in found[2][0]


def test_check_prints_what_is_broken_and_leaves_with_2(photos, capfd):
    assert cli.main(["data", "check", f"folder:{photos}"]) == 0
    assert "all 73 images can be read (train, val)" in capfd.readouterr().out
    broken = photos / "val" / "cat" / "01.png"
    broken.write_bytes(b"no picture")
    assert cli.main(["data", "check", f"folder:{photos}"]) == 2
    out, err = capfd.readouterr()
    assert [line.split(" ")[0] for line in out.splitlines()] == [str(broken)]
    assert f"1 of 73 images of folder:{photos} (train, val) are broken" in err
    assert cli.main(["data", "check", f"folder:{photos}", "--split=train"]) == 0
    assert cli.main(["data", "check", f"folder:{photos}", "--split=dev"]) == 2
    assert "'dev'" in capfd.readouterr().err


def test_names_that_are_no_text_are_printed_all_the_same(photos):
    odd = os.path.join(os.fsencode(photos), b"train", b"cat", b"odd\xff.png")
    Path(os.fsdecode(odd)).write_bytes(b"no picture")
    result = finish(start("data", "check", f"folder:{photos}"))
    assert result.returncode == 2 and "Traceback" not in result.stderr
    assert "odd\\udcff.png is cut short" in result.stdout


def test_broken_images_can_be_written_to_a_file_from_a_terminal(photos):
    # In a folder whose path could be taken for markup.
    (photos.parent / "a[").mkdir()
    photos = photos.rename(photos.parent / "a[" / "b]")
    broken = photos / "train" / "cat" / f"{'x' * 100}.png"
    broken.write_bytes(b"no picture")
    controller, terminal = pty.openpty()
    result = finish(start("data", "check", f"folder:{photos}", stderr=terminal))
    os.close(terminal)
    os.close(controller)
    assert result.returncode == 2
    (line,) = result.stdout.splitlines()
    assert line.startswith(f"{broken} is cut short")


def test_check_reads_voc_masks_too(real_data, capfd):
    name = f"voc_segmentation:{real_data / 'VOCdevkit'}"
    assert cli.main(["data", "check", name, "--split=val"]) == 0
    assert "all 50 images" in capfd.readouterr().out


@pytest.mark.parametrize("name", FACTS)
def test_what_is_known_is_said_of_what_is_not_here(name, tmp_path, capfd):
    assert cli.main(["data", "info", name, "--data_dir", str(tmp_path)]) == 0
    out = capfd.readouterr().out
    facts = FACTS[name]
    for part in ("not here", f"train {facts.splits['train']:,}", facts.licence, how_to_get(name)):
        assert part in out
    assert f"symskip data import {name} " in out


def test_info_says_what_is_here(photos, tmp_path, capfd):
    assert cli.main(["data", "info", f"folder:{photos}"]) == 0
    out = capfd.readouterr().out
    first = str(photos / "train" / "cat" / "00.png")
    for part in ("here: train 70, val 3", first, "RGB", "one class an image, of 1: cat"):
        assert part in out
    np.savez(tmp_path / "a.npz", images=noise_images(30, 4, 6))
    assert cli.main(["data", "info", f"npz:{tmp_path / 'a.npz'}"]) == 0
    out = capfd.readouterr().out
    assert f"on disk: {os.path.getsize(tmp_path / 'a.npz')} bytes" in out
    assert "train 27, test 3" in out and "6x4, grey" in out and "labels: none" in out
    for path in photos.rglob("*.png"):
        path.write_bytes(path.read_bytes() + bytes(1_000_000))
    assert cli.main(["data", "info", f"folder:{photos}"]) == 0
    assert "on disk: 73.0 MB" in capfd.readouterr().out
    written = write_tfds(tmp_path, {"odd": (noise_images(3, 4, 4, 3), [0, 1, 0])}, config="large")
    assert cli.main(["data", "info", "tfds:scribbles/large", "--data_dir", str(tmp_path)]) == 0
    out = capfd.readouterr().out
    assert "here: odd 3" in out and "on disk: " in out and f"where: {written}" in out
    assert cli.main(["data", "info", "nonsense"]) == 2
    assert "unknown dataset 'nonsense'" in capfd.readouterr().err


def test_labels_are_counted_by_split_and_class(tmp_path, capfd, caplog):
    rows = [f"{i:02}.png,{('Person', 'dog')[i % 2] if i < 12 else ''}" for i in range(40)]
    for i in range(40):
        write_image(tmp_path / "photos" / f"{i:02}.png", noise_images(5, 6))
    labels = tmp_path / "photos" / "labels.csv"
    labels.write_text("\n".join(["file,label", *rows]))
    counted = "with a label: train 10 of 35 (Person 5, dog 5), test 2 of 5 (Person 1, dog 1)\n"
    for verb in ("info", "check"):
        assert cli.main(["data", verb, f"folder:{tmp_path / 'photos'}"]) == 0
        assert counted in capfd.readouterr().out and not caplog.messages
    assert cli.main(["data", "check", f"folder:{tmp_path / 'photos'}", "--split=test"]) == 0
    assert "\nwith a label: test 2 of 5 (Person 1, dog 1)\n" in capfd.readouterr().out
    rows[0], rows[2] = "00.png,person", "02.png,per son"
    labels.write_text("\n".join(["file,label", *rows]))
    for verb in ("info", "check"):
        assert cli.main(["data", verb, f"folder:{tmp_path / 'photos'}"]) == 0
        (warning,) = caplog.messages
        assert "the classes 'Person', 'per son', 'person' differ in case or blanks" in warning
        caplog.clear()
    capfd.readouterr()
    labels.unlink()
    assert cli.main(["data", "info", f"folder:{tmp_path / 'photos'}"]) == 0
    out = capfd.readouterr().out
    assert "labels: none" in out and "with a label" not in out


def test_many_classes_are_counted_in_few_words(tmp_path, capfd):
    labels = {"labels": np.repeat(np.arange(30), np.arange(30) % 2 + 11)}
    np.savez(tmp_path / "a.npz", images=noise_images(len(labels["labels"]), 4, 6), **labels)
    assert cli.main(["data", "info", f"npz:{tmp_path / 'a.npz'}"]) == 0
    out = capfd.readouterr().out
    assert "with a label: train 310 of 310 (" in out
    assert "in each of 30 classes), test 35 of 35 (1 to 2 in each of 30 classes)" in out


def test_names_by_which_a_dataset_is_known():
    for name in ("cifar10", "tfds:cifar10", "tfds:cifar10:3.0.2"):
        assert known_name(name) == "cifar10"
    assert known_name("tfds:voc/2007") == known_name("voc2007") == "voc2007"
    assert known_name("digits") is None


def test_facts_are_those_of_the_data(real_data):
    found = open_splits("tfds:cifar10", str(real_data / "tfds"))
    assert {split: len(it) for split, it in found.items()} == FACTS["cifar10"].splits
    assert len(found["train"].class_names or ()) == FACTS["cifar10"].num_classes


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "stl10"])
def test_facts_are_those_of_tfds(name):
    info = tfds.builder(name, data_dir="/nowhere").info
    assert info.features["label"].num_classes == FACTS[name].num_classes
    height, width, _ = info.features["image"].shape
    assert FACTS[name].image_size == f"{width}x{height}"
