"""Checkpoints: Orbax, asynchronous and atomic, the latest two and the best kept."""

import json
import logging
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy

from symskip_jax.errors import UserError
from symskip_jax.training.seals import check_seal, seal
from symskip_jax.training.state import TrainState

log = logging.getLogger(__name__)

KEEP_LATEST = 2


class Restored(NamedTuple):
    """A state and the facts saved with it."""

    state: Any
    meta: dict[str, Any]


class Checkpoints:
    """The checkpoints of one run.

    A checkpoint is a folder `STEP/` with the state (arrays), the meta (JSON: config, versions and
    what else the run wants to find again), the metrics where there are any, and a seal over state
    and meta, by which a file that was damaged later is found out.
    """

    def __init__(self, folder: Path, best: str) -> None:
        """Opens a folder of checkpoints, making it if missing.

        Args:
            folder: of this run alone; what a killed save left half done is cleaned up.
            best: the evaluation metric (higher is better) whose best checkpoint is kept.
        """
        self.folder = folder.resolve()
        self._saving = 0
        _drop_unreadable_metrics(self.folder, best)
        latest = preservation_policy.LatestN(KEEP_LATEST)
        highest = preservation_policy.BestN(
            get_metric_fn=lambda metrics: metrics[best],
            n=1,
            keep_checkpoints_without_metrics=False,
        )
        options = ocp.CheckpointManagerOptions(
            best_fn=lambda metrics: metrics[best],
            preservation_policy=preservation_policy.AnyPreservationPolicy([latest, highest]),
            cleanup_tmp_directories=True,
            async_options=ocp.AsyncOptions(post_finalization_callback=self._seal),
        )
        self._manager = ocp.CheckpointManager(self.folder, options=options)

    def save(
        self, state: TrainState, meta: dict[str, Any], metrics: dict[str, float] | None = None
    ) -> None:
        """Starts saving a state; the arrays are copied before it returns."""
        step = int(state.step)
        if step in self._manager.all_steps():
            return
        self.wait()
        self._saving = step
        items = ocp.args.Composite(state=ocp.args.StandardSave(state), meta=ocp.args.JsonSave(meta))
        self._manager.save(step, args=items, metrics=metrics, force=True)

    def wait(self) -> None:
        """Waits for the save under way."""
        self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits and lets go."""
        self._manager.close()

    def steps(self) -> list[int]:
        """The steps saved, ascending."""
        return sorted(self._manager.all_steps())

    def restore_latest(self, like: TrainState) -> Restored | None:
        """Restores the latest checkpoint that can be read, or None where there is none.

        One that cannot be read, or was damaged after it was saved, is reported and put aside in
        `../broken_checkpoints`, and the one before is taken. Where none can be read, all are left
        where they are.

        Args:
            like: a state (or ShapeDtypeStructs with shardings) of the same structure.

        Raises:
            UserError: there are checkpoints, and none can be read.
        """
        broken: dict[int, str] = {}
        for step in reversed(self.steps()):
            try:
                restored = self._restore(step, like)
            # Orbax and TensorStore raise whatever they stumble over first.
            except Exception as error:
                broken[step] = _reason(error)
                continue
            for bad, reason in broken.items():
                aside = self._put_aside(bad)
                log.warning(
                    "checkpoint %d cannot be read (%s): put aside in %s, going on from %d",
                    *(bad, reason, aside, step),
                )
            return restored
        if broken:
            step, reason = next(iter(broken.items()))
            raise UserError(
                f"none of the checkpoints {sorted(broken)} in {self.folder} can be read "
                f"({step}: {reason}); choose another --workdir or delete this one to start afresh"
            )
        return None

    def _seal(self) -> None:
        # Orbax calls this when all is written, while the folder still has its temporary name.
        if jax.process_index() == 0:
            for folder in self.folder.iterdir():
                if folder.name.split(".")[0] == str(self._saving):
                    seal(folder, ("state", "meta"))

    def _restore(self, step: int, like: TrainState) -> Restored:
        check_seal(self.folder / str(step))
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        items = ocp.args.Composite(
            state=ocp.args.StandardRestore(abstract), meta=ocp.args.JsonRestore()
        )
        restored = self._manager.restore(step, args=items)
        return Restored(restored["state"], restored["meta"])

    def _put_aside(self, step: int) -> Path:
        aside = self.folder.parent / "broken_checkpoints"
        aside.mkdir(exist_ok=True)
        shutil.rmtree(aside / str(step), ignore_errors=True)
        shutil.move(self.folder / str(step), aside / str(step))
        self._manager.reload()
        return aside


def load_variables(workdir: Path, step: int | None = None) -> Restored:
    """Reads the variables and the meta of a checkpoint of any network, as numpy arrays.

    Args:
        workdir: of the run, or its `checkpoints` folder.
        step: which one; None for the latest that can be read, the others being reported.

    Returns:
        A tree of the whole state, and the meta.

    Raises:
        UserError: there is no checkpoint there, not this one, or it cannot be read or was damaged.
    """
    folder = workdir / "checkpoints" if (workdir / "checkpoints").is_dir() else workdir
    steps = sorted(int(p.name) for p in folder.glob("*") if p.name.isdigit())
    if not steps:
        raise UserError(f"no checkpoint in {workdir}; give the --workdir of a run that saved one")
    if step is not None and step not in steps:
        raise UserError(f"no checkpoint of step {step} in {workdir}; there are {steps}")
    broken: list[str] = []
    for candidate in reversed(steps) if step is None else [step]:
        path = folder.resolve() / str(candidate)
        try:
            check_seal(path)
            state = _read_arrays(path / "state")
            meta = ocp.Checkpointer(ocp.JsonCheckpointHandler()).restore(path / "meta")
        # As above: whatever the libraries stumble over.
        except Exception as error:
            broken.append(f"checkpoint {path} cannot be read ({_reason(error)})")
            continue
        for line in broken:
            log.warning("%s; taking that of step %d", line, candidate)
        return Restored(state, meta)
    mend = "take another run" if step is None else f"there are {steps}"
    raise UserError(f"{broken[0]}; {mend}")


def _read_arrays(path: Path) -> Any:
    """Reads a tree of arrays as numpy, however many devices it was saved from."""
    checkpointer = ocp.PyTreeCheckpointer()
    tree = checkpointer.metadata(path).item_metadata.tree
    as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
    return checkpointer.restore(path, args=ocp.args.PyTreeRestore(restore_args=as_numpy))


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200]


def _drop_unreadable_metrics(folder: Path, best: str) -> None:
    """Orbax opens no folder with one such file in it; the state beside it may well be whole."""
    for path in folder.glob("*/metrics/metrics"):
        try:
            float(json.loads(path.read_text())[best])
        except (OSError, ValueError, KeyError, TypeError):
            log.warning("%s cannot be read; its checkpoint no longer counts as the best", path)
            shutil.rmtree(path.parent)
