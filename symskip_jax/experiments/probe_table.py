"""The table that `symskip probe` prints, a row a layer."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

# Beside the columns that are always there.
_MORE = {"knn": "kNN", "few_shot": "few-shot"}


def header(kinds: Sequence[str]) -> str:
    """Returns the heads of the columns, those of some kinds only where they are asked for."""
    more = "".join(f"{head:>16}" for kind, head in _MORE.items() if kind in kinds)
    heads = f"{'layer':<18}{'size':>12}{'features':>10}{'accuracy':>10}{'PSNR':>10}"
    return f"{heads}{more}{'seconds':>9}"


def row(name: str, layer: Mapping[str, Any], kinds: Sequence[str]) -> str:
    """Returns one layer's row.

    Args:
        name: of the layer.
        layer: its `shape`, and what was measured by kind.
        kinds: as `header` has them.
    """
    size = "x".join(str(n) for n in layer["shape"])
    features = f"{math.prod(layer['shape']):,}"
    accuracy, psnr = "-", "-"
    if "classification" in layer:
        features = f"{layer['classification']['features']:,}"
        accuracy = f"{layer['classification']['accuracy']:.2%}"
    if "reconstruction" in layer:
        psnr = f"{layer['reconstruction']['psnr']:.2f} dB"
    more = "".join(f"{_few(layer.get(kind)):>16}" for kind in _MORE if kind in kinds)
    measured = [it for it in layer.values() if isinstance(it, Mapping)]
    seconds = sum(it["seconds"] for it in measured)
    return f"{name:<18}{size:>12}{features:>10}{accuracy:>10}{psnr:>10}{more}{seconds:>9.1f}"


def _few(measured: Mapping[str, Any] | None) -> str:
    if measured is None:
        return "-"
    spread = f" ± {100 * measured['std']:.2f}" if "std" in measured else ""
    return f"{100 * measured['accuracy']:.2f}{spread}%"
