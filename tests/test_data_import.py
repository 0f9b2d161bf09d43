import errno
import hashlib
import io
import os
import pickle
import signal
import subprocess
import sys
import tarfile
import warnings
from pathlib import Path

import archives
import cv2
import numpy as np
import pytest
import tensorflow_datasets as tfds
from command import COMMAND
from data_helpers import user_error

from symskip_jax import cli
from symskip_jax.data.archives import known, progress, writer
from symskip_jax.data.archives.importing import import_archives
from symskip_jax.data.archives.known import Known
from symskip_jax.data.resident import load_resident
from symskip_jax.data.sources import open_source

WNIDS = ("n01514668", "n02687172", "n01440764")  # cock, aircraft carrier, tench


pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def data_dir(tmp_path) -> Path:
    return tmp_path / "data"


def importing(name: str, data_dir: Path, *paths: str) -> str:
    """The message of a failed import, which must leave nothing behind."""
    before = archives.listing(data_dir)
    existed = data_dir.exists()
    message = user_error(lambda: import_archives(name, paths, str(data_dir), any_checksum=True))
    assert archives.listing(data_dir) == before and data_dir.exists() == existed
    return message


def cifar_archive(name: str, version: str) -> dict[str, bytes]:
    splits, files = archives.cifar(name)
    write = archives.cifar_binary if version == "binary" else archives.cifar_python
    return write(name, splits, files)


@pytest.mark.parametrize("version", ["binary", "python"])
@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_cifar(name, version, tmp_path, data_dir, capfd):
    path = archives.write(tmp_path / "packed.tar.gz", cifar_archive(name, version))
    command = ["data", "import", name, path, "--any_checksum", "--data_dir", str(data_dir)]
    assert cli.main(command) == 0
    folder = data_dir / name / "3.0.2"
    out, err = capfd.readouterr()
    assert out.splitlines() == [f"tfds:{name}", f"    imported into {folder}"] and err == ""
    for split, expected in archives.cifar(name)[0].items():
        data = load_resident(open_source(f"tfds:{name}", split, str(data_dir)))
        np.testing.assert_array_equal(data.images_nhwc, expected.images)
        assert data.labels_n.tolist() == expected.labels["label"]
        assert data.class_names == tuple(archives.CIFAR10 if name == "cifar10" else archives.FINE)
        # TFDS itself has the rest of the features too.
        records = tfds.data_source(name, split=split, data_dir=data_dir, download=False)
        assert [it["id"].decode() for it in records] == [
            f"{split}_{i:05}" for i in range(len(expected.images))
        ]
        for kind, labels in expected.labels.items():
            assert [it[kind] for it in records] == labels
    assert cli.main(command) == 0
    assert "is in" in capfd.readouterr().out


def test_the_pickles_of_these_tests_are_pickles():
    """Those of Python 2 are written by hand: pickle itself has to agree."""
    array = np.arange(12, dtype=np.uint8).reshape(3, 4)
    content = archives.pickle2({"data": array, "labels": [1, 300], "names": ["a", "b" * 300]})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy.core has another name now
        loaded = pickle.loads(content, encoding="bytes")
    np.testing.assert_array_equal(loaded.pop(b"data"), array)
    assert loaded == {b"labels": [1, 300], b"names": [b"a", b"b" * 300]}


def test_stl10_and_its_folds(tmp_path, data_dir):
    splits, folds = archives.stl10()
    path = archives.write(tmp_path / "stl.tar.gz", archives.stl10_binary(splits, folds))
    import_archives("stl10", [path], str(data_dir), any_checksum=True)
    for split, expected in splits.items():
        data = load_resident(open_source("tfds:stl10", split, str(data_dir)))
        np.testing.assert_array_equal(data.images_nhwc, expected.images)
        assert data.labels_n.tolist() == expected.labels["label"]
    for number, fold in enumerate(folds):
        source = open_source("tfds:stl10", f"fold_{number}", str(data_dir))
        data = load_resident(source)
        np.testing.assert_array_equal(data.images_nhwc, splits["train"].images[fold])
        assert data.labels_n.tolist() == [splits["train"].labels["label"][i] for i in fold]
        assert data.class_names == tuple(archives.STL10)
        assert source.labels().tolist() == data.labels_n.tolist()
    message = user_error(lambda: open_source("tfds:stl10", "fold_10", str(data_dir)))
    assert "fold_10" in message and "train, test, unlabelled, fold_0" in message
    (data_dir / "stl10/1.0.0/subsets.json").unlink()  # as TFDS would have prepared it
    message = user_error(lambda: open_source("tfds:stl10", "fold_3", str(data_dir)))
    assert "fold_3" in message and "symskip data import stl10 stl10_binary.tar.gz" in message


def test_imagenet(tmp_path, data_dir):
    train, train_images = archives.imagenet_train(WNIDS)
    validation, validation_images = archives.imagenet_validation([3, 1, 50000])
    paths = [
        archives.write(tmp_path / "ILSVRC2012_img_val.tar", validation),
        archives.write(tmp_path / "ILSVRC2012_img_train.tar", train),
    ]
    import_archives("imagenet2012", paths, str(data_dir), any_checksum=True)
    shipped = tfds.core.tfds_path("datasets/imagenet2012/validation_labels.txt")
    wnids = {
        "train": [name.split("_")[0] for name in train_images],
        "validation": [shipped.read_text().split()[number - 1] for number in (3, 1, 50000)],
    }
    for split, images in {"train": train_images, "validation": validation_images}.items():
        source = open_source("tfds:imagenet2012", split, str(data_dir))
        assert [source.stored(i).image for i in range(len(source))] == list(images.values())
        assert source.class_names is not None and len(source.class_names) == 1000
        assert [source.class_names[label] for label in source.labels()] == wnids[split]
        records = tfds.data_source("imagenet2012", split=split, data_dir=data_dir, download=False)
        assert [it["file_name"].decode() for it in records] == list(images)


def test_one_archive_of_imagenet_makes_one_split(tmp_path, data_dir):
    path = archives.write(tmp_path / "val.tar", archives.imagenet_validation([7])[0])
    import_archives("imagenet2012", [path], str(data_dir), any_checksum=True)
    assert len(open_source("tfds:imagenet2012", "validation", str(data_dir))) == 1
    assert "'animals'" in user_error(
        lambda: open_source("tfds:imagenet2012", "animals", str(data_dir))
    )


def test_large_splits_are_spread_over_files(tmp_path, data_dir, monkeypatch):
    monkeypatch.setattr(writer, "MAX_SHARD_BYTES", 5000)
    path = archives.write(tmp_path / "packed", cifar_archive("cifar10", "binary"))
    import_archives("cifar10", [path], str(data_dir), any_checksum=True)
    assert len(list((data_dir / "cifar10/3.0.2").glob("*train*-of-00008"))) == 8
    data = load_resident(open_source("tfds:cifar10", "train", str(data_dir)))
    np.testing.assert_array_equal(data.images_nhwc, archives.cifar("cifar10")[0]["train"].images)


VOC_TRAIN = {"train": ["000005", "000007"], "val": ["000009"]}


def test_voc_of_two_archives(tmp_path, data_dir):
    names = ["000005", "000007", "000009"]
    parts = [
        archives.voc("2007", names, {**VOC_TRAIN, "trainval": names}),
        archives.voc("2007", ["000001"], {"test": ["000001"]}),
    ]
    paths = [
        archives.write(tmp_path / f"{i}.tar", archives.tar_bytes(files, gz=False))
        for i, files in enumerate(parts)
    ]
    made = import_archives("voc2007", paths, str(data_dir), any_checksum=True)
    assert made.name == f"voc:{data_dir}/VOCdevkit/VOC2007"
    files = {name: content for part in parts for name, content in part.items()}
    found = {it.relative_to(data_dir).as_posix(): it for it in data_dir.rglob("*") if it.is_file()}
    assert {name: path.read_bytes() for name, path in found.items()} == files


def test_voc_2012_beside_voc_2007(tmp_path, data_dir):
    for year in ("2012", "2007"):
        files = archives.voc(year, ["a"], {"train": ["a"]})
        path = archives.write(tmp_path / year, files)
        import_archives(f"voc{year}", [path], str(data_dir), any_checksum=True)
    assert sorted(it.name for it in (data_dir / "VOCdevkit").iterdir()) == ["VOC2007", "VOC2012"]


def test_only_the_published_archive_is_taken(tmp_path, data_dir, monkeypatch):
    path = tmp_path / "cifar-10-binary.tar.gz"
    archives.write(path, cifar_archive("cifar10", "binary"))
    content = path.read_bytes()

    def refused() -> str:
        message = user_error(lambda: import_archives("cifar10", [str(path)], str(data_dir)))
        assert not data_dir.exists()
        return message

    message = refused()
    assert str(path) in message and "is truncated" in message and "170,052,171" in message
    assert "--any_checksum" in message
    right = Known("cifar-10-binary.tar.gz", len(content), hashlib.sha256(content).hexdigest())
    monkeypatch.setitem(known.KNOWN, "cifar10", (right,))
    path.write_bytes(content + b"more")
    assert "not an archive of cifar10 as it was published" in refused()
    path.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    assert "checksum" in refused()
    path.write_bytes(content)
    import_archives("cifar10", [str(path)], str(data_dir))
    assert len(open_source("tfds:cifar10", "train", str(data_dir))) == 15


@pytest.mark.parametrize("any_checksum", [False, True])
def test_an_archive_that_cannot_be_opened_is_named(any_checksum, tmp_path, data_dir, monkeypatch):
    path = archives.write(tmp_path / "packed", cifar_archive("cifar10", "binary"))
    right = Known("packed", os.path.getsize(path), "0")
    monkeypatch.setitem(known.KNOWN, "cifar10", (right,))
    opening = io.open

    def refusing(file, *arguments, **options):
        if str(file) == path:
            raise PermissionError(errno.EACCES, "Permission denied")
        return opening(file, *arguments, **options)

    monkeypatch.setattr(io, "open", refusing)
    message = user_error(
        lambda: import_archives("cifar10", [path], str(data_dir), any_checksum=any_checksum)
    )
    assert message == f"{path} cannot be read: Permission denied"


@pytest.mark.skipif(not os.path.isfile("/proc/self/mem"), reason="needs a file that gives EIO")
@pytest.mark.parametrize("any_checksum", [False, True])
def test_an_archive_that_cannot_be_read_is_named(any_checksum, data_dir, monkeypatch):
    monkeypatch.setitem(known.KNOWN, "cifar10", (Known("mem", 0, "0"),))
    message = user_error(
        lambda: import_archives(
            "cifar10", ["/proc/self/mem"], str(data_dir), any_checksum=any_checksum
        )
    )
    assert "/proc/self/mem" in message and "put/output error" in message
    assert "cannot be written" not in message


def test_names_and_files_that_there_are_not(tmp_path, data_dir):
    assert "'cifar10'" in importing("cifar-10", data_dir, "x")
    assert f"{tmp_path}/none is not a file" in importing("stl10", data_dir, f"{tmp_path}/none")
    path = archives.write(tmp_path / "a", cifar_archive("cifar10", "binary"))
    assert "one archive" in importing("cifar10", data_dir, path, path)
    assert "another one" in importing(
        "imagenet2012",
        data_dir,
        *[archives.write(tmp_path / "v", archives.imagenet_validation([1])[0])] * 2,
    )


SMALL = {
    "cifar10": lambda: archives.tar_bytes(cifar_archive("cifar10", "binary")),
    "cifar100": lambda: archives.tar_bytes(cifar_archive("cifar100", "python")),
    "stl10": lambda: archives.tar_bytes(archives.stl10_binary(*archives.stl10())),
    "imagenet2012": lambda: archives.imagenet_train(WNIDS)[0],
    "voc2007": lambda: archives.tar_bytes(archives.voc("2007", ["a"], {"train": ["a"]}), gz=False),
}


@pytest.mark.parametrize("name", SMALL)
def test_a_truncated_archive_is_refused(name, tmp_path, data_dir):
    content = SMALL[name]()
    # A tar ends in blocks of zeros, and only what comes before the first of them matters.
    end = len(content) if content[:2] == b"\x1f\x8b" else len(content.rstrip(b"\0")) + 1
    boundaries = range(0, end, 512) if len(content) != end else ()
    for length in {*np.linspace(0, end - 1, 12, dtype=int).tolist(), *boundaries[:20]}:
        path = archives.write(tmp_path / "cut", content[:length])
        message = importing(name, data_dir, path)
        assert str(path) in message and "truncated" in message


@pytest.mark.parametrize("name", SMALL)
def test_an_archive_of_something_else_is_refused(name, tmp_path, data_dir):
    for other in SMALL.keys() - {name}:
        path = archives.write(tmp_path / other, SMALL[other]())
        assert str(path) in importing(name, data_dir, path)
    path = archives.write(tmp_path / "text", b"no archive at all" * 100)
    assert str(path) in importing(name, data_dir, path)
    path = archives.write(tmp_path / "empty", archives.tar_bytes({}))
    assert str(path) in importing(name, data_dir, path)


def hostile(name: str, kind: bytes = tarfile.REGTYPE) -> bytes:
    """A tar with a file of each kind in front of what belongs there."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, "/etc/passwd"
        tar.addfile(info)
    return buffer.getvalue().rstrip(b"\0").ljust(512, b"\0") + SMALL["voc2007"]()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("../outside", tarfile.REGTYPE),
        ("VOCdevkit/VOC2007/../../../outside", tarfile.REGTYPE),
        ("/tmp/outside", tarfile.REGTYPE),
        ("VOCdevkit/VOC2007/link", tarfile.SYMTYPE),
        ("VOCdevkit/VOC2007/link", tarfile.LNKTYPE),
        ("VOCdevkit/VOC2007/pipe", tarfile.FIFOTYPE),
        ("VOCdevkit/VOC2007/device", tarfile.CHRTYPE),
        ("VOCdevkit/VOC2007/a\nb", tarfile.REGTYPE),
    ],
)
def test_names_that_lead_out_and_links_are_refused(name, kind, tmp_path, data_dir):
    path = archives.write(tmp_path / "hostile.tar", hostile(name, kind))
    message = importing("voc2007", data_dir, path)
    assert "is refused" in message and repr(name)[1:-1] in message
    assert not (tmp_path / "outside").exists()


def test_two_that_differ_of_a_file_are_refused(tmp_path, data_dir):
    names = {"train": ["a"]}
    once = archives.tar_bytes(archives.voc("2007", ["a"], names), gz=False)
    other = archives.tar_bytes({"VOCdevkit/VOC2007/JPEGImages/a.jpg": b"other"}, gz=False)

    def joined(second: bytes) -> str:
        first = once[: len(once.rstrip(b"\0")) // 512 * 512 + 512]
        return archives.write(tmp_path / "joined.tar", first + second)

    assert "another 'VOCdevkit/VOC2007/JPEGImages/a.jpg'" in importing(
        "voc2007", data_dir, joined(other)
    )
    import_archives("voc2007", [joined(once)], str(data_dir), any_checksum=True)


def test_an_archive_packed_anew_from_within_its_folder(tmp_path, data_dir):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", format=tarfile.PAX_FORMAT) as tar:
        folder = tarfile.TarInfo("./")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for name, content in cifar_archive("cifar10", "binary").items():
            info = tarfile.TarInfo(f"./{name.rpartition('/')[2]}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    path = archives.write(tmp_path / "anew", buffer.getvalue())
    import_archives("cifar10", [path], str(data_dir), any_checksum=True)
    assert len(open_source("tfds:cifar10", "train", str(data_dir))) == 15


@pytest.mark.parametrize("name", ["stl10", "imagenet2012"])
def test_progress_is_shown_for_large_archives_alone(name, tmp_path, data_dir, monkeypatch, capfd):
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    path = archives.write(tmp_path / "an_archive", SMALL[name]())
    paths = [path]
    if name == "imagenet2012":
        paths.append(archives.write(tmp_path / "val", archives.imagenet_validation([1])[0]))
    import_archives(name, paths, str(data_dir / "small"), any_checksum=True)
    assert capfd.readouterr() == ("", "")
    monkeypatch.setattr(progress, "SHOWN_BYTES", 0)
    import_archives(name, paths, str(data_dir / "large"), any_checksum=True)
    out, err = capfd.readouterr()
    assert out == "" and "reading an_archive" in err


class System:
    def __reduce__(self):
        return os.system, ("touch " + os.environ["HOSTILE"],)


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_that_runs_something_is_refused(protocol, tmp_path, data_dir, monkeypatch):
    monkeypatch.setenv("HOSTILE", str(tmp_path / "ran"))
    files = cifar_archive("cifar10", "python")
    files["cifar-10-batches-py/data_batch_3"] = pickle.dumps(System(), protocol)
    path = archives.write(tmp_path / "packed", files)
    message = importing("cifar10", data_dir, path)
    assert "'data_batch_3'" in message and "system" in message
    assert not (tmp_path / "ran").exists()


def changed(version: str, file: str, content: bytes) -> dict[str, bytes]:
    name = "cifar100" if file == "train" else "cifar10"
    files = cifar_archive(name, version)
    (key,) = (it for it in files if it.endswith(f"/{file}"))
    return {**files, key: content}


IMAGE = bytes(3072)
BATCH = {"data": np.zeros((2, 3072), np.uint8), "labels": [1, 9]}


@pytest.mark.parametrize(
    ("version", "file", "content", "part"),
    [
        ("binary", "data_batch_2.bin", b"\x01" + IMAGE[:-1], "no whole number of records of 3073"),
        ("binary", "data_batch_2.bin", b"\x02" + IMAGE + b"\x0a" + IMAGE, "label 10 of image 1"),
        ("binary", "data_batch_2.bin", b"", "0 bytes"),
        ("binary", "batches.meta.txt", b"cat\ndog\n", "10 names"),
        ("python", "test_batch", archives.pickle2({**BATCH, "labels": [1, 10]}), "label 10"),
        ("python", "test_batch", archives.pickle2({**BATCH, "labels": [1]}), "2 integers"),
        ("python", "test_batch", archives.pickle2({**BATCH, "labels": ["1", "2"]}), "2 integers"),
        ("python", "test_batch", archives.pickle2({**BATCH, "data": [1]}), "'data' of uint8"),
        ("python", "test_batch", archives.pickle2([1, 2]), "dict"),
        ("python", "test_batch", archives.pickle2(BATCH)[:-9], "truncated or damaged"),
        ("python", "test_batch", b"text", "truncated or damaged"),
        ("python", "batches.meta", archives.pickle2({"label_names": ["cat"] * 10}), "10 names"),
        ("python", "batches.meta", pickle.dumps({"label_names": [b"\xff"] * 10}), "10 names"),
        ("python", "train", archives.pickle2({**BATCH, "fine_labels": [1, 2]}), "coarse_labels"),
    ],
)
def test_cifar_files_that_are_wrong_are_named(version, file, content, part, tmp_path, data_dir):
    path = archives.write(tmp_path / "packed", changed(version, file, content))
    name = "cifar100" if file == "train" else "cifar10"
    message = importing(name, data_dir, path)
    assert f"'{file}' in {path}" in message and part in message


@pytest.mark.parametrize(
    ("file", "content", "part"),
    [
        ("train_y.bin", bytes([1] * 11 + [11]), "label 11 of image 11"),
        ("train_y.bin", bytes([1] * 11 + [0]), "label 0 of image 11"),
        ("test_y.bin", bytes([1] * 4), "4 labels for 5 images"),
        ("unlabeled_X.bin", bytes(100), "no whole number"),
        ("class_names.txt", b"cat\n", "10 names"),
        ("fold_indices.txt", b"1 2\n" * 9, "10 lines"),
        ("fold_indices.txt", b"1 2 x\n" * 10, "10 lines"),
        ("fold_indices.txt", b"1 2 12\n" * 10, "outside the 12"),
        ("fold_indices.txt", b"1 2 1\n" * 10, "twice"),
    ],
)
def test_stl10_files_that_are_wrong_are_named(file, content, part, tmp_path, data_dir):
    files = {**archives.stl10_binary(*archives.stl10()), f"stl10_binary/{file}": content}
    path = archives.write(tmp_path / "stl.tar.gz", files)
    message = importing("stl10", data_dir, path)
    assert f"'{file}' in {path}" in message and part in message


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (archives.imagenet_train(["n99999999"])[0], "n99999999.tar"),
        (archives.imagenet_validation([50001])[0], "val_00050001"),
        (archives.tar_bytes({f"{WNIDS[0]}.tar": b"no tar"}), f"{WNIDS[0]}.tar in"),
        (
            archives.tar_bytes(
                {f"{WNIDS[0]}.tar": archives.tar_bytes({f"{WNIDS[1]}_1.JPEG": b""}, gz=False)}
            ),
            "of another class",
        ),
        (archives.tar_bytes({"ILSVRC2012_val_00000001.JPEG": b"text"}), "is no image"),
    ],
)
def test_imagenet_archives_that_are_wrong_are_refused(content, part, tmp_path, data_dir):
    path = archives.write(tmp_path / "imagenet.tar", content)
    message = importing("imagenet2012", data_dir, path)
    assert str(path) in message and part in message


def test_a_voc_without_an_image_that_it_lists_is_refused(tmp_path, data_dir):
    path = archives.write(tmp_path / "voc", archives.voc("2012", ["a"], {"train": ["a", "b"]}))
    assert "JPEGImages/b.jpg" in importing("voc2012", data_dir, path)
    path = archives.write(tmp_path / "voc", archives.voc("2012", ["a"], {}))
    assert "ImageSets/Main" in importing("voc2012", data_dir, path)


def test_what_was_there_stays_and_a_killed_import_is_swept_away(tmp_path, data_dir):
    (data_dir / "stl10" / "0.9.0").mkdir(parents=True)
    (data_dir / "stl10" / "0.9.0" / "mine").write_text("precious")
    stale = data_dir / "stl10" / "incomplete.symskip_1.0.0"
    stale.mkdir()
    (stale / "half").write_text("of an import that was killed")
    path = archives.write(tmp_path / "stl", archives.stl10_binary(*archives.stl10()))
    import_archives("stl10", [path], str(data_dir), any_checksum=True)
    assert not stale.exists() and (data_dir / "stl10" / "0.9.0" / "mine").exists()
    assert len(open_source("tfds:stl10", "train", str(data_dir))) == 12


def limited(*arguments: str, num_bytes: int) -> subprocess.CompletedProcess[str]:
    """The command, where no file may become larger: the system refuses as if the disk were full."""
    limit = (
        "import os, resource, sys;"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({num_bytes}, {num_bytes}));"
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    command = [sys.executable, "-c", limit, *COMMAND, *arguments]
    return subprocess.run(command, capture_output=True, text=True)


# The first limit stops what is unpacked; the second lets it through, and stops ArrayRecord.
@pytest.mark.parametrize(("name", "num_bytes"), [("stl10", 30_000), ("cifar10", 62_000)])
def test_a_full_disk_is_a_line_and_leaves_nothing(name, num_bytes, tmp_path, data_dir):
    path = archives.write(tmp_path / "packed", SMALL[name]())
    arguments = ["data", "import", name, path, "--any_checksum", "--data_dir", str(data_dir)]
    result = limited(*arguments, num_bytes=num_bytes)
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert "cannot be written" in line and "File too large" in line and str(data_dir) in line
    assert not data_dir.exists()


def test_an_interrupted_import_leaves_nothing(tmp_path, data_dir, monkeypatch):
    path = archives.write(tmp_path / "packed", SMALL["cifar10"]())
    encode = cv2.imencode

    def interrupting(*arguments):
        os.kill(os.getpid(), signal.SIGINT)
        return encode(*arguments)

    monkeypatch.setattr(cv2, "imencode", interrupting)
    command = ["data", "import", "cifar10", path, "--any_checksum", "--data_dir", str(data_dir)]
    assert cli.main(command) == 130
    assert not data_dir.exists()


def test_an_import_needs_neither_tensorflow_nor_jax(tmp_path, data_dir):
    path = archives.write(tmp_path / "packed", SMALL["cifar10"]())
    code = (
        "import sys; from symskip_jax.data.archives.importing import import_archives;"
        f"import_archives('cifar10', [{path!r}], {str(data_dir)!r}, any_checksum=True);"
        "print([it for it in ('tensorflow', 'jax') if it in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True
    )
    assert (result.stdout, result.stderr) == ("[]\n", "")
