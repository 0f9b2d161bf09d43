import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from data_helpers import noise_images, user_error, write_tfds
from fake_gcs import BUCKET, FakeGcs, environment, serve

from symskip_jax.data.archives.importing import import_archives
from symskip_jax.data.prepare import prepare
from symskip_jax.data.sources import open_source

needs_gcsfs = pytest.mark.skipif(not find_spec("gcsfs"), reason="gcsfs is not installed")

ADDRESS = f"gs://{BUCKET}/datasets"
SPLITS = {
    "train": (noise_images(40, 6, 5, 3), [n % 2 for n in range(40)]),
    "test": (noise_images(3, 6, 5, 3, seed=1), [1, 0, 1]),
}

# What a person's own process does: open it, read it by threads, and send it to another process.
READ = """
import json, multiprocessing, sys
from concurrent.futures import ThreadPoolExecutor
from symskip_jax.data.sources import open_source
from symskip_jax.errors import UserError

def read(source, index):
    image, label = source[index]
    return [image.tolist(), int(label)]

def main():
    try:
        source = open_source("tfds:scribbles", sys.argv[1], sys.argv[2])
        with ThreadPoolExecutor(4) as threads:
            by_threads = list(threads.map(lambda n: read(source, n), range(len(source))))
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            by_process = pool.starmap(read, [(source, 0), (source, len(source) - 1)])
        labels = source.labels().tolist()
    except UserError as error:
        sys.exit(f"{type(error).__name__}: {error}")
    print(json.dumps([by_threads, by_process, labels]))
    slow = {"tensorflow", "jax"} & set(sys.modules)
    assert not slow, slow

if __name__ == "__main__":
    main()
"""


@pytest.fixture
def bucket(tmp_path):
    write_tfds(tmp_path / "bucket" / "datasets", SPLITS)
    with serve(tmp_path / "bucket") as gcs:
        yield gcs


def run(*arguments: str, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    # As on a machine that has no credentials, and is none of Google's.
    ours = {"NO_GCE_CHECK": "true", "GOOGLE_APPLICATION_CREDENTIALS": "", **variables}
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, **ours},
        capture_output=True,
        text=True,
        timeout=300,
    )


def read(folder: Path, gcs: FakeGcs, *, split: str = "train", address: str = ADDRESS):
    script = folder / "read.py"
    script.write_text(READ)
    return run(str(script), split, address, variables=gcs.environment)


def the_line(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode and "Traceback" not in result.stderr
    (line,) = result.stderr.strip().splitlines()
    return line


@needs_gcsfs
@pytest.mark.parametrize("split", ["train", "test", "train[10:20]"])
def test_a_bucket_is_read_like_a_folder(bucket, tmp_path, split):
    local = open_source("tfds:scribbles", split, str(bucket.root / "datasets"))
    result = read(tmp_path, bucket, split=split)
    assert result.returncode == 0 and not result.stderr, result.stderr
    by_threads, by_process, labels = json.loads(result.stdout)
    assert len(by_threads) == len(local)
    for index, (image, label) in enumerate(by_threads):
        np.testing.assert_array_equal(image, local[index][0])
        assert label == local[index][1] == labels[index]
    assert by_process == [by_threads[0], by_threads[-1]]


@needs_gcsfs
def test_a_bucket_is_listed_by_its_folders_alone(bucket):
    write_tfds(bucket.root / "datasets", SPLITS, config="large", version="2.0.0")
    result = run(
        *("-m", "symskip_jax.cli", "data", "list", "--data_dir", ADDRESS),
        variables=bucket.environment,
    )
    assert result.returncode == 0 and not result.stderr, result.stderr
    for line in ("tfds:scribbles:1.0.0", "tfds:scribbles/large:2.0.0", "train 40, test 3"):
        assert line in result.stdout
    lists = [it for it in bucket.requests if "prefix=" in it and "maxResults=1000" in it]
    assert lists and all("delimiter=/" in it for it in lists)
    assert not [it for it in lists if "1.0.0" in it or "2.0.0" in it]
    assert not [it for it in bucket.requests if "array_record" in it]


@needs_gcsfs
def test_tfds_data_dir_may_be_a_bucket(bucket):
    code = "from symskip_jax.data.sources import open_source as o; print(len(o(*{})))"
    variables = {**bucket.environment, "TFDS_DATA_DIR": f"{ADDRESS}/"}
    result = run("-c", code.format(("tfds:scribbles", "train")), variables=variables)
    assert result.stdout.strip() == "40", result.stderr


@needs_gcsfs
@pytest.mark.parametrize("status", [401, 403])
def test_access_denied_is_one_line(bucket, tmp_path, status):
    bucket.status = status
    line = the_line(read(tmp_path, bucket))
    assert line.startswith(f"UserError: {ADDRESS}") and "access" in line and "gcloud" in line


@needs_gcsfs
def test_access_denied_to_the_records_is_one_line(bucket, tmp_path):
    bucket.status_of_records = 403
    line = the_line(read(tmp_path, bucket))
    assert line.startswith(f"UserError: {ADDRESS}/scribbles/1.0.0") and "access" in line


@needs_gcsfs
@pytest.mark.parametrize("address", ["gs://no-such-bucket/datasets", f"gs://{BUCKET}/nowhere"])
def test_a_folder_that_is_not_there_is_one_line(bucket, tmp_path, address):
    line = the_line(read(tmp_path, bucket, address=address))
    assert line.startswith("MissingDataError: ") and address in line


@needs_gcsfs
def test_a_file_that_is_missing_is_one_line(bucket, tmp_path):
    for file in bucket.root.rglob("scribbles-train*"):
        file.unlink()
    line = the_line(read(tmp_path, bucket))
    assert line.startswith("UserError: ") and "not whole" in line and "404" in line


@needs_gcsfs
def test_a_bucket_that_does_not_answer_is_one_line():
    # gcsfs tries six times, for half a minute: here without the pauses.
    code = (
        "import random; random.random = lambda: -1e9; "
        "import sys; from symskip_jax.cli import main; "
        f"sys.argv = ['symskip', 'data', 'list', '--data_dir', '{ADDRESS}']; sys.exit(main())"
    )
    line = the_line(run("-c", code, variables=environment(port=9)))
    assert line.startswith(f"symskip: {ADDRESS} did not answer") and "127.0.0.1" in line


def test_without_gcsfs_the_extra_is_named(monkeypatch):
    monkeypatch.setattr("symskip_jax.data.gcs.find_spec", lambda name: None)
    message = user_error(lambda: open_source("tfds:scribbles", "train", ADDRESS))
    assert ADDRESS in message and "-e '.[gcs]'" in message


def test_nothing_is_written_to_a_bucket():
    for write in (
        lambda: import_archives("cifar10", ["cifar-10-binary.tar.gz"], ADDRESS),
        lambda: prepare("cifar10", ADDRESS),
    ):
        message = user_error(write)
        assert ADDRESS in message and "gcloud storage cp" in message
