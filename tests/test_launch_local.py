"""launch/local_processes.sh with a fake symskip."""

import re
import shlex
import signal

import pytest
from fake_commands import CHECKS, Commands, assert_refused, finish, wait_for

# Does what the file named after its process number says.
_SYMSKIP = r"""
number=${words##*--process-id }
echo "started with ${JAX_NUM_CPU_DEVICES-all} devices of ${JAX_PLATFORMS-any}"
. "$folder/$number"
"""

_WAIT = r"""
trap 'kill $!; echo saved; exit 75' TERM INT
sleep 100 >/dev/null 2>&1 &
touch "$folder/ready-$number"
wait
"""


@pytest.fixture
def commands(tmp_path):
    commands = Commands(tmp_path / "commands")
    commands.add("symskip", CHECKS + _SYMSKIP)

    def plan(*scripts):
        for number, script in enumerate(scripts):
            (commands.folder / str(number)).write_text(script)

    commands.plan = plan
    return commands


def test_each_process_is_told_of_the_others(commands):
    commands.plan("exit 0", "exit 0", "printf 'no end of line'")
    words = ["pretrain", "--config", "digits", "--config.data.crop=(1, 1)"]
    result = commands.run("local_processes.sh", "--processes=3", "--devices", "2", "--", *words)
    assert result.returncode == 0, result.stderr
    assert sorted(result.stdout.splitlines()) == [
        "[0] started with 2 devices of cpu",
        "[1] started with 2 devices of cpu",
        "[2] no end of line",
        "[2] started with 2 devices of cpu",
    ]
    calls = sorted(commands.calls())
    port = calls[0][6].rpartition(":")[2]
    assert 1024 < int(port) < 65536
    assert calls == [
        [
            *("symskip", *words, "--coordinator", f"127.0.0.1:{port}"),
            *("--num-processes", "3", "--process-id", str(number)),
        ]
        for number in range(3)
    ]


def test_a_dry_run_prints_what_a_run_starts(commands):
    arguments = ["--port=7777", "--", "finetune", "--config", "a b", "--init", "it's"]
    result = commands.run("local_processes.sh", "--dry-run", *arguments)
    assert (result.returncode, result.stderr) == (0, "")
    assert commands.calls() == [["symskip", *arguments[2:], "--dry-run"]]
    printed = [shlex.split(line) for line in result.stdout.splitlines()]
    assert printed == [
        [
            *(str(commands.path / "symskip"), "finetune", "--config", "a b", "--init", "it's"),
            *("--coordinator", "127.0.0.1:7777", "--num-processes", "2", "--process-id", number),
        ]
        for number in "01"
    ]
    result = commands.run("local_processes.sh", "--dry-run", "--devices=4", *arguments)
    assert all(
        line.startswith("env JAX_PLATFORMS=cpu JAX_NUM_CPU_DEVICES=4 ")
        for line in result.stdout.splitlines()
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_all(number, commands):
    commands.plan(_WAIT, _WAIT)
    process = commands.start("local_processes.sh", "--", "pretrain")
    wait_for(lambda: all((commands.folder / f"ready-{k}").exists() for k in range(2)))
    process.send_signal(number)
    result = finish(process)
    assert result.returncode == 75
    assert result.stdout.count("saved") == 2


@pytest.mark.parametrize(
    ("ends", "status"), [((76, 1), 1), ((2, 76), 2), ((76, 0), 76), ((75, 75), 75), ((76, 70), 70)]
)
def test_the_process_that_failed_by_itself_decides(ends, status, commands):
    commands.plan(*(f"exit {end}" for end in ends))
    result = commands.run("local_processes.sh", "--", "pretrain")
    assert result.returncode == status
    for number, end in enumerate(ends):
        assert (f"process {number} ended with status {end}" in result.stderr) == (end != 0)


def test_the_others_are_ended_after_a_while(commands):
    commands.plan("kill -KILL $$", _WAIT)
    result = commands.run("local_processes.sh", "--grace", "1", "--", "pretrain")
    assert result.returncode == 137
    assert "ending the other processes after 1 s" in result.stderr
    assert "process 1 ended with status 75" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["needed: --"]),
        (["--processes=0", "--", "pretrain"], ["--processes", '"0"']),
        (["--devices", "x", "--", "pretrain"], ["--devices", '"x"']),
        (["pretrain"], ['"pretrain"', "--help"]),
        (["--grace"], ["--grace needs a value"]),
        ([""], ["empty"]),
    ],
)
def test_what_is_wrong_is_said_in_one_line(arguments, words, commands):
    assert_refused(commands.run("local_processes.sh", *arguments), "local_processes: ", *words)
    assert commands.calls() == []


def test_a_missing_command_is_said(tmp_path):
    commands = Commands(tmp_path / "commands")
    result = commands.run("local_processes.sh", "--symskip", "/no/such", "--", "pretrain")
    assert result.returncode == 127
    assert re.search(r"\[0\] .*No such file", result.stdout)
