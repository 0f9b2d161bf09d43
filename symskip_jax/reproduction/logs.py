"""What a run leaves in the folder of results: its logs, and a note of how it was made."""

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from symskip_jax.analysis.files import write_atomically
from symskip_jax.reproduction.datasets import ROLES
from symskip_jax.reproduction.grid import Run, Scale
from symskip_jax.reproduction.notes import NOTE
from symskip_jax.reproduction.sameness import NOMINAL_RUNS
from symskip_jax.training.records import read_metrics
from symskip_jax.training.watching import STATUS

_KINDS = ("*.json", "*.jsonl", "*.png", "*.svg")


def figures(folder: Path) -> dict[str, float]:
    """Returns what a finished run measured, by name: of its last test, or of its JSON file."""
    found: dict[str, Any] = {}
    if (folder / "metrics.jsonl").exists():
        found |= [it for it in read_metrics(folder) if it["split"] == "test"][-1]
    for path in sorted(folder.glob("*.json")):
        if path.name not in (NOTE, STATUS, "config.json"):
            found |= _numbers(json.loads(path.read_text()))
    return {name: value for name, value in found.items() if isinstance(value, int | float)}


def _numbers(content: dict[str, Any]) -> dict[str, Any]:
    """Returns what a command's JSON file says, in one level."""
    if "overall" in content:  # of visualize
        return content["overall"]
    if "layers" in content:  # of probe
        layers = list(content["layers"].values())
        found = {}
        for kind, figure in (("classification", "accuracy"), ("reconstruction", "psnr")):
            values = [it[kind][figure] for it in layers if kind in it]
            if values:
                found |= {f"best_{figure}": max(values), f"deepest_{figure}": values[-1]}
        return found
    return content


def nominal_names(names: Mapping[str, str]) -> dict[str, str]:
    """Returns the datasets' names without where they lie on this machine."""
    return {
        role: it.name if names[role] == it.name else f"{names[role].partition(':')[0]}:{role}"
        for role, it in ROLES.items()
    }


def nominal_command(run: Run, scale: Scale, seed: int, names: Mapping[str, str]) -> str:
    """Returns a command as anyone would type it."""
    return typed(run.command(NOMINAL_RUNS, scale, seed, nominal_names(names)))


def typed(words: Sequence[str]) -> str:
    """Returns a command as a shell takes it."""
    return shlex.join(["symskip", *words])


def collect(
    run: Run, scale: Scale, seed: int, *, runs: Path, results: Path, names: Mapping[str, str]
) -> None:
    """Copies the logs of a finished run, without this machine's paths, to the results.

    Args:
        run: with what it has drawn, where that is what it is for.
        scale: of the run.
        seed: of the run.
        runs: root of the working folders.
        results: root of the results.
        names: of the datasets, by their roles.
    """
    workdir, folder = (run.folder(root, scale, seed) for root in (runs, results))
    folder.mkdir(parents=True, exist_ok=True)
    # Whole folders, as a root alone may be as short as a dot, which stands in numbers too.
    said = {
        str(it.folder(runs, scale, seed)): str(it.folder(NOMINAL_RUNS, scale, seed))
        for it in run.chain()
    }
    said |= {names[it.role]: nominal_names(names)[it.role] for it in run.chain()}
    kinds = _KINDS if run.verb in ("probe", "visualize") else _KINDS[:2]
    paths = [path for kind in kinds for path in workdir.glob(kind) if path.name != STATUS]
    # What another recipe left is no part of these logs; its note goes before they are mixed.
    left = {path for kind in _KINDS for path in folder.glob(kind)}
    stale = left - {folder / path.name for path in paths if path.name != NOTE}
    for path in sorted(stale, key=lambda it: it.name != NOTE):
        path.unlink()
    # The note that it is done comes last: whatever is stopped before is collected again.
    for path in sorted(paths, key=lambda it: it.name == NOTE):
        content = path.read_bytes()
        if path.suffix != ".png":
            text = content.decode()
            for here, nominal in said.items():
                text = text.replace(here, nominal)
            content = text.encode()
        write_atomically(folder / path.name, content)
