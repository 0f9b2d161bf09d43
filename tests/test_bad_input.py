"""What a person gets wrong is answered in one line that names it, with exit status 2."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import command
import numpy as np
import pytest
from data_helpers import noise_images, write_image, write_tfds

from symskip_jax import cli
from symskip_jax.config import base_config, flat
from symskip_jax.training.checkpoints import load_variables

ONE_EPOCH = ("--config.pretrain.epochs=1", "--config.finetune.epochs=1")
NO_HEAD = ("--config.finetune.head_epochs=0",)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> str:
    return command.write_images(tmp_path_factory.mktemp("data") / "images.npz")


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory, data) -> Path:
    workdir = tmp_path_factory.mktemp("runs") / "pretrained"
    assert cli.main([*map(str, command.pretrain(workdir, data, *ONE_EPOCH))]) == 0
    return workdir


@pytest.fixture(scope="module")
def finetuned(tmp_path_factory, data) -> Path:
    workdir = tmp_path_factory.mktemp("runs") / "finetuned"
    assert cli.main([*map(str, command.finetune(workdir, data, *ONE_EPOCH))]) == 0
    return workdir


@pytest.fixture
def refused(capfd):
    """Runs the command in this process and returns its one line."""

    def refuse(*arguments: object) -> str:
        capfd.readouterr()
        status = cli.main([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        assert (status, out) == (cli.EXIT_WRONG_INPUT, ""), (status, out, err)
        assert err.startswith("symskip: ") and err.endswith("\n") and err.count("\n") == 1, err
        return err

    return refuse


@pytest.fixture
def workdir(tmp_path) -> Iterator[Path]:
    """Of a run that never starts: nothing is written there."""
    yield tmp_path / "run"
    assert not (tmp_path / "run" / "checkpoints").exists()


def assert_names(message: str, *parts: object) -> None:
    missing = [str(part) for part in parts if str(part) not in message]
    assert not missing, (missing, message)


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ((), ["VERB", "symskip --help"]),
        (("pretrian",), ["pretrian", "finetune", "did you mean pretrain?", "symskip --help"]),
        (("data", "chek"), ["chek", "did you mean check?", "symskip data --help"]),
        (("pretrain", "--workdir=w"), ["--config", "symskip pretrain --help"]),
        (("pretrain", "--workdir=w", "--config"), ["--config", "expected one argument"]),
        (("data", "lost"), ["lost", "list"]),
        (("data", "list", "--config.seed=1"), ["--config.seed=1", "symskip data"]),
        (("evaluate",), ["--workdir", "symskip evaluate --help"]),
    ],
)
def test_the_command_itself(refused, arguments, parts):
    assert_names(refused(*arguments), *parts)


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--config.pretrain.learningrate=1"], ["pretrain.learningrate", "pretrain.learning_rate"]),
        (["--config.sed=1"], ["sed", "seed"]),
        (["--config.seed"], ["--config.seed", "--config.key=value"]),
        (["--config.seed", "1"], ["--config.seed", "--config.key=value"]),
        (["--seed=1"], ["--seed=1", "--config.key=value"]),
        (["--config.seed=one"], ["seed", "one"]),
        (["--config.pretrain.epochs=2.5"], ["pretrain.epochs", "2.5"]),
        (["--config.data.flip=perhaps"], ["data.flip", "perhaps"]),
        (["--config.data.crop=8"], ["data.crop", "8"]),
        (["--config.data.crop=(8, 8, 3)"], ["data.crop", "(8, 8, 3)", "two whole numbers"]),
        (["--config.data.crop=(0, 8)"], ["data.crop", "(0, 8)", "above 0"]),
        (["--config.data.crop=(7.5, 8)"], ["data.crop", "7.5"]),
        (["--config.corruption.block_size=(3,)"], ["corruption.block_size", "(3,)"]),
        (["--config.model.blocks=(1, 1)"], ["model.blocks", "(1, 1)", "four"]),
        (["--config.model.blocks=(0, 0, 0, 0)"], ["model.blocks", "(0, 0, 0, 0)"]),
        (["--config.model.blocks=(1.5, 1, 0, 0)"], ["model.blocks", "1.5"]),
        (["--config.model.name=network_4"], ["model.name", "network_4", "network_3"]),
        (["--config.model.skip=foo"], ["model.skip", "foo", "symmetric", "none"]),
        (["--config.model.init=xavier"], ["model.init", "xavier", "gaussian", "he"]),
        (["--config.model.dtype=float99"], ["model.dtype", "float99", "float32", "bfloat16"]),
        (["--config.corruption.kind=snow"], ["corruption.kind", "snow", "gaussian", "blocks"]),
        (["--config.model.width_multiplier=0.01"], ["model.width_multiplier", "0.01", "filters"]),
        (["--config.model.dropout=1"], ["model.dropout", "1", "below 1"]),
        (["--config.seed=4294967296"], ["seed", "4294967296"]),
        (["--config.finetune.corruption_probability=2"], ["corruption_probability", "2", "to 1"]),
        (["--config.pretrain.learning_rate=nan"], ["pretrain.learning_rate", "nan", "above 0"]),
        (["--config.pretrain.milestones=(3, 2)"], ["pretrain.milestones", "(3, 2)", "increasing"]),
        (["--config.finetune.milestones=(2, 2)"], ["finetune.milestones", "(2, 2)"]),
        (["--config.pretrain.milestones=('a',)"], ["pretrain.milestones", "'a'"]),
        (["--config.pretrain.plateau_factor=1"], ["pretrain.plateau_factor", "between 0 and 1"]),
        (["--config.seed=1", "--config.seed=-3"], ["seed=-3"]),
        (["--config.run.eval_every=0"], ["run.eval_every", "0", "above 0"]),
        (["--config.run.checkpoint_every=inf"], ["run.checkpoint_every", "inf"]),
        (["--config.pretrain.epochs=0"], ["pretrain.epochs", "0", "at least 1"]),
        (["--config.run.steps_per_dispatch=0"], ["run.steps_per_dispatch", "0", "at least 1"]),
        (["--config.data.crop=(9, 8)"], ["data.crop", "(9, 8)", "8x8", "1 to 8"]),
        (["--config.corruption.block_size=(8, 3)"], ["block_size", "(8, 3)", "(7, 7)", "1 to 7"]),
        (
            ["--config.pretrain.batch_size=49"],
            ["=49 must be 1 to 48", "--config.pretrain.batch_size=32"],
        ),
        (
            ["--config.pretrain.batch_size=49", "--config.pretrain.per_device_batch_size=3"],
            ["=49 must be 1 to 48", "--config.pretrain.batch_size=48"],
        ),
        (
            ["--config.pretrain.batch_size=56", "--config.pretrain.accumulate=7"],
            ["=56 must be 1 to 48", "more images"],
        ),
        (["--config.pretrain.batch_size=12"], ["pretrain.batch_size", "12", "8 devices"]),
        (["--config.pretrain.accumulate=2"], ["accumulate=2", "pretrain.batch_size", "16"]),
        (
            ["--config.pretrain.batch_size=16", "--config.pretrain.per_device_batch_size=3"],
            ["pretrain.batch_size=16", "per_device_batch_size=3", "8 devices", "multiple of 24"],
        ),
        (
            [
                "--config.pretrain.batch_size=16",
                "--config.pretrain.per_device_batch_size=1",
                "--config.pretrain.accumulate=4",
            ],
            ["pretrain.accumulate=4", "pretrain.batch_size=16", "8 devices", "accumulate=2"],
        ),
        (["--config.run.replicas=3"], ["run.replicas=3", "8 devices", "1, 2, 4, 8"]),
        (["--config.run.replicas=0"], ["run.replicas=0", "at least 1"]),
        (
            ["--config.model.batch_norm_devices=3"],
            ["model.batch_norm_devices=3", "8 devices", "1, 2, 4, 8", "0 for all"],
        ),
        (["--config.data.train_split=valid"], ["valid"]),
        (["--config.pretrain.weight_decay=0.1"], ["pretrain.weight_decay=0.1", "adamw", "sgd"]),
        (["--config.finetune.warmup_epochs=8"], ["finetune.warmup_epochs=8", "finetune.epochs=8"]),
        (["--config.model.name=wide_resnet", "--config.model.depth=27"], ["depth=27", "16, 22"]),
        (
            ["--config.model.name=wide_resnet", "--config.model.skip_gate=learned"],
            ["model.skip_gate='learned'", "wide_resnet", "'none' alone"],
        ),
    ],
)
def test_the_configuration(refused, workdir, data, arguments, parts):
    assert_names(refused(*command.pretrain(workdir, data, *arguments)), *parts)


NUMBERS = [
    key
    for key, value in flat(base_config()).items()
    if isinstance(value, int | float) and not isinstance(value, bool)
]


@pytest.mark.parametrize("key", NUMBERS)
def test_no_number_may_be_negative(refused, workdir, data, key):
    message = refused(*command.pretrain(workdir, data, f"--config.{key}=-1"))
    assert_names(message, f"config key {key}=-1", "must be")


@pytest.mark.parametrize(
    ("config", "parts"),
    [
        ("cifar11", ["cifar11", "cifar10", "digits"]),
        ("nowhere/digits.py", ["nowhere/digits.py"]),
        ("digits:small", ["small", "none"]),
        ("cifar10_4k:big", ["big", "small"]),
    ],
)
def test_the_config_file(refused, workdir, config, parts):
    assert_names(refused("pretrain", "--config", config, "--workdir", workdir), *parts)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("digit", ["digit", "digits"]),
        ("mnist", ["mnist", "tfds:mnist"]),
        (
            "tfds:cifar10",
            [
                *("tfds:cifar10", "symskip data prepare cifar10", "set TFDS_DATA_DIR"),
                "--config.data.name=NAME",
            ],
        ),
        ("tfds:cifar11", ["tfds:cifar11", "tfds:cifar10"]),
        ("npz:nowhere.npz", ["npz:nowhere.npz does not exist", "--config.data.name=NAME"]),
        ("folder:nowhere", ["folder:nowhere does not exist", "--config.data.name=NAME"]),
        ("voc:nowhere", ["voc:nowhere is no folder", "--config.data.name=NAME"]),
        ("", ["digits", "folder:"]),
    ],
)
def test_the_name_of_the_data(refused, workdir, tmp_path, name, parts):
    more = (f"--config.data.data_dir={tmp_path}",)
    assert_names(refused(*command.pretrain(workdir, name, *more)), *parts)


def test_a_folder_without_images(refused, workdir, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "notes.txt").write_text("none yet")
    message = refused(*command.pretrain(workdir, f"folder:{tmp_path / 'photos'}"))
    assert_names(message, tmp_path / "photos", "no images", "1 .txt")


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_truncated_image(workdir, tmp_path, suffix):
    for i, image in enumerate(noise_images(12, 8, 8, 3)):
        write_image(tmp_path / "photos" / f"{i}{suffix}", image)
    victim = tmp_path / "photos" / f"7{suffix}"
    victim.write_bytes(victim.read_bytes()[:-40])
    # In a process of its own, as the decoders have their own ways to the terminal.
    result = command.run(*command.pretrain(workdir, f"folder:{tmp_path / 'photos'}"))
    assert result.returncode == cli.EXIT_WRONG_INPUT and result.stderr.count("\n") == 1
    assert_names(result.stderr, victim, "cut short", "replace or remove")


def test_images_of_several_sizes(refused, workdir, tmp_path):
    for i, side in enumerate((8, 8, 8, 9)):
        write_image(tmp_path / "photos" / f"{i}.png", noise_images(side, 8, 3))
    photos = f"folder:{tmp_path / 'photos'}"
    message = refused(*command.pretrain(workdir, photos, "--config.data.input=resident"))
    assert_names(message, "differ in size", "8x8", "8x9", "3.png", "data.input=streamed")


def test_labels_outside_the_range(refused, workdir, tmp_path):
    labels = np.arange(48) % 4
    labels[5] = -2
    name = command.write_images(tmp_path / "images.npz", train_labels=labels)
    assert_names(refused(*command.finetune(workdir, name)), "label -2", "image 5", "range")


@pytest.mark.parametrize("split", ["train", "test"])
def test_streamed_labels_outside_the_range(refused, workdir, tmp_path, split):
    splits = {"train": (noise_images(48, 8, 8, 3), [0, 1] * 24)}
    splits["test"] = (splits["train"][0][:16], [0, 1] * 8)
    splits[split][1][5] = 2
    write_tfds(tmp_path / "data", splits)
    more = (f"--config.data.data_dir={tmp_path / 'data'}", "--config.data.input=streamed")
    message = refused(*command.finetune(workdir, "tfds:scribbles", *more))
    assert_names(message, "label 2", f"image 5 of tfds:scribbles {split}", "range")


def test_data_without_labels(refused, workdir, tmp_path):
    nothing = {"train_labels": None, "test_labels": None}
    name = command.write_images(tmp_path / "images.npz", **nothing)
    message = refused(*command.finetune(workdir, name))
    assert_names(message, name, "none of 48 images has a label", "--config.data.name")
    for number in range(40):
        write_image(tmp_path / "flat" / f"{number}.png", noise_images(1, 8, 8, 3)[0])
    message = refused(*command.finetune(workdir, f"folder:{tmp_path / 'flat'}"))
    assert_names(message, "none of 36 images has a label", "sub-folder", "labels.csv (file,label)")
    rows = [f"{i}.png,{'ant,train' if i >= 4 else ',test'}" for i in range(40)]
    (tmp_path / "flat" / "labels.csv").write_text("\n".join(["file,label,split", *rows]))
    message = refused(*command.finetune(workdir, f"folder:{tmp_path / 'flat'}"))
    assert_names(message, "test: none of 4 images has a label", "two or more of each class")


def test_more_labels_than_there_are(refused, workdir, data):
    message = refused(*command.finetune(workdir, data, "--config.data.num_labels=49"))
    assert_names(message, "49", "48")


def test_a_batch_larger_than_the_labelled_data(refused, workdir, data):
    message = refused(*command.finetune(workdir, data, "--config.finetune.batch_size=32"))
    assert_names(
        message, "finetune.batch_size=32 must be 1 to 24", "--config.finetune.batch_size=16"
    )


def test_more_epochs_of_the_head_than_epochs(refused, workdir, data, pretrained):
    more = (*ONE_EPOCH, f"--init={pretrained}")
    # Before data is read.
    for name in (data, "folder:nowhere"):
        message = refused(*command.finetune(workdir, name, *more))
        assert_names(message, "finetune.head_epochs=2", "finetune.epochs=1")


@pytest.mark.parametrize(
    ("more", "parts"),
    [
        (["--config.model.n=8"], ["network_1", "widths 4-8", "widths 8-16", "config.model"]),
        (["--config.model.blocks=(2, 0, 0, 0)"], ["widths 4-8", "widths 4-4"]),
        (["--config.model.name=network_2"], ["network_1", "network_2"]),
    ],
)
def test_an_encoder_of_another_network(refused, workdir, data, pretrained, more, parts):
    message = refused(*command.finetune(workdir, data, *NO_HEAD, f"--init={pretrained}", *more))
    assert_names(message, f"--init {pretrained}", "another network", *parts)


def test_an_encoder_for_another_number_of_channels(refused, workdir, tmp_path, pretrained):
    name = grey_images(tmp_path / "grey.npz")
    message = refused(*command.finetune(workdir, name, *NO_HEAD, f"--init={pretrained}"))
    assert_names(message, "3 channels", "1 channels")


def grey_images(path: Path) -> str:
    grey = {
        f"{split}_images": noise_images(count, 8, 8)
        for split, count in (("train", 48), ("test", 16))
    }
    return command.write_images(path, **grey)


@pytest.mark.parametrize("there", [True, False])
def test_an_encoder_that_is_not_there(refused, workdir, tmp_path, data, there):
    if there:
        (tmp_path / "init").mkdir()
    message = refused(*command.finetune(workdir, data, f"--init={tmp_path / 'init'}"))
    assert_names(message, "no checkpoint", tmp_path / "init", "name the folder of a run")


def test_an_encoder_that_is_damaged(refused, workdir, tmp_path, data, pretrained):
    shutil.copytree(pretrained, tmp_path / "init")
    for metadata in (tmp_path / "init" / "checkpoints").glob("*/meta/metadata"):
        metadata.write_text(metadata.read_text().replace('"mean": [', '"mean": [9'))
    message = refused(*command.finetune(workdir, data, f"--init={tmp_path / 'init'}"))
    assert_names(message, tmp_path / "init" / "checkpoints", "meta/metadata has changed")


def test_a_workdir_that_cannot_be_made(refused, tmp_path, data):
    (tmp_path / "file").touch()
    for place in ("file", "file/run"):
        message = refused(*command.pretrain(tmp_path / place, data))
        assert_names(message, f"--workdir {tmp_path / place}", "cannot be written")


@pytest.mark.skipif(
    not Path("/proc/self").exists(), reason="needs a folder that not even root fills"
)
def test_a_workdir_that_cannot_be_written(refused, data):
    # Even root, whom no permission binds, makes no file there.
    message = refused(*command.pretrain(Path(f"/proc/{os.getpid()}"), data))
    assert_names(message, f"--workdir /proc/{os.getpid()}", "cannot be written")


def test_a_workdir_that_holds_another_run(refused, data, tmp_path, pretrained):
    before = (pretrained / "config.json").read_text()
    changes = ("--config.seed=3", "--config.pretrain.learning_rate=0.5")
    message = refused(*command.pretrain(pretrained, data, *ONE_EPOCH, *changes))
    assert_names(
        message,
        f"--workdir {pretrained}",
        "another run",
        "config.seed (0 there, 3 here)",
        "config.pretrain.learning_rate (0.002 there, 0.5 here)",
        "another --workdir",
    )
    assert "config.model" not in message and "config.data" not in message
    # The same file names, other images in them.
    copy = tmp_path / "run"
    shutil.copytree(pretrained, copy)
    name = command.write_images(tmp_path / "images.npz", train=40)
    message = refused(*command.pretrain(copy, name, *ONE_EPOCH))
    assert_names(message, "data (", "config.data.name")
    assert (pretrained / "config.json").read_text() == before


def test_a_workdir_of_the_other_verb(refused, data, pretrained, finetuned):
    message = refused(*command.finetune(pretrained, data, *ONE_EPOCH))
    assert_names(message, "verb ('pretrain' there, 'finetune' here)")
    message = refused(*command.pretrain(finetuned, data, *ONE_EPOCH))
    assert_names(message, "verb ('finetune' there, 'pretrain' here)")


def test_restoring_with_a_classifier(refused, tmp_path, finetuned):
    assert_names(
        refused("restore", tmp_path, "--checkpoint", finetuned), finetuned, "no auto-encoder"
    )


def test_a_workdir_with_another_init(refused, data, pretrained, finetuned):
    more = (*ONE_EPOCH, "--config.finetune.head_epochs=1", f"--init={pretrained}")
    message = refused(*command.finetune(finetuned, data, *more))
    assert_names(message, f"init ('scratch' there, '{pretrained}' here)")


@pytest.mark.parametrize("content", ["{", None])
def test_a_workdir_whose_config_cannot_be_read(refused, workdir, data, content):
    workdir.mkdir()
    if content is None:
        (workdir / "config.json").mkdir()
    else:
        (workdir / "config.json").write_text(content)
    message = refused(*command.pretrain(workdir, data))
    assert_names(message, workdir / "config.json", "another --workdir")


@pytest.mark.parametrize(
    ("step", "parts"),
    [
        ("5", ["step 5", "[3, 6]"]),
        ("last", ["--step last", "latest, best or a number"]),
        ("-1", ["--step -1", "latest, best or a number"]),
    ],
)
def test_evaluating_a_step_that_is_not_there(refused, pretrained, step, parts):
    assert_names(refused("evaluate", "--workdir", pretrained, "--step", step), *parts)


def test_evaluating_nothing(refused, tmp_path):
    for step in ("latest", "best", "3"):
        message = refused("evaluate", "--workdir", tmp_path / "run", "--step", step)
        assert_names(message, "no checkpoint", tmp_path / "run")


def test_evaluating_the_best_where_none_was_measured(refused, tmp_path, pretrained):
    shutil.copytree(pretrained, tmp_path / "run")
    (tmp_path / "run" / "metrics.jsonl").unlink()
    message = refused("evaluate", "--workdir", tmp_path / "run", "--step", "best")
    assert_names(message, tmp_path / "run", "--step latest")


def test_evaluating_on_what_does_not_suit(refused, tmp_path, data, pretrained, finetuned):
    def on(run: Path, name: str, *more: str) -> str:
        return refused("evaluate", "--workdir", run, f"--config.data.name={name}", *more)

    for run in (pretrained, finetuned):
        assert_names(on(run, grey_images(tmp_path / "grey.npz")), "1 channels", "on 3")
    names = np.array(["ant", "bee", "cow", "dog"])
    other = command.write_images(tmp_path / "other.npz", class_names=names)
    assert_names(on(finetuned, other), "other classes", "ant")
    nothing = {"train_labels": None, "test_labels": None}
    unlabelled = command.write_images(tmp_path / "unlabelled.npz", **nothing)
    assert_names(on(finetuned, unlabelled), "none of 16 images has a label")
    for change in ("n=8", "skip=none"):
        message = on(pretrained, data, f"--config.model.{change}")
        assert_names(message, "another network", f"--workdir {pretrained}")
    assert_names(on(pretrained, data, "--config.run.eval_batch_size=0"), "run.eval_batch_size=0")


def test_a_fully_connected_head_serves_one_size_only(refused, tmp_path, data):
    narrow = ("--config.model.name=network_3", "--config.model.width_multiplier=0.01")
    arguments = command.finetune(tmp_path / "run", data, *ONE_EPOCH, *NO_HEAD, *narrow)
    assert cli.main([*map(str, arguments)]) == 0
    for verb in ("evaluate", "probe", "visualize"):
        message = refused(verb, "--workdir", tmp_path / "run", "--config.data.crop=(8, 8)")
        assert_names(message, "data.crop=(8, 8)", "(7, 7)")


def test_a_loss_that_is_not_finite_ends_the_run_and_spares_the_last_checkpoint(
    tmp_path, data, capfd
):
    # After its second epoch it takes steps of 10^32.
    growing = ("--config.pretrain.milestones=(2,)", "--config.pretrain.milestone_factor=1e35")
    arguments = [*map(str, command.pretrain(tmp_path / "run", data, *growing))]
    for _ in range(2):
        assert cli.main(arguments) == cli.EXIT_FAILED == 1
        *lines, last = capfd.readouterr().err.splitlines()
        assert last.startswith("symskip: the loss became ")
        assert_names(last, "at step 14;", "the checkpoint of step 12 is whole", "learning_rate")
        assert all(line.startswith(("step ", "resumed after step 12 ", data)) for line in lines)
    state = load_variables(tmp_path / "run").state
    assert state["step"] == 12
    assert np.isfinite(state["params"]["encoder"]["0"]["conv"]["kernel"]).all()
    records = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert all(np.isfinite(json.loads(record)["loss"]) for record in records)
    assert cli.main(["evaluate", "--workdir", str(tmp_path / "run")]) == 0
    assert json.loads(capfd.readouterr().out)["step"] == 12


@pytest.mark.parametrize(
    "arguments",
    [
        ("pretrain", "--config=digits", "--workdir=run", "--config.sed=1"),
        ("pretrain", "--config=digits", "--workdir=file/run"),
        ("finetune", "--config=digits", "--workdir=run", "--init=nowhere"),
        ("quickstart", "--workdir=file/run"),
        ("evaluate", "--workdir=nowhere"),
    ],
)
def test_it_is_one_line_from_outside_too(tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    result = command.run(*arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("symskip: ") and result.stderr.count("\n") == 1, result.stderr
