"""The command from outside: what it prints, what it leaves, how fast it answers."""

import json
import os
import pty
import re
import resource
import struct
from pathlib import Path

import command
import cv2
import numpy as np
import pytest
from data_helpers import noise_images, write_image, write_tfds
from tensorboardX.proto.event_pb2 import Event

from symskip_jax import __version__, cli

SHORT = ("--config.pretrain.epochs=2", "--config.finetune.epochs=3")
LINE = re.compile(r"step \d+ epoch \d+ (train|test): loss \S+ ")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> str:
    return command.write_images(tmp_path_factory.mktemp("data") / "images.npz")


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory, data):
    """The folder of a pre-training, and what it printed."""
    workdir = tmp_path_factory.mktemp("runs") / "pretrained"
    return workdir, command.succeed(*command.pretrain(workdir, data, *SHORT))


@pytest.fixture(scope="module")
def finetuned(tmp_path_factory, data, pretrained):
    workdir = tmp_path_factory.mktemp("runs") / "finetuned"
    arguments = command.finetune(workdir, data, *SHORT, f"--init={pretrained[0]}")
    return workdir, command.succeed(*arguments)


def records(workdir: Path, split: str) -> list[dict]:
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    return [record for record in map(json.loads, lines) if record["split"] == split]


VERBS = [
    "",
    "quickstart",
    "pretrain",
    "finetune",
    "evaluate",
    "probe",
    "visualize",
    "features",
    "report",
    "restore",
    "export",
    "import",
    "reproduce",
    "data",
    "bench",
]
ACTIONS = [f"data {action}" for action in ("list", "import", "prepare")]
ACTIONS += [f"bench {action}" for action in ("step", "stages", "train", "input")]


@pytest.mark.parametrize("verb", [*VERBS, *ACTIONS])
def test_help_shows_examples_and_answers_at_once(verb):
    def seconds() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    before = seconds()
    result = command.succeed(*verb.split(), "--help")
    assert seconds() - before < 1  # of the processor: what else the machine does is not our affair
    assert f"examples:\n  symskip {verb or 'quickstart'}" in result.stdout
    assert "exit status:" in result.stdout and "75" in result.stdout
    assert result.stderr == ""


def test_reproduce_has_exit_statuses_of_its_own():
    shown = command.succeed("reproduce", "--help").stdout.partition("exit status:\n")[2]
    meanings = dict(re.findall(r"^  (\d+) +(.*)$", shown, re.MULTILINE))
    assert list(meanings) == ["0", "1", "2", "75", "130", "143"]
    assert "some runs failed" in meanings["1"] and "NaN" not in shown


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_what_nobody_reads_any_more_ends_in_silence(unbuffered):
    ours, theirs = os.pipe()
    os.close(ours)
    environment = {"PYTHONUNBUFFERED": unbuffered}
    process = command.start("data", "list", stdout=theirs, environment=environment)
    os.close(theirs)
    result = command.finish(process)
    assert (result.returncode, result.stderr) == (cli.EXIT_UNREAD, "") == (141, "")


def test_the_version():
    assert command.succeed("--version").stdout == f"symskip {__version__}\n"


@pytest.mark.parametrize("arguments", [command.pretrain, command.finetune])
def test_a_dry_run_checks_the_configuration_and_leaves_nothing(arguments, tmp_path, capfd):
    def dry_run(*more: str) -> tuple[int, str, str]:
        words = arguments(tmp_path / "run", "folder:nowhere", *more, "--dry-run")
        return cli.main([*map(str, words)]), *capfd.readouterr()

    status, out, err = dry_run()
    assert (status, err) == (0, "") and "nothing wrong" in out
    for wrong in ("pretrain.batchsize=3", "model.dropout=2", "model.width_multiplier=1e-3"):
        status, out, err = dry_run(f"--config.{wrong}")
        assert (status, out) == (2, "") and wrong.partition("=")[0] in err
    assert not (tmp_path / "run").exists()


def test_a_dry_run_sees_whether_there_is_what_it_starts_from(pretrained, tmp_path, capfd):
    def dry_run(init: object, *more: str) -> tuple[int, str, str]:
        more = (f"--init={init}", *more, "--dry-run")
        words = command.finetune(tmp_path / "run", "folder:nowhere", *more)
        return cli.main([*map(str, words)]), *capfd.readouterr()

    for nothing in (tmp_path / "nowhere", tmp_path):
        status, out, err = dry_run(nothing)
        assert (status, out) == (2, "") and f"no checkpoint in {nothing};" in err
    for something in (pretrained[0], pretrained[0] / "checkpoints"):
        status, out, err = dry_run(something)
        assert (status, err) == (0, "") and "nothing wrong" in out
    status, out, err = dry_run(pretrained[0], "--config.finetune.head_epochs=9")
    assert (status, out) == (2, "") and "finetune.head_epochs=9" in err


def test_a_pretraining_prints_plain_lines_where_there_is_no_terminal(pretrained):
    result = pretrained[1]
    assert result.stdout == ""
    train, test, *lines, last = result.stderr.splitlines()
    assert "train: 48 images, resident in memory, 0.0 MiB" in train
    assert "test: 16 images, resident in memory" in test
    assert [line.split()[:5] for line in lines] == [
        ["step", "6", "epoch", "1", "train:"],
        ["step", "6", "epoch", "1", "test:"],
        ["step", "12", "epoch", "2", "train:"],
        ["step", "12", "epoch", "2", "test:"],
    ]
    assert all(re.search(r"loss \S+ PSNR [\d.]+ dB", line) for line in lines)
    assert all("images/s" in line for line in lines[::2])
    assert all(re.search(r"\(input [\d.]+ dB\) SSIM [\d.]+", line) for line in lines[1::2])
    workdir = pretrained[0]
    sheets = f"reconstructions in {workdir / 'images'}"
    assert last == f"results are in {workdir}, {sheets}; next: symskip report {workdir}"


def test_a_finetuning_prints_its_accuracy(finetuned):
    _, _, *lines, last = finetuned[1].stderr.splitlines()
    assert len(lines) == 6 and all(LINE.match(line) for line in lines)
    assert all(re.search(r"accuracy [\d.]+%", line) for line in lines)
    assert last == f"results are in {finetuned[0]}; next: symskip report {finetuned[0]}"


def test_a_pretraining_leaves_what_the_readme_says(pretrained):
    workdir = pretrained[0]
    there = {path.name for path in workdir.iterdir()}
    assert there == {
        *("config.json", "metrics.jsonl", "checkpoints", "tensorboard", "images"),
        *("lock", "status.json"),
    }
    config = json.loads((workdir / "config.json").read_text())
    assert config["verb"] == "pretrain" and config["config.model.n"] == 4
    assert config["config.data.crop"] == [7, 7] and config["config.pretrain.epochs"] == 2
    assert {path.name for path in (workdir / "checkpoints").iterdir()} >= {"9", "12"}
    for name in ("step_00000006.png", "step_00000012.png"):
        sheet = cv2.imread(str(workdir / "images" / name))
        assert sheet is not None and min(sheet.shape[:2]) > 100 and sheet.std() > 10


def test_the_metrics_are_one_object_a_line(pretrained, finetuned):
    train, test = (records(pretrained[0], split) for split in ("train", "test"))
    assert [record["step"] for record in train] == [2, 3, 5, 6, 8, 9, 11, 12]
    assert [(record["step"], record["epoch"]) for record in test] == [(6, 1.0), (12, 2.0)]
    clock = {"seconds", "images_per_second", "input_seconds", "saving_seconds"}
    common = {"step", "epoch", "split", "loss"}
    assert set(train[0]) == common | {"psnr", "learning_rate"} | clock
    measured = {"psnr", "psnr_identity", "ssim", "ssim_identity", "count", "seconds"}
    assert set(test[0]) == common | measured
    assert all(record["count"] == 16 for record in test)
    train, test = (records(finetuned[0], split) for split in ("train", "test"))
    assert set(train[0]) == common | {"accuracy", "learning_rate"} | clock
    assert set(test[0]) == common | {"accuracy", "count", "seconds"}


def test_tensorboard_gets_the_same_figures(pretrained):
    workdir = pretrained[0]
    found = {}
    (log,) = (workdir / "tensorboard").iterdir()
    for event in events(log.read_bytes()):
        for value in event.summary.value:
            found[value.tag, event.step] = value.simple_value
    expected = {
        (f"{record['split']}/{name}", record["step"]): value
        for split in ("train", "test")
        for record in records(workdir, split)
        for name, value in record.items()
        if name not in ("step", "epoch", "split")
    }
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert found[key] == pytest.approx(value, rel=1e-6)


def events(content: bytes):
    """A file of TensorBoard: length (8 bytes), checksum (4), event, checksum (4), and so on."""
    while content:
        (length,) = struct.unpack("<Q", content[:8])
        yield Event.FromString(content[12 : 12 + length])
        content = content[16 + length :]


def test_a_terminal_gets_a_progress_bar(tmp_path, data):
    ours, theirs = pty.openpty()
    environment = {"TERM": "xterm", "COLUMNS": "64", "LINES": "50"}
    arguments = command.pretrain(tmp_path / "run", data, "--config.pretrain.epochs=2")
    process = command.start(*arguments, stdout=theirs, stderr=theirs, environment=environment)
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 2**16)
        except OSError:  # so Linux says that the other end is closed
            break
        if not part:
            break
        shown += part
    os.close(ours)
    assert process.wait(command.PATIENCE) == 0, shown
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
    bar = r"run [━╸╺ ]+\d+/12 (--|\d\d):(--|\d\d) loss \S+ PSNR [\d.]+ dB [\d.]+ images/s"
    assert re.search(bar, text), text
    assert re.search(r"12/12 \d\d:\d\d loss", text), text
    # These are longer than the terminal is wide; to break them is its business.
    tests = r"epoch [12] test: loss \S+ PSNR [\d.]+ dB \(input [\d.]+ dB\) SSIM [\d.]+\r"
    assert len(re.findall(tests, text)) == 2, text


@pytest.mark.parametrize("run", ["pretrained", "finetuned"])
def test_evaluate_measures_what_the_run_measured(request, run):
    workdir = request.getfixturevalue(run)[0]
    result = command.succeed("evaluate", "--workdir", workdir)
    figures = json.loads(result.stdout)
    assert json.loads((workdir / "evaluation.json").read_text()) == figures
    last = records(workdir, "test")[-1]
    for of_the_run in ("epoch", "seconds"):
        del last[of_the_run]
    assert last.pop("split") == figures.pop("split") == "test"
    assert figures.pop("data").startswith("npz:")
    assert figures == last
    assert result.stderr == ""


def test_evaluate_takes_another_step_split_or_batch_size(pretrained, capfd):
    workdir = str(pretrained[0])

    def evaluate(*more: str) -> dict:
        assert cli.main(["evaluate", "--workdir", workdir, *more]) == 0
        return json.loads(capfd.readouterr().out)

    best = max(records(pretrained[0], "test"), key=lambda record: record["psnr"])
    figures = evaluate("--step=best", "--config.run.eval_batch_size=5")
    assert figures["step"] == best["step"] and figures["count"] == 16
    assert figures["psnr"] == pytest.approx(best["psnr"], rel=1e-5)
    assert evaluate("--step=9")["step"] == 9
    figures = evaluate("--config.data.test_split=train")
    assert (figures["count"], figures["split"]) == (48, "train")


def test_data_list_names_what_there_is(tmp_path, capfd):
    write_tfds(tmp_path, {"train": (noise_images(3, 6, 5, 3), [0, 1, 0])})
    assert cli.main(["data", "list", "--data_dir", str(tmp_path)]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[0] == "digits"
    assert "tfds:scribbles:1.0.0" in lines
    assert lines[lines.index("tfds:scribbles:1.0.0") + 1].strip() == "train 3"
    assert any(line.startswith("folder:PATH") for line in lines)


def test_a_folder_of_images_is_pretrained_on_and_finetuned(tmp_path, capfd):
    for name, colour in (("dark", 40), ("light", 200)):
        for i, image in enumerate(noise_images(24, 8, 8, 3, seed=colour) // 8):
            write_image(tmp_path / "photos" / name / f"{i:02}.png", image + np.uint8(colour))
    name = f"folder:{tmp_path / 'photos'}"
    pretraining = command.pretrain(tmp_path / "pretrain", name, *SHORT)
    assert cli.main([*map(str, pretraining)]) == 0
    finetuning = command.finetune(
        tmp_path / "finetune",
        name,
        f"--init={tmp_path / 'pretrain'}",
        "--config.finetune.corruption_probability=0",
        "--config.finetune.learning_rate=0.02",
    )
    assert cli.main([*map(str, finetuning)]) == 0
    capfd.readouterr()
    assert cli.main(["evaluate", "--workdir", str(tmp_path / "finetune"), "--step=best"]) == 0
    figures = json.loads(capfd.readouterr().out)
    # A tenth of each class is kept for the test; a dark image is easily told from a light one.
    assert figures["count"] == 5 and figures["accuracy"] == 1.0


def test_what_a_command_meets_again_and_again_it_says_once(tmp_path):
    for split, count in (("train", 16), ("test", 4)):
        for i, image in enumerate(noise_images(count, 8, 8, 3)):
            write_image(tmp_path / "photos" / split / f"{i}.png", image)
    (tmp_path / "photos" / "notes.txt").touch()
    broken = tmp_path / "photos" / "test" / "2.png"
    broken.write_bytes(broken.read_bytes()[:-20])
    more = ("--config.data.bad_image=skip", "--config.data.input=streamed")
    for evaluations in (2, 0):  # the second start finds all done
        result = command.succeed(
            *command.pretrain(tmp_path / "run", f"folder:{tmp_path / 'photos'}", *SHORT, *more)
        )
        assert result.stderr.count("passed over 1 file that") == 1
        assert result.stderr.count(f"left out {broken}") == 1
        assert result.stderr.count(" test: loss") == evaluations


def test_images_without_a_label_are_pretrained_on_and_left_out_afterwards(tmp_path, capfd):
    folder = tmp_path / "photos"
    for i, image in enumerate(noise_images(60, 8, 8, 3)):
        write_image(folder / f"{i:02}.png", image)
    # Of the first 10 there is no row, of the next 10 no label.
    rows = [f"{i:02}.png,{('', '', 'ant', 'bee')[i % 4 if i >= 20 else 0]}" for i in range(10, 60)]
    (folder / "labels.csv").write_text("\n".join(["file,label", *rows]))

    def symskip(*words: object) -> str:
        assert cli.main([*map(str, words)]) == 0
        return capfd.readouterr().err

    name, run = f"folder:{folder}", tmp_path / "finetune"
    assert f"{name} train: 54 images" in symskip(
        *command.pretrain(tmp_path / "pretrain", name, *SHORT)
    )
    every_label = "--config.data.num_labels=0"
    said = symskip(*command.finetune(run, name, *SHORT, every_label))
    left_out = "images have no label and are left out, the first is"
    assert f"{name} train: 36 of 54 {left_out} {folder / '00.png'}\n" in said
    assert f"{name} train: 18 images" in said and f"{name} test: 2 images" in said
    assert f"{name} test: 4 of 6 {left_out}" in symskip("evaluate", "--workdir", run)
    assert json.loads((run / "evaluation.json").read_text())["count"] == 2
    layer = ("--kind=linear", "--layers=encoder.0.relu")
    said = symskip("probe", "--workdir", tmp_path / "pretrain", *layer)
    assert "18 images to learn from, 2 to measure on" in said
