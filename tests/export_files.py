"""Exported files: written by the command, changed by somebody, and what their cards say."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors.numpy
from safetensors import safe_open

from symskip_jax import cli


def symskip(*words: object) -> int:
    return cli.main([*map(str, words)])


def export(workdir: Path, out: Path, *more: str) -> Path:
    assert symskip("export", workdir, "--format", "safetensors", "--out", out, *more) == 0
    return out


def rewritten(file: Path, out: Path, change: Callable[[dict, dict], None]) -> Path:
    """Writes a file whose tensors and document somebody changed."""
    with safe_open(file, framework="numpy") as tensors:
        document = json.loads(tensors.metadata()["symskip_jax"])
    arrays = safetensors.numpy.load_file(file)
    change(arrays, document)
    safetensors.numpy.save_file(arrays, out, {"symskip_jax": json.dumps(document)})
    return out


def how_learnt(file: Path) -> str:
    """Returns the first sentence of what a card says of the data."""
    card = file.with_name(f"{file.name}.md").read_text()
    (found,) = re.findall(r"^## Data\n\n(.*) Licence of the data: unknown\.$", card, re.MULTILINE)
    return found


def sections(file: Path) -> dict[str, str]:
    """Returns what a card says, by heading."""
    card = file.with_name(f"{file.name}.md").read_text()
    _, *found = re.split(r"^## (.*)\n", card, flags=re.MULTILINE)
    return {k: v.strip() for k, v in zip(found[::2], found[1::2], strict=True)}


def settings(text: str) -> dict[str, Any]:
    """Returns the settings in a section of a card."""
    (block,) = re.findall(r"```text\n(.*?)\n```", text, re.DOTALL)
    return {k: json.loads(v) for k, v in (line.split(" = ") for line in block.splitlines())}
