"""Whether what a folder holds is what would be run today, from the sources that there are today."""

import functools
import json
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from symskip_jax.config import base_config, flat, load_config
from symskip_jax.reproduction.datasets import ROLES
from symskip_jax.reproduction.grid import Run, Scale
from symskip_jax.reproduction.notes import read_note
from symskip_jax.training.logs import read_metrics

# Where commands are said to have run, whatever --runs was.
NOMINAL_RUNS = Path("runs/reproduce")

# Where data lies, how it is read, how often is saved and measured: nothing of what comes out.
_PASSED_OVER = (
    *(f"data.{it}" for it in ("name", "data_dir", "input", "threads", "workers")),
    *("data.read_retries", "data.bad_image", "run."),
)


def is_done(run: Run, root: Path, scale: Scale, seed: int, results: Path | None = None) -> bool:
    """Whether one seed of a run has finished below a root, and is what would be run today.

    That is: with the recipe of today, from sources that are done themselves and were then what
    they are now. Sources are looked for in the results, as working folders are not kept for ever.

    Args:
        run: the run.
        root: of results or of working folders.
        scale: of the run.
        seed: of the experiment.
        results: the root of the results; None for `root`.
    """
    results, seed = results or root, run.seed(seed)
    folder = run.folder(root, scale, seed)
    return (
        bool(read_note(folder).get("done"))
        and holds(run, folder, scale, seed, results)
        and all(is_done(it, results, scale, seed) for it in run.sources())
    )


def holds(run: Run, folder: Path, scale: Scale, seed: int, sources: Path) -> bool:
    """Whether a folder holds one seed of a run, begun or finished, by its recipe and its sources.

    Args:
        run: the run.
        folder: of it.
        scale: of it.
        seed: its own.
        sources: root below which what it starts from is.
    """
    note = read_note(folder)
    if run.is_training:
        found = read_identity(folder)
        if not _agree(found, recipe(run, seed)):
            return False
        if run.source is not None and not _same_length(found, run.source, sources, scale, seed):
            return False
    elif not same_words(run, scale, seed, note) or not _agree_if_noted(
        note.get("recipe"), recipe(run, seed)
    ):
        return False
    noted, wanted = note.get("sources"), source_recipes(run, seed)
    # Logs of old do not tell: that the sources have today's recipe is all that is known of them.
    return noted is None or (
        noted.keys() == wanted.keys() and all(_agree(noted[it], wanted[it]) for it in wanted)
    )


def recipe(run: Run, seed: int) -> dict[str, Any]:
    """Returns the fields that decide what comes out of a run; none where they are its source's."""
    return dict(_recipe(run.config, tuple(run.overrides(seed, "")), run.verb)) if run.config else {}


def source_recipes(run: Run, seed: int) -> dict[str, dict[str, Any]]:
    """Returns the recipes of all that a run starts from, by experiment and name."""
    sources = [it for it in run.chain() if it is not run]
    return {f"{it.experiment}/{it.name}": recipe(it, it.seed(seed)) for it in sources}


def same_words(run: Run, scale: Scale, seed: int, note: Mapping[str, Any]) -> bool:
    """Whether a note is of the very command of one seed of a run, wherever its data was."""
    wanted = run.command(NOMINAL_RUNS, scale, seed, dict.fromkeys(ROLES, "DATA:DATA"))
    found = shlex.split(note.get("command", ""))[1:]
    return len(found) == len(wanted) and all(
        re.fullmatch(re.escape(one).replace("DATA:DATA", ".*").replace("DATA", ".*"), other)
        for one, other in zip(wanted, found, strict=True)
    )


def read_identity(folder: Path) -> dict[str, Any]:
    """Returns the fields of a training's `config.json` by name; empty where there is none."""
    try:
        found = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError):
        return {}
    return {key.removeprefix("config."): value for key, value in found.items()}


@functools.lru_cache(maxsize=4096)
def _recipe(config: str, overrides: tuple[str, ...], verb: str) -> Mapping[str, Any]:
    # The recipes of other commands change nothing either.
    others = {"pretrain", "finetune", "probe"} - {verb}
    passed_over = (*_PASSED_OVER, *(f"{section}." for section in others))
    fields = flat(load_config(config, overrides))
    return {key: value for key, value in fields.items() if not key.startswith(passed_over)}


@functools.cache
def _usual() -> Mapping[str, Any]:
    return flat(base_config())


def _agree(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether fields are those wanted; one that there was not yet had the value it has unset."""
    return bool(found) and all(
        found.get(key, _usual()[key]) == value for key, value in wanted.items()
    )


def _agree_if_noted(found: Mapping[str, Any] | None, wanted: Mapping[str, Any]) -> bool:
    return not found or _agree(found, wanted)


def _same_length(
    found: Mapping[str, Any], source: Run, root: Path, scale: Scale, seed: int
) -> bool:
    """Whether a training started from the last step of its source, as far as both tell."""
    folder = source.folder(root, scale, seed)
    started = found.get("init_step")
    if started is None or not (folder / "metrics.jsonl").exists():
        return True
    return all(it.get("step", started) == started for it in read_metrics(folder)[-1:])
