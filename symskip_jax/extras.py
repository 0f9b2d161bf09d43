"""How what few need is installed."""

import shlex
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent


def how_to_install(extra: str, root: Path = _ROOT) -> str:
    """Returns the command that installs an extra of this package, for the end of a message.

    Args:
        extra: as pyproject.toml has it.
        root: the folder that the package lies in: a clone, or one of installed packages.
    """
    if not (root / "constraints.txt").is_file():
        return f"pip install 'symskip-jax[{extra}]'"
    # As the README says it, for whoever is in the clone and has its environment.
    there = "" if Path.cwd() == root else f"cd {shlex.quote(str(root))} && "
    is_own = Path(sys.prefix).resolve() == (root / ".venv").resolve()
    pip = ".venv/bin/pip" if is_own else f"{shlex.quote(sys.executable)} -m pip"
    return f"{there}{pip} install -c constraints.txt -e '.[{extra}]'"
