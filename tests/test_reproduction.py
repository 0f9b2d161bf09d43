"""`symskip reproduce`: which commands, in which order.

The commands are played; test_reproduction_smoke.py runs the real ones.
"""

import functools
import json

import pytest
from data_helpers import user_error
from played import Commands, asked, play, table

from symskip_jax.analysis.files import write_atomically
from symskip_jax.cli import main
from symskip_jax.config import flat, load_config
from symskip_jax.errors import StoppedError, UserError
from symskip_jax.experiments.checks import check_config
from symskip_jax.reproduction.definitions import DEFINITIONS, define
from symskip_jax.reproduction.grid import SCALES

pytestmark = pytest.mark.usefixtures("without_pictures")

RUNS_OF_TABLE2 = [
    *("random_gaussian", "random_he", "pretrain_no_skip", "no_skip", "pretrain_skip", "skip"),
    *("pretrain_skip_he", "skip_he"),
]


def test_each_run_is_done_once_and_after_what_it_starts_from(tmp_path, capsys):
    commands = Commands()
    assert play(tmp_path, commands, seeds="2") == 0
    assert commands.asked == [(name, seed) for seed in (0, 1) for name in RUNS_OF_TABLE2]
    assert play(tmp_path, commands, seeds="2") == 0
    assert len(commands.asked) == 2 * len(RUNS_OF_TABLE2)
    assert f"nothing to run: {tmp_path / 'results'} has the logs of all" in capsys.readouterr().err
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
    assert fails.names == [it for it in RUNS_OF_TABLE2 if it != "skip"]
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
    assert after.names == RUNS_OF_TABLE2[3:]


def test_without_its_checkpoint_a_source_is_run_again_for_what_starts_from_it(tmp_path):
    play(tmp_path, Commands(status=lambda name, seed: int(name == "skip")))
    # A checkout has the logs and not the checkpoints.
    (tmp_path / "runs").rename(tmp_path / "lost")
    commands = Commands()
    play(tmp_path, commands)
    assert commands.asked == [("pretrain_skip", 0), ("skip", 0)]


def test_without_their_checkpoints_all_that_leads_to_a_run_is_run_again(tmp_path):
    assert play(tmp_path, Commands(), "recipes", only="paper_4000") == 0
    (tmp_path / "runs").rename(tmp_path / "lost")
    commands = Commands()
    assert play(tmp_path, commands, "recipes", only="probe_tuned_paper") == 0
    assert commands.names == ["pretrain_skip_he", "paper_4000", "probe_tuned_paper"]


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
    assert commands.names == ["pretrain_skip", "skip"]
    assert table(tmp_path)["pre-trained with skips"]["seeds"] == "1"


@pytest.mark.parametrize("folder", ["results", "runs"])
def test_a_folder_that_cannot_be_written_is_refused_before_anything_runs(tmp_path, folder):
    (tmp_path / folder).write_text("a file in the way")
    commands = Commands()
    why = r"\((Not a directory|File exists)\); choose another"
    with pytest.raises(UserError, match=rf"--{folder} \S+ cannot be written {why}"):
        play(tmp_path, commands)
    assert not commands.asked
    assert play(tmp_path, commands, dry_run=True) == 0


def test_one_pre_training_serves_the_ten_folds(tmp_path):
    commands = Commands()
    assert play(tmp_path, commands, "table3", scale="paper", seeds="3", only="skip") == 0
    assert commands.asked == [("pretrain_skip", 0), ("skip", 0), ("skip", 1), ("skip", 2)]
    fold = tmp_path / "results" / "table3" / "paper" / "skip" / "seed_2" / "config.json"
    config = json.loads(fold.read_text())
    assert config["config.data.train_split"] == "fold_2"
    assert config["init"] == "runs/reproduce/table3/paper/pretrain_skip/seed_0"


def test_one_cell_alone(tmp_path):
    for only in ("skip", "pre-trained with skips"):
        commands = Commands()
        play(tmp_path / only, commands, only=only)
        assert commands.names == ["pretrain_skip", "skip"]
    assert "choose one of random_gaussian" in user_error(
        lambda: play(tmp_path, Commands(), only="nothing")
    )


@functools.cache
def check(config, settings):
    """Experiments share runs."""
    check_config(load_config(config, settings))


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
            check(run.config, tuple(settings))


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


@pytest.mark.parametrize("scale", SCALES)
def test_every_run_can_be_asked_for_alone(scale):
    for experiment in (define(name, scale) for name in DEFINITIONS):
        for run in experiment.runs():
            assert run in experiment.only(run.name).runs()


def test_a_run_without_a_cell_can_be_asked_for(tmp_path):
    assert asked(tmp_path, "figure2", only="sheet") == [
        *("gaussian", "big_block", "pretrain_skip", "sheet"),
    ]
    assert asked(tmp_path, only="pretrain_no_skip") == ["pretrain_no_skip"]


def test_data_that_is_missing_is_named_with_the_option_that_names_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    where = "if it is elsewhere, set TFDS_DATA_DIR, or name it with --data cifar10=NAME"

    def refuse(words, log):
        assert main([*words, "--workdir", str(tmp_path / "run")]) == 2
        log.write_text(capsys.readouterr().err)
        return 2

    capsys.readouterr()
    assert play(tmp_path, refuse, only="random_he") == 1
    said = capsys.readouterr().err
    assert f"'tfds:cifar10' is not in {tmp_path}" in said and "--config.data.name" not in said
    assert f"; {where}\n" in said.partition("FAILED with status 2")[2]
    # What is wrong with data that is there, the command says itself.
    (tmp_path / "photos").mkdir()
    data = ["cifar10=folder:" + str(tmp_path / "photos")]
    assert play(tmp_path, refuse, only="random_he", data=data) == 1
    assert "photos" in (failed := capsys.readouterr().err.partition("FAILED with status 2: ")[2])
    assert "if it is elsewhere" not in failed
    assert play(tmp_path, Commands(), only="random_he", dry_run=True) == 0
    (line,) = (it for it in capsys.readouterr().out.splitlines() if it.endswith(f"; {where}"))
    assert line.startswith(f"# 'tfds:cifar10' is not in {tmp_path}")
    play(tmp_path, Commands(), only="random_he", dry_run=True, data=["cifar10=digits"])
    assert "if it is elsewhere" not in capsys.readouterr().out


def test_wrong_words_are_answered_in_a_line(tmp_path, capsys):
    def said(*words):
        assert main(["reproduce", *words, "--runs", str(tmp_path)]) == 2
        return capsys.readouterr().err

    assert "experiment table9 is unknown; choose one of table1" in said("table9")
    for none in ("0", "4-3", "few", "-1"):
        assert f"--seeds {none} names none" in said("table2", f"--seeds={none}")
    assert "--data cifar=x must be ROLE=NAME" in said("table2", "--data", "cifar=x")
    assert "invalid choice: 'tiny'" in said("table2", "--scale", "tiny")
    for wrong, meant in (
        (["tabel2"], "table2"),
        (["table2", "--only=skipp"], "skip"),
        (["table2", "--only=pre-trained with skip"], "pre-trained with skips"),
        (["table2", "--data=cifer10=x"], "cifar10"),
        (["table2", "--scale=smal"], "small"),
    ):
        assert f"; did you mean {meant}?" in said(*wrong)
    assert "did you mean" not in said("nothing-like-it") + said("table2", "--only=zzz")
