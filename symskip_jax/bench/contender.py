"""What a worker can be asked to do, and what it knows of itself."""

import resource
import sys
from pathlib import Path
from typing import Any, Protocol

from symskip_jax.bench.problem import Problem
from symskip_jax.errors import UserError
from symskip_jax.extras import how_to_install


class Contender(Protocol):
    """One way to take the pre-training step of a problem.

    Whatever it returns can be written as JSON. It waits for its device before it returns.
    """

    def facts(self) -> dict[str, Any]:
        """Returns `platform` (cpu, gpu, tpu), `device` and what else the results should tell."""
        ...

    def run(self, steps: int) -> None:
        """Takes steps from where the last ones ended; begins anew after a check."""
        ...

    def check(self) -> dict[str, float]:
        """Takes two steps from the problem's parameters on its corrupted and clean images.

        Returns:
            `loss` before the first step, `loss_after` it and `gradient_norm` of the first step.
        """
        ...

    def peak_bytes(self) -> int:
        """Returns the most memory used: on an accelerator of it, else the process's resident."""
        ...


def load_contender(name: str, problem: Problem, platform: str | None) -> Contender:
    """Imports and builds a contender.

    Args:
        name: ours (on one device, as the peers), ours_everywhere (on all there are), flax, torch,
            torch_compile or torch_max_autotune.
        problem: to work on.
        platform: cpu, gpu or tpu, where it must run; None for where it would.

    Raises:
        UserError: torch is not installed, or cannot run on the platform.
    """
    if name.startswith("ours"):
        from symskip_jax.bench.ours import Ours

        return Ours(problem, everywhere=name == "ours_everywhere")
    if name == "flax":
        from symskip_jax.bench.flax_peer import FlaxPeer

        return FlaxPeer(problem)
    try:
        from symskip_jax.bench.torch_peer import TorchPeer
    except ModuleNotFoundError as error:
        raise UserError(f"torch is missing: {how_to_install('interop')}") from error
    return TorchPeer(problem, platform or "cpu", name.removeprefix("torch").lstrip("_"))


def peak_resident_bytes() -> int:
    """Returns the most memory that this process ever had resident."""
    status = Path("/proc/self/status")
    if status.exists():
        # Not getrusage, which may count what the parent had.
        (line,) = [it for it in status.read_text().splitlines() if it.startswith("VmHWM:")]
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
