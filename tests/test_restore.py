"""`symskip restore` on the images of a person, with a RED-Net of seconds."""

import json
from pathlib import Path

import command
import cv2
import numpy as np
import pytest
from data_helpers import write_image
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from symskip_jax import cli

PRETRAIN = (
    "pretrain",
    "--config=red_net:small",
    "--config.model.width_multiplier=0.0625",
    "--config.data.crop=(24, 24)",
    "--config.pretrain.batch_size=8",
    "--config.pretrain.epochs=8",
    "--config.pretrain.milestones=()",
    "--config.run.eval_every=8",
    "--config.corruption.sigma=20.0",
    "--config.corruption.sigma_max=40.0",
)


def picture(height: int, width: int, channels: int, seed: int = 0) -> np.ndarray:
    """Smooth blobs, uint8, [H, W] where they are grey."""
    random = np.random.default_rng(seed)
    coarse = random.uniform(0, 255, (5, 4, channels)).astype(np.float32)
    image = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(image, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """The folder of a pre-training on colour photographs, taken as grey ones."""
    folder = tmp_path_factory.mktemp("photographs")
    for index in range(18):
        write_image(folder / f"{index}.png", picture(40 + index, 36, 3, seed=index))
    workdir = tmp_path_factory.mktemp("runs") / "red_net"
    arguments = [*PRETRAIN, f"--config.data.name=folder:{folder}", f"--workdir={workdir}"]
    assert cli.main(arguments) == 0
    assert cli.main(arguments) == 0  # finds a checkpoint without statistics
    return workdir


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    """A grey and a colour image of odd sizes."""
    folder = tmp_path_factory.mktemp("images")
    write_image(folder / "grey.png", picture(61, 47, 1, seed=50))
    write_image(folder / "deeper" / "colour.bmp", picture(35, 42, 3, seed=51))
    return folder


def restore(*arguments: object) -> int:
    return cli.main(["restore", *map(str, arguments)])


def read(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_figures_are_scikit_images_and_beside_those_of_the_noise(
    run: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert restore(images, "--checkpoint", run, "--sigma", 30, "--out", tmp_path) == 0
    printed = capsys.readouterr().out.splitlines()
    report = json.loads((tmp_path / "restore.json").read_text())
    assert report["trained_on"] == {"kind": "gaussian", "sigma": 20.0, "sigma_max": 40.0}
    assert report["sigma"] == 30.0 and report["seamless"]
    assert [it["image"] for it in report["images"]] == ["deeper/colour.bmp", "grey.png"]
    for record in report["images"]:
        clean, result = read(images / record["image"]), read(tmp_path / record["result"])
        assert result.shape == clean.shape and result.dtype == np.uint8
        psnr = peak_signal_noise_ratio(clean, result, data_range=255)
        assert record["psnr"] == pytest.approx(psnr, rel=1e-5)
        options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
        channel_axis = 2 if clean.ndim == 3 else None
        _, local = structural_similarity(
            clean, result, **options, data_range=255, channel_axis=channel_axis, full=True
        )
        assert record["ssim"] == pytest.approx(local[5:-5, 5:-5].mean(), abs=1e-4)
        # Noise of 30 on values that are clipped comes to at least 18.6 dB.
        assert 18.4 < record["psnr_noisy"] < 20.5
        line = next(it for it in printed if it.startswith(record["image"]))
        assert f"{record['psnr']:.4f}" in line
        assert line.endswith(f"  {tmp_path / record['result']}")
    for name in ("psnr", "psnr_noisy", "ssim", "ssim_noisy"):
        assert report[name] == pytest.approx(np.mean([it[name] for it in report["images"]]))
    assert printed[-2].startswith("mean of 2") and printed[-1] == str(tmp_path)
    assert restore(images, "--checkpoint", run, "--sigma", 30, "--out", tmp_path) == 0
    assert json.loads((tmp_path / "restore.json").read_text()) == report  # the same noise


def test_tiles_leave_no_seam_and_channels_are_restored_alone(
    run: Path, images: Path, tmp_path: Path
) -> None:
    colour = read(images / "deeper" / "colour.bmp")
    for index, name in enumerate("rgb"):
        write_image(tmp_path / f"{name}.png", colour[..., index])
    files = [images / "grey.png", images / "deeper" / "colour.bmp"]
    files += [tmp_path / f"{name}.png" for name in "rgb"]
    assert restore(*files, "--workdir", run, "--out", tmp_path / "whole") == 0
    assert restore(*files, "--workdir", run, "--out", tmp_path / "cut", "--tile", 33) == 0
    assert "psnr" not in (tmp_path / "whole" / "restore.json").read_text()
    for file in files:
        results = [read(tmp_path / it / f"{file.stem}.png").astype(int) for it in ("whole", "cut")]
        assert np.abs(results[0] - results[1]).max() <= 1  # a half may be rounded either way
    parts = [read(tmp_path / "whole" / f"{name}.png") for name in "rgb"]
    np.testing.assert_array_equal(np.stack(parts, 2), read(tmp_path / "whole" / "colour.png"))


def test_pixels_are_decoded_as_in_training(run: Path, tmp_path: Path) -> None:
    """EXIF turns the image, alpha is laid over white, of 16 bits the upper 8 are taken."""
    grey = picture(30, 20, 1, seed=3)
    write_image(tmp_path / "plain.png", grey)
    write_image(tmp_path / "deep.png", grey.astype(np.uint16) * 257)
    exif = Image.Exif()
    exif[274] = 6  # to be turned a quarter clockwise
    Image.fromarray(np.rot90(grey)).save(tmp_path / "turned.png", exif=exif)
    clear = np.dstack([np.full((30, 20, 3), 7, np.uint8), np.zeros((30, 20), np.uint8)])
    write_image(tmp_path / "clear.png", clear)
    write_image(tmp_path / "white.png", np.full((30, 20), 255, np.uint8))
    assert restore(tmp_path, "--workdir", run, "--out", tmp_path / "out") == 0
    results = {path.stem: read(path) for path in (tmp_path / "out").glob("*.png")}
    np.testing.assert_array_equal(results["deep"], results["plain"])
    np.testing.assert_array_equal(results["turned"], results["plain"])
    np.testing.assert_array_equal(results["clear"], results["white"])
    # What has been restored is not taken for more to restore.
    assert restore(tmp_path, "--workdir", run, "--out", tmp_path / "out") == 0
    assert len(list((tmp_path / "out").rglob("*.png"))) == 5


def test_evaluate_measures_crops_of_other_images(run: Path, tmp_path: Path) -> None:
    for index in range(12):
        write_image(tmp_path / f"{index}.png", picture(30, 30, 3, seed=index))
    data = f"--config.data.name=folder:{tmp_path}"
    assert cli.main(["evaluate", "--workdir", str(run), data]) == 0
    assert json.loads((run / "evaluation.json").read_text())["count"] == 2  # the tenth for tests


def test_what_is_wrong_is_answered_in_a_line(
    run: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*arguments: object) -> str:
        capsys.readouterr()
        assert restore(*arguments) == cli.EXIT_WRONG_INPUT
        printed = capsys.readouterr()
        assert printed.err.count("\n") == 1
        return printed.err

    grey = images / "grey.png"
    out = ("--workdir", run, "--out", tmp_path / "out")
    before = grey.read_bytes()
    assert "choose another --out" in refused(grey, "--workdir", run, "--out", images)
    assert grey.read_bytes() == before
    write_image(tmp_path / "grey.jpg", picture(20, 20, 1))
    assert "would both become" in refused(grey, tmp_path / "grey.jpg", *out)
    assert "none.png does not exist" in refused(tmp_path / "none.png", *out)
    (tmp_path / "empty").mkdir()
    assert "has no images" in refused(tmp_path / "empty", *out)
    assert "choose 21 or more" in refused(grey, *out, "--tile", 20)
    assert "--overlap lots must be" in refused(grey, *out, "--overlap", "lots")
    assert "--sigma -1.0 must be" in refused(grey, *out, "--sigma=-1")
    assert "--sigma" in refused(grey, *out, "--sigma", "loud")
    assert "no checkpoint" in refused(grey, "--workdir", tmp_path)
    assert "no checkpoint of step 3" in refused(grey, *out, "--step", 3)
    # A result that was restored once more must not go over itself either.
    assert restore(grey, *out) == 0
    assert "itself" in refused(tmp_path / "out" / "grey.png", *out)


def test_what_cannot_be_read_is_named_and_the_others_are_restored(
    run: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = (images / "grey.png").read_bytes()
    (tmp_path / "a.png").write_bytes(whole[:100])
    out = ("--checkpoint", run, "--out", tmp_path / "out")
    assert restore(tmp_path / "a.png", *out) == cli.EXIT_WRONG_INPUT
    assert "symskip: no image could be read, as told above\n" in capsys.readouterr().err
    (tmp_path / "b.png").write_bytes(whole)
    assert restore(tmp_path / "a.png", tmp_path / "b.png", *out) == cli.EXIT_WRONG_INPUT
    broken, last = capsys.readouterr().err.splitlines()
    assert broken.startswith(f"left out: {tmp_path / 'a.png'} is cut short")
    assert last == "symskip: 1 of 2 images could not be read, as told above"
    assert read(tmp_path / "out" / "b.png").shape == read(images / "grey.png").shape
    report = json.loads((tmp_path / "out" / "restore.json").read_text())
    assert [it["image"] for it in report["images"]] == ["b.png"]


def test_a_strided_colour_network_takes_images_of_any_size(tmp_path: Path) -> None:
    data = command.write_images(tmp_path / "images.npz")
    arguments = command.pretrain(tmp_path / "run", data, "--config.pretrain.epochs=1")
    assert cli.main([*map(str, arguments)]) == 0
    write_image(tmp_path / "grey.png", picture(41, 38, 1))
    write_image(tmp_path / "grey_as_colour.png", np.repeat(picture(41, 38, 1)[..., None], 3, 2))
    files = [tmp_path / "grey.png", tmp_path / "grey_as_colour.png"]
    for out, tile in (("whole", 512), ("cut", 23)):
        options = ("--tile", tile, "--out", tmp_path / out)
        assert restore(*files, "--checkpoint", tmp_path / "run", *options) == 0
    whole, cut = (read(tmp_path / out / "grey.png").astype(int) for out in ("whole", "cut"))
    assert whole.shape == (41, 38, 3) and np.abs(whole - cut).max() <= 1
    np.testing.assert_array_equal(whole, read(tmp_path / "whole" / "grey_as_colour.png"))
