"""Runs experiments at the scale of smoke as their names come in, all in this one process.

The process has one device, as a laptop has, and keeps what it has compiled.

    python tests/reproduce_smoke.py FOLDER
"""

import contextlib
import sys
from pathlib import Path

from symskip_jax.cli import main
from symskip_jax.reproduction.command import Hands, reproduce
from symskip_jax.reproduction.machine import describe_machine


def in_this_process(words, log):
    with log.open("a") as out, contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        return main(words)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    for line in sys.stdin:
        with contextlib.redirect_stdout(sys.stderr):
            status = reproduce(
                line.strip(),
                scale="smoke",
                seeds=None,
                only=None,
                dry_run=False,
                data=(),
                runs=folder / "runs",
                results=folder / "results",
                hands=Hands(in_this_process, describe_machine),
            )
        print(status, flush=True)
