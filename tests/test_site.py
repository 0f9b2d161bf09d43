"""The documentation site: built without a warning, no link astray, no other host asked."""

import argparse
import ast
import html
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from public_api import lines, public

from symskip_jax.cli import parser
from symskip_jax.config import base_config, flat

ROOT = Path(__file__).resolve().parent.parent
# What a browser fetches by itself, by element.
FETCHED = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src"}
# Of a <link>, those that are no more than told.
TOLD = {"canonical", "next", "prev"}


class Reader(HTMLParser):
    """Collects the places, the links and what is fetched of one page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.places: set[str] = set()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.places |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if FETCHED.get(tag, "") in given and given.get("rel") not in TOLD:
            self.fetched.append(given[FETCHED[tag]])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Reader]:
    return {path: Reader(path.read_text()) for path in site.rglob("*.html")}


def text_of(site: Path, page: str) -> str:
    return re.sub(r"<[^>]+>", "", (site / page).read_text())


def test_every_page_is_in_the_navigation(site: Path, pages: dict[Path, Reader]) -> None:
    written = {it.with_suffix(".html").name for it in (ROOT / "docs").glob("*.md")}
    assert written and {path.name for path in pages} == written | {"404.html"}
    assert written <= set(pages[site / "index.html"].links) | {"index.html"}


def test_every_link_and_anchor_leads_somewhere(site: Path, pages: dict[Path, Reader]) -> None:
    followed, astray = 0, []
    for path, page in pages.items():
        for link in [*page.links, *page.fetched]:
            parts = urlsplit(link)
            if parts.scheme or path.name == "404.html":  # whose links are from the root
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            followed += 1
            known = pages[target].places if target in pages else {parts.fragment}
            there = target.is_relative_to(site) and target.exists()
            if not there or parts.fragment and unquote(parts.fragment) not in known:
                astray.append((path.name, link))
    assert followed > 500 and not astray


def test_no_page_asks_another_host_for_anything(site: Path, pages: dict[Path, Reader]) -> None:
    fetched = {it for page in pages.values() for it in page.fetched}
    assert fetched and not [it for it in fetched if urlsplit(it).netloc]
    for sheet in site.rglob("*.css"):
        asked = re.findall(r"url\(\s*[\"']?((?:https?:)?//[^)]*)|@import", sheet.read_text())
        assert not asked, sheet
    for picture in site.rglob("*.svg"):
        assert not re.search(r"(href|src)=\"(https?:)?//", picture.read_text()), picture
    # What the theme's script would load, if a page had it.
    whole = "".join(path.read_text() for path in pages)
    assert 'class="mermaid"' not in whole and 'data-md-component="source"' not in whole


def test_commands_are_all_there_with_their_arguments(site: Path) -> None:
    said = text_of(site, "commands.html")
    choices = parser()._subparsers._group_actions[0].choices  # pyright: ignore
    for verb, of_verb in choices.items():
        assert f"symskip {verb}" in said
        for option, action in of_verb._option_string_actions.items():
            is_shown = action.help != argparse.SUPPRESS and option not in ("-h", "--help")
            assert (option in said) or not is_shown, option
    assert argparse.SUPPRESS not in said
    assert "stopped by SIGTERM before the first step" in said  # of the README's table


def test_fields_are_all_there_with_their_meaning(site: Path, pages: dict[Path, Reader]) -> None:
    fields = set(flat(base_config()))
    shown = {
        it.removeprefix("config.")
        for it in pages[site / "configuration.html"].places
        if it.startswith("config.")
    }
    assert shown == fields
    said = text_of(site, "configuration.html")
    assert "deviation on the 0-255 scale" in said
    for path in (ROOT / "configs").glob("*.py"):
        first = (ast.get_docstring(ast.parse(path.read_text())) or "").split("\n", 1)[0]
        assert re.split("['`&]", first)[0] in said, path.name


def test_the_api_is_there_with_what_goes_in(site: Path, pages: dict[Path, Reader]) -> None:
    places = pages[site / "api.html"].places
    assert {f"{module}.{name}" for module, names in public().items() for name in names} <= places
    said = " ".join(text_of(site, "api.html").split())
    assert "a random crop, then a random flip" in said.lower()
    # One text, although a tuple is returned.
    assert "beside a masked loss, mse (mean squared error of normalised pixels)." in said


def bare(signature: str) -> str:
    """A signature without what its layout adds, quotes, and the modules that names are of."""
    text = re.sub(r"[\s'\"]|\b\w+\.(?=\w)", "", signature)
    return text.replace(",)", ")").replace(",]", "]")


def shown(line: str, name: str) -> list[str]:
    """The ways that the page may have a line of public_api.txt, of the class `name` or of none."""
    line = line.strip().replace("lambda keys_b, labels: labels", "keep_labels")
    line = re.sub(r"\((self|cls)(, )?", "(", line.removeprefix("@classmethod "))
    line = re.sub(r"@property def (\w+)\(\) -> ", r"\1: ", line)
    line = re.sub(r"def __init__(.*) -> None", rf"{name}\1", line)
    # In the signature, or in the list of attributes of a class that is not made of its fields.
    listed = re.sub(r"^(\w+): (.*)", r"\1(\2)", line)
    return [bare(line.removeprefix("def ")), bare(listed)]


def test_signatures_are_shown_as_they_are_promised(site: Path) -> None:
    """With what aliases stand for, and the fields that classes are made with."""
    said = bare(html.unescape(text_of(site, "api.html")))
    name, missing = "", []
    for line in lines():
        if line.startswith("class "):
            name = re.split(r"[ (]", line)[1]
        elif not line.startswith("#") and not any(it in said for it in shown(line, name)):
            missing.append(line)
    assert missing == []
    assert bare("Spec(name: str, layers: tuple[Layer, ...], head: Literal[") in said
    assert bare("AutoEncoder(spec: Spec, channels: int, skip: Literal[") in said
    assert bare("Layer(kernel: int, stride: int, width: int)") in said


def test_a_long_name_in_a_table_may_be_broken_where_one_would(site: Path) -> None:
    page = (site / "reliability.html").read_text()
    assert "<code>test_<wbr>faults<wbr>.py</code>" in page
    # Outside of tables a line is long enough.
    assert not re.search(r"<p>[^<]*<code>[^<]*<wbr>", page)
