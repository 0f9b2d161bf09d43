"""What every contender of `symskip bench step` is given: one configuration, the same arrays.

Contenders that are not JAX's read it too, so nothing here imports JAX.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Problem:
    """A configuration and what to time and check it on.

    Attributes:
        config: every field by dotted key, as `symskip_jax.config.flat` gives them.
        layers: the encoder's table: (kernel, stride, width).
        mean: [C] of the images, on the 0-255 scale.
        std: [C] of the images, on the 0-255 scale.
        images: uint8 [N, H, W, C], what steps draw their batches from.
        corrupted: float32 [B, h, w, C], 0-255: the input of the check.
        clean: float32 [B, h, w, C], 0-255: its target.
        params: the parameters before the first step; nested dicts of float32 arrays.
        batch_stats: the statistics before the first step, likewise.
    """

    config: dict[str, Any]
    layers: list[tuple[int, int, int]]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    images: np.ndarray
    corrupted: np.ndarray
    clean: np.ndarray
    params: dict[str, Any]
    batch_stats: dict[str, Any]

    @property
    def batch_size(self) -> int:
        """B, images a step."""
        return self.config["pretrain.batch_size"]

    @property
    def crop(self) -> tuple[int, int]:
        """(h, w) that the network sees."""
        height, width = self.config["data.crop"]
        return height, width

    @property
    def is_bfloat16(self) -> bool:
        """Whether the network computes in bfloat16; else in float32."""
        return self.config["model.dtype"] == "bfloat16"

    def save(self, folder: Path) -> None:
        """Writes it into a folder."""
        facts = {name: getattr(self, name) for name in _FACTS}
        (folder / "problem.json").write_text(json.dumps(facts))
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        for tree in _TREES:
            arrays |= {f"{tree}/{name}": x for name, x in _flat(getattr(self, tree)).items()}
        np.savez(folder / "arrays.npz", **arrays)

    @classmethod
    def load(cls, folder: Path) -> "Problem":
        """Reads what `save` wrote."""
        facts = json.loads((folder / "problem.json").read_text())
        facts["layers"] = [tuple(layer) for layer in facts["layers"]]
        with np.load(folder / "arrays.npz") as archive:
            arrays = dict(archive)
        trees: dict[str, Any] = {tree: {} for tree in _TREES}
        for name, value in arrays.items():
            *parents, leaf = name.split("/")
            if parents:
                node = trees
                for parent in parents:
                    node = node.setdefault(parent, {})
                node[leaf] = value
        return cls(**facts, **{name: arrays[name] for name in _ARRAYS}, **trees)


_FACTS = ("config", "layers", "mean", "std")
_ARRAYS = ("images", "corrupted", "clean")
_TREES = ("params", "batch_stats")


def _flat(tree: dict[str, Any]) -> dict[str, np.ndarray]:
    flat = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat |= {f"{key}/{name}": leaf for name, leaf in _flat(value).items()}
        else:
            flat[key] = np.asarray(value)
    return flat
