"""The scripts of the benchmarks run, on photographs made here."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from command import PATIENCE
from data_helpers import write_image

SCRIPT = Path(__file__).resolve().parent.parent / "benchmarks" / "input.py"
HAS_TENSORFLOW = importlib.util.find_spec("tensorflow") is not None
TINY = ("--records=128", "--rounds=1", "--warm-up=0", "--seconds=0", "--kinds", "crop")


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)


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
    result = run(f"--images={photographs}", cache, f"--out={out}", *TINY)
    assert result.returncode == 0, result.stderr
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
    result = run(f"--cifar10={real_data / 'tfds'}", "--rounds=1", f"--out={out}")
    assert result.returncode == 0, result.stderr
    (measured,) = json.loads(out.read_text())["cifar10"]
    assert measured["images"] == 50000
    assert measured["largest_thing_sent_bytes"] <= 8


def test_without_photographs_of_the_size_one_line_says_so(tmp_path: Path):
    write_image(tmp_path / "small.jpg", np.zeros((8, 8, 3), np.uint8))
    result = run(f"--images={tmp_path}", f"--out={tmp_path / 'it.json'}")
    assert result.returncode == 1
    (line,) = [it for it in result.stderr.splitlines() if "left out" not in it]
    assert line == f"error: none of the 1 JPEGs in {tmp_path} is 500x375"
