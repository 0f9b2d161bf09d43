"""The parser of the command line: verbs, actions, and what stands below every `--help`."""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from symskip_jax import __version__
from symskip_jax.errors import UserError, did_you_mean

# (verb, text, whether it takes a configuration) -> its parser
AddVerb = Callable[[str, str, bool], argparse.ArgumentParser]

CONFIG_HELP = "file, or the name of one that comes along (digits); FILE:ARG passes an argument"
STEP_HELP = "latest (the default), best, or the number of a checkpoint"

_EXIT_STATUSES = """\
exit status:
  0   done
  1   the loss became NaN or infinite: the last checkpoint is whole; or a crash, with a traceback
  2   something in the command, the configuration, the data or the folders is wrong
  70  one of several processes crashed, with a traceback
  74  the last state could not be saved; the message says which checkpoint is whole
  75  stopped by SIGTERM or Ctrl-C, and saved: the same command goes on
  76  another process of the run is gone, or did not come: the same command goes on
  130 stopped by a second Ctrl-C, or by one before the first step: nothing more was saved
  143 stopped by SIGTERM before the first step: nothing was lost
"""

# Of verbs whose statuses mean other things than those of a run.
_OWN_EXIT_STATUSES = {
    "reproduce": """\
exit status:
  0   done
  1   some runs failed, or start from one that did, and it says which: the others are done;
      or a crash, with a traceback
  2   something in the command, the data or the folders is wrong
  75  a run was stopped by SIGTERM or Ctrl-C: the same command goes on from there
  130 stopped by Ctrl-C while no run was going on: the same command goes on
  143 stopped by SIGTERM while no run was going on: the same command goes on
""",
    "status": """\
exit status:
  0   the run goes on, or has finished
  1   it was stopped, failed or died
  2   there is no run, or the folder cannot be read
""",
}

_OTHERS = """\
(of reproduce and status some mean other things: see their --help)
"""

_OVERRIDES = """\
any field of the configuration can be set: --config.seed=1 --config.pretrain.learning_rate=1e-3
(a key that does not exist is an error that names the nearest one)
"""


class Parser(argparse.ArgumentParser):
    """Answers a mistake like every other: in one line, without the usage."""

    def __init__(self, **settings: Any) -> None:
        """Takes what argparse takes; epilogues keep their lines."""
        super().__init__(
            formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **settings
        )

    def error(self, message: str) -> NoReturn:
        """Raises it as a UserError."""
        raise UserError(f"{message}; `{self.prog} --help` shows how")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Names what was meant, too, of a verb or another choice that there is not."""
        if action.choices is not None and value not in action.choices:
            known = [str(it) for it in action.choices]
            raise argparse.ArgumentError(
                action,
                f"invalid choice: {value!r} (choose from {', '.join(known)})"
                + did_you_mean(str(value), known),
            )


def folder(text: str) -> Path:
    """Returns the path of a folder, which may be gs://BUCKET/PATH.

    Raises:
        UserError: gcsfs is not installed, or there is no way to get in.
        argparse.ArgumentTypeError: it is an address of something else.
    """
    if text.startswith("gs://"):
        from symskip_jax.data.gcs import bucket_folder

        return bucket_folder(text)
    return folder_here(text)


def folder_here(text: str) -> Path:
    """Returns the path of a folder on this machine.

    Raises:
        argparse.ArgumentTypeError: it is an address of something else.
    """
    if "://" in text:
        raise argparse.ArgumentTypeError(f"{text} is not a folder on this machine: copy it here")
    return Path(text)


def make_parser(examples: str) -> Parser:
    """Returns the parser of `symskip` itself."""
    parser = Parser(
        prog="symskip",
        description="Pre-train image networks without labels by denoising, then fine-tune them.",
        epilog=f"{examples}\n{_EXIT_STATUSES}\n{_OTHERS}",
    )
    parser.add_argument("--version", action="version", version=f"symskip {__version__}")
    return parser


def adding(parsers: Any, examples: Mapping[str, str], prefix: str = "") -> AddVerb:
    """Returns what adds verbs, or the actions of one verb.

    Args:
        parsers: argparse's sub-parsers.
        examples: below each `--help`, by the words of the command.
        prefix: the verb and a blank, for actions.
    """

    def add(name: str, text: str, configured: bool) -> argparse.ArgumentParser:
        fields = _OVERRIDES if configured else ""
        statuses = _OWN_EXIT_STATUSES.get(prefix + name, _EXIT_STATUSES)
        return parsers.add_parser(
            name,
            help=text,
            description=text[0].upper() + text[1:] + ".",
            epilog=f"{examples[prefix + name]}\n{fields}\n{statuses}",
        )

    return add
