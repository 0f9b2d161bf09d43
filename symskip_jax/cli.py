"""The `symskip` command: parses, and hands over to `symskip_jax.commands`."""

import argparse
import io
import logging
import os
import select
import sys
import traceback
from collections.abc import Sequence

from symskip_jax.commands import (
    benchmarking,
    data,
    exporting,
    extracting,
    looking,
    reporting,
    reproducing,
    restoring,
    training,
    watching,
)
from symskip_jax.commands.parser import Parser, adding, make_parser
from symskip_jax.data.notices import warn_once
from symskip_jax.errors import (
    LostProcessError,
    NonFiniteLossError,
    StoppedError,
    UnsavedError,
    UserError,
)

EXIT_FAILED = 1
EXIT_WRONG_INPUT = 2
EXIT_CRASHED = 70  # EX_SOFTWARE: one of several processes; one alone leaves with Python's own, 1
EXIT_UNSAVED = 74  # EX_IOERR
EXIT_STOPPED = 75  # EX_TEMPFAIL: saved; the same command goes on
EXIT_LOST = 76  # the same command goes on from the last checkpoint
EXIT_INTERRUPTED = 130
EXIT_UNREAD = 141  # as a shell says of what SIGPIPE ends: `symskip ... | head`
_STATUSES: dict[type[Exception], int] = {
    NonFiniteLossError: EXIT_FAILED,
    UserError: EXIT_WRONG_INPUT,
    UnsavedError: EXIT_UNSAVED,
    StoppedError: EXIT_STOPPED,
    LostProcessError: EXIT_LOST,
}

# Verbs in the order of `--help`. Heavy imports wait until the arguments are known to be good.
_GROUPS = (
    *(training, watching, restoring, looking, extracting, reporting, exporting),
    *(reproducing, data, benchmarking),
)

# Those that ask for devices and know of no other process.
_IN_ONE_PROCESS = (
    *("quickstart", "evaluate", "restore", "probe", "visualize", "features", "export", "import"),
    *("reproduce", "bench"),
)

_EXAMPLES = """\
examples:
  symskip quickstart
  symskip pretrain --config configs/cifar10_4k.py --workdir runs/4k
  symskip finetune --config configs/cifar10_4k.py --workdir runs/4k-ft --init runs/4k
  symskip evaluate --workdir runs/4k-ft
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # As standard error does, because names of files may be anything.
        sys.stdout.reconfigure(errors="backslashreplace")
    warn_once.cache_clear()
    logging.basicConfig(format="symskip: %(message)s", level=logging.WARNING)
    # Of saves that failed, which are answered for already.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    status = _answered(sys.argv[1:] if argv is None else argv)
    # Of several processes each ends by itself: none may wait for one that is gone.
    if _is_one_of_several():
        from symskip_jax.training.processes import leave

        agreed = {EXIT_LOST: False, EXIT_INTERRUPTED: False, EXIT_CRASHED: None}
        leave(status, agreed=agreed.get(status, True))
    return status


def _answered(words: Sequence[str]) -> int:
    """Runs the command, prints what goes wrong, and returns the exit status."""
    try:
        status = _run(words)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except tuple(_STATUSES) as error:
        print(f"symskip: {error}", file=sys.stderr)
        return next(status for kind, status in _STATUSES.items() if isinstance(error, kind))
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            return EXIT_UNREAD
        if not _is_one_of_several():
            raise
        from symskip_jax.training.processes import as_lost_process

        lost = as_lost_process(error)
        if lost is None:
            traceback.print_exc()
            return EXIT_CRASHED
        print(f"symskip: {lost}", file=sys.stderr)
        return EXIT_LOST


def _nobody_reads() -> bool:
    """Whether standard output is a pipe that was closed; what is left to print goes nowhere."""
    try:
        out = sys.stdout.fileno()
    except OSError:  # it is no file
        return False
    poll = select.poll()
    poll.register(out, 0)
    is_closed = any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(0))
    if is_closed:
        os.dup2(os.open(os.devnull, os.O_WRONLY), out)
    return is_closed


def _run(words: Sequence[str]) -> int:
    # Out of argparse's sight: one with a blank in it, as of a tuple, it would take for one more
    # value of an option before it that takes several.
    fields = [word for word in words if word.startswith("--config.")]
    others = [word for word in words if not word.startswith("--config.")]
    arguments, rest = parser().parse_known_args(others)
    group = next(group for group in _GROUPS if arguments.verb in group.EXAMPLES)
    if arguments.verb in _IN_ONE_PROCESS:
        from symskip_jax.training.processes import refuse_part_of_slice

        refuse_part_of_slice(arguments.verb)
    return group.run(arguments, _overrides(arguments, [*fields, *rest]))


def _is_one_of_several() -> bool:
    if "jax" not in sys.modules:
        return False
    import jax

    return jax.distributed.is_initialized()


def _overrides(arguments: argparse.Namespace, rest: Sequence[str]) -> list[str]:
    for argument in rest:
        if not argument.startswith("--config.") or "=" not in argument:
            raise UserError(
                f"unknown argument {argument}; fields are set as --config.key=value, "
                f"and `symskip {arguments.verb} --help` lists the rest"
            )
    if rest and not hasattr(arguments, "config"):
        raise UserError(f"`symskip {arguments.verb}` has no configuration to set {rest[0]} in")
    # Of several settings of one field the last counts; tuples would be strung together otherwise.
    return list({argument.partition("=")[0]: argument for argument in rest}.values())


def parser() -> Parser:
    """Returns the parser of the whole command line."""
    whole = make_parser(_EXAMPLES)
    verbs = whole.add_subparsers(dest="verb", required=True, metavar="VERB")
    for group in _GROUPS:
        group.describe(adding(verbs, group.EXAMPLES))
    return whole


if __name__ == "__main__":
    sys.exit(main())
