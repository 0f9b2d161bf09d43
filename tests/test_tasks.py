"""Fine-tuning beyond one class an image: on tiny devkits made here, and on the real one."""

import dataclasses
import json
from pathlib import Path

import jax
import numpy as np
import pytest
import tiny
from data_helpers import user_error
from devkit import CAT, DOG, write_devkit

from symskip_jax import cli
from symskip_jax.config import ConfigDict, load_config
from symskip_jax.experiments.finetune import finetune, load_pretrained, with_pretrained
from symskip_jax.experiments.inputs import load_split
from symskip_jax.experiments.tasks import make_task
from symskip_jax.models import Segmenter
from symskip_jax.training.checkpoints import Restored
from symskip_jax.training.records import read_metrics
from symskip_jax.training.schedules import make_optimizer, milestone_schedule

TINY = (
    "--config=digits",
    "--config.model.blocks=(2, 0, 0, 0)",
    "--config.model.n=4",
    "--config.data.num_labels=0",
    "--config.data.test_split=val",
    "--config.data.crop=(12, 12)",
    "--config.data.flip=True",
    "--config.pretrain.batch_size=8",
    "--config.pretrain.epochs=1",
    "--config.finetune.batch_size=8",
    "--config.finetune.epochs=16",
    "--config.finetune.learning_rate=0.03",
    "--config.finetune.corruption_probability=0",
    "--config.run.eval_every=16",
    "--config.run.checkpoint_every=16",
    "--config.run.eval_batch_size=4",
)
OPTIMIZER = make_optimizer(milestone_schedule(1e-3, (), 0.1, 1))


@pytest.fixture(scope="module")
def devkit(tmp_path_factory) -> Path:
    return write_devkit(tmp_path_factory.mktemp("devkit"))


def run(verb: str, workdir: Path, data: str, *more: str) -> None:
    arguments = [verb, *TINY, f"--config.data.name={data}", f"--workdir={workdir}", *more]
    assert cli.main(arguments) == 0


def evaluated(workdir: Path, capfd, *more: str) -> dict:
    capfd.readouterr()
    assert cli.main(["evaluate", f"--workdir={workdir}", *more]) == 0
    return json.loads(capfd.readouterr().out)


def measured_in(workdir: Path) -> list[dict]:
    return [record for record in read_metrics(workdir) if record["split"] == "test"]


@pytest.fixture(scope="module")
def pretrained(devkit, tmp_path_factory) -> Path:
    workdir = tmp_path_factory.mktemp("runs") / "pretrained"
    run("pretrain", workdir, f"voc_segmentation:{devkit}")
    return workdir


def test_masks_are_learnt_from_a_pretrained_encoder_and_decoder(
    devkit, pretrained, tmp_path, capfd
):
    more = (f"--init={pretrained}", "--config.finetune.init_parts=encoder_decoder")
    run("finetune", tmp_path, f"voc_segmentation:{devkit}", *more)
    # Brightness tells the classes apart, so a few steps do.
    (last,) = measured_in(tmp_path)
    assert last["pixel_accuracy"] > 0.8 and last["mean_iu"] > 0.5
    assert last["count"] == 3
    assert {"iu_background", f"iu_{CAT}", f"iu_{DOG}"} <= {*last}
    assert cli.main(["evaluate", f"--workdir={tmp_path}", "--config.model.skip=none"]) == 2
    assert "another network" in capfd.readouterr().err
    figures = evaluated(tmp_path, capfd, "--step=best")
    assert {name: figures[name] for name in ("mean_iu", "loss")} == pytest.approx(
        {name: last[name] for name in ("mean_iu", "loss")}, rel=1e-6
    )


def test_several_classes_are_learnt_and_measured_over_several_crops(
    devkit, pretrained, tmp_path, capfd
):
    more = (f"--init={pretrained}", "--config.evaluation.crops=3", "--config.data.crop=(11, 13)")
    run("finetune", tmp_path, f"voc:{devkit}", *more)
    (last,) = measured_in(tmp_path)
    assert last["count"] == 3
    assert last["mean_average_precision"] == np.mean([last[f"ap_{CAT}"], last[f"ap_{DOG}"]])
    assert last["map_animal"] == last["mean_average_precision"]
    assert "map_vehicle" not in last  # of which no image shows one
    # Random, but the same at every evaluation.
    assert evaluated(tmp_path, capfd)["loss"] == pytest.approx(last["loss"], rel=1e-6)
    one = evaluated(tmp_path, capfd, "--config.evaluation.crops=1")
    assert abs(one["loss"] - last["loss"]) > 1e-4
    # A checkpoint serves the labels that it was trained for.
    masks = f"--config.data.name=voc_segmentation:{devkit}"
    capfd.readouterr()
    assert (
        cli.main(["evaluate", f"--workdir={tmp_path}", masks, "--config.evaluation.crops=1"]) == 2
    )
    assert "is for multi_label" in capfd.readouterr().err


def test_a_start_takes_the_layers_that_both_networks_have():
    segmenter = Segmenter(tiny.SPEC, tiny.CLASSES)
    fresh = tiny.make_state(segmenter, OPTIMIZER, seed=1)
    trained = tiny.make_state(tiny.autoencoder(), OPTIMIZER, seed=2)
    start = Restored({**trained.variables, "opt_state": {}}, {})
    for parts in (["encoder"], ["encoder", "decoder"]):
        found = with_pretrained(fresh, start, parts)
        for part in ("encoder", "decoder"):
            for tree in ("params", "batch_stats"):
                layers = getattr(found, tree)[part]
                assert jax.tree.structure(layers) == jax.tree.structure(getattr(fresh, tree)[part])
                for layer, values in layers.items():
                    is_new = part not in parts or layer == "classes"
                    tiny.assert_same(
                        values, getattr(fresh if is_new else trained, tree)[part][layer]
                    )
        tiny.assert_same(found.opt_state, fresh.opt_state)


def tiny_config(data: str, *more: str) -> ConfigDict:
    return load_config("digits", [*TINY[1:], f"--config.data.name={data}", *more])


@pytest.mark.parametrize(
    ("scheme", "field", "named"),
    [
        ("voc", "data.num_labels=8", "several classes"),
        ("voc", "finetune.label_smoothing=0.1", "several classes"),
        ("voc", "finetune.init_parts=encoder_decoder", "only masks"),
        ("voc_segmentation", "data.num_labels=8", "masks"),
        ("voc_segmentation", "finetune.head_epochs=1", "masks"),
        ("voc_segmentation", "finetune.label_smoothing=0.1", "masks"),
        ("voc_segmentation", "finetune.augmentation=strong", "masks"),
        ("voc_segmentation", "evaluation.crops=10", "whole images"),
        ("voc_segmentation", "data.input=resident", "streamed"),
        ("voc_segmentation", "model.blocks=(1, 1, 0, 0)", "model.blocks"),
        ("voc_segmentation", "model.skip_gate=learned", "model.skip_gate"),
        ("voc_segmentation", "model.name=wide_resnet", "model.name"),
    ],
)
def test_what_a_task_has_not_is_refused(devkit, tmp_path, scheme, field, named):
    config = tiny_config(f"{scheme}:{devkit}", f"--config.{field}")
    message = user_error(lambda: finetune(config, tmp_path / "run"))
    assert field.partition("=")[0].rpartition(".")[2] in message and named in message
    assert not (tmp_path / "run").exists()


def test_a_decoder_is_taken_only_from_where_it_fits(devkit, pretrained, tmp_path):
    parts = "--config.finetune.init_parts=encoder_decoder"
    data = f"voc_segmentation:{devkit}"
    other = tiny_config(data, parts, "--config.model.skip=none")
    assert "model.skip" in user_error(lambda: finetune(other, tmp_path / "run", pretrained))


def test_a_decoder_is_not_taken_from_where_skips_have_faded(devkit, tmp_path):
    data, faded = f"voc_segmentation:{devkit}", tmp_path / "faded"
    run("pretrain", faded, data, "--config.pretrain.skip_fade=(0.5, 2.5)")
    both = tiny_config(data, "--config.finetune.init_parts=encoder_decoder")
    message = user_error(lambda: finetune(both, tmp_path / "run", faded))
    assert "pretrain.skip_fade" in message and "0.75" in message and "init_parts=encoder" in message
    assert not (tmp_path / "run").exists()
    encoder = tiny_config(data)
    task = make_task(encoder, load_split(encoder, "train"))
    assert load_pretrained(faded, encoder, task, 3).meta["verb"] == "pretrain"


def test_masks_are_cut_as_their_images_are(devkit):
    config = tiny_config(f"voc_segmentation:{devkit}", "--config.data.view=random_resized")
    data = load_split(config, "train")
    assert data.view is not None
    view = dataclasses.replace(data.view, crop=(24, 20))  # larger than the images
    stored = data.source.stored(0)
    mask = np.asarray(stored.label)
    for seed in range(5):
        window = view.window(stored.image, np.random.default_rng(seed))
        image, cut = view.cut(stored.image, 3, window), view.cut_mask(mask, window)
        assert cut.shape == image.shape[:2] and {*np.unique(cut)} <= {*np.unique(mask)}
        # Bright is a cat; between the two, neighbours are mixed.
        is_void = cut == 255
        agree = (image.mean(-1) > 165) == (cut == 8)
        assert agree[~is_void].mean() > 0.9 > (cut == 8).mean()


def test_an_image_whose_mask_is_broken_is_left_out(tmp_path, caplog):
    year = write_devkit(tmp_path, train=8, test=3)
    broken = year / "SegmentationClass" / "000009.png"
    broken.write_bytes(broken.read_bytes()[:-24])
    skip = tiny_config(f"voc_segmentation:{year}", "--config.data.bad_image=skip")
    examples = list(load_split(skip, "val").examples())
    assert [image.shape[:2] for image, _ in examples] == [(14, 15), (16, 16)]
    assert "000009.png" in caplog.text
    fatal = load_split(tiny_config(f"voc_segmentation:{year}"), "val")
    assert "000009.png" in user_error(lambda: list(fatal.examples()))


def test_whole_images_have_the_scale_of_training(devkit):
    halved = tiny_config(f"voc_segmentation:{devkit}", "--config.data.resize=7")
    image, mask = next(iter(load_split(halved, "train").examples()))  # of 14x17 pixels
    assert image.shape == (7, 8, 3) and mask.shape == (7, 8)
    assert {*np.unique(mask)} == {0, 8, 12}  # the one void row is between two centres
    assert image[mask == 8].mean() > image[mask == 0].mean() > image[mask == 12].mean()


def test_real_masks_are_read_with_their_whole_images(real_data):
    name = f"voc_segmentation:{real_data / 'VOCdevkit' / 'VOC2012'}"
    examples = list(load_split(tiny_config(name), "val").take(np.arange(12)).examples())
    shapes = {image.shape[:2] for image, _ in examples}
    assert len(shapes) > 2 and all(image.shape[:2] == mask.shape for image, mask in examples)
