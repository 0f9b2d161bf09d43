"""Figures of matplotlib as files: PNG and SVG, the same for the same content."""

import io
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from symskip_jax.analysis.files import write_atomically

GRID_COLOUR = "#d5dade"


def save_figure(figure: Figure, path: Path) -> None:
    """Writes `path`.png and `path`.svg, each whole or not at all; words stay words in the SVG."""
    FigureCanvasAgg(figure)
    settings: Any = {"svg.hashsalt": "symskip", "svg.fonttype": "none"}
    for suffix, metadata in ((".png", None), (".svg", {"Date": None})):
        content = io.BytesIO()
        with matplotlib.rc_context(settings):
            figure.savefig(content, format=suffix[1:], metadata=metadata)
        write_atomically(path.with_name(path.name + suffix), content.getvalue())
