#!/usr/bin/env python3
"""Runs the command, and at a moment of its own choice is stopped or crashes.

    python tests/misbehaving.py stop evaluation 2 pretrain --config digits ...

stops (SIGTERM) when the second evaluation begins; `crash` raises what nobody expects.
"""

import contextlib
import os
import signal
import sys

from symskip_jax.cli import main
from symskip_jax.training.timing import Timing

how, activity, number, *words = sys.argv[1:]
begun = 0
begin = Timing.of


@contextlib.contextmanager
def misbehave(self, name):
    global begun
    with begin(self, name):
        begun += name == activity
        if name == activity and begun == int(number):
            if how == "crash":
                raise RuntimeError("on purpose")
            os.kill(os.getpid(), signal.SIGTERM)
        yield


Timing.of = misbehave
sys.exit(main(words))
