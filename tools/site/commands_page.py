"""The parsers of the command line as Markdown."""

import argparse
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

from symskip_jax.cli import parser

ROOT = Path(__file__).resolve().parents[2]


def commands() -> str:
    """Every command: what it does, what it takes, and examples."""
    return "\n".join(_lines(parser()))


def exit_statuses() -> str:
    """The table of exit statuses that the README has."""
    table = re.search(r"\| exit status \|.*?\n\n", (ROOT / "README.md").read_text(), re.DOTALL)
    if table is None:
        raise ValueError("README.md has no table of exit statuses")
    return table[0]


def _lines(command: argparse.ArgumentParser) -> Iterator[str]:
    nested = [it for it in command._actions if isinstance(it, argparse._SubParsersAction)]
    if command.prog.count(" "):
        yield f"{'#' * (command.prog.count(' ') + 1)} {command.prog}\n"
        yield f"{_prose(command.description or '')}\n"
    if nested:
        for child in dict.fromkeys(nested[0].choices.values()):
            yield from _lines(child)
        return
    yield "```text"
    usage = re.sub(r"\s+", " ", command.format_usage()).removeprefix("usage: ")
    yield textwrap.fill(usage.replace(" [-h]", ""), 72, subsequent_indent="    ")
    yield "```\n"
    for group in command._action_groups:
        shown = [it for it in group._group_actions if it.help != argparse.SUPPRESS]
        rows = [it for it in shown if not isinstance(it, argparse._HelpAction)]
        if not rows:
            continue
        yield f"{_prose(group.description)}\n" if group.description else ""
        yield "| argument | meaning |\n| --- | --- |"
        for action in rows:
            yield f"| {_names(action)} | {_prose(_meaning(action))} |"
        yield ""
    yield from _examples(command.epilog or "")


def _names(action: argparse.Action) -> str:
    value = action.metavar or (action.dest if not action.option_strings else action.dest.upper())
    if action.choices and not action.metavar:
        value = "{" + ",".join(map(str, action.choices)) + "}"
    more = " ..." if action.nargs in ("+", "*") else ""
    if not action.option_strings:
        return f"`{value}{more}`"
    takes = "" if action.nargs == 0 else f" {value}{more}"
    return ", ".join(f"`{option}{takes}`" for option in action.option_strings)


def _meaning(action: argparse.Action) -> str:
    said = (action.help or "") % {"default": action.default}
    required = "required" if action.required and action.option_strings else ""
    default = ""
    if action.choices and action.default is not None and "default" not in said:
        default = f"default {action.default}"
    return "; ".join(filter(None, (said, default, required)))


def _prose(text: str) -> str:
    """Escapes what Markdown would take for markup, but for code."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(it if it[:1] == "`" else re.sub(r"([|<*_\[])", r"\\\1", it) for it in parts)


def _examples(epilog: str) -> Iterator[str]:
    found = re.search(r"examples:\n((?:  .*\n)+)", epilog)
    if found:
        yield "```sh"
        yield re.sub("^  ", "", found[1], flags=re.MULTILINE).rstrip()
        yield "```\n"
