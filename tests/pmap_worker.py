"""Takes the steps of test_devices.py under pmap, as one of several processes.

    python pmap_worker.py ADDRESS PROCESSES NUMBER OUT KIND...

Process 0 leaves OUT, an archive of what `test_devices.compared` gives of each training.
"""

import sys

import jax


def main() -> None:
    """Runs it."""
    address, processes, number, out, *kinds = sys.argv[1:]
    jax.distributed.initialize(address, int(processes), int(number))
    import numpy as np
    import test_devices  # whose arrays are made where it is imported: of a process that has joined

    arrays = {}
    for kind in kinds:
        steps = list(test_devices.take_under_pmap(kind, test_devices.DEVICES))
        for place, leaf in enumerate(jax.tree.leaves(test_devices.compared(steps))):
            arrays[f"{kind} {place}"] = leaf
    if not jax.process_index():
        np.savez(out, **arrays)


if __name__ == "__main__":
    main()
