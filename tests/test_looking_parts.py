"""Filters as pictures and features in a plane."""

import re

import numpy as np
import pytest
from PIL import Image

from symskip_jax.analysis.embedding import Embedding, draw_embedding, embed
from symskip_jax.analysis.filters import draw_filters, filter_patches
from symskip_jax.analysis.page import picture_html
from symskip_jax.analysis.sheets import Row, draw_sheet
from symskip_jax.experiments.shown import short_name

RANDOM = np.random.default_rng(0)


def test_filters_are_ordered_and_each_has_its_own_scale(tmp_path):
    kernel = np.zeros((3, 3, 3, 3))
    kernel[0, 0, 0, 1] = -0.1
    kernel[1, 1, 2, 2], kernel[2, 2, 1, 2] = 4.0, -2.0
    patches = filter_patches(kernel)
    assert (patches[0, 1, 1, 2], patches[0, 2, 2, 1], patches[0, 0, 0, 0]) == (255, 64, 128)
    assert patches[1, 0, 0, 0] == 1 and (patches[2] == 128).all()
    draw_filters(tmp_path / "filters.png", kernel)
    with Image.open(tmp_path / "filters.png") as image:
        pixels = np.asarray(image)
    assert pixels.shape == (48, 3 * 48 + 2 * 4, 3)
    np.testing.assert_array_equal(pixels[::16, :48:16], patches[0])
    np.testing.assert_array_equal(pixels[::16, 52:100:16], patches[1])


def test_grey_filters_fill_rows_of_sixteen(tmp_path):
    draw_filters(tmp_path / "filters.png", RANDOM.normal(size=(5, 5, 1, 20)))
    with Image.open(tmp_path / "filters.png") as image:
        assert image.size == (16 * 45 + 15 * 4, 2 * 45 + 4)


def test_principal_components_are_those_of_the_singular_values():
    features = RANDOM.normal(size=(30, 5)) * [5, 3, 1, 1, 1]
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    left, values, _ = np.linalg.svd(unit - unit.mean(0), full_matrices=False)
    found = embed(features, "pca")
    np.testing.assert_allclose(np.abs(found.points_n2), np.abs(left * values)[:, :2], atol=1e-6)
    share = (values[:2] ** 2).sum() / (values**2).sum()
    assert found.settings == f"scikit-learn's PCA, {share:.0%} of the variance"
    first = values[0] ** 2 / (values**2).sum()
    assert found.axes[0] == f"first component, {first:.0%} of the variance"


def test_t_sne_keeps_groups_together_and_is_the_same_each_time():
    features = np.repeat(np.eye(3), 12, axis=0) + 0.05 * RANDOM.normal(size=(36, 3))
    points, settings, axes = embed(features, "tsne")
    assert "perplexity 11.7," in settings and "distances between groups, mean nothing" in axes[0]
    np.testing.assert_array_equal(points, embed(features, "tsne").points_n2)
    distances = np.linalg.norm(points[:, None] - points, axis=-1)
    np.fill_diagonal(distances, np.inf)
    np.testing.assert_array_equal(distances.argmin(1) // 12, np.arange(36) // 12)


def test_many_classes_of_any_name_are_drawn(tmp_path):
    names = [f"$\\{i}_{{" for i in range(20)]
    labels = np.repeat(np.arange(20), np.arange(20, 0, -1))
    points = Embedding(RANDOM.normal(size=(len(labels), 2)), "drawn", ("", ""))
    draw_embedding(tmp_path / "plane", points, labels, names)
    drawing = (tmp_path / "plane.svg").read_text()
    told_apart = [name for name in names if f">{name}<" in drawing]
    assert told_apart == names[:12] and ">other classes<" in drawing
    assert ">no label<" not in drawing


def test_images_without_a_label_are_not_taken_for_a_class(tmp_path):
    labels = np.array([0, -1, 1, 0, -1])
    points = Embedding(RANDOM.normal(size=(5, 2)), "drawn", ("", ""))
    draw_embedding(tmp_path / "plane", points, labels, ["cat", "other"])
    drawing = (tmp_path / "plane.svg").read_text()
    assert all(f">{name}<" in drawing for name in ("cat", "other", "no label"))
    assert ">other classes<" not in drawing


def test_a_sheet_takes_captions_of_any_kind(tmp_path):
    images = np.zeros((1, 8, 8, 1), np.uint8)
    draw_sheet([[Row("", images, ["$\\x_{"])]], tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").stat().st_size > 0


def test_captions_have_a_line_each_and_labels_that_are_not_there_take_no_room(tmp_path):
    images = np.zeros((3, 128, 128, 3), np.uint8)
    drawn = {}
    for name, label, captions in (
        ("bare", "", None),
        ("labelled", "clean", None),
        ("one", "", ["cat", "dog", ""]),
        ("two", "", ["cat", "dog\n0.9871", ""]),
    ):
        draw_sheet([[Row(label, images, captions)]], tmp_path / f"{name}.png")
        drawn[name] = np.asarray(Image.open(tmp_path / f"{name}.png").convert("L"))
    height, width = drawn["bare"].shape
    assert width == 8 + 3 * (128 + 8) < drawn["labelled"].shape[1]
    line = drawn["one"].shape[0] - height
    assert line > 0 and drawn["two"].shape[0] == height + 2 * line
    words = drawn["two"][8 + 128 :] < 128
    second = words[line : 2 * line]
    assert words[:line].any() and second.any()
    assert not second[:, : 8 + 128].any() and not second[:, 8 + 2 * (128 + 8) :].any()


@pytest.mark.parametrize(
    ("name", "shown"),
    [("automobile", "automobile"), ("twelve chars", "twelve chars"), ("a\nb", "a b")]
    + [("golden retriever", "golden retr…")],
)
def test_names_under_images_are_cut_with_a_mark(name, shown):
    assert short_name(name) == shown


def test_a_large_picture_is_embedded_smaller_and_a_broken_one_refused(tmp_path):
    noise = RANDOM.integers(0, 256, (500, 500, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    png = (tmp_path / "noise.png").read_bytes()
    found = picture_html(png, "noise")
    assert re.search('width="500" height="500" src="data:image/webp;base64,', found)
    assert len(found) < len(png)
    with pytest.raises(ValueError, match="no PNG"):
        picture_html(png[:-1], "noise")
