"""The pages in a real browser: nothing is asked of the network, and all of it is to be seen."""

import contextlib
import dataclasses
import io
import shutil
from pathlib import Path

import command
import numpy as np
import pytest
from test_report import CHART

from symskip_jax import cli
from symskip_jax.analysis.charts import Curve
from symskip_jax.analysis.report import Row, write_report
from symskip_jax.analysis.sheets import reconstruction_sheet

playwright = pytest.importorskip(
    "playwright.sync_api", reason="playwright drives the browser: install the extra `dev`"
)
BROWSER = next(
    (
        path
        for name in ("chromium", "chromium-browser", "google-chrome")
        if (path := shutil.which(name))
    ),
    None,
)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="there is no chromium on this machine")

PHONE, DESK = 390, 1280
# Its axis has long numbers.
SMALL = Curve("small", [0.0, 1.0], [0.00101, 0.00109])


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, Path]:
    """A page of every kind, by name."""
    root = tmp_path_factory.mktemp("pages")
    data = command.write_images(root / "images.npz")
    # Names as long as people's.
    pretrained, finetuned = root / "pretrained_with_all_skips_and_blocks", root / "finetuned"
    epochs = ("--config.pretrain.epochs=2",)
    with contextlib.redirect_stdout(io.StringIO()):
        for words in (
            command.pretrain(pretrained, data, *epochs, "--config.run.monitor_images=20"),
            command.finetune(finetuned, data, f"--init={pretrained}", "--config.finetune.epochs=3"),
            ("report", pretrained),
            ("report", pretrained, finetuned),
            ("visualize", pretrained, "--channels=3"),
            ("visualize", finetuned, "--layer=encoder.1.relu"),
        ):
            assert cli.main([str(word) for word in words]) == 0
    images = np.zeros((8, 8, 8, 1), np.uint8)
    reconstruction_sheet(images, images, images, root / "sheet.png")
    write_report(
        root / "quickstart.html",
        title="symskip quickstart: handwritten digits, 100 labels",
        summary="Pre-training helped.",
        table=[Row("pre-trained without labels", [93.0, 94.0, 95.5])],
        value_label="test accuracy (%)",
        charts=[CHART, dataclasses.replace(CHART, title="small", curves=[SMALL], log_y=True)],
        sheet_png=root / "sheet.png",
        facts={"versions": "python 3.11, jax 0.8, flax 0.12, optax 0.2, numpy 2.1"},
    )
    return {
        "quickstart": root / "quickstart.html",
        "report": pretrained / "report.html",
        "comparison": pretrained / "comparison.html",
        "autoencoder": pretrained / "images" / "report.html",
        "classifier": finetuned / "images" / "report.html",
    }


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        found = started.chromium.launch(
            executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu"]
        )
        yield found
        found.close()


@pytest.mark.parametrize("width", [PHONE, DESK])
@pytest.mark.parametrize(
    "name", ["quickstart", "report", "comparison", "autoencoder", "classifier"]
)
def test_a_page_is_whole_in_a_browser(pages, browser, name, width):
    page = browser.new_page(viewport={"width": width, "height": 800})
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    address = pages[name].as_uri()
    page.goto(address, wait_until="load")

    assert said == []
    assert {it for it in asked if not it.startswith("data:")} == {address}
    pictures = page.eval_on_selector_all(
        "img", "all => all.map(it => [it.complete && it.naturalWidth > 0, it.alt])"
    )
    assert pictures and all(loaded and alt for loaded, alt in pictures)
    charts = page.eval_on_selector_all(
        "svg:not([aria-hidden])",
        "all => all.map(it => [it.getAttribute('role'), it.getAttribute('aria-label')])",
    )
    assert all(role == "img" and label for role, label in charts)
    # What is wider than the screen scrolls within itself; the page does not.
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    outside = page.evaluate(
        """width => [...document.querySelectorAll('body *')].filter(it =>
            !it.parentElement.closest('.scroll') && it.getBoundingClientRect().right > width + 1
        ).map(it => it.outerHTML.slice(0, 80))""",
        width,
    )
    assert outside == []
    # Words are no smaller than 11 pixels, those of charts as they are drawn.
    small = page.evaluate(
        """() => [...document.querySelectorAll('p, td, th, li, dd, dt, figcaption, svg text')]
            .filter(it => it.textContent.trim()).filter(it => {
                const svg = it.closest('svg');
                const drawn = svg && svg.getBoundingClientRect().width;
                const scale = svg ? drawn / svg.viewBox.baseVal.width : 1;
                return scale * parseFloat(getComputedStyle(it).fontSize) < 11;
            }).map(it => it.outerHTML.slice(0, 80))"""
    )
    assert small == []
    cut = page.eval_on_selector_all(
        "svg text",
        """all => all.filter(it => it.getBoundingClientRect().left + 1
            < it.closest('svg').getBoundingClientRect().left).map(it => it.textContent)""",
    )
    assert cut == []
    # Those in pictures are drawn 15 pixels high at the least; filters have none.
    shrunk = page.eval_on_selector_all(
        "img",
        """all => all.filter(it => 15 * it.getBoundingClientRect().width < 11 * it.naturalWidth)
            .map(it => it.alt)""",
    )
    assert [alt for alt in shrunk if " filters of " not in alt] == []
    page.close()


def test_a_page_that_asks_the_network_is_held_back(pages, browser, tmp_path):
    """The frame itself forbids it, whatever a picture or a name in the page might smuggle in."""
    text = pages["report"].read_text(encoding="utf-8")
    evil = '<img alt="" src="file:///etc/hostname"><script>document.title = "owned"</script>'
    (tmp_path / "page.html").write_text(text.replace("</body>", f"{evil}</body>"))
    page = browser.new_page()
    page.goto((tmp_path / "page.html").as_uri(), wait_until="load")
    assert page.title() != "owned"
    assert not page.eval_on_selector("body > img", "it => it.naturalWidth > 0")
    page.close()
