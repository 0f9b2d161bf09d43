"""The page that a run leaves behind: one HTML file that needs nothing but itself."""

import base64
import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from symskip_jax.analysis.charts import Chart, Curve, LineStyle, chart_svg, line_styles
from symskip_jax.analysis.files import write_atomically

__all__ = ["Chart", "Curve", "Row", "mean_std_text", "write_report"]

_SHEET_CAPTION = (
    "Each column is one image: as it is, as the network was shown it, and as the network rebuilt "
    "it. Figures under an image are its PSNR in dB: the higher, the closer to the clean image."
)

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2327; --soft: #566069; --line: #d5dade; --page: #fff }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9eb; --soft: #a3adb5; --line: #3d464d; --page: #15191c }
}
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 72rem; padding: 1.5rem 1rem 3rem; background: var(--page);
  color: var(--ink); font: 1rem/1.5 system-ui, sans-serif }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .5rem }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem }
p { margin: 0 0 1rem; max-width: 46rem }
figure { margin: 0; min-width: 0 }
figcaption { color: var(--soft); font-size: .9rem; margin-top: .4rem; max-width: 46rem }
.scroll { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .4rem .8rem; border-bottom: 1px solid var(--line); text-align: right }
td { white-space: nowrap }
th:first-child { text-align: left; padding-left: 0; min-width: 6rem; overflow-wrap: anywhere }
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
.sheet { display: block; max-width: 100%; height: auto; border-radius: 4px }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .3rem 1.2rem; margin: 0 }
dt { color: var(--soft) }
dd { margin: 0; overflow-wrap: anywhere }
@media (max-width: 40rem) {
  th, td { padding: .4rem .35rem }
  svg text { font-size: 16px }
  .sheet { max-width: none; height: 17rem }
  dl { grid-template-columns: 1fr; gap: 0 }
  dd { margin-bottom: .6rem }
}
"""


@dataclass(frozen=True)
class Row:
    """A row of the table: a name, and one accuracy in percent for each seed."""

    name: str
    values: Sequence[float]


def mean_std_text(values: Sequence[float]) -> str:
    """Write `93.1 ± 0.4`: the mean and the sample standard deviation (n - 1); of one value, itself.

    Raises:
        ValueError: no values.
    """
    mean = statistics.fmean(values)
    if len(values) == 1:
        return f"{mean:.1f}"
    return f"{mean:.1f} ± {statistics.stdev(values):.1f}"


def write_report(
    path: str | os.PathLike[str],
    *,
    title: str,
    summary: str,
    table: Sequence[Row],
    value_label: str,
    charts: Sequence[Chart],
    sheet_png: Path | None,
    facts: Mapping[str, str],
) -> None:
    """Write the page: title, summary, table, charts, reconstruction sheet, facts, in that order.

    All text is plain text. `value_label` says what the table measures and in which unit;
    `sheet_png` is a PNG file, copied into the page. A label keeps its colour from chart to chart.
    The file appears whole or not at all.

    Raises:
        ValueError: a row without values, or a curve with more x than y or more y than x.
    """
    styles = line_styles(curve.label for chart in charts for curve in chart.curves)
    sections = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{escape(summary)}</p>",
        _table_html(table, value_label),
        f'<div class="charts">{"".join(_chart_html(chart, styles) for chart in charts)}</div>',
        _sheet_html(sheet_png) if sheet_png is not None else "",
        _facts_html(facts),
    ]
    page = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        # The browser itself sees to it that the page asks the network for nothing.
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "style-src 'unsafe-inline'; img-src data:\">\n"
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(sections)
        + "\n</body>\n</html>\n"
    )
    write_atomically(path, page.encode())


def _table_html(table: Sequence[Row], value_label: str) -> str:
    if not table:
        return ""
    seeds = max(len(row.values) for row in table)
    rows = []
    for row in table:
        values = [f"{value:.1f}" for value in row.values] + [""] * (seeds - len(row.values))
        cells = "".join(f"<td>{value}</td>" for value in values)
        mean = f'<td class="mean">{mean_std_text(row.values)}</td>'
        rows.append(f'<tr><th scope="row">{escape(row.name)}</th>{mean}{cells}</tr>')
    return (
        '<div class="scroll"><table>\n<thead><tr><th scope="col">start</th>'
        f'<th scope="col">{escape(value_label)}<br>mean ± std</th>'
        f'<th scope="colgroup" colspan="{seeds}">each seed</th></tr></thead>\n'
        f"<tbody>\n{chr(10).join(rows)}\n</tbody></table></div>"
    )


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


def _sheet_html(sheet_png: Path) -> str:
    data = base64.b64encode(sheet_png.read_bytes()).decode()
    return (
        '<figure><h2>What the network rebuilds</h2><div class="scroll">'
        f'<img class="sheet" alt="Clean, corrupted and reconstructed images" '
        f'src="data:image/png;base64,{data}"></div>'
        f"<figcaption>{_SHEET_CAPTION}</figcaption></figure>"
    )


def _facts_html(facts: Mapping[str, str]) -> str:
    items = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>\n" for name, value in facts.items()
    )
    return f"<h2>How it was made</h2>\n<dl>\n{items}</dl>"
