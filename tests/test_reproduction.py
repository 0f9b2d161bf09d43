"""`symskip reproduce`: which commands, in which order, and what the table says of their logs.

The commands are played by a function that leaves a log as they do; test_reproduction_smoke.py runs
the real ones.
"""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from data_helpers import user_error
from scipy import stats

from symskip_jax.analysis.files import write_atomically
from symskip_jax.cli import main
from symskip_jax.config import flat, load_config
from symskip_jax.errors import StoppedError
from symskip_jax.experiments.checks import check_config
from symskip_jax.reproduction.command import Hands, reproduce, write_tables
from symskip_jax.reproduction.definitions import DEFINITIONS, define
from symskip_jax.reproduction.grid import SCALES

MACHINE = {"platform": "cpu", "cpu_cores": 2, "matrix_flops_per_second": 1e11}
RUNS_OF_TABLE2 = [
    *("random_gaussian", "random_he", "pretrain_no_skip", "no_skip", "pretrain_skip", "skip"),
    *("pretrain_skip_he", "skip_he"),
]


class Commands:
    """Plays `symskip`: keeps what it was asked, and leaves a log with an accuracy."""

    def __init__(self, accuracy=lambda name, seed: 0.5, status=lambda name, seed: 0):
        self.asked, self._accuracy, self._status = [], accuracy, status

    def __call__(self, words, log):
        workdir = Path(words[words.index("--workdir") + 1])
        name, seed = workdir.parent.name, int(workdir.name.removeprefix("seed_"))
        self.asked.append((name, seed))
        log.write_text("it went wrong\n")
        overrides = [it for it in words if it.startswith("--config.")]
        fields = flat(load_config(words[words.index("--config") + 1], overrides))
        config = {"verb": words[0], "words": words, **{f"config.{k}": v for k, v in fields.items()}}
        (workdir / "config.json").write_text(json.dumps(config))
        record = {"split": "test", "psnr": 20.0, "seconds": 10.0}
        records = [
            {**record, "epoch": 1.0, "accuracy": self._accuracy(name, seed) - 0.1},
            {**record, "epoch": 2.0, "accuracy": self._accuracy(name, seed)},
        ]
        (workdir / "metrics.jsonl").write_text("".join(json.dumps(it) + "\n" for it in records))
        return self._status(name, seed)


def play(tmp_path, commands, **settings):
    arguments = {"scale": "small", "seeds": "1", "only": None, "dry_run": False, "data": ()}
    return reproduce(
        "table2",
        **{**arguments, **settings},
        runs=tmp_path / "runs",
        results=tmp_path / "results",
        hands=Hands(commands, lambda: MACHINE),
    )


def table(tmp_path):
    text = (tmp_path / "results" / "table2" / "small" / "table.csv").read_text()
    return {line["row"]: line for line in csv.DictReader(text.splitlines())}


def test_each_run_is_done_once_and_after_what_it_starts_from(tmp_path):
    commands = Commands()
    assert play(tmp_path, commands, seeds="2") == 0
    assert commands.asked == [(name, seed) for seed in (0, 1) for name in RUNS_OF_TABLE2]
    assert play(tmp_path, commands, seeds="2") == 0
    assert len(commands.asked) == 2 * len(RUNS_OF_TABLE2)
    # Another seed needs its own runs alone.
    play(tmp_path, commands, seeds="3")
    assert {seed for _, seed in commands.asked[2 * len(RUNS_OF_TABLE2) :]} == {2}
    # Seeds can be shared out, and the table has all of them.
    play(tmp_path, commands, seeds="3-4")
    assert {seed for _, seed in commands.asked[3 * len(RUNS_OF_TABLE2) :]} == {3, 4}
    assert table(tmp_path)["from scratch, He"]["seeds"] == "5"


def test_what_fails_takes_along_what_starts_from_it_and_nothing_else(tmp_path, capsys):
    fails = Commands(status=lambda name, seed: int(name == "pretrain_skip"))
    assert play(tmp_path, fails) == 1
    assert [name for name, _ in fails.asked] == [it for it in RUNS_OF_TABLE2 if it != "skip"]
    said = capsys.readouterr().err
    assert "pretrain_skip seed 0: FAILED with status 1: it went wrong" in said
    assert "skip seed 0: left out, as what it starts from failed" in said
    assert "2 of 8 runs failed" in said
    assert table(tmp_path)["pre-trained with skips"]["seeds"] == "0"
    assert "| pre-trained with skips | test accuracy (%) | 80.22 ± 0.37 | not run |" in (
        (tmp_path / "results" / "table2" / "small" / "table.md").read_text()
    )
    # What failed is tried again, and only that.
    mended = Commands()
    assert play(tmp_path, mended) == 0
    assert mended.asked == [("pretrain_skip", 0), ("skip", 0)]


def test_a_stopped_command_stops_all_and_is_what_comes_next(tmp_path):
    stops = Commands(status=lambda name, seed: 75 * (name == "no_skip"))
    with pytest.raises(StoppedError, match="no_skip seed 0 was stopped"):
        play(tmp_path, stops)
    after = Commands()
    play(tmp_path, after)
    assert [name for name, _ in after.asked] == RUNS_OF_TABLE2[3:]


def test_without_its_checkpoint_a_source_is_run_again_for_what_starts_from_it(tmp_path):
    play(tmp_path, Commands(status=lambda name, seed: int(name == "skip")))
    # A checkout has the logs and not the checkpoints.
    (tmp_path / "runs").rename(tmp_path / "lost")
    commands = Commands()
    play(tmp_path, commands)
    assert commands.asked == [("pretrain_skip", 0), ("skip", 0)]


def test_what_was_run_with_another_recipe_is_run_again_and_in_no_table(tmp_path):
    play(tmp_path, Commands(), only="skip")
    folder = tmp_path / "results" / "table2" / "small" / "skip" / "seed_0"
    config = json.loads((folder / "config.json").read_text())

    def redo(**changes):
        (folder / "config.json").write_text(json.dumps({**config, **changes}))
        commands = Commands()
        play(tmp_path, commands, only="skip")
        return [name for name, _ in commands.asked]

    # Where data lay, and how often was saved, changes nothing.
    assert redo(**{"config.data.data_dir": "elsewhere", "config.run.checkpoint_every": 7.0}) == []
    assert redo(**{"config.finetune.batch_size": 7}) == ["skip"]
    (folder / "config.json").write_text(json.dumps({**config, "config.finetune.epochs": 7}))
    write_tables(define("table2", "small"), tmp_path / "results")
    assert table(tmp_path)["pre-trained with skips"]["seeds"] == "0"


def test_the_logs_are_there_before_the_note_that_they_are(tmp_path, monkeypatch):
    def fails(path, content):
        if path.name == "metrics.jsonl" and "results" in path.parts:
            raise OSError("no space left on device")
        write_atomically(path, content)

    with monkeypatch.context() as patched, pytest.raises(OSError, match="no space left"):
        patched.setattr("symskip_jax.reproduction.logs.write_atomically", fails)
        play(tmp_path, Commands(), only="skip")
    commands = Commands()
    assert play(tmp_path, commands, only="skip") == 0
    assert [name for name, _ in commands.asked] == ["pretrain_skip", "skip"]
    assert table(tmp_path)["pre-trained with skips"]["seeds"] == "1"


def test_one_pre_training_serves_the_ten_folds(tmp_path):
    commands = Commands()
    arguments = {"scale": "paper", "seeds": "3", "only": "skip", "dry_run": False, "data": ()}
    roots = {"runs": tmp_path / "runs", "results": tmp_path / "results"}
    reproduce("table3", **arguments, **roots, hands=Hands(commands, lambda: MACHINE))
    assert commands.asked == [("pretrain_skip", 0), ("skip", 0), ("skip", 1), ("skip", 2)]
    fold = roots["results"] / "table3" / "paper" / "skip" / "seed_2" / "config.json"
    words = json.loads(fold.read_text())["words"]
    assert "--config.data.train_split=fold_2" in words
    assert words[-1] == "runs/reproduce/table3/paper/pretrain_skip/seed_0"


def test_the_time_to_the_figure_of_the_paper(tmp_path):
    # The paper's 80.22 is reached at the first of two tests by one seed, by the other at none.
    play(tmp_path, Commands(lambda name, seed: 0.91 if seed else 0.8), seeds="2", only="skip")
    line = table(tmp_path)["pre-trained with skips"]
    note = tmp_path / "results" / "table2" / "small" / "pretrain_skip" / "seed_1" / "run.json"
    before = json.loads(note.read_text())["seconds"]
    assert line["seconds_to_paper"] == f"{before + 10.0:.0f}"
    assert (
        "time to the paper's"
        in (tmp_path / "results" / "table2" / "small" / "table.md").read_text()
    )


def test_the_correlation_is_that_of_scipy(tmp_path):
    psnrs, accuracies = [20.0, 21.0, 22.5, 20.5, 23.0], [0.5, 0.52, 0.51, 0.55, 0.54]

    class Noted(Commands):
        def __call__(self, words, log):
            status = super().__call__(words, log)
            path = log.with_name("metrics.jsonl")
            seed = int(log.parent.name.removeprefix("seed_"))
            path.write_text(path.read_text().replace("20.0", str(psnrs[seed])))
            return status

    arguments = {"scale": "small", "seeds": "5", "only": "skip", "dry_run": False, "data": ()}
    roots = {"runs": tmp_path / "runs", "results": tmp_path / "results"}
    commands = Noted(lambda name, seed: accuracies[seed])
    for only in ("skip", "pretrain_skip"):
        reproduce(
            "supplement_d",
            **{**arguments, "only": only},
            **roots,
            hands=Hands(commands, lambda: MACHINE),
        )
    found = stats.pearsonr(psnrs, accuracies)
    low, high = found.confidence_interval(0.95)
    said = (roots["results"] / "supplement_d" / "small" / "table.md").read_text()
    assert f"over 5 runs, all: {found.statistic:+.2f} ({low:+.2f} to {high:+.2f})" in said


def test_nothing_to_correlate_is_no_error(tmp_path):
    arguments = {"scale": "small", "seeds": "1", "only": None, "dry_run": False, "data": ()}
    roots = {"runs": tmp_path / "runs", "results": tmp_path / "results"}
    commands = Commands(status=lambda name, seed: int(not name.startswith("pretrain")))
    hands = Hands(commands, lambda: MACHINE)
    assert reproduce("supplement_d", **arguments, **roots, hands=hands) == 1


def test_one_cell_alone(tmp_path):
    for only in ("skip", "pre-trained with skips"):
        commands = Commands()
        play(tmp_path / only, commands, only=only)
        assert [name for name, _ in commands.asked] == ["pretrain_skip", "skip"]
    assert "choose one of random_gaussian" in user_error(
        lambda: play(tmp_path, Commands(), only="nothing")
    )


def test_mean_deviation_interval_and_difference_are_those_of_scipy(tmp_path):
    accuracies = {"random_he": [0.50, 0.53, 0.51], "skip": [0.55, 0.56, 0.51]}

    def accuracy(name, seed):
        return accuracies.get(name, [0.1, 0.2, 0.3])[seed]

    play(tmp_path, Commands(accuracy), seeds="3")
    line = table(tmp_path)["pre-trained with skips"]
    assert float(line["mean"]) == pytest.approx(54.0) and line["seeds"] == "3"
    assert line["values"] == "55.0000 56.0000 51.0000"
    ours = (tmp_path / "results" / "table2" / "small" / "table.md").read_text()
    row = next(it for it in ours.splitlines() if it.startswith("| pre-trained with skips |"))
    low, high = stats.ttest_1samp([55.0, 56.0, 51.0], 0).confidence_interval(0.95)
    assert f"| 54.00 ± 2.65 | {low:.2f} to {high:.2f} |" in row
    paired = stats.ttest_rel([55.0, 56.0, 51.0], [50.0, 53.0, 51.0]).confidence_interval(0.95)
    assert f"| +2.67 ({paired.low:+.2f} to {paired.high:+.2f}) |" in row


def test_logs_are_kept_without_the_paths_of_the_machine(tmp_path):
    data = tmp_path / "secret" / "cifar10.npz"
    play(tmp_path, Commands(), data=(f"cifar10=npz:{data}",))
    folder = tmp_path / "results" / "table2" / "small" / "skip" / "seed_0"
    config = (folder / "config.json").read_text()
    assert str(tmp_path) not in config and "npz:cifar10" in config
    note = json.loads((folder / "run.json").read_text())
    assert note["command"].startswith("symskip finetune --config cifar10_4k:small")
    assert str(tmp_path) not in note["command"] and note["machine"] == MACHINE
    assert (folder.parents[1] / "plot.png").stat().st_size > 1000
    assert "<svg" in (folder.parents[1] / "plot.svg").read_text()


def test_a_root_as_short_as_a_dot_leaves_the_numbers_of_logs_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = {"scale": "small", "seeds": "1", "only": "skip", "dry_run": False, "data": ()}
    roots = {"runs": Path("."), "results": Path("results")}
    hands = Hands(Commands(), lambda: MACHINE)
    assert reproduce("table2", **arguments, **roots, hands=hands) == 0
    folder = tmp_path / "results" / "table2" / "small" / "skip" / "seed_0"
    last = (folder / "metrics.jsonl").read_text().splitlines()[-1]
    assert json.loads(last)["accuracy"] == 0.5
    words = json.loads((folder / "config.json").read_text())["words"]
    assert words[words.index("--init") + 1] == "runs/reproduce/table2/small/pretrain_skip/seed_0"


def test_the_accelerator_is_left_to_the_commands(tmp_path):
    code = (
        "import os, sys, jax; from symskip_jax.cli import main; before = dict(os.environ);"
        f"main(['reproduce', 'table2', '--scale=smoke', '--dry-run', '--runs={tmp_path}']);"
        "print(jax.config.jax_platforms, os.environ.get('JAX_PLATFORMS') == "
        "before.get('JAX_PLATFORMS'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "cpu True", done.stderr


def test_a_dry_run_prints_commands_and_costs_and_runs_nothing(tmp_path, capsys):
    commands = Commands()
    assert play(tmp_path, commands, scale="paper", only="skip", dry_run=True) == 0
    assert not commands.asked and not (tmp_path / "results").exists()
    out = capsys.readouterr().out
    # The very commands, which can be typed.
    assert f"--workdir {tmp_path}/runs/table2/paper/skip/seed_0" in out
    costs = [float(it) for it in re.findall(r"seed 0: ([\d.e+]+) FLOPs", out)]
    # By hand: 120 epochs of 50,000 images, 6 passes of the encoder's 0.49 GFLOP each.
    assert costs[0] == pytest.approx(120 * 50_000 * 6 * 0.49e9, rel=0.1)
    assert len(costs) == 2 and f"# in all: {sum(costs):.2g} FLOPs" in out
    assert "symskip pretrain --config cifar10_4k --config.seed=0" in out
    assert "at 2.5e+10 FLOP/s" in out or "2.5e+10 FLOP/s" in out


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", DEFINITIONS)
def test_every_command_of_every_experiment_has_a_configuration_that_holds(name, scale):
    experiment = define(name, scale)
    assert experiment.name == name and experiment.cells
    folders = [(run.experiment, run.name) for run in experiment.runs()]
    assert len(set(folders)) == len(folders)
    for run in experiment.runs():
        assert run.source is None or run.source.verb == "pretrain" or run.verb == "probe"
        if run.config:
            settings = [f"--config.{it}".replace("{seed}", "0") for it in run.chosen()]
            check_config(load_config(run.config, settings))


@pytest.mark.parametrize("scale", ["paper", "small"])
def test_the_papers_start_on_clean_images_differs_from_table_2_in_corruption_alone(scale):
    def fields(experiment, name):
        (run,) = [it for it in define(experiment, scale).runs() if it.name == name]
        assert run.source is not None and run.source.name == "pretrain_skip"
        found = flat(load_config(run.config, run.overrides(0, "images")))
        return {key: value for key, value in found.items() if not key.startswith("run.")}

    ours, theirs = fields("recipes", "gaussian_4000"), fields("table2", "skip")
    differing = {key for key in ours if ours[key] != theirs[key]}
    assert differing == {"finetune.corruption_probability"}


def test_wrong_words_are_answered_in_a_line(tmp_path, capsys):
    def said(*words):
        assert main(["reproduce", *words, "--runs", str(tmp_path)]) == 2
        return capsys.readouterr().err

    assert "experiment table9 is unknown; choose one of table1" in said("table9")
    for none in ("0", "4-3", "few", "-1"):
        assert f"--seeds {none} names none" in said("table2", f"--seeds={none}")
    assert "--data cifar=x must be ROLE=NAME" in said("table2", "--data", "cifar=x")
    assert "invalid choice: 'tiny'" in said("table2", "--scale", "tiny")
