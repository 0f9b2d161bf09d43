"""Paths of this machine, as people write them."""

import os
from pathlib import Path

from symskip_jax.errors import UserError


def cache_folder() -> Path:
    """Where what can be made anew is kept: $XDG_CACHE_HOME/symskip_jax, or ~/.cache/symskip_jax."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base, "symskip_jax")


def local_path(text: str) -> Path:
    """Make a path of what a person wrote, `~` and `~user` included; it need not be there.

    Raises:
        UserError: there is no such user, the path is too long or goes through a folder that may not
            be looked into.
    """
    try:
        path = Path(text).expanduser()
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except RuntimeError as error:
        raise UserError(f"'{text}' is in the home of nobody here: write the whole path") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"'{text}' is no path that can be looked at: {reason}") from error
    return path
