"""What a start must not wait for, and what becomes of freed memory."""

import platform
import subprocess
import sys

import pytest

TOUCH = """
import resource, sys
import numpy as np
from symskip_jax import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(2**24)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(faults())
"""


def run(code: str, *arguments: str) -> str:
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be asked")
def test_freed_memory_is_kept_for_the_next_time():
    # A ratio, as one fault may bring in 4 KiB or a huge page of 2 MiB.
    assert 4 * int(run(TOUCH, "keep")) < int(run(TOUCH, "leave"))


def test_neither_plots_nor_tensorboard_hold_up_the_first_step():
    code = "import sys, symskip_jax.experiments.pretrain; print(*sys.modules)"
    assert not {"matplotlib", "tensorboardX", "torch"} & set(run(code).split())
