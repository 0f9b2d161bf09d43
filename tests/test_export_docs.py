"""What docs/export.md and the model cards show works as it stands."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exported import THREE_LAYERS, save_run
from torch_reference import torch

from symskip_jax import cli

PAGE = Path(__file__).resolve().parent.parent / "docs" / "export.md"
FORMATS = ("safetensors", "onnx", "stablehlo")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """With the files that the page names."""
    folder = tmp_path_factory.mktemp("files")
    save_run(folder / "run", *THREE_LAYERS)
    for form in FORMATS:
        out = folder / f"autoencoder.{form}"
        assert cli.main(["export", str(folder / "run"), f"--format={form}", f"--out={out}"]) == 0
    return folder


def blocks(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page, re.DOTALL)


def run(code: str, names: dict[str, Any]) -> dict[str, Any]:
    exec(compile(code, "page", "exec"), names)
    return names


def test_the_page(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {}
    for code in blocks(PAGE.read_text()):
        run(code, names)
    assert names["rebuilt"].shape == (2, 3, 45, 60)
    assert len(names["encoder"]) == 3 and names["mean"].shape == (3, 1, 1)
    assert names["scores"].shape == (2, 10)
    for ours, theirs in zip(names["classifier"].encoder, names["encoder"], strict=True):
        assert torch.equal(ours.conv.weight, theirs.conv.weight)
    # One network, whatever runs it.
    with torch.no_grad():
        expected = names["model"](torch.tensor(names["pixels"]).permute(0, 3, 1, 2))
    for got in (names["output"], np.asarray(names["result"])):
        np.testing.assert_allclose(got, expected.permute(0, 2, 3, 1), atol=255e-4)


@pytest.mark.parametrize("form", FORMATS)
def test_a_card(form: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    (code,) = blocks((folder / f"autoencoder.{form}.md").read_text())
    images = np.zeros((1, 45, 60, 3), np.uint8)
    if form == "safetensors":
        images = torch.tensor(images.transpose(0, 3, 1, 2))
    assert run(code, {"images": images})["outputs"].shape == images.shape


def test_the_fields_of_the_metadata(folder: Path) -> None:
    """The page names them all, and no others."""
    from safetensors import safe_open

    with safe_open(folder / "autoencoder.safetensors", framework="numpy") as file:
        document = json.loads(file.metadata()["symskip_jax"])
    sentence = re.search(r"`network` has (.*?); `run`", PAGE.read_text(), re.DOTALL)
    assert sentence is not None
    assert set(re.findall(r"`(\w+)`", sentence[1])) == set(document["network"])
