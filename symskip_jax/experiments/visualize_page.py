"""`symskip visualize`, whole: pictures of what a network has learned, and a page of them all."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from symskip_jax.analysis.embedding import Method
from symskip_jax.analysis.filters import draw_filters
from symskip_jax.analysis.page import (
    facts_html,
    heading_html,
    paragraph_html,
    picture_file_html,
    section_html,
    table_html,
    write_page,
)
from symskip_jax.analysis.sheets import Row, draw_sheet
from symskip_jax.experiments.feature_space import draw_feature_space
from symskip_jax.experiments.inputs import load_split
from symskip_jax.experiments.layer_maps import MEASURED_IMAGES, Looks, draw_layer, look
from symskip_jax.experiments.networks import open_run
from symskip_jax.experiments.report import check_place
from symskip_jax.experiments.shown import (
    CLEAN,
    CORRUPTED,
    as_bytes,
    corruptions,
    describe_corruption,
    rebuilt_rows,
    short_name,
)
from symskip_jax.experiments.visualize import check_layer
from symskip_jax.training.workdir import make_workdir

_LIKENESS = (
    "Likeness is the cosine between two maps of a channel, mean over channels and images: 1 where "
    "they are equal up to a factor. Kept says how much of the way from another image's maps to the "
    "clean image's is left: 1 where nothing changes, 0 where the map might as well be another "
    "image's. The share is that of the most active channels that are still so."
)
_COLUMNS = {
    "corrupted": "corrupted: likeness",
    "kept": "corrupted: kept",
    "top_kept": "corrupted: top channels (%)",
    "occluded": "occluded: likeness",
    "occluded_kept": "occluded: kept",
    "occluded_top_kept": "occluded: top channels (%)",
    "between": "two images: likeness",
}


def visualize_page(
    workdir: Path,
    *,
    step: str = "latest",
    layers: Sequence[str] | None = None,
    images: int = 6,
    channels: int = 8,
    embedding: Method = "tsne",
    out: Path | None = None,
    config_path: str | None = None,
    overrides: Sequence[str] = (),
) -> Path:
    """Draws all there is to see of a network, as PNG files and on one page, `report.html`.

    What a pre-training rebuilds, or which classes a fine-tuned network takes corrupted images for;
    the filters of the first layer; maps of layers, and how they change where images are corrupted
    or occluded; nearest neighbours in feature space, and the features in a plane.

    Args:
        workdir: of the run.
        step: `latest`, `best` or a number.
        layers: whose maps are drawn, as `encoder.11.relu`; None for the first, the middle and the
            deepest. The last of them gives the features.
        images: how many are drawn; likeness is measured on 64, or these if more.
        channels: how many maps of each, the most active.
        embedding: how features are put into a plane.
        out: folder to write to; None for `images` in `workdir`.
        config_path: of a configuration whose data to take instead of the run's own; or None.
        overrides: `--config.key=value`.

    Returns:
        Where the page is.

    Raises:
        UserError: there is no such checkpoint or layer, the data does not suit the network, or
            the files cannot be written.
    """
    out = workdir / "images" if out is None else out
    page = out / "report.html"
    run = open_run(workdir, step, config_path, list(overrides))
    data = load_split(run.config, run.config.data.test_split)
    looks = look(run, [data], max(images, MEASURED_IMAGES), occluded=True)
    names = [*looks.shapes]
    if layers is None:
        layers = [*dict.fromkeys((names[0], names[len(names) // 2], names[-1]))]
    for layer in layers:
        check_layer(layer, names)
    make_workdir(out)
    check_place(page)
    sections = [
        facts_html(_facts(looks)),
        _answers(looks, images, out),
        _filters(looks, out),
        _maps(looks, layers, images, channels, out),
        *draw_feature_space(looks.network, layers[-1], data, images, embedding, out),
    ]
    write_page(page, f"symskip visualize: {workdir.resolve().name}", sections)
    print(f"pictures, and their figures as JSON, are in {out}; all pictures on one page:")
    print(page)
    return page


def _facts(looks: Looks) -> dict[str, str]:
    meta, facts = looks.run.restored.meta, looks.run.facts()
    corruption = corruptions(looks.run, looks.network, occluded=False)[CORRUPTED]
    return {
        "run": f"symskip {facts['verb']}, step {facts['step']}",
        "network": f"{meta['spec']['name']}, {len(meta['spec']['layers'])} layers in the encoder",
        "images": looks.data[0].name,
        "corrupted by": describe_corruption(corruption).replace("\n", " "),
        "occluded by": "a square of half the height and width in the middle, the data's mean",
    }


def _answers(looks: Looks, images: int, out: Path) -> str:
    """Returns what the network makes of images; nothing where it gives masks or several classes."""
    few = {name: pixels[:images] for name, pixels in looks.versions.items()}
    if looks.run.restored.meta["verb"] == "pretrain":
        done = corruptions(looks.run, looks.network, occluded=True)
        groups = rebuilt_rows(looks.run, looks.network, few[CLEAN], done)
        path = out / "reconstructions.png"
        draw_sheet([[Row(CLEAN, as_bytes(few[CLEAN]))], *groups], path)
        return section_html(
            "What it rebuilds",
            picture_file_html(
                path,
                "Clean, corrupted and occluded images, and what the network rebuilds of them",
                "Figures under an image are its PSNR in dB: the higher, the closer to the clean "
                "image.",
            ),
        )
    if looks.run.restored.meta.get("task") != "classification":
        return ""
    path = out / "decisions.png"
    rows = [Row(name, as_bytes(pixels), _decisions(looks, pixels)) for name, pixels in few.items()]
    draw_sheet([[row] for row in rows], path)
    return section_html(
        "What it takes them for",
        picture_file_html(
            path,
            "Clean, corrupted and occluded images, with the class that the network names",
            "Under each image the likeliest class, and the network's probability of it.",
        ),
    )


def _decisions(looks: Looks, pixels_nhwc: np.ndarray) -> list[str]:
    network, names = looks.network, looks.run.restored.meta["class_names"]
    model: Any = network.model
    logits = jax.jit(lambda v, x: model.apply(v, network.normalized(x), train=False))(
        network.variables, pixels_nhwc
    )
    shares = np.asarray(jax.nn.softmax(logits))
    return [f"{short_name(names[row.argmax()])}\n{row.max():.0%}" for row in shares]


def _filters(looks: Looks, out: Path) -> str:
    kernel = looks.network.variables["params"]["encoder"]["0"]["conv"]["kernel"]
    path = out / "filters.png"
    draw_filters(path, np.asarray(kernel))
    height, width, _, count = kernel.shape
    return section_html(
        "Filters of the first layer",
        picture_file_html(
            path,
            f"{count} filters of {height}x{width} pixels",
            f"{count} filters of {height}x{width} pixels, the largest first. Mid-grey is a weight "
            "of 0; each filter has its own scale.",
            sheet=False,
        ),
    )


def _maps(looks: Looks, layers: Sequence[str], images: int, channels: int, out: Path) -> str:
    parts, rows = [], []
    for layer in layers:
        found = draw_layer(looks, layer, images=images, channels=channels, out=out)
        size = "x".join(str(n) for n in found["shape"])
        rows.append([layer, size, *(_cell(key, found["overall"][key]) for key in _COLUMNS)])
        parts += [
            heading_html(f"{layer}, {size} (height x width x channels)"),
            picture_file_html(
                out / f"maps_{layer}.png",
                f"Maps of the most active channels of {layer} over the images",
                "The most active channels, the first most so, over the image: the brighter, the "
                "more active. A channel has one scale over all images; alike is the cosine between "
                "its maps of a clean and of a corrupted image.",
            ),
            picture_file_html(
                out / f"likeness_{layer}.png",
                f"Likeness of the maps of {layer}, channel by channel",
            ),
        ]
    table = table_html(["layer", "size", *_COLUMNS.values()], rows)
    measured = f"Measured on {len(looks.versions[CLEAN])} images. {_LIKENESS}"
    return section_html("Maps of its layers", table, paragraph_html(measured), *parts)


def _cell(key: str, value: float | None) -> str:
    if value is None:
        return "–"
    return f"{100 * value:.0f}" if key.endswith("top_kept") else f"{value:.2f}"
