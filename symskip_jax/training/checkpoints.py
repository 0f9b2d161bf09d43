"""Checkpoints: Orbax, asynchronous and atomic, the latest two and the best kept."""

import contextlib
import json
import logging
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from orbax.checkpoint.checkpoint_managers import preservation_policy

from symskip_jax.data.gcs import is_bucket
from symskip_jax.errors import UnsavedError, UserError
from symskip_jax.training.processes import is_first, several, told_by_each, told_by_first
from symskip_jax.training.seals import check_seal, seal
from symskip_jax.training.state import TrainState

log = logging.getLogger(__name__)

# Seconds before the tries to save once more what a run ends with.
RETRY_AFTER = (1.0, 5.0, 10.0)


class _Manager(ocp.CheckpointManager):
    """Orbax's manager, which leaves it to the loop to ask whether the run is to stop."""

    def reached_preemption(self, step: int) -> bool:
        return False

    def outdated(self) -> list[int]:
        """Returns the steps that are kept no longer, once more metrics are known."""
        return self._get_old_steps_to_remove()


class _Save(NamedTuple):
    """What was asked to be saved."""

    step: int
    meta: dict[str, Any]
    metrics: dict[str, float] | None


class Restored(NamedTuple):
    """A state and the facts saved with it.

    Attributes:
        state: tree of the run's `TrainState`: `step`, `params`, `batch_stats`, `opt_state`, `key`.
        meta: `config` (by dotted key), `verb`, `normalization`, `channels` and what else the run
            has saved; plain JSON.
    """

    state: Any
    meta: dict[str, Any]


class Checkpoints:
    """The checkpoints of one run; what it does is for all processes.

    A checkpoint is a folder `STEP/` with the state (arrays), the meta (JSON: config, versions and
    what else the run wants to find again), the metrics where there are any, and a seal over state
    and meta, by which a file that was damaged later is found out.

    A save that fails is reported and owed: the run goes on, and the next one makes up for it.
    """

    def __init__(
        self,
        folder: Path,
        best: str,
        keep: int = 2,
        *,
        before_save: Callable[[], None] = lambda: None,
    ) -> None:
        """Opens a folder of checkpoints, making it if missing.

        Args:
            folder: of this run alone; what a killed save left half done is cleaned up.
            best: the evaluation metric (higher is better) whose best checkpoint is kept.
            keep: how many of the latest are kept besides.
            before_save: called first of all, so that what a checkpoint goes with is there too.
        """
        self.folder = _absolute(folder)
        self._before_save = before_save
        self._best = best
        self._keep = keep
        self._saving: _Save | None = None
        self._problem = ""
        self._failed: _Save | None = None
        if is_first():
            _drop_unreadable_metrics(self.folder, best)
        told_by_first("")  # the others look when they are gone
        self._manager = self._open()

    def save(
        self,
        state: TrainState,
        meta: dict[str, Any],
        metrics: dict[str, float] | None = None,
    ) -> None:
        """Starts saving a state; the arrays are copied before it returns.

        A step that is saved already is left alone.

        Args:
            state: of a run.
            meta: saved with it.
            metrics: of the evaluation after its step.
        """
        self._before_save()
        self.settle()
        save = _Save(int(state.step), meta, metrics)
        if save.step not in self._manager.all_steps():
            self._start(state, save)

    def measured(self, step: int, metrics: dict[str, float]) -> None:
        """Adds to a checkpoint what an evaluation measured later; the rest of it stays as it is.

        Where that fails it is reported, and the checkpoint stays without.

        Args:
            step: that is saved, without metrics.
            metrics: of the evaluation after it.
        """
        self._before_save()
        self.settle()
        problem = _attempt(lambda: _add_metrics(self.folder, step, metrics)) if is_first() else ""
        problem = told_by_first(problem)
        if problem:
            log.warning("what step %d measures could not be saved (%s)", step, problem)
            return
        self._manager.reload()
        self.tidy()

    def tidy(self) -> None:
        """Deletes what is kept no longer, as a start that was killed after a save may leave it."""
        for outdated in json.loads(told_by_first(json.dumps(self._manager.outdated()))):
            self._manager.delete(outdated)

    def is_measured(self, step: int) -> bool:
        """Whether the checkpoint of a step has metrics; the same on all processes."""
        path = _metrics_of(self.folder / str(step))
        return bool(told_by_first("yes" if is_first() and path.exists() else ""))

    def settle(self) -> None:
        """Waits for the save under way, and reports it if it failed."""
        problem = _attempt(self._manager.wait_until_finished)
        save, self._saving = self._saving, None  # the seal needs it until then
        # A process that failed may be the only one that knows.
        problem = next(filter(None, told_by_each(problem)), "")
        if problem and save is not None:
            self._fail(save, problem)

    def owes_a_save(self) -> bool:
        """Whether the last save is known to have failed; the same on all processes."""
        # Several processes learn of it when they meet for the next one.
        if not several() and not self._manager.is_saving_in_progress():
            self.settle()
        return bool(self._problem)

    def finish(self, state: TrainState, what: str) -> None:
        """Waits until the state, the last one that was given to `save`, is saved.

        Args:
            state: of the last `save`.
            what: has happened to the run, for the message.

        Raises:
            UnsavedError: it cannot be saved, tried again and again.
        """
        for patience in (*RETRY_AFTER, None):
            last = self._saving or self._failed
            self.settle()
            if not self._problem or last is None:
                return
            if patience is not None:
                time.sleep(patience)
                self._start(state, last)
        saved = self.steps()
        whole = (
            f"the last whole checkpoint is that of step {saved[-1]}" if saved else "none is whole"
        )
        raise UnsavedError(
            f"{what}, but step {int(state.step)} could not be saved in {self.folder} "
            f"({self._problem}); {whole}; mend that, and the same command goes on from there"
        )

    def close(self) -> None:
        """Waits and lets go."""
        self.settle()
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
        # Not all hosts may see a folder of theirs alike at once.
        for step in reversed(json.loads(told_by_first(json.dumps(self.steps())))):
            restored = self._restore(step, like)
            if isinstance(restored, str):
                broken[step] = restored
                continue
            for bad, reason in broken.items():
                log.warning(
                    "checkpoint %d cannot be read (%s): put aside in %s, going on from %d",
                    *(bad, reason, self._put_aside(bad), step),
                )
            return restored
        if broken:
            step, reason = next(iter(broken.items()))
            raise UserError(
                f"none of the checkpoints {sorted(broken)} in {self.folder} can be read "
                f"({step}: {reason}); choose another --workdir or delete this one to start afresh"
            )
        return None

    def _open(self) -> "_Manager":
        latest = preservation_policy.LatestN(self._keep)
        highest = preservation_policy.BestN(
            get_metric_fn=lambda metrics: metrics[self._best],
            n=1,
            keep_checkpoints_without_metrics=False,
        )
        options = ocp.CheckpointManagerOptions(
            best_fn=lambda metrics: metrics[self._best],
            preservation_policy=preservation_policy.AnyPreservationPolicy([latest, highest]),
            cleanup_tmp_directories=True,
            async_options=ocp.AsyncOptions(post_finalization_callback=self._seal),
        )
        return _Manager(self.folder, options=options)

    def _start(self, state: TrainState, save: "_Save") -> None:
        problem = told_by_first(
            why_unwritable(self.folder, _num_bytes(state)) if is_first() else ""
        )
        if problem:
            self._fail(save, problem)
            return
        self._saving, self._problem, self._failed = save, "", None
        items = ocp.args.Composite(
            state=ocp.args.StandardSave(state), meta=ocp.args.JsonSave(save.meta)
        )
        problem = _attempt(
            lambda: self._manager.save(save.step, args=items, metrics=save.metrics, force=True)
        )
        problem = next(filter(None, told_by_each(problem)), "")
        if problem:
            self._saving = None
            self._fail(save, problem)

    def _fail(self, save: "_Save", problem: str) -> None:
        self._problem, self._failed = problem, save
        log.warning(
            "step %d could not be saved (%s); the run goes on and tries again", save.step, problem
        )
        # It may believe the step saved; what it left half done is in the way, and takes room.
        _attempt(self._manager.close)
        self._manager = self._open()

    def _seal(self) -> None:
        # Orbax calls this when all is written, while the folder still has its temporary name.
        if is_first() and self._saving is not None:
            for folder in self.folder.iterdir():
                if folder.name.split(".")[0] == str(self._saving.step):
                    seal(folder, ("state", "meta"))

    def _restore(self, step: int, like: TrainState) -> "Restored | str":
        """Returns a checkpoint, or why it cannot be read: the same on all processes."""
        folder = self.folder / str(step)
        damage = told_by_first(_attempt(lambda: check_seal(folder)) if is_first() else "")
        if damage:
            return damage
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        items = ocp.args.Composite(
            state=ocp.args.StandardRestore(abstract), meta=ocp.args.JsonRestore()
        )
        found: list[Restored] = []

        def read() -> None:
            restored = self._manager.restore(step, args=items)
            found.append(Restored(restored["state"], restored["meta"]))

        problem = next(filter(None, told_by_each(_attempt(read))), "")
        return problem or found[0]

    def _put_aside(self, step: int) -> epath.Path:
        aside = self.folder.parent / "broken_checkpoints"
        if is_first():
            aside.mkdir(parents=True, exist_ok=True)
            if (aside / str(step)).exists():
                (aside / str(step)).rmtree()
            (self.folder / str(step)).rename(aside / str(step))
        told_by_first("")  # the others look when it is gone
        self._manager.reload()
        return aside


def find_checkpoints(workdir: Path) -> tuple[Path, list[int]]:
    """Returns the folder of the checkpoints of a run and their steps, in order; reads none.

    Args:
        workdir: of the run, or its `checkpoints` folder.

    Raises:
        UserError: there is none.
    """
    folder = workdir / "checkpoints" if (workdir / "checkpoints").is_dir() else workdir
    steps = sorted(int(p.name) for p in folder.glob("*") if p.name.isdigit())
    if not steps:
        raise UserError(f"no checkpoint in {workdir}; name the folder of a run that saved one")
    return folder, steps


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
    folder, steps = find_checkpoints(workdir)
    if step is not None and step not in steps:
        raise UserError(f"no checkpoint of step {step} in {workdir}; there are {steps}")
    broken: list[str] = []
    for candidate in reversed(steps) if step is None else [step]:
        path = _absolute(folder) / str(candidate)
        try:
            check_seal(path)
            state = _read_arrays(path / "state")
            meta = _read_meta(path)
        # As above: whatever the libraries stumble over.
        except Exception as error:
            broken.append(f"checkpoint {path} cannot be read ({_reason(error)})")
            continue
        for line in broken:
            log.warning("%s; taking that of step %d", line, candidate)
        return Restored(state, meta)
    mend = "take another run" if step is None else f"there are {steps}"
    raise UserError(f"{broken[0]}; {mend}")


def read_meta(workdir: Path) -> dict[str, Any]:
    """Returns the meta of the latest checkpoint where it can be read; empty where it cannot."""
    steps = sorted(int(p.name) for p in (workdir / "checkpoints").glob("*") if p.name.isdigit())
    for step in reversed(steps):
        with contextlib.suppress(Exception):  # whatever the libraries stumble over
            return _read_meta(_absolute(workdir / "checkpoints") / str(step))
    return {}


def _read_meta(path: epath.Path) -> dict[str, Any]:
    return ocp.Checkpointer(ocp.JsonCheckpointHandler()).restore(path / "meta")


def _read_arrays(path: Path) -> Any:
    """Reads a tree of arrays as numpy, however many devices it was saved from."""
    checkpointer = ocp.PyTreeCheckpointer()
    tree = checkpointer.metadata(path).item_metadata.tree
    as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
    return checkpointer.restore(path, args=ocp.args.PyTreeRestore(restore_args=as_numpy))


def why_unwritable(folder: epath.Path, num_bytes: int) -> str:
    """Returns why so many bytes cannot be written to a folder, if that can be seen; else ""."""
    if is_bucket(folder):
        return ""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return error.strerror or str(error)
    if free < num_bytes:
        return (
            f"{num_bytes / 2**20:,.1f} MiB are to be written and {free / 2**20:,.1f} MiB are free"
        )
    return ""


def _num_bytes(state: TrainState) -> int:
    return sum(leaf.nbytes for leaf in jax.tree.leaves(state))


def _absolute(folder: Path) -> epath.Path:
    return epath.Path(folder if is_bucket(folder) else folder.resolve())


def _attempt(do: Callable[[], Any]) -> str:
    """Returns what went wrong, or ""; Orbax and TensorStore raise whatever they stumble over."""
    try:
        do()
    except Exception as error:
        return _reason(error)
    return ""


# What an operating system says of a disk, in the middle of what libraries say.
_DISK = re.compile(
    "no space left on device|read-only file system|disk quota exceeded|file too large"
    "|input/output error|permission denied|stale file handle",
    re.IGNORECASE,
)


def _reason(error: Exception) -> str:
    if found := _DISK.search(str(error)):
        return found[0]
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200]


def _metrics_of(checkpoint: epath.Path) -> epath.Path:
    return checkpoint / "metrics" / "metrics"


def _add_metrics(folder: epath.Path, step: int, metrics: dict[str, float]) -> None:
    """Writes metrics as Orbax does, in one stroke: they are there whole or not at all."""
    target = _metrics_of(folder / str(step))
    if is_bucket(folder):
        target.write_text(json.dumps(metrics))
        return
    partial = folder.parent / "metrics.partial"
    partial.mkdir(exist_ok=True)
    (partial / target.name).write_text(json.dumps(metrics))
    partial.rename(target.parent)


def _drop_unreadable_metrics(folder: epath.Path, best: str) -> None:
    """Orbax opens no folder with one such file in it; the state beside it may well be whole."""
    for path in folder.glob("*/metrics/metrics"):
        try:
            float(json.loads(path.read_text())[best])
        except (OSError, ValueError, KeyError, TypeError):
            log.warning("%s cannot be read; its checkpoint no longer counts as the best", path)
            path.parent.rmtree()
