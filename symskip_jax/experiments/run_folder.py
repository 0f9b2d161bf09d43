"""What a run left in its folder, finished or not: its configuration, records, status, pictures."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from symskip_jax.errors import UserError
from symskip_jax.experiments.status import look_up
from symskip_jax.training.records import read_metrics

# What a record must have to have a place in a chart.
_PLACE = ("step", "epoch", "split")


class RunFolder(NamedTuple):
    """A run, by what lies in its folder.

    label: the folder's name, with as much of its path as tells it from the others.
    workdir: the folder.
    identity: of `config.json`: `verb`, what else decides what it computes, `config.*` by field.
    records: of `metrics.jsonl`; none where nothing was measured yet.
    status: of `status.json`, as `look_up` returns it.
    """

    label: str
    workdir: Path
    identity: Mapping[str, Any]
    records: Sequence[Mapping[str, Any]]
    status: Mapping[str, Any]

    @property
    def verb(self) -> str:
        """`pretrain` or `finetune`."""
        return self.identity["verb"]

    @property
    def fields(self) -> dict[str, Any]:
        """Returns the fields of the configuration by dotted key."""
        prefix = "config."
        return {k.removeprefix(prefix): v for k, v in self.identity.items() if k.startswith(prefix)}

    def of(self, split: str) -> list[Mapping[str, Any]]:
        """Returns the records of a split."""
        return [record for record in self.records if record["split"] == split]

    def sheets(self) -> list[tuple[int, Path]]:
        """Returns the steps and the paths of the sheets of reconstructions, in order."""
        named = [(path.stem.removeprefix("step_"), path) for path in self._pictures()]
        return sorted((int(step), path) for step, path in named if step.isdecimal())

    def _pictures(self) -> list[Path]:
        return list((self.workdir / "images").glob("step_*.png"))


def read_run_folders(workdirs: Sequence[Path]) -> list[RunFolder]:
    """Reads the folders of runs.

    Args:
        workdirs: of `symskip pretrain` or `symskip finetune`, each another.

    Raises:
        UserError: one is no run's, or cannot be read, or stands there twice.
    """
    resolved = [workdir.resolve() for workdir in workdirs]
    for index, path in enumerate(resolved):
        if path in resolved[:index]:
            raise UserError(f"WORKDIR {workdirs[index]} is named twice: name it once")
    if len(resolved) == 1:
        labels = [resolved[0].name or str(workdirs[0])]
    else:
        common = Path(os.path.commonpath(resolved))
        labels = [str(path.relative_to(common)) for path in resolved]
    return [_read(*pair) for pair in zip(workdirs, labels, strict=True)]


def _read(workdir: Path, label: str) -> RunFolder:
    path = workdir / "config.json"
    if not path.is_file():
        raise UserError(
            f"WORKDIR {workdir} holds no run: no config.json in it; give the --workdir of "
            "`symskip pretrain` or `symskip finetune`"
        )
    try:
        identity = json.loads(path.read_text())
        if not isinstance(identity, dict) or not isinstance(identity.get("verb"), str):
            raise ValueError("it is no configuration of a run")
        has_records = (workdir / "metrics.jsonl").is_file()
        records = read_metrics(workdir) if has_records else []
    except (OSError, ValueError) as error:
        raise UserError(f"{workdir} cannot be read ({error}): its files are damaged") from error
    placed = [it for it in records if isinstance(it, dict) and set(_PLACE) <= it.keys()]
    return RunFolder(label, workdir, identity, placed, look_up(workdir))
