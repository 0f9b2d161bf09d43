"""The page that `symskip quickstart` leaves behind."""

import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from symskip_jax.analysis.charts import Chart
from symskip_jax.analysis.page import (
    charts_html,
    facts_html,
    paragraph_html,
    picture_file_html,
    section_html,
    write_page,
)

SHEET_CAPTION = (
    "Each column is one image: as it is, as the network was shown it, and as the network rebuilt "
    "it. Figures under an image are its PSNR in dB: the higher, the closer to the clean image."
)
SHEET_ALT = "Clean, corrupted and reconstructed images"


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
    sections = [paragraph_html(summary), _table_html(table, value_label), charts_html(charts)]
    if sheet_png is not None:
        sheet = picture_file_html(sheet_png, SHEET_ALT, SHEET_CAPTION)
        sections.append(section_html("What the network rebuilds", sheet))
    sections.append(section_html("How it was made", facts_html(facts)))
    write_page(path, title, sections)


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
