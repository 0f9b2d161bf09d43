"""launch/slurm_gpu.sh against a fake sbatch, and as the job against a fake srun."""

import shlex
import signal

import pytest
from fake_commands import CHECKS, LAUNCH, Commands, assert_refused, finish, wait_for

# Runs two tasks as Slurm does, and ends with the highest of their statuses.
_SRUN = r"""
while [ "$1" != bash ]; do shift; done
pids= highest=0
trap 'kill -TERM $pids' TERM
for SLURM_PROCID in 0 1; do
    export SLURM_PROCID
    "$@" &
    pids+=" $!"
done
for pid in $pids; do
    while kill -0 "$pid" 2>/dev/null; do wait "$pid"; done
    wait "$pid"
    status=$?
    if [ $status -gt $highest ]; then highest=$status; fi
done
exit $highest
"""

_SYMSKIP = '. "$folder/task-$SLURM_PROCID"\n'
_WAIT = r"""
trap 'kill $!; exit 75' TERM
sleep 100 >/dev/null 2>&1 &
touch "$folder/ready-$SLURM_PROCID"
wait
"""

NAME = "symskip-1169150162"
RUN = ["pretrain", "--config", "imagenet", "--workdir", "/shared/a run"]


@pytest.fixture
def commands(tmp_path):
    commands = Commands(tmp_path / "commands")
    commands.add("sbatch", 'echo "Submitted batch job 7"\n')
    commands.add("srun", _SRUN)
    commands.add("scontrol")
    commands.add("symskip", CHECKS + _SYMSKIP)
    return commands


@pytest.fixture
def job(commands):
    """Starts the job, whose two tasks do what is told."""

    def start(*tasks, restarts="0"):
        for number, task in enumerate(tasks):
            (commands.folder / f"task-{number}").write_text(task)
        slurm = {"SLURM_JOB_ID": "7", "SLURM_RESTART_COUNT": restarts}
        arguments = ["--gpus-per-node=2", "--max-requeues", "3", "--", *RUN]
        return commands.start("slurm_gpu.sh", *arguments, environment=slurm)

    return start


def submission(symskip, sbatch=(), flags=()):
    values = {"nodes": "1", "gpus-per-node": "8", "cpus-per-gpu": "8", **dict(flags)}
    nodes, gpus, cpus = values.values()
    job = [
        *("bash", str(LAUNCH / "slurm_gpu.sh"), "--nodes", nodes, "--gpus-per-node", gpus),
        *("--cpus-per-gpu", cpus, "--symskip", str(symskip), "--max-requeues", "50", "--", *RUN),
    ]
    return [
        *(
            "sbatch",
            f"--job-name={NAME}",
            "--dependency=singleton",
            "--signal=TERM@120",
            "--requeue",
        ),
        *("--open-mode=append", f"--nodes={nodes}", f"--gpus-per-node={gpus}"),
        *(f"--ntasks-per-node={gpus}", f"--cpus-per-task={cpus}", *sbatch),
        f"--wrap=exec {shlex.join(job)}",
    ]


def test_it_submits_itself(commands):
    result = commands.run("slurm_gpu.sh", "--", *RUN)
    assert result.returncode == 0 and result.stdout == "Submitted batch job 7\n"
    assert commands.calls("sbatch ") == [submission(commands.path / "symskip")]


def test_only_jobs_of_the_same_command_wait_for_each_other(commands):
    for more in ([], [], ["--config.seed=1"]):
        assert commands.run("slurm_gpu.sh", "--", *RUN, *more).returncode == 0
    first, same, other = [call[1] for call in commands.calls("--dependency=singleton")]
    assert first == same == f"--job-name={NAME}" != other


def test_flags_reach_sbatch(commands):
    flags = {"nodes": "4", "gpus-per-node": "2", "cpus-per-gpu": "6"}
    sbatch = ["--time=24:00:00", "--partition=p", "--account=a b", "--signal=TERM@600"]
    arguments = [
        *(f"--{flag}={value}" for flag, value in flags.items()),
        *("--time", "24:00:00", "--partition=p", "--symskip=/shared/bin/symskip"),
        *("--sbatch-flag", "--account=a b", "--sbatch-flag=--signal=TERM@600", "--", *RUN),
    ]
    expected = submission("/shared/bin/symskip", sbatch, flags)
    result = commands.run("slurm_gpu.sh", "--dry-run", *arguments)
    assert result.returncode == 0 and commands.calls() == []
    assert shlex.split(result.stdout) == expected
    assert commands.run("slurm_gpu.sh", *arguments).returncode == 0
    assert commands.calls() == [expected]


def test_a_failing_sbatch_stops_it(commands):
    commands.fail("sbatch", 9, "sbatch: error: no such partition")
    result = commands.run("slurm_gpu.sh", "--", *RUN)
    assert result.returncode == 9
    assert result.stderr == "sbatch: error: no such partition\n"


def test_the_job_starts_a_process_for_each_gpu(commands, job):
    result = finish(job("exit 0", "exit 0"))
    assert result.returncode == 0, result.stderr
    (srun,) = commands.calls("srun ")
    assert srun[:10] == [
        *("srun", "--nodes=1", "--ntasks-per-node=2", "--cpus-per-task=8", "--gpu-bind=none"),
        *("--kill-on-bad-exit=0", "--wait=900", "--label", "bash", "-c"),
    ]
    run = ["symskip", *RUN, "--cluster", "slurm"]
    assert srun[11:] == ["task", str(commands.path / "symskip"), *run[1:]]
    assert commands.calls("symskip pre") == [srun, run, run]
    assert commands.calls("scontrol") == []


@pytest.mark.parametrize(
    ("ends", "status", "queued"),
    [
        (("exit 75", "exit 75"), 75, True),
        (("exit 76", "kill -KILL $$"), 137, True),
        (("exit 76", "exit 0"), 76, True),
        (("exit 76", "exit 1"), 1, False),
        (("exit 2", "kill -KILL $$"), 2, False),
        (("exit 70", "exit 76"), 70, False),
        (("exit 76", "exit 74"), 74, False),
    ],
)
def test_the_job_queues_itself_again_where_the_run_goes_on(ends, status, queued, commands, job):
    result = finish(job(*ends))
    assert result.returncode == status
    assert f"the run ended with status {status}" in result.stderr
    assert commands.calls("scontrol") == ([["scontrol", "requeue", "7"]] if queued else [])


def test_it_is_not_queued_again_for_ever(commands, job):
    result = finish(job("exit 76", "exit 76", restarts="3"))
    assert result.returncode == 76 and "given up after 3 requeues" in result.stderr
    assert commands.calls("scontrol") == []


def test_a_cluster_that_does_not_queue_again_is_not_hidden(commands, job):
    commands.fail("scontrol", 1, "scontrol: not allowed")
    result = finish(job("exit 75", "exit 75"))
    assert result.returncode == 75
    assert "scontrol: not allowed" in result.stderr and "the same command goes on" in result.stderr


def test_a_job_that_is_cancelled_saves_and_is_not_queued_again(commands, job):
    process = job(_WAIT, _WAIT)
    for number in "01":
        wait_for((commands.folder / f"ready-{number}").exists)
    process.send_signal(signal.SIGTERM)
    result = finish(process)
    assert result.returncode == 75, result.stderr
    assert commands.calls("scontrol") == []


def test_in_an_allocation_a_dry_run_prints_srun(commands):
    arguments = ["--dry-run", "--", *RUN]
    result = commands.run("slurm_gpu.sh", *arguments, environment={"SLURM_JOB_ID": "7"})
    assert result.returncode == 0 and commands.calls("srun ") == []
    assert shlex.split(result.stdout)[:3] == ["srun", "--nodes=1", "--ntasks-per-node=8"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["needed: -- pretrain"]),
        (["--", "evaluate"], ["needed: -- pretrain"]),
        (["--nodes=two", "--", "pretrain"], ["--nodes", '"two"']),
        (["--nonsense", "--", "pretrain"], ['"--nonsense"', "--help"]),
    ],
)
def test_what_is_wrong_is_said_in_one_line(arguments, words, commands):
    assert_refused(commands.run("slurm_gpu.sh", *arguments), "slurm_gpu: ", *words)
    assert commands.calls() == []
