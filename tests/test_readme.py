"""What the README shows works as it stands."""

import re
import shlex
from pathlib import Path

import pytest

from symskip_jax.cli import parser
from symskip_jax.config import load_config

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
PAGES = {path: path.read_text() for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))}


def test_the_python_example_trains_a_step(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(compile(code, "README.md", "exec"), {})
    loss, psnr = map(float, capsys.readouterr().out.split())
    assert 0 < loss < 10 and 0 < psnr < 50


def commands() -> list[str]:
    pages = "\n".join(PAGES.values())
    blocks = "".join(re.findall(r"```sh\n(.*?)```", pages, re.DOTALL)).replace("\\\n", " ")
    return [line for line in blocks.splitlines() if re.search(r"(^| )symskip ", line)]


@pytest.mark.parametrize("command", commands())
def test_every_command_shown_is_one_and_sets_fields_there_are(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    words = shlex.split(command, comments=True)
    arguments, rest = parser().parse_known_args(words[words.index("symskip") + 1 :])
    assert all(word.startswith("--config.") for word in rest)
    if getattr(arguments, "config", None):
        load_config(arguments.config, rest)


def test_links_and_pictures_exist() -> None:
    targets = [
        path.parent / target
        for path, text in PAGES.items()
        for target in re.findall(r"\]\(([^)#:]+)\)", text)
    ]
    assert targets
    assert not [target for target in targets if not target.exists()]


def test_the_loop_that_is_shown_trains_and_predicts(capsys: pytest.CaptureFixture[str]) -> None:
    page = (ROOT / "docs" / "your_loop.md").read_text()
    code = "\n".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL))
    exec(compile(code, "your_loop.md", "exec"), {})
    pretrained, tuned, shapes = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"loss \d\.\d+, PSNR \d+\.\d dB", pretrained)
    assert re.fullmatch(r"accuracy \d+%", tuned)
    assert shapes == "(8, 10) (8, 29, 29, 8)"
