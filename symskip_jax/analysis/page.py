"""HTML pages that need nothing but themselves: one frame, one look, and the parts they are of."""

import base64
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

from PIL import Image

from symskip_jax.analysis.charts import Chart, LineStyle, chart_svg, line_styles
from symskip_jax.analysis.files import write_atomically

_GENERATOR = '<meta name="generator" content="symskip">'
_PNG = b"\x89PNG\r\n\x1a\n"
# Of its own width, where a screen is too narrow for a sheet; there it is scrolled. Words in a
# picture are of 15 pixels at the least, and so they stay above 11.
_SHEET_SCALE = 0.75
# Larger ones are embedded as WebP, a tenth of the size and to the eye the same.
_MOST_PNG_BYTES = 500_000
_WEBP_QUALITY = 85

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2327; --soft: #566069; --line: #d5dade; --page: #fff }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9eb; --soft: #a3adb5; --line: #3d464d; --page: #15191c }
}
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 72rem; padding: 1.5rem 1rem 3rem; background: var(--page);
  color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .5rem }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem }
h3 { font-size: 1rem; margin: 1.6rem 0 .4rem }
p { margin: 0 0 1rem; max-width: 46rem }
figure { margin: 0 0 1.2rem; min-width: 0 }
figcaption, .note { color: var(--soft); font-size: .9rem; margin-top: .4rem; max-width: 46rem }
.scroll { overflow-x: auto }
.scroll + p { margin-top: .8rem }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; overflow-wrap: normal }
th, td { padding: .4rem .8rem; border-bottom: 1px solid var(--line); text-align: right }
td { white-space: nowrap }
th:first-child { text-align: left; padding-left: 0; min-width: 6rem }
.words td, .words thead th { white-space: normal; min-width: min(8rem, 24vw); max-width: 16rem;
  overflow-wrap: anywhere }
thead th { color: var(--soft); font-size: .9rem; font-weight: normal; vertical-align: bottom }
th[colspan] { text-align: center }
tbody th { font-weight: normal }
.mean { font-weight: bold }
.charts { display: grid; gap: 2.2rem 2rem; margin-top: 2.2rem;
  grid-template-columns: repeat(auto-fit, minmax(min(24rem, 100%), 1fr)) }
.charts h2 { margin-top: 0 }
svg { display: block; width: 100%; height: auto }
svg text { fill: currentColor; font-size: 13px }
.grid { stroke: var(--line); stroke-width: 1 }
.axis { stroke: var(--soft); stroke-width: 1; fill: none }
.curve { fill: none; stroke-width: 2; stroke-linejoin: round; opacity: .85 }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; list-style: none; margin: .3rem 0 0;
  padding: 0; font-size: .9rem }
.legend li { display: flex; gap: .4rem; align-items: baseline }
.legend svg { flex: none; width: 2rem; height: .7rem }
.picture { display: block; max-width: 100%; height: auto; border-radius: 4px }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .3rem 1.2rem; margin: 0 }
dt { color: var(--soft) }
dd { margin: 0; overflow-wrap: anywhere }
@media (max-width: 40rem) {
  th, td { padding: .4rem .35rem }
  svg text { font-size: 16px }
  .sheet { max-width: none; width: var(--narrow) }
  dl { grid-template-columns: 1fr; gap: 0 }
  dd { margin-bottom: .6rem }
}
"""


def write_page(path: str | os.PathLike[str], title: str, sections: Iterable[str]) -> None:
    """Writes a page, replacing what is there; the file appears whole or not at all.

    Args:
        path: of the file; missing folders are made.
        title: plain text.
        sections: HTML, in order.
    """
    page = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        # The browser itself sees to it that the page asks the network for nothing.
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "style-src 'unsafe-inline'; img-src data:\">\n"
        f"{_GENERATOR}\n<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{escape(title)}</h1>\n" + "\n".join(sections) + "\n</body>\n</html>\n"
    )
    write_atomically(path, page.encode())


def is_page(path: Path) -> bool:
    """Returns whether a file is a page that `write_page` wrote.

    Raises:
        OSError: it cannot be read.
    """
    with path.open(errors="replace") as file:
        return _GENERATOR in file.read(2000)


def section_html(title: str, *parts: str) -> str:
    """Returns a heading, plain text, and what stands below it."""
    return f"<section><h2>{escape(title)}</h2>\n" + "\n".join(parts) + "</section>"


def heading_html(text: str) -> str:
    """Returns a heading within a section."""
    return f"<h3>{escape(text)}</h3>"


def paragraph_html(text: str) -> str:
    """Returns a paragraph of plain text."""
    return f"<p>{escape(text)}</p>"


def note_html(text: str) -> str:
    """Returns a remark, plain text, as captions look."""
    return f'<p class="note">{escape(text)}</p>'


def picture_html(png: bytes, alt: str, caption: str = "", *, sheet: bool = True) -> str:
    """Returns a picture, embedded.

    Args:
        png: the file.
        alt: what is to be seen, for those who cannot.
        caption: plain text.
        sheet: its details count: on a narrow screen it is scrolled, not shrunk.

    Raises:
        ValueError: it is no whole PNG file.
    """
    if not is_png(png):
        raise ValueError("no PNG file, or a part of one")
    width, height = (int.from_bytes(png[start : start + 4]) for start in (16, 20))
    looks = ' class="picture"'
    if sheet:
        looks = f' class="picture sheet" style="--narrow: {_SHEET_SCALE * width:.0f}px"'
    kind, content = "png", png
    if len(png) > _MOST_PNG_BYTES:
        kind, content = "webp", _as_webp(png)
    data = base64.b64encode(content).decode()
    return (
        f'<figure><div class="scroll"><img{looks} alt="{escape(alt)}" width="{width}" '
        f'height="{height}" src="data:image/{kind};base64,{data}"></div>'
        f"{f'<figcaption>{escape(caption)}</figcaption>' if caption else ''}</figure>"
    )


def picture_file_html(path: Path, alt: str, caption: str = "", *, sheet: bool = True) -> str:
    """Returns a PNG file as a picture, embedded; see `picture_html`."""
    return picture_html(path.read_bytes(), alt, caption, sheet=sheet)


def is_png(content: bytes) -> bool:
    """Returns whether a file is a PNG with its beginning and its end."""
    return content.startswith(_PNG) and content[-8:-4] == b"IEND"


def table_html(header: Sequence[str], rows: Iterable[Sequence[str]], *, words: bool = False) -> str:
    """Returns a table of plain text; the first of a row names it.

    Args:
        header: of each column.
        rows: likewise.
        words: there is more than numbers in it: what is long is broken into lines.
    """
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in header)
    lines = []
    for name, *cells in rows:
        values = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        lines.append(f'<tr><th scope="row">{escape(name)}</th>{values}</tr>')
    kind = ' class="words"' if words else ""
    return (
        f'<div class="scroll"><table{kind}>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{chr(10).join(lines)}\n</tbody></table></div>"
    )


def charts_html(charts: Sequence[Chart]) -> str:
    """Returns charts side by side; a label keeps its colour from chart to chart.

    Raises:
        ValueError: a curve with more x than y or more y than x.
    """
    styles = line_styles(curve.label for chart in charts for curve in chart.curves)
    return f'<div class="charts">{"".join(_chart_html(chart, styles) for chart in charts)}</div>'


def facts_html(facts: Mapping[str, str]) -> str:
    """Returns a list of names and values, plain text."""
    items = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>\n" for name, value in facts.items()
    )
    return f"<dl>\n{items}</dl>"


def _as_webp(png: bytes) -> bytes:
    content = io.BytesIO()
    with Image.open(io.BytesIO(png)) as image:
        image.convert("RGB").save(content, "WEBP", quality=_WEBP_QUALITY)
    return content.getvalue()


def _chart_html(chart: Chart, styles: Mapping[str, LineStyle]) -> str:
    legend = "".join(
        f'<li><svg viewBox="0 0 32 8" aria-hidden="true"><path class="curve" d="M0 4H32" '
        f"{styles[label].attributes()}/></svg>{escape(label)}</li>"
        for label in dict.fromkeys(curve.label for curve in chart.curves)
    )
    return (
        f"<figure><h2>{escape(chart.title)}</h2>{chart_svg(chart, styles)}"
        f'<ul class="legend">{legend}</ul>'
        f"<figcaption>{escape(chart.caption)}</figcaption></figure>\n"
    )
