"""Every launcher has symskip, where it is, check the configuration before anything is made."""

import shutil
import sys
from pathlib import Path

import pytest
from fake_commands import LAUNCH, Commands, assert_refused

RUN = ["--", "pretrain", "--config", "imagenet", "--workdir", "run"]
# What each needs, and the command by which it makes something.
LAUNCHERS = {
    "tpu_imagenet.sh": (["--project=p", "--bucket=gs://b", "--source=url"], "gcloud"),
    "gke.sh": (["--image=i", "--bucket=gs://b"], "kubectl"),
    "slurm_gpu.sh": (RUN, "sbatch"),
    "local_processes.sh": (RUN, "symskip"),
}
ELSEWHERE = ["tpu_imagenet.sh", "gke.sh"]
TYPO = "--config.pretrain.batchsize=3"
REAL = f'exec "{sys.executable}" -m symskip_jax.cli "$@"\n'


@pytest.fixture
def commands(tmp_path):
    commands = Commands(tmp_path / "commands")
    for _, command in LAUNCHERS.values():
        commands.add(command)
    (commands.path / "symskip").unlink()
    return commands


@pytest.fixture
def run(tmp_path, commands):
    """Runs a launcher of a folder without an environment, with what it needs."""
    shutil.copytree(LAUNCH, tmp_path / "launch")

    def launch(name: str, *more: str):
        needed, _ = LAUNCHERS[name]
        flags = [it for it in more if it in ("--dry-run", "--no-check")]
        rest = [it for it in more if it not in flags]
        return commands.run(tmp_path / "launch" / name, *flags, *needed, *rest)

    return launch


@pytest.mark.parametrize("name", LAUNCHERS)
def test_a_dry_run_refuses_a_field_that_there_is_not(name, commands, run):
    commands.add("symskip", REAL)
    assert_refused(run(name, "--dry-run", TYPO), "pretrain.batchsize", "pretrain.batch_size")
    right = run(name, "--dry-run", TYPO.replace("size", "_size"))
    assert right.returncode == 0 and "checked" not in right.stderr


@pytest.mark.parametrize("name", ["slurm_gpu.sh", "local_processes.sh"])
def test_a_dry_run_refuses_to_start_from_nothing(name, commands, tmp_path):
    commands.add("symskip", REAL)
    finetuning = ["finetune", "--config", "imagenet", f"--init={tmp_path / 'nowhere'}"]
    refused = commands.run(name, "--dry-run", "--", *finetuning, "--workdir", "run")
    assert_refused(refused, f"no checkpoint in {tmp_path / 'nowhere'}")


@pytest.mark.parametrize("name", [*ELSEWHERE, "slurm_gpu.sh"])
def test_a_start_makes_nothing_of_it(name, commands, run):
    commands.add("symskip", REAL)
    assert_refused(run(name, TYPO), "pretrain.batchsize")
    assert commands.calls(LAUNCHERS[name][1]) == []


@pytest.mark.parametrize("name", LAUNCHERS)
def test_what_cannot_check_is_said_and_stops_nothing(name, commands, run):
    commands.add("symskip", "printf '%s\\n' Traceback 'it crashed' >&2; exit 1\n")
    unsure = run(name, "--dry-run", TYPO)
    assert unsure.returncode == 0 and "not checked: it crashed\n" in unsure.stderr


@pytest.mark.parametrize("name", ELSEWHERE)
def test_what_runs_elsewhere_needs_no_check_here(name, commands, run):
    alone = run(name, "--dry-run", TYPO)
    assert alone.returncode == 0 and "not checked: there is no symskip here" in alone.stderr
    commands.add("symskip", "exit 2\n")
    of_a_worker = run(name, "--dry-run", "--config", "/of/a/worker.py")
    assert of_a_worker.returncode == 0 and "/of/a/worker.py is not here" in of_a_worker.stderr
    unchecked = run(name, "--dry-run", "--no-check", TYPO)
    assert unchecked.returncode == 0 and "not checked" not in unchecked.stderr
    assert TYPO in unchecked.stdout


def test_the_environment_of_the_checkout_checks_too(tmp_path, commands, run):
    folder = tmp_path / ".venv" / "bin"
    folder.mkdir(parents=True)
    shutil.move(commands.add("symskip", REAL), folder / "symskip")
    assert_refused(run("gke.sh", "--dry-run", TYPO), "pretrain.batchsize")
    assert Path(folder / "symskip").exists()


@pytest.mark.parametrize("name", LAUNCHERS)
def test_what_is_for_symskip_comes_behind_two_dashes(name, commands):
    for words in (["pretrain"], ["--start-timeout=600"]):
        refused = commands.run(name, *words)
        assert_refused(refused, f'"{words[0].partition("=")[0]}"', "behind --,", "--help")
    assert_refused(commands.run(name, "--config.seed", "1"), "--config.seed=VALUE")


@pytest.mark.parametrize("name", ["slurm_gpu.sh", "local_processes.sh"])
def test_fields_alone_are_no_command(name, commands):
    assert_refused(commands.run(name, "--config.seed=1", *RUN), "needed: -- pretrain")
