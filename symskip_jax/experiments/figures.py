"""What a run measured on its test images, as an exported file carries it."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from symskip_jax.training.records import read_metrics

# The clock tells apart what is the same run, and so its file.
_LEFT_OUT = ("split", "seconds")
# As strings, since JSON has no such numbers.
_NO_NUMBERS = ("nan", "inf", "-inf")


def figures_of(meta: Mapping[str, Any], step: int, workdir: Path) -> dict[str, Any] | None:
    """Returns what a run measured on its test images last, up to a checkpoint, as JSON holds it.

    Args:
        meta: of the checkpoint; with `figures`, if it was imported and its file had them.
        step: of the checkpoint, in steps of the run.
        workdir: of the run.

    Returns:
        `step`, after which it was, and figures by name; `nan`, `inf` and `-inf` are strings. Empty
        where nothing was measured, None where that was not recorded.
    """
    if "imported" in meta:
        return meta.get("figures")
    if not (workdir / "metrics.jsonl").is_file():
        return None
    tests = [it for it in read_metrics(workdir) if it["split"] == "test" and it["step"] <= step]
    return {
        name: str(value) if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in (tests[-1] if tests else {}).items()
        if name not in _LEFT_OUT
    }


def check_figures(figures: Any) -> None:
    """Checks that figures which a file carries are such as `figures_of` returns.

    Raises:
        AttributeError, KeyError, ValueError: they are not.
    """
    for name, value in figures.items():
        is_number = type(value) in (int, float) and math.isfinite(value)
        if not is_number and value not in _NO_NUMBERS:
            raise ValueError(f"figure {name!r} is {value!r}")
    if figures and type(figures["step"]) is not int:
        raise ValueError(f"figures are of step {figures['step']!r}")
