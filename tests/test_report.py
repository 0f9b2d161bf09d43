import base64
import dataclasses
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from symskip_jax.analysis.charts import Chart, Curve
from symskip_jax.analysis.curves import Measured, run_charts
from symskip_jax.analysis.report import Row, mean_std_text, write_report
from symskip_jax.analysis.sheets import reconstruction_sheet


class Page(HTMLParser):
    """The elements of a page: tag, attributes and the text inside, in order of their start."""

    VOID = ("meta", "img", "br")

    def __init__(self, html):
        super().__init__()
        self.elements, self.open = [], []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs), []))
        if tag not in self.VOID:
            self.open.append(self.elements[-1])

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs), []))

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        for _, _, text in self.open:
            text.append(data)

    def attributes(self, tag, **wanted):
        return [a for t, a, _ in self.elements if t == tag and wanted.items() <= a.items()]

    def texts(self, tag):
        return ["".join(text) for t, _, text in self.elements if t == tag]


CHART = Chart(
    title="Accuracy",
    x_label="epoch",
    y_label="test accuracy, %",
    curves=[
        Curve("pre-trained", [1, 2, 3], [20.0, 40.0, 80.0]),
        Curve("pre-trained", [1, 2, 3], [30.0, 50.0, 70.0]),
        Curve("He", [1, 2, 3], [10.0, 20.0, 60.0]),
    ],
    caption="One line a seed.",
)


def report_page(tmp_path, **changes):
    content = {
        "title": "Quickstart",
        "summary": "Pre-training helped.",
        "table": [Row("pre-trained", [93.0, 94.0, 95.5]), Row("He", [90.0, 91.0])],
        "value_label": "test accuracy, %",
        "charts": [CHART],
        "sheet_png": None,
        "facts": {"time": "2 min"},
    }
    write_report(tmp_path / "report.html", **(content | changes))
    return Page((tmp_path / "report.html").read_text(encoding="utf-8"))


def test_mean_and_sample_standard_deviation():
    values = [93.0, 94.0, 95.5]
    assert mean_std_text(values) == f"{np.mean(values):.1f} ± {np.std(values, ddof=1):.1f}"
    assert mean_std_text([93.14]) == "93.1"
    with pytest.raises(ValueError, match="at least one"):
        mean_std_text([])


def test_report_needs_nothing_but_itself(tmp_path):
    images = np.zeros((2, 8, 8, 1), np.uint8)
    reconstruction_sheet(images, images, images, tmp_path / "sheet.png")
    page = report_page(tmp_path, sheet_png=tmp_path / "sheet.png")
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "://" not in html and "@import" not in html and "url(" not in html
    assert not {tag for tag, _, _ in page.elements} & {"script", "link", "iframe", "object"}
    links = [v for _, a, _ in page.elements for k, v in a.items() if k in ("src", "href")]
    assert len(links) == 1 and links[0].startswith("data:image/png;base64,")
    embedded = base64.b64decode(links[0].split(",")[1], validate=True)
    assert embedded == (tmp_path / "sheet.png").read_bytes()


def test_report_table_shows_the_mean_and_every_seed(tmp_path):
    page = report_page(tmp_path)
    table = page.texts("tbody")[0].split("\n")
    assert page.texts("th")[-2:] == ["pre-trained", "He"]
    assert page.texts("td") == [
        "94.2 ± 1.3",
        "93.0",
        "94.0",
        "95.5",
        "90.5 ± 0.7",
        "90.0",
        "91.0",
        "",
    ]
    assert len([row for row in table if row]) == 2
    assert page.attributes("th", colspan="3")
    assert "test accuracy, %" in page.texts("thead")[0]


def test_report_escapes_all_text(tmp_path):
    evil = "<script>\"&'</b>"
    page = report_page(
        tmp_path,
        title=evil,
        summary=evil,
        table=[Row(evil, [1.0])],
        value_label=evil,
        charts=[Chart(evil, evil, evil, [Curve(evil, [0, 1], [0, 1])], evil)],
        facts={evil: evil},
    )
    assert "script" not in {tag for tag, _, _ in page.elements}
    for tag in ("title", "h1", "p", "thead", "tbody", "svg", "li", "figcaption", "dt", "dd"):
        assert any(evil in text for text in page.texts(tag)), tag
    assert page.attributes("svg", role="img")[0]["aria-label"] == evil


def test_curves_of_one_label_share_a_colour_and_a_legend_entry(tmp_path):
    other = Chart("Loss", "epoch", "loss", [Curve("He", [1, 2], [2, 1])], "")
    page = report_page(tmp_path, charts=[CHART, other])
    assert page.texts("li") == ["pre-trained", "He", "He"]
    colours = [line["stroke"] for line in page.attributes("polyline")]
    assert colours[0] == colours[1] and colours[2] == colours[3] and colours[0] != colours[2]
    legend = [line["stroke"] for line in page.attributes("path", **{"class": "curve"})]
    assert legend == [colours[0], colours[2], colours[2]]


def test_many_labels_are_all_told_apart(tmp_path):
    curves = [Curve(str(i), [0, 1], [0, i]) for i in range(20)]
    page = report_page(tmp_path, charts=[dataclasses.replace(CHART, curves=curves)])
    styles = {(a["stroke"], a["stroke-dasharray"]) for a in page.attributes("polyline")}
    assert len(styles) == 20
    page = report_page(tmp_path, charts=[dataclasses.replace(CHART, curves=curves[:6] * 3)])
    assert {a["stroke-dasharray"] for a in page.attributes("polyline")} == {"none"}


@pytest.mark.parametrize(
    ("log_y", "ys"),
    [
        (False, [20.0, 40.0, 80.0]),
        (False, [-0.2, 0.0, 0.1]),
        (True, [0.02, 0.05, 0.1]),
        (True, [0.001, 1.0, 100.0]),
        (True, [1e-15, 1e-3, 1e3]),
        (True, [0.031, 0.05, 0.034]),
    ],
)
def test_points_stand_at_the_height_of_their_ticks(tmp_path, log_y, ys):
    chart = Chart("", "", "", [Curve("a", [0.0, 10.0, 20.0], ys)], "", log_y)
    page = report_page(tmp_path, charts=[chart])
    points = [
        tuple(map(float, p.split(","))) for p in page.attributes("polyline")[0]["points"].split()
    ]
    height = {}
    for tag, attributes, text in page.elements:
        if tag == "text" and attributes["text-anchor"] == "end":
            height[float("".join(text))] = float(attributes["y"]) - 5
    met = [y for y in ys if y in height]
    assert met
    for y in met:
        assert points[ys.index(y)][1] == pytest.approx(height[y], abs=0.2)
    assert np.argsort([-y for _, y in points]).tolist() == np.argsort(ys).tolist()
    assert 2 <= len(height) <= 8
    box = re.findall(r"[\d.]+", page.attributes("svg", role="img")[0]["viewbox"])
    assert all(0 <= x <= float(box[2]) and 0 <= y <= float(box[3]) for x, y in points)


@pytest.mark.parametrize(
    "ys",
    [[0.1, 0.2], [5.0, 15.0], [0.044, 4.6], [7.2, 1117.0], [3e-5, 2.0], [0.01, 0.01], [0.3, 0.3]],
)
def test_logarithmic_axes_have_ticks_enough_that_differ_and_no_line_lies_on_them(tmp_path, ys):
    chart = Chart("", "", "", [Curve("a", [0.0, 1.0], ys)], "", log_y=True)
    page = report_page(tmp_path, charts=[chart])
    ticks = [
        (float("".join(text)), float(attributes["y"]) - 5)
        for tag, attributes, text in page.elements
        if tag == "text" and attributes["text-anchor"] == "end"
    ]
    numbers, heights = zip(*ticks, strict=True)
    assert 4 <= len(set(numbers)) == len(numbers) <= 8
    assert numbers[0] <= min(ys) and max(ys) <= numbers[-1]
    if ys[0] == ys[1]:
        (line,) = page.attributes("polyline")
        first, last = (float(place.split(",")[1]) for place in line["points"].split())
        assert first == last
        assert heights[-1] + 20 < first < heights[0] - 20


@pytest.mark.parametrize(("log_y", "ys"), [(False, [1, 2, 3]), (True, [0.01, 0.1, 1])])
def test_equal_steps_are_equally_high(tmp_path, log_y, ys):
    page = report_page(tmp_path, charts=[Chart("", "", "", [Curve("a", [0, 1, 2], ys)], "", log_y)])
    points = page.attributes("polyline")[0]["points"].split()
    heights = [float(point.split(",")[1]) for point in points]
    assert heights[0] - heights[1] == pytest.approx(heights[1] - heights[2], abs=0.2)
    assert heights[0] - heights[1] > 50


@pytest.mark.parametrize(("score", "first", "last"), [(1.0, 90, 100), (0.0, 0, 1), (0.5, 44, 56)])
def test_the_axis_of_a_share_ends_where_shares_do(tmp_path, score, first, last):
    records = [{"split": "test", "epoch": it, "knn_accuracy": score} for it in (1, 2)]
    page = report_page(tmp_path, charts=run_charts([Measured("a", "pretrain", records)]))
    ticks = [
        float("".join(text))
        for tag, attributes, text in page.elements
        if tag == "text" and attributes["text-anchor"] == "end"
    ]
    assert (min(ticks), max(ticks)) == (first, last)


def test_large_numbers_have_short_ticks_that_differ(tmp_path):
    curve = Curve("a", [0, 40_000], [12_100_000, 12_600_000])
    page = report_page(tmp_path, charts=[dataclasses.replace(CHART, curves=[curve])])
    texts = page.texts("text")
    assert {"12.2M", "12.4M", "10k", "40k"} <= set(texts)


@pytest.mark.parametrize("log_y", [False, True])
@pytest.mark.parametrize(
    ("ys", "drawn"),
    [([], 0), ([math.nan, math.inf], 0), ([5.0], 1), ([3.0, 3.0], 2), ([0.0, -1.0], None)],
)
def test_odd_curves_still_make_a_chart(tmp_path, log_y, ys, drawn):
    chart = Chart("", "", "", [Curve("a", range(len(ys)), ys)], "", log_y)
    page = report_page(tmp_path, charts=[chart])
    points = [p for line in page.attributes("polyline") for p in line["points"].split()]
    dots = page.attributes("circle")
    assert len(points) + len(dots) == ((0 if log_y else 2) if drawn is None else drawn)
    numbers = re.findall(r"nan|inf", " ".join(points))
    assert not numbers


def test_points_that_are_not_finite_are_left_out(tmp_path):
    curve = Curve("a", [0, 1, 2, 3], [1.0, math.nan, 2.0, math.inf])
    page = report_page(tmp_path, charts=[dataclasses.replace(CHART, curves=[curve])])
    assert len(page.attributes("polyline")[0]["points"].split()) == 2


def test_curve_with_more_x_than_y_is_refused(tmp_path):
    chart = dataclasses.replace(CHART, curves=[Curve("a", [0, 1, 2], [1.0, 2.0])])
    with pytest.raises(ValueError):
        report_page(tmp_path, charts=[chart])


def test_report_without_table_charts_and_facts(tmp_path):
    page = report_page(tmp_path, table=[], charts=[], facts={})
    assert page.texts("h1") == ["Quickstart"]
