"""The working folder of a run: whose turn it is there, and whether it holds the run at all."""

import contextlib
import fcntl
import json
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from symskip_jax.config import flat, load_config
from symskip_jax.reproduction.grid import Run, Scale
from symskip_jax.reproduction.notes import NOTE, read_note
from symskip_jax.reproduction.sameness import holds, read_identity, same_words
from symskip_jax.training.workdir import write_json


@contextlib.contextmanager
def locked(workdir: Path, wait: Callable[[str], None] | None = None) -> Iterator[str]:
    """Keeps other processes that share the working folders out of one, within.

    A command that is started within holds the lock too, should it outlive this process.

    Args:
        workdir: need not exist.
        wait: told who holds it, who is then waited for; None not to wait.

    Yields:
        "", or who holds it where that is someone else.
    """
    # Beside the folder, which may be moved away.
    path = workdir.with_name(f"{workdir.name}.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "another process"
            if wait is None:
                yield holder
                return
            wait(holder)
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:  # a file system without locks
            yield ""
            return
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        os.set_inheritable(file.fileno(), True)
        yield ""


def make_way(
    run: Run, scale: Scale, seed: int, *, runs: Path, names: Mapping[str, str]
) -> Path | None:
    """Moves what is not this run out of its working folder, or lets its command go on there.

    Args:
        run: whose command comes next.
        scale: of the run.
        seed: its own.
        runs: root of the working folders.
        names: of the datasets, by their roles.

    Returns:
        Where another recipe's run, or one from other sources, was moved; None where none was.
    """
    folder = run.folder(runs, scale, seed)
    note, found = read_note(folder), read_identity(folder)
    if run.is_training and not found:  # nothing trained yet
        is_ours = not note or same_words(run, scale, seed, note)
    else:
        is_ours = not _any_result(folder) or holds(run, folder, scale, seed, runs)
    if not is_ours:
        return _move_aside(folder)
    if run.is_training and found:
        _say_anew(run, scale, seed, runs, names)
    return None


def _any_result(folder: Path) -> bool:
    return (folder / NOTE).exists() or any(folder.glob("*.json"))


def _move_aside(folder: Path) -> Path:
    number = 1
    while (aside := folder.with_name(f"{folder.name}.old-{number}")).exists():
        number += 1
    return folder.rename(aside)


def _say_anew(run: Run, scale: Scale, seed: int, runs: Path, names: Mapping[str, str]) -> None:
    """Lets `config.json` say what the command will say of itself where that changes nothing.

    Such as where its data and its source lie, how often is saved, and how another command would
    go: the command goes on only where it finds all of it as it was.
    """
    folder = run.folder(runs, scale, seed)
    path = folder / "config.json"
    raw = json.loads(path.read_text())
    fields = flat(load_config(run.config, run.overrides(seed, names[run.role])))
    said = {it: value for it, value in raw.items() if not it.startswith("config.")}
    # How a run is probed afterwards is not noted there.
    said |= {f"config.{it}": value for it, value in fields.items() if not it.startswith("probe.")}
    if run.source is not None:
        said["init"] = str(run.source.folder(runs, scale, seed))
    if said != raw:
        write_json(path, said)
