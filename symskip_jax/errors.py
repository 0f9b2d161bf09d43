"""The one exception that is answered in a line instead of a traceback."""


class UserError(Exception):
    """What a person got wrong: a name, a path, a value.

    The message is one line that names the thing, the value and the mend. The command line prints it
    and leaves with exit status 2.
    """
