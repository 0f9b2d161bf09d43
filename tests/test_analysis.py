import os

import cv2
import numpy as np
import pytest

from symskip_jax.analysis.sheets import reconstruction_sheet


def three_rows(shape, seed=0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Clean, corrupted and reconstructed images that share no pixel value with the page's white."""
    clean, corrupted, reconstructed = np.random.default_rng(seed).integers(
        0, 200, (3, *shape), np.uint8
    )
    return clean, corrupted, reconstructed


def read_rgb(path):
    pixels = cv2.imread(str(path))
    assert pixels is not None
    return pixels[..., ::-1]


def find_tile(sheet, image, magnify):
    """The corner of `image`, magnified, in `sheet`, or None; exact to the last bit."""
    tile = np.broadcast_to(
        np.kron(image, np.ones((magnify, magnify, 1), np.uint8)),
        (image.shape[0] * magnify, image.shape[1] * magnify, 3),
    )
    difference = cv2.matchTemplate(sheet, np.ascontiguousarray(tile), cv2.TM_SQDIFF)
    top, left = np.unravel_index(difference.argmin(), difference.shape)
    found = sheet[top : top + tile.shape[0], left : left + tile.shape[1]]
    return (int(top), int(left)) if np.array_equal(found, tile) else None


@pytest.mark.parametrize(
    ("shape", "magnify"),
    [((3, 8, 8, 1), 16), ((4, 32, 32, 3), 4), ((2, 40, 61, 3), 4), ((1, 150, 131, 1), 1)],
)
def test_sheet_holds_every_pixel_magnified_and_sharp(tmp_path, shape, magnify):
    rows = three_rows(shape)
    reconstruction_sheet(*rows, tmp_path / "sheet.png")
    sheet = np.ascontiguousarray(read_rgb(tmp_path / "sheet.png"))
    corners = np.array([[find_tile(sheet, image, magnify) for image in row] for row in rows])
    tops, lefts = corners[..., 0], corners[..., 1]
    assert (tops == tops[:, :1]).all() and (np.diff(tops[:, 0]) > shape[1] * magnify).all()
    assert (lefts == lefts[:1]).all() and (np.diff(lefts[0]) > shape[2] * magnify).all()


def test_sheet_writes_the_psnr_under_its_row(tmp_path):
    rows = three_rows((2, 32, 32, 3))
    reconstruction_sheet(*rows, tmp_path / "plain.png")
    reconstruction_sheet(*rows, tmp_path / "psnr.png", [10.0, 20.0], [30.0, 40.0])
    reconstruction_sheet(*rows, tmp_path / "other.png", [10.0, 20.0], [30.0, 41.0])
    plain, psnr, other = (read_rgb(tmp_path / f"{n}.png") for n in ("plain", "psnr", "other"))
    assert len(psnr) > len(plain)
    changed_rows, changed_columns = np.nonzero((psnr != other).any(axis=-1))
    last_tile = find_tile(np.ascontiguousarray(psnr), rows[2][1], 4)
    assert last_tile is not None
    assert changed_rows.min() >= last_tile[0] + 128
    assert changed_columns.min() >= last_tile[1]


@pytest.mark.parametrize("shape", [(5, 9, 8, 1), (2, 25, 25, 1)])
def test_sheet_has_narrow_even_margins(tmp_path, shape):
    reconstruction_sheet(*three_rows(shape), tmp_path / "sheet.png")
    ink = (read_rgb(tmp_path / "sheet.png") != 255).any(axis=-1)
    top, bottom, left, right = (
        line.any(axis=1).argmax() for line in (ink, ink[::-1], ink.T, ink.T[::-1])
    )
    assert top == bottom == right
    assert 1 <= top <= 10 and 1 <= left <= 16


def test_sheet_replaces_the_old_one_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "images" / "step_00000001.png"
    for seed in range(2):
        rows = three_rows((2, 8, 8, 1), seed)
        reconstruction_sheet(*rows, path)
        assert find_tile(np.ascontiguousarray(read_rgb(path)), rows[0][0], 16)
    assert os.listdir(path.parent) == [path.name]


def test_sheet_that_cannot_be_put_in_place_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "sheet.png"
    path.write_bytes(b"old")

    def refuse(*_):
        raise OSError("no space")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="no space"):
        reconstruction_sheet(*three_rows((1, 8, 8, 1)), path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["sheet.png"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c, k, r: (np.float32(c), k, r), "clean images must be uint8"),
        (lambda c, k, r: (c, k[:1], r), "corrupted images must be uint8"),
        (lambda c, k, r: (c, k, r[:, :4]), "reconstructed images must be uint8"),
        (lambda c, k, r: (c[0], k[0], r[0]), "must be .N, H, W"),
        (lambda c, k, r: (c[:0], k[:0], r[:0]), "must be .N, H, W"),
        (lambda c, k, r: (c, k, r, [1.0]), "1 captions for 2 corrupted images"),
    ],
)
def test_sheet_refuses_arrays_that_do_not_fit(tmp_path, change, message):
    clean, corrupted, reconstructed, *psnrs = change(*three_rows((2, 8, 8, 1)))
    with pytest.raises(ValueError, match=message):
        reconstruction_sheet(clean, corrupted, reconstructed, tmp_path / "sheet.png", *psnrs)
    assert os.listdir(tmp_path) == []
