import subprocess
import sys

import cv2
import numpy as np
import pytest
import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordReader, ArrayRecordWriter
from data_helpers import noise_images, user_error, write_tfds
from tensorflow_datasets.proto import tf_example_pb2

from symskip_jax.data.reading import Faults, Reader
from symskip_jax.data.resident import load_resident
from symskip_jax.data.sources import open_source
from symskip_jax.errors import BadImageError, ReadFailedError

TRAIN = (noise_images(12, 6, 5, 3), [0, 1] * 6)
TEST = (noise_images(3, 6, 5, 3, seed=1), [1, 1, 0])


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tfds")
    unlabelled = (noise_images(2, 6, 5, 3, seed=2), [-1, -1])
    write_tfds(folder, {"train": TRAIN, "test": TEST, "unlabelled": unlabelled})
    return str(folder)


@pytest.mark.parametrize(("split", "expected"), [("train", TRAIN), ("test", TEST)])
def test_images_and_labels_are_those_written(data_dir, split, expected):
    source = open_source("tfds:scribbles", split, data_dir)
    data = load_resident(source)
    np.testing.assert_array_equal(data.images_nhwc, expected[0])
    np.testing.assert_array_equal(data.labels_n, expected[1])
    assert data.class_names == ("cat", "dog")
    image, label = source[1]
    np.testing.assert_array_equal(image, expected[0][1])
    assert label == expected[1][1] and type(label) is int


def test_splits_can_be_sliced_and_added(data_dir):
    labels = load_resident(open_source("tfds:scribbles", "train[:3]+test", data_dir)).labels_n
    assert labels.tolist() == TRAIN[1][:3] + TEST[1]


def test_an_unlabelled_split_has_no_class_names_once_read(data_dir):
    data = load_resident(open_source("tfds:scribbles", "unlabelled", data_dir))
    assert data.labels_n.tolist() == [-1, -1] and data.class_names is None


def test_a_dataset_without_labels(tmp_path):
    features = {
        "image": tfds.features.Image(shape=(6, 5, 3)),
        "label": tfds.features.Scalar(np.int64),
    }
    write_tfds(tmp_path, {"train": TRAIN}, features=features)
    source = open_source("tfds:scribbles", "train", str(tmp_path))
    assert source.class_names is None
    assert load_resident(source).labels_n.tolist() == [-1] * 12


def test_labels_of_voc_are_present_absent_or_difficult(tmp_path):
    classes = tfds.features.ClassLabel(names=["cat", "dog", "emu"])
    features = {
        "image": tfds.features.Image(shape=(None, None, 3)),
        "labels": tfds.features.Sequence(classes),
        "labels_no_difficult": tfds.features.Sequence(classes),
    }
    labels = [
        {"labels": [0, 2], "labels_no_difficult": [2]},
        {"labels": [], "labels_no_difficult": []},
        {"labels": [1], "labels_no_difficult": [1]},
    ]
    write_tfds(tmp_path, {"train": (TRAIN[0][:3], labels)}, features=features)
    source = open_source("tfds:scribbles", "train", str(tmp_path))
    assert source.features.label_kind == "classes" and source.class_names == ("cat", "dog", "emu")
    found = np.stack([np.asarray(it.label) for it in source.stored_many([0, 1, 2])])
    assert found.dtype == np.int8
    assert found.tolist() == [[-1, 0, 1], [0, 0, 0], [0, 1, 0]]
    np.testing.assert_array_equal(source[2].image, TRAIN[0][2])


def test_the_fingerprint_is_that_of_the_dataset_and_the_split(tmp_path):
    def fingerprint(data_dir, split="train"):
        return open_source("tfds:scribbles", split, str(data_dir)).fingerprint()

    write_tfds(tmp_path / "a", {"train": TRAIN, "test": TEST})
    write_tfds(tmp_path / "b", {"train": TEST, "test": TEST})
    assert fingerprint(tmp_path / "a") == fingerprint(tmp_path / "a")
    facts = [(tmp_path / "a", "train"), (tmp_path / "a", "test"), (tmp_path / "b", "train")]
    assert len({fingerprint(*it) for it in facts}) == 3


def test_records_that_are_none_are_named(tmp_path):
    for number, content in enumerate((b"no record", b"", b"\x0a\x00")):
        folder = write_tfds(tmp_path / str(number), {"train": TRAIN})
        (file,) = folder.glob("*.array_record*")
        writer = ArrayRecordWriter(str(file), "group_size:1")
        for _ in TRAIN[1]:
            writer.write(content)
        writer.close()
        source = open_source("tfds:scribbles", "train", str(folder.parent.parent))
        message = user_error(lambda source=source: source[0])
        assert str(folder) in message and "not whole" in message
        assert message.startswith("image 0 of tfds:scribbles train is damaged")


def without_image(records: list[bytes], index: int) -> None:
    example = tf_example_pb2.Example.FromString(records[index])
    del example.features.feature["image"]
    records[index] = example.SerializeToString()


def unparsable(records: list[bytes], index: int) -> None:
    records[index] = records[index][:-5]


@pytest.mark.parametrize("damage", [without_image, unparsable, None])
def test_a_damaged_record_is_named_and_can_be_skipped(tmp_path, damage):
    bad, count = 37, 60
    images, labels = noise_images(count, 6, 5, 3), [0, 1] * (count // 2)
    (file,) = write_tfds(tmp_path, {"train": (images, labels)}).glob("*.array_record*")
    reader = ArrayRecordReader(str(file))
    records = reader.read_all()
    reader.close()
    if damage:
        damage(records, bad)
        writer = ArrayRecordWriter(str(file), "group_size:1")
        for record in records:
            writer.write(record)
        writer.close()
    else:  # a byte on the disk
        content = bytearray(file.read_bytes())
        content[content.index(records[bad][100:130])] ^= 1
        file.write_bytes(content)
    source = open_source("tfds:scribbles", "train", str(tmp_path))
    for indices in (range(count), [bad], [*range(30, 45)], [*range(count)][::-1]):
        with pytest.raises(BadImageError, match=f"^image {bad} of tfds:scribbles train is damaged"):
            source.stored_many(indices)
    data = load_resident(source, Faults("skip"))
    expected = images.copy()
    expected[bad] = images[bad + 1]
    np.testing.assert_array_equal(data.images_nhwc, expected)


@pytest.mark.parametrize("count", [3, 40])
def test_a_disk_that_is_away_for_a_moment_is_waited_for(tmp_path, monkeypatch, caplog, count):
    images, labels = noise_images(40, 6, 5, 3), [0, 1] * 20
    (file,) = write_tfds(tmp_path, {"train": (images, labels)}).glob("*.array_record*")
    source = open_source("tfds:scribbles", "train", str(tmp_path))
    away = file.rename(tmp_path / "away")
    with pytest.raises(ReadFailedError, match="cannot be read: open"):
        source.stored_many(range(count))
    monkeypatch.setattr("symskip_jax.data.reading.time.sleep", lambda _: away.rename(file))
    read = Reader(source, None, Faults()).read(range(count))
    np.testing.assert_array_equal(read.images_bhwc, images[:count])
    assert "trying again" in caplog.text


def test_grey_images_keep_one_channel(tmp_path):
    features = {
        "image": tfds.features.Image(shape=(6, 5, 1)),
        "label": tfds.features.ClassLabel(num_classes=2),
    }
    grey = noise_images(12, 6, 5)
    write_tfds(tmp_path, {"train": (grey, TRAIN[1])}, features=features)
    data = load_resident(open_source("tfds:scribbles", "train", str(tmp_path)))
    np.testing.assert_array_equal(data.images_nhwc[..., 0], grey)
    assert data.class_names == ("0", "1")


def test_the_newest_version_is_read_unless_one_is_named(tmp_path):
    for version in ("1.9.0", "1.10.0", "1.2.0"):
        write_tfds(
            tmp_path, {"train": (TRAIN[0], [int(version == "1.10.0")] * 12)}, version=version
        )
    for name, label in (("tfds:scribbles:1.2.0", 0), ("tfds:scribbles", 1)):
        assert open_source(name, "train", str(tmp_path))[0].label == label


def test_configs_are_named_where_there_are_several(tmp_path):
    write_tfds(tmp_path, {"train": TRAIN}, config="large")
    assert len(open_source("tfds:scribbles", "train", str(tmp_path))) == 12
    write_tfds(tmp_path, {"train": TEST}, config="small")
    message = user_error(lambda: open_source("tfds:scribbles", "train", str(tmp_path)))
    assert "tfds:scribbles/large:1.0.0" in message and "tfds:scribbles/small:1.0.0" in message
    assert len(open_source("tfds:scribbles/small", "train", str(tmp_path))) == 3
    assert len(open_source("tfds:scribbles/large:1.0.0", "train", str(tmp_path))) == 12


def test_the_default_data_dir_is_that_of_tfds(data_dir, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", data_dir)
    assert len(open_source("tfds:scribbles", "test")) == 3


def test_cifar10_as_it_is(real_data):
    source = open_source("tfds:cifar10", "test[:200]", str(real_data / "tfds"))
    data = load_resident(source)
    assert data.images_nhwc.shape == (200, 32, 32, 3)
    assert data.class_names is not None
    assert data.class_names[0] == "airplane" and data.class_names[-1] == "truck"
    # TFDS itself, one by one.
    direct = tfds.data_source("cifar10", split="test", data_dir=real_data / "tfds", download=False)
    for index in (0, 57, 199):
        record = direct[index]
        np.testing.assert_array_equal(data.images_nhwc[index], record["image"])
        assert data.labels_n[index] == record["label"]
        assert data.class_names[record["label"]] in record["id"].decode()


def test_tensorflow_is_not_imported_and_nothing_is_printed(data_dir):
    code = (
        "import sys; from symskip_jax.data.sources import open_source;"
        "from symskip_jax.data.resident import load_resident;"
        f"load_resident(open_source('tfds:scribbles', 'train', {data_dir!r}));"
        "assert 'tensorflow' not in sys.modules"
    )
    result = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True)
    assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")


def test_a_dataset_not_prepared_is_answered_with_the_commands_that_make_it(tmp_path):
    message = user_error(lambda: open_source("tfds:cifar10", "train", str(tmp_path)))
    for part in (
        "tfds:cifar10",
        f"not in {tmp_path}",
        f"`symskip data prepare cifar10 --data_dir {tmp_path}`",
        "cifar-10-binary.tar.gz",
        "`symskip data import cifar10 ARCHIVE`",
    ):
        assert part in message
    message = user_error(lambda: open_source("tfds:mnist", "train", str(tmp_path)))
    assert "data prepare mnist" in message and "data import" not in message


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("tfds:cifar11", ["tfds:cifar11", "known to TFDS", "'tfds:cifar10'"]),
        ("tfds:CIFAR100", ["tfds:CIFAR100", "'tfds:cifar100'"]),
        ("tfds:qqqqqqqqqq", ["tfds:qqqqqqqqqq", "symskip data list"]),
        ("tfds:scribbles:3.0.0", ["tfds:scribbles:3.0.0", "has tfds:scribbles:1.0.0"]),
        ("tfds:scribbles/big", ["tfds:scribbles/big", "has tfds:scribbles:1.0.0"]),
        ("tfds:scribbles:new", ["tfds:scribbles:new", "NAME[/CONFIG][:VERSION]"]),
    ],
)
def test_names_that_there_are_not(data_dir, name, parts):
    message = user_error(lambda: open_source(name, "train", data_dir))
    assert all(part in message for part in parts), message


@pytest.mark.parametrize(
    "split", ["valid", "train[:", "train[5:1]", "train[:0%]", "train[:200%]", ""]
)
def test_splits_that_there_are_not(data_dir, split):
    message = user_error(lambda: open_source("tfds:scribbles", split, data_dir))
    assert "tfds:scribbles" in message and f"'{split}'" in message
    assert "train, test, unlabelled" in message


def test_tfrecord_is_answered_with_how_to_convert_it(tmp_path):
    write_tfds(tmp_path, {"train": TRAIN}, file_format="tfrecord")
    message = user_error(lambda: open_source("tfds:scribbles", "train", str(tmp_path)))
    for part in ("tfds:scribbles", "tfrecord", f"data prepare scribbles --data_dir {tmp_path}"):
        assert part in message


@pytest.mark.parametrize(
    ("features", "part"),
    [
        ({"text": tfds.features.Text()}, "only text"),
        ({"image": tfds.features.Image(shape=(6, 5, 4))}, "4 channels of uint8"),
        ({"image": tfds.features.Image(shape=(6, 5, 1), dtype=np.uint16)}, "1 channels of uint16"),
    ],
)
def test_features_that_cannot_be_used(tmp_path, features, part):
    write_tfds(tmp_path, {"train": TRAIN}, features=features)
    message = user_error(lambda: open_source("tfds:scribbles", "train", str(tmp_path)))
    assert "tfds:scribbles" in message and part in message


def test_a_damaged_dataset_is_named(tmp_path):
    folder = write_tfds(tmp_path, {"train": TRAIN})

    def load():
        return load_resident(open_source("tfds:scribbles", "train", str(tmp_path)))

    (records,) = folder.glob("*.array_record*")
    content = records.read_bytes()
    records.write_bytes(content[: len(content) // 2])
    assert str(folder) in user_error(load)
    records.unlink()
    assert str(folder) in user_error(load)
    (folder / "features.json").unlink()
    assert str(folder) in user_error(load)


def test_the_labels_of_a_large_split_are_read_once(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("symskip_jax.data.tfds_source.LARGE", 12)
    (train, _) = sorted(
        write_tfds(tmp_path, {"train": TRAIN, "test": TEST}).glob("*.array_record*"), reverse=True
    )

    def labels(split: str) -> list[int]:
        return open_source("tfds:scribbles", split, str(tmp_path)).labels().tolist()

    assert labels("train") == TRAIN[1] and labels("test") == TEST[1]
    assert labels("train[1:]+test") == TRAIN[1][1:] + TEST[1]
    assert [it.getMessage() for it in caplog.records] == [
        "tfds:scribbles train: reading the labels of 12 images, once"
    ]
    train.unlink()
    assert labels("train") == TRAIN[1] and len(caplog.records) == 1


def test_labels_outside_the_range_are_named(tmp_path):
    write_tfds(tmp_path, {"train": (TRAIN[0], [0, 1, 2] * 4)})
    source = open_source("tfds:scribbles", "train", str(tmp_path))
    message = user_error(lambda: load_resident(source))
    assert "label 2" in message and "image 2 of tfds:scribbles train" in message


def test_images_that_differ_in_size_are_named(tmp_path):
    images = [*TRAIN[0][:3], cv2.resize(TRAIN[0][3], (9, 8))]
    write_tfds(tmp_path, {"train": (images, [0, 1, 0, 1])})
    source = open_source("tfds:scribbles", "train", str(tmp_path))
    message = user_error(lambda: load_resident(source))
    for part in (
        "image 3 of tfds:scribbles train is 9x8",
        "others are 5x6",
    ):
        assert part in message
