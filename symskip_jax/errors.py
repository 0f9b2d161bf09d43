"""What is answered with one line instead of a traceback."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """What a person got wrong: a name, a path, a value.

    The message is one line that names the thing, the value and the mend. The command line prints it
    and leaves with exit status 2.
    """


class MissingDataError(UserError):
    """There is no dataset of that name, or not where it is looked for."""


class NoSuchSplitError(UserError):
    """The dataset is there, and has no split of that name."""


class BadImageError(UserError):
    """One image of a dataset cannot be read; the others may well be whole."""


class ReadFailedError(UserError):
    """Reading failed in a way that may pass: a disk or a network that did not answer."""


class NonFiniteLossError(Exception):
    """The loss was no longer a number; the last checkpoint is from before."""


class StoppedError(Exception):
    """The run was asked to stop, and has saved its state."""


class LostProcessError(Exception):
    """Another process of the run did not come, or is gone; the last checkpoint is whole."""


class UnsavedError(Exception):
    """The run has ended or was asked to stop, and its state could not be saved."""


def did_you_mean(name: str, known: Iterable[str], *, always: bool = False) -> str:
    """Returns "; did you mean KNOWN?", for the end of a message, or "" where none is near.

    Args:
        name: that there is not.
        known: those that there are.
        always: name the nearest, however far.
    """
    close = difflib.get_close_matches(name, [*known], n=1, cutoff=0.0 if always else 0.6)
    return f"; did you mean {close[0]}?" if close else ""
