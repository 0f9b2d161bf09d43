"""What is answered with one line instead of a traceback."""


class UserError(Exception):
    """What a person got wrong: a name, a path, a value.

    The message is one line that names the thing, the value and the mend. The command line prints it
    and leaves with exit status 2.
    """


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
