"""Every message that the page quotes is one that the code prints."""

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from symskip_jax.cli import main

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text()
MESSAGES = re.findall(r"```text\nsymskip: (.*?)\n```", PAGE, re.DOTALL)

# Letters of a message that must stand in the code, so that one that is all names matches nothing.
ENOUGH = 10


def pattern_of(node: ast.AST) -> str:
    """Returns a regular expression of a string in the code, with .* for what is filled in."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return ".*".join(map(re.escape, re.split(r"%[ds]", node.value)))
    if isinstance(node, ast.JoinedStr):
        return "".join(map(pattern_of, node.values))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return pattern_of(node.left) + pattern_of(node.right)
    return ".*"


@functools.cache
def patterns() -> tuple[re.Pattern[str], ...]:
    found = set()
    for path in (ROOT / "symskip_jax").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant | ast.JoinedStr | ast.BinOp):
                pattern = pattern_of(node)
                # One with lines in it is a docstring.
                if len(re.findall(r"[A-Za-z]", pattern)) >= ENOUGH and "\n" not in pattern:
                    found.add(pattern)
    return tuple(map(re.compile, found))


def argparse_says(message: str) -> Iterator[str]:
    """What argparse puts before a message, of which the code has the end alone."""
    yield message
    if message.startswith("argument "):
        yield message.split(": ", 1)[1]


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_on_the_page_is_one_of_the_code(message: str) -> None:
    texts = [*argparse_says(message)]
    assert any(pattern.fullmatch(text) for pattern in patterns() for text in texts)


def test_a_message_that_is_not_in_the_code_is_found_out() -> None:
    assert not any(it.fullmatch("no config file x; give another one") for it in patterns())


def test_most_of_the_page_is_messages() -> None:
    assert len(MESSAGES) > 40
    # Each section quotes one, but for two of what JAX says and of what is merely slow.
    sections = re.split(r"^### ", PAGE, flags=re.MULTILINE)[1:]
    silent = [it.splitlines()[0] for it in sections if "```text" not in it]
    assert silent == ["out of memory", "it is slow, or stands still"]


@pytest.mark.parametrize(
    "words",
    [
        "pretrain --config digits --learning_rate=1e-3",
        "restore x.png --checkpoint runs/x --config.seed=1",
        "pretrain --config folder:big",
        "pretrain --config digits --config.pretrain.learningrate=1e-3",
        "pretrain --config digits --config.pretrain.epochs=many",
    ],
)
def test_what_is_printed_is_what_the_page_quotes(
    words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words.split()) == 2
    printed = capsys.readouterr().err.strip()
    assert printed.removeprefix("symskip: ") in MESSAGES
