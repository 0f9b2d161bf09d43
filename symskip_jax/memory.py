"""How this process's C library treats memory."""

import ctypes
from contextlib import suppress

# The names and numbers of glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8


def keep_freed_memory() -> None:
    """Has the C library keep freed memory for the next time, instead of giving it back.

    Left alone, glibc takes the temporary buffer of every step on a CPU, and the pixels of every
    large image, from the kernel and gives them back, and the kernel clears each page anew. In one
    arena, as the others cannot hold what is larger than 64 MiB. To be called before threads start,
    so before JAX is used; other C libraries than glibc are left alone. docs/performance.md
    says what it gains.
    """
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        mallopt(M_ARENA_MAX, 1)
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, -1)
