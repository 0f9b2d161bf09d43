"""`symskip reproduce --dry-run`: which commands there are, and what they cost."""

import re
import subprocess
import sys

import pytest
from played import Commands, define_own, play, read_note

from symskip_jax.reproduction.definitions import define
from symskip_jax.reproduction.machine import step_share

pytestmark = pytest.mark.usefixtures("without_pictures")


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
    total = re.search(r"# in all: ([\d.e+]+) FLOPs", out)
    assert len(costs) == 2 and total and float(total[1]) == pytest.approx(sum(costs), rel=0.1)
    assert "symskip pretrain --config cifar10_4k --config.seed=0" in out
    assert "times are for 2 CPU cores: 2.5e+10 FLOP/s in float32, which is 25%" in out


def test_the_accelerator_is_left_to_the_commands(tmp_path):
    code = (
        "import os, sys, jax; from symskip_jax.cli import main; before = dict(os.environ);"
        "main(['reproduce', 'table2', '--scale=smoke', '--only=random_he', '--dry-run',"
        f"'--runs={tmp_path}']);"
        "print(jax.config.jax_platforms, os.environ.get('JAX_PLATFORMS') == "
        "before.get('JAX_PLATFORMS'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "cpu True", done.stderr


@pytest.mark.parametrize(
    ("experiment", "only", "verb"),
    [
        ("figure3", "probe_skip", "probe"),
        ("figure2", "sheet", "visualize"),
        ("restoration", "restore_red10", "restore"),
    ],
)
def test_what_trains_nothing_is_counted_too(tmp_path, capsys, experiment, only, verb):
    assert play(tmp_path, Commands(), experiment, only=only, dry_run=True) == 0
    out = capsys.readouterr().out
    assert "not counted" not in out and f"\nsymskip {verb} " in out
    costs = re.findall(r"# (\w+), seed 0: ([\d.e+]+) FLOPs, about", out)
    assert costs[-1][0] == only and float(costs[-1][1]) > 0
    total = re.search(r"# in all: ([\d.e+]+) FLOPs", out)
    assert total and float(total[1]) == pytest.approx(sum(float(it) for _, it in costs), rel=0.1)


def test_a_dry_run_ends_in_sums_of_the_rows(tmp_path, capsys):
    assert play(tmp_path, Commands(), "supplement_d", seeds="2", dry_run=True) == 0
    out = capsys.readouterr().out
    commands, _, rows = out.partition("# row by row")
    found = re.findall(r"^#   (\S.*?)  +(\d+) runs?  ([\d.e+]+) FLOPs, about", rows, re.MULTILINE)
    named = list(dict.fromkeys(cell.row for cell in define("supplement_d", "small").cells))
    assert [row for row, *_ in found] == named
    flops = re.findall(r"^# \w\S*, seed \d: ([\d.e+]+) FLOPs", commands, re.MULTILINE)
    assert sum(int(runs) for _, runs, _ in found) == len(flops) == commands.count("\nsymskip ")
    # Two seeds each of a pre-training and a fine-tuning.
    assert {runs for _, runs, _ in found} == {"4"}
    total = sum(float(it) for *_, it in found)
    assert total == pytest.approx(sum(map(float, flops)), rel=0.05)
    assert rows.splitlines()[-1].startswith("# in all: ")


def test_tests_count(tmp_path, monkeypatch):
    def flops(every):
        define_own(monkeypatch, f"run.eval_every={every}")
        folder = tmp_path / every
        assert play(folder, Commands(), "own", only="source") == 0
        return read_note(folder, "source", "own")["flops"]

    # Three epochs of 781 batches of 64, forward and backward, and 10,000 images a test.
    trained = 3 * 781 * 64 * 3
    assert flops("1.0") / flops("3.0") == pytest.approx((trained + 30_000) / (trained + 10_000))


def test_times_are_for_the_type_and_all_devices(tmp_path, monkeypatch, capsys):
    rates = {"bfloat16": 4e4, "float32": 2e4}
    machine = {"platform": "gpu", "device": "H100", "devices": 4, "matrix_flops_per_second": rates}
    define_own(monkeypatch, "model.dtype=bfloat16")
    assert play(tmp_path, Commands(), "own", machine=machine, dry_run=True) == 0
    out = capsys.readouterr().out
    share = 4 * step_share(machine)
    assert share == pytest.approx(4 * 0.13)
    assert "times are for 4 x H100: 2.1e+04 FLOP/s in bfloat16, 1e+04 FLOP/s in float32" in out
    costs = re.findall(r"# \w+, seed 0: ([\d.e+]+) FLOPs, about (\d+) days", out)
    for (flops, days), rate in zip(costs, (4e4, 2e4), strict=True):
        assert float(days) == pytest.approx(float(flops) / (share * rate) / 86400, rel=0.1)


def test_every_run_that_a_dry_run_names_can_be_asked_for(tmp_path, capsys):
    def named(only):
        assert play(tmp_path, Commands(), "figure2", only=only, dry_run=True) == 0
        return re.findall(r"# (\w+), seed 0: ", capsys.readouterr().out)

    names = named(None)
    assert "sheet" in names and len(names) == 4
    for name in names:
        assert named(name)[-1] == name
