"""`symskip bench input`, on photographs made here."""

import importlib.util
import json
from pathlib import Path

import command
import cv2
import numpy as np
import pytest
from data_helpers import write_image

HAS_TENSORFLOW = importlib.util.find_spec("tensorflow") is not None
TINY = ("--records=128", "--rounds=1", "--warmup=0", "--seconds=0", "--kinds", "crop")


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    coarse = np.random.default_rng(0).integers(0, 256, (3, 15, 20, 3), np.uint8)
    for number, pixels in enumerate(coarse):
        smooth = cv2.resize(pixels, (500, 375), interpolation=cv2.INTER_CUBIC)
        write_image(tmp_path / "photographs" / f"{number}.jpg", smooth)
    write_image(tmp_path / "photographs" / "of another size.jpg", coarse[0])
    return tmp_path / "photographs"


def test_streaming_is_timed_and_no_folder_is_told(photographs: Path, tmp_path: Path):
    out = tmp_path / "results" / "it.json"
    cache = f"--cache={tmp_path / 'cache'}"
    result = command.succeed(
        "bench", "input", f"--images={photographs}", cache, f"--out={out}", *TINY
    )
    results = json.loads(out.read_text())
    assert results["setting"]["different_photographs"] == 3
    assert str(tmp_path) not in out.read_text()
    (measured,) = results["streaming"]["crop"]
    assert set(measured) == (
        {"ours", "tf.data", "tf.data, no shuffle buffer"} if HAS_TENSORFLOW else {"ours"}
    )
    for reader, figures in measured.items():
        assert figures["cpu_ms_per_image"] >= 0  # in ticks of the clock, and this is short
        assert min(figures[it] for it in ("images_per_s", "first_batch_s", "peak_mib")) > 0
        assert f"| {reader} | {figures['images_per_s']:.0f} |" in result.stdout
    if HAS_TENSORFLOW:
        assert results["same_windows"]["mean_difference"] < 3
    else:
        assert "tf.data is left out" in result.stderr


def test_cifar10_is_loaded_and_only_scalars_are_sent(real_data: Path, tmp_path: Path):
    out = tmp_path / "it.json"
    data = real_data / "tfds"
    command.succeed("bench", "input", f"--cifar10={data}", "--rounds=1", f"--out={out}")
    (measured,) = json.loads(out.read_text())["cifar10"]
    assert measured["images"] == 50000
    assert measured["largest_thing_sent_bytes"] <= 8


def test_without_photographs_of_the_size_one_line_says_so(tmp_path: Path):
    write_image(tmp_path / "small.jpg", np.zeros((8, 8, 3), np.uint8))
    result = command.run("bench", "input", f"--images={tmp_path}", f"--out={tmp_path / 'it.json'}")
    assert result.returncode == 2
    (line,) = [it for it in result.stderr.splitlines() if "left out" not in it]
    assert line == f"symskip: none of the 1 JPEGs in {tmp_path} is 500x375"
