"""What is said once, however often it is met."""

import functools
import logging


@functools.cache
def warn_once(log: logging.Logger, text: str) -> None:
    """Logs a warning, unless it was logged before; every command begins anew."""
    log.warning("%s", text)
