import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import archives
import pytest
from data_helpers import noise_images, user_error, write_tfds

from symskip_jax import cli
from symskip_jax.data import prepare as preparing
from symskip_jax.data.prepare import prepare
from symskip_jax.data.resident import load_resident
from symskip_jax.data.sources import open_source

IMAGES = (noise_images(7, 6, 5, 3), [0, 1, 0, 1, 1, 0, 1])

needs_tensorflow = pytest.mark.skipif(
    not importlib.util.find_spec("tensorflow"), reason="TensorFlow (extra prepare) is not installed"
)


def test_what_is_there_is_left_as_it_is(tmp_path, capfd):
    folder = write_tfds(tmp_path, {"train": IMAGES})
    before = archives.listing(tmp_path)
    assert cli.main(["data", "prepare", "scribbles", "--data_dir", str(tmp_path)]) == 0
    assert "is there already" in (out := capfd.readouterr().out) and str(folder) in out
    assert archives.listing(tmp_path) == before


def test_without_tensorflow_a_line_says_how_to_get_it(tmp_path, monkeypatch):
    write_tfds(tmp_path, {"train": IMAGES}, file_format="tfrecord")
    monkeypatch.setattr(preparing, "find_spec", lambda name: None)
    for name in ("scribbles", "cifar10"):
        message = user_error(lambda name=name: prepare(name, str(tmp_path)))
        assert "-e '.[prepare]'" in message


def test_names_that_are_none(tmp_path):
    assert "NAME[/CONFIG][:VERSION]" in user_error(lambda: prepare("a:b:c", str(tmp_path)))


class Failing:
    """A builder of TFDS whose download breaks off: only that is not the real one."""

    def __init__(self, name: str, data_dir: str, file_format: str):
        self.data_path = f"{data_dir}/{name}/1.0.0"
        self._downloads = Path(data_dir) / "downloads" / name

    def download_and_prepare(self) -> None:
        Path(self.data_path).parent.mkdir()
        for name in ("half.gz.tmp.1a", "whole.gz"):
            (self._downloads / name).mkdir(parents=True)
        raise OSError("Connection\nbroken")


def test_half_a_download_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(preparing, "find_spec", lambda name: True)
    message = user_error(lambda: prepare("cifar11", str(tmp_path)))
    assert "'cifar11' is not known" in message and "'cifar10" in message
    monkeypatch.setattr(preparing.tfds, "builder", Failing)
    message = user_error(lambda: prepare("cifar10", str(tmp_path)))
    assert "tfds:cifar10" in message and "Connection broken" in message
    # What is whole is kept, as the next try would have to fetch it again.
    assert archives.listing(tmp_path) == [
        "downloads",
        "downloads/cifar10",
        "downloads/cifar10/whole.gz",
    ]


# In processes of their own: TensorFlow warns, and is not to be imported into these tests.
def run(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True
    )


WRITE = """
import sys
import numpy as np, tensorflow_datasets as tfds
class Scribbles(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")
    def _info(self):
        image = tfds.features.Image(shape=(6, 5, 3))
        label = tfds.features.ClassLabel(names=["cat", "dog"])
        features = tfds.features.FeaturesDict({"image": image, "label": label})
        return tfds.core.DatasetInfo(builder=self, features=features)
    def _split_generators(self, manager):
        return {"train": self._generate_examples(7), "test": self._generate_examples(2)}
    def _generate_examples(self, count):
        for i in range(count):
            yield i, {"image": np.full((6, 5, 3), i, np.uint8), "label": i % 2}
config = tfds.download.DownloadConfig(num_shards=2)
Scribbles(data_dir=sys.argv[1]).download_and_prepare(download_config=config)
"""

READ = """
import sys
import tensorflow_datasets as tfds
for split in ("train", "test"):
    data = tfds.load("scribbles", split=split, data_dir=sys.argv[1], download=False)
    print([int(it["image"][0, 0, 0]) for it in data])
"""


@needs_tensorflow
def test_tfrecord_is_converted_and_stays(tmp_path):
    result = run(WRITE, tmp_path)
    assert result.returncode == 0, result.stderr
    before = run(READ, tmp_path).stdout
    assert len(before.splitlines()) == 2
    arguments = ["data", "prepare", "scribbles", "--data_dir", str(tmp_path)]
    command = [sys.executable, "-m", "symskip_jax.cli", *arguments]
    folder = tmp_path / "scribbles" / "1.0.0"
    (shard,) = folder.glob("*-train.tfrecord-00000-of-*")
    content = shard.read_bytes()
    listing = archives.listing(tmp_path)

    shard.write_bytes(content[:-3])
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 2 and str(shard) in result.stderr.splitlines()[-1]
    assert archives.listing(tmp_path) == listing

    shard.write_bytes(content)
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[0] == "tfds:scribbles"
    assert run(READ, tmp_path).stdout == before
    for split, expected in zip(("train", "test"), before.splitlines(), strict=True):
        data = load_resident(open_source("tfds:scribbles", split, str(tmp_path)))
        assert data.images_nhwc[:, 0, 0, 0].tolist() == json.loads(expected)
        assert data.labels_n.tolist() == [it % 2 for it in json.loads(expected)]
    assert not list(folder.glob("incomplete*"))


@needs_tensorflow
def test_a_download_that_fails_is_a_line_and_leaves_nothing(tmp_path):
    # Wants archives that a person has to put there.
    arguments = ["data", "prepare", "imagenet2012", "--data_dir", str(tmp_path / "data")]
    command = [sys.executable, "-m", "symskip_jax.cli", *arguments]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 2
    last = result.stderr.splitlines()[-1]
    assert last.startswith("symskip: ") and "imagenet2012" in last
    assert not list(tmp_path.rglob("*incomplete*"))
