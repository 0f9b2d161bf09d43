"""launch/tpu_imagenet.sh against a fake gcloud, on whose workers its commands really run."""

import shlex
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_commands import LAUNCH, assert_refused, finish, wait_for
from fake_gcloud import Gcloud

ZONE = ["--project=p", "--zone=us-central2-b", "--quiet"]
SSH_FLAGS = ["--ssh-flag=-oConnectTimeout=20", "--ssh-flag=-oServerAliveInterval=20"]
WORKDIR = "gs://b/runs/symskip-v4-128"
RUN = [
    *("pretrain", "--cluster", "tpu", "--config", "imagenet", "--workdir", WORKDIR),
    "--config.data.data_dir=gs://b/tensorflow_datasets",
]
FORMAT = "--format=value(state.state,tpu.nodeSpec[0].node.acceleratorType.basename())"
ASK = "--command=bash symskip_worker.sh state 2>/dev/null || echo state new idle - - - -"


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=n", "-c", "user.email=e@example.com")
    command = ["git", *identity, "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="session")
def original(tmp_path_factory) -> Path:
    """A repository of the launchers and of little else."""
    folder = tmp_path_factory.mktemp("checkout") / "a checkout"
    shutil.copytree(LAUNCH, folder / "launch")
    (folder / "constraints.txt").write_text("")
    (folder / "file").write_text("first")
    git(folder.parent, "init", "--quiet", str(folder))
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message=first")
    return folder


@pytest.fixture
def checkout(original, tmp_path) -> Path:
    shutil.copytree(original, tmp_path / "a checkout")
    return tmp_path / "a checkout"


@pytest.fixture
def cloud(tmp_path) -> Iterator[Gcloud]:
    cloud = Gcloud(tmp_path / "cloud", "say step 1; save 100; exit 0")
    yield cloud
    cloud.close()


@pytest.fixture
def launch(cloud, checkout) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the launcher of the checkout with what it needs, looking often."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return finish(begin(cloud, checkout, *arguments, **environment))

    return run


def begin(
    cloud: Gcloud, checkout: Path, *arguments: str, **environment: str
) -> subprocess.Popen[str]:
    needed = {"SYMSKIP_PROJECT": "p", "SYMSKIP_BUCKET": "gs://b", "SYMSKIP_POLL": "0.05"}
    script = checkout / "launch" / "tpu_imagenet.sh"
    return cloud.start(script, *arguments, environment={**needed, **environment})


def queued(verb: str, *flags: str) -> list[str]:
    name = "symskip-v4-128"
    return ["gcloud", "compute", "tpus", "queued-resources", verb, name, *flags, *ZONE]


def ssh(worker: str, command: str) -> list[str]:
    start = ["gcloud", "compute", "tpus", "tpu-vm", "ssh", "symskip-v4-128"]
    return [*start, f"--worker={worker}", command, *SSH_FLAGS, *ZONE]


def first_start(revision: str, copied: list[str], run: list[str]) -> list[list[str]]:
    """Every command of a start from nothing, each as often as it differs from the one before."""
    looked, asked = queued("describe", FORMAT), ssh("all", ASK)
    create = ("--node-id=symskip-v4-128", "--accelerator-type=v4-128")
    scp = ["gcloud", "compute", "tpus", "tpu-vm", "scp", *copied, "symskip-v4-128:"]
    return [
        ["gcloud", "storage", "ls", f"{WORKDIR}/checkpoints/"],
        looked,
        queued("create", *create, "--runtime-version=tpu-ubuntu2204-base", "--spot"),
        looked,
        asked,
        [*scp, "--worker=all", "--scp-flag=-oConnectTimeout=20", *ZONE],
        ssh("all", f"--command=bash symskip_worker.sh install copy {revision}"),
        ssh("all", f"--command=bash symskip_worker.sh run first {shlex.join(run)}"),
        asked,
        ssh("0", "--command=bash symskip_worker.sh log 0"),
    ]


def without_repeats(calls: list[list[str]]) -> list[list[str]]:
    return [call for call, before in zip(calls, [[], *calls], strict=False) if call != before]


def copied(calls: list[list[str]]) -> list[str]:
    (scp,) = [call for call in calls if "scp" in call]
    return [word for word in scp if word.startswith("/")]


def test_a_first_start_sends_what_it_should_and_follows_to_the_end(cloud, launch, checkout):
    result = launch()
    assert result.returncode == 0, result.stderr
    assert result.stdout == "step 1\n"
    calls = without_repeats(cloud.calls("gcloud "))
    paths = copied(calls)
    assert [Path(path).name for path in paths] == ["symskip_worker.sh", "symskip_source.tar.gz"]
    expected = first_start(git(checkout, "rev-parse", "HEAD^{tree}"), paths, RUN)
    assert calls[: len(expected)] == expected
    assert all(call in expected or "log" in call[7] for call in calls[len(expected) :])
    assert cloud.starts(0) == cloud.starts(1) == [RUN]
    (pip,) = cloud.installs(1)
    source = cloud.folder / "workers/1/symskip/source"
    assert pip.split() == [
        *("-m", "pip", "install", "--quiet", "--constraint", f"{source}/constraints.txt"),
        *("--editable", f"{source}[tpu,gcs]"),
    ]
    assert (source / "file").read_text() == "first"
    assert f"the run has finished: {WORKDIR}" in result.stderr


def test_blanks_and_quotes_arrive_as_they_were_given(cloud, launch):
    words = [
        "--config.data.crop=(225, 225)",
        """--config.data.name=it's "a"  name\\ $HOME `id` *; & | > ~""",
        "--config.model.name=",
    ]
    assert launch(*words, "--", "--start-timeout", "6 00", "ü").returncode == 0
    assert cloud.starts() == [[*RUN, *words, "--start-timeout", "6 00", "ü"]]


def test_a_dry_run_prints_what_a_first_start_sends_and_sends_nothing(cloud, launch, checkout):
    override = "--config.data.crop=(1, 1)"
    result = launch("--dry-run", override)
    assert result.returncode == 0, result.stderr
    assert cloud.calls() == []
    printed = [shlex.split(line) for line in result.stdout.splitlines()]
    tree = git(checkout, "rev-parse", "HEAD^{tree}")
    assert printed == first_start(tree, copied(printed), [*RUN, override])
    for verb, word in (("follow", "log"), ("status", "state"), ("stop", "stop"), ("delete", "")):
        result = launch(verb, "--dry-run")
        assert result.returncode == 0, result.stderr
        assert result.stderr == ""  # nothing was asked, so there is nothing to tell
        assert f"symskip_worker.sh {word}" in result.stdout or "delete" in result.stdout
    assert cloud.calls() == []


# What fails first: the words of the command, the status that it is given, and whether the slice has
# to be created again.
STAGES = {
    "listing": ("storage ls", 3),
    "describing": ("queued-resources describe", 4),
    "creating": ("queued-resources create", 5),
    "asking": ("symskip_worker.sh state", 6),
    "copying": ("tpu-vm scp", 7),
    "installing": ("symskip_worker.sh install", 8),
    "starting": ("symskip_worker.sh run", 9),
    "reading": ("symskip_worker.sh log", 11),
}


@pytest.mark.parametrize("stage", STAGES)
def test_a_start_that_failed_anywhere_is_taken_up_where_it_failed(stage, cloud, launch):
    words, status = STAGES[stage]
    cloud.plan("say step 1; wait", "exit 0")
    cloud.fail(words, status, f"ERROR: no {stage} today")
    result = launch()
    assert result.returncode == status
    assert result.stderr.splitlines()[-2] == f"ERROR: no {stage} today"
    assert result.stderr.splitlines()[-1].endswith(f"failed with status {status}")

    before = cloud.calls("gcloud ")
    # What fails on a slice is followed by a look whether it is still there.
    assert words in " ".join(before[-1]) or words in " ".join(before[-2])
    if stage != "reading":  # a run that goes on keeps its plan
        cloud.plan("say step 1; exit 0")
    else:
        assert launch("stop").returncode == 0
    result = launch()
    assert result.returncode == 0, result.stderr
    assert len(cloud.calls("queued-resources create")) == (2 if stage == "creating" else 1)
    assert len(cloud.installs()) == 1
    assert cloud.attempts() == (2 if stage == "reading" else 1)


def test_a_worker_on_which_nothing_can_be_installed_stops_the_start(cloud, launch):
    cloud.fail("symskip_worker.sh install", 6, "away")
    assert launch().returncode == 6
    (cloud.folder / "workers/1/broken").touch()
    result = launch()
    assert result.returncode == 71
    assert "no wheels" in result.stderr and "installing failed" in result.stderr
    assert launch().returncode == 0
    # The worker on which it was installed keeps it, the other tries again.
    assert [len(cloud.installs(worker)) for worker in (0, 1)] == [1, 2]


def test_what_runs_is_only_followed_after_ctrl_c(cloud, launch, checkout):
    cloud.plan("say step 1; wait")
    process = begin(cloud, checkout)
    wait_for(lambda: len(cloud.calls("symskip_worker.sh log")) > 1)
    process.send_signal(signal.SIGINT)
    left = finish(process)
    assert left.returncode == 130 and "the run" not in left.stdout
    assert "a run goes on without this" in left.stderr

    cloud.forget()
    process = begin(cloud, checkout)
    wait_for(lambda: len(cloud.calls("symskip_worker.sh log")) > 1)
    for words in ("create", "scp", "install", "symskip_worker.sh run"):
        assert cloud.calls(words) == [], words
    assert launch("stop").returncode == 0
    stopped = finish(process)
    assert stopped.returncode == 75 and "the run was stopped" in stopped.stderr
    assert stopped.stdout.splitlines() == ["step 1", "waiting", "saved"]  # from the start again
    assert "a run goes on at symskip-v4-128: following it" in stopped.stderr
    assert cloud.attempts() == 1


def test_a_run_with_other_arguments_is_not_touched(cloud, launch, checkout):
    cloud.plan("wait")
    process = begin(cloud, checkout)
    wait_for(lambda: len(cloud.calls("symskip_worker.sh log")) > 1)
    result = launch("--config.pretrain.epochs=7")
    assert result.returncode == 2
    assert "a run with other arguments goes on" in result.stderr
    assert cloud.starts() == [RUN]
    process.kill()
    process.communicate()


def test_a_start_that_reached_one_worker_only_is_completed(cloud, launch):
    cloud.plan({"0": "wait", "1": "say other; wait"})
    cloud.fail("symskip_worker.sh run", 255, "lost")
    assert launch().returncode == 255
    home = cloud.folder / "workers/0"
    subprocess.run(
        ["bash", "symskip_worker.sh", "run", "first", *RUN],
        cwd=home,
        env={"HOME": str(home), "PATH": "/usr/bin:/bin"},
        check=True,
    )
    cloud.fail("symskip_worker.sh log", 5, "enough")
    assert launch().returncode == 5
    assert cloud.attempts(0) == cloud.attempts(1) == 1


def test_a_preempted_slice_is_created_again_and_the_run_goes_on(cloud, launch):
    cloud.plan({"0": "say one; save 100; preempt", "1": "hang"}, "say two; exit 0")
    result = launch()
    assert result.returncode == 0, result.stderr
    verbs = [call[4] for call in cloud.calls("queued-resources") if call[4] != "describe"]
    assert verbs == ["create", "delete", "create"]
    assert cloud.calls("delete") == [queued("delete", "--force")]
    assert result.stdout.splitlines()[-1] == "two"
    assert cloud.starts() == [RUN] and len(cloud.installs()) == 1  # on the new slice
    assert "restart 1 of at most 5" in result.stderr


@pytest.mark.parametrize("state", ["SUSPENDED", "FAILED"])
def test_a_slice_that_cannot_come_any_more_is_replaced(state, cloud, launch):
    cloud.set("slice", state)
    cloud.set("type", "v4-128")
    (cloud.folder / "workers").mkdir()
    result = launch()
    assert result.returncode == 0, result.stderr
    verbs = [call[4] for call in cloud.calls("queued-resources") if call[4] != "describe"]
    assert verbs == ["delete", "create"]


def test_requests_that_always_fail_are_given_up(cloud, launch):
    cloud.set("states_of_a_new_one", "PROVISIONING FAILED")
    result = launch("--max-restarts", "2")
    assert result.returncode == 76
    assert "given up: no checkpoint after step 0 in 2 restarts" in result.stderr
    assert len(cloud.calls("queued-resources create")) == 3


def test_a_slice_that_somebody_deleted_is_not_created_again(cloud, launch, checkout):
    cloud.plan("wait")
    process = begin(cloud, checkout)
    wait_for(lambda: len(cloud.calls("symskip_worker.sh log")) > 1)
    assert launch("delete").returncode == 0
    result = finish(process)
    assert result.returncode == 76 and "was deleted" in result.stderr
    assert len(cloud.calls("queued-resources create")) == 1
    assert "there is none" in launch("delete").stderr
    assert len(cloud.calls("queued-resources delete")) == 1


@pytest.mark.parametrize("ends", [("exit 76", "signal 9"), ("exit 75", "exit 75")])
def test_a_lost_process_is_started_again_with_the_others(ends, cloud, launch):
    cloud.plan(dict(zip("01", ends, strict=True)), "say again; exit 0")
    result = launch()
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "again"
    assert cloud.starts(0) == cloud.starts(1) == [RUN, RUN]
    assert len(cloud.calls("queued-resources create")) == 1 and len(cloud.installs()) == 1


@pytest.mark.parametrize("status", [1, 2, 70, 74])
def test_a_run_that_cannot_go_on_is_not_started_again(status, cloud, launch):
    cloud.plan({"0": "exit 76", "1": f"say the reason; exit {status}"})
    result = launch("--delete-at-end")
    assert result.returncode == status
    assert "[worker-1] the reason" in result.stderr
    assert "the run cannot go on: status" in result.stderr
    assert cloud.attempts() == 1
    assert not (cloud.folder / "slice").exists()


def test_a_crash_loop_ends(cloud, launch):
    cloud.plan("exit 76")
    result = launch("--max-restarts=2")
    assert result.returncode == 76
    assert cloud.attempts() == 3
    assert "given up: no checkpoint after step 0 in 2 restarts" in result.stderr
    assert (cloud.folder / "slice").exists()


def test_restarts_that_bring_checkpoints_are_not_counted(cloud, launch):
    cloud.plan(*(f"save {step}; signal 9" for step in (100, 200, 300, 400)), "exit 0")
    result = launch("--max-restarts=1")
    assert result.returncode == 0, result.stderr
    assert cloud.attempts() == 5


def test_a_worker_that_hangs_after_another_has_ended_is_killed(cloud, launch):
    cloud.plan({"0": "exit 76", "1": "hang"}, "exit 0")
    result = launch("--grace", "1")
    assert result.returncode == 0, result.stderr
    assert "ending what still runs after 1 s" in result.stderr
    assert "status 76 on 1, lost on 1" in result.stderr
    assert cloud.starts(1) == [RUN, RUN]


def test_a_connection_may_be_away_for_a_while_but_not_for_ever(cloud, launch, checkout):
    cloud.plan("wait")
    process = begin(cloud, checkout)
    wait_for(lambda: len(cloud.calls("symskip_worker.sh log")) > 1)
    cloud.fail("symskip_worker.sh state", 255, "ssh: away", times=10)
    wait_for(cloud.has_failed)
    seen = len(cloud.calls("symskip_worker.sh log"))
    wait_for(lambda: len(cloud.calls("symskip_worker.sh log")) > seen)
    cloud.fail("symskip_worker.sh state", 255, "ssh: away", times=100)
    result = finish(process)
    assert result.returncode == 255
    assert result.stderr.splitlines()[-2] == "ssh: away"
    assert result.stderr.count("trying again") == 20
    assert cloud.attempts() == 1


def test_status_follow_and_stop_where_nothing_runs(cloud, launch):
    for verb, status in (("status", 0), ("stop", 0), ("follow", 76)):
        result = launch(verb)
        assert result.returncode == status and "there is none" in result.stderr
    cloud.plan("save 123; exit 1")
    assert launch().returncode == 1
    assert "no run goes on" in launch("stop").stderr
    assert launch("follow").returncode == 1
    result = launch("status")
    lines = sorted(result.stdout.splitlines())
    assert [line.split()[:4] for line in lines] == [
        ["state", f"worker-{worker}", "ended", "1"] for worker in (0, 1)
    ]
    assert "symskip-v4-128: ACTIVE" in result.stderr
    assert "newest checkpoint: step 123" in result.stderr
    assert launch("status", SYMSKIP_BUCKET="").returncode == 0


def test_what_was_edited_is_copied_and_installed_anew(cloud, launch, checkout):
    assert launch().returncode == 0
    (checkout / "file").write_text("edited")
    (checkout / "added").write_text("staged")
    git(checkout, "add", "added")
    before = git(checkout, "status", "--porcelain")
    assert launch().returncode == 0
    source = cloud.folder / "workers/0/symskip/source"
    assert (source / "file").read_text() == "edited"
    assert (source / "added").read_text() == "staged"
    assert git(checkout, "status", "--porcelain") == before
    assert launch().returncode == 0
    assert len(cloud.installs()) == 2


def test_a_repository_is_cloned_at_a_revision(cloud, launch, checkout, tmp_path):
    url = str(tmp_path / "a checkout")
    first = git(checkout, "rev-parse", "HEAD")
    (checkout / "file").write_text("second")
    git(checkout, "commit", "--quiet", "--all", "--message=second")
    file = cloud.folder / "workers/0/symskip/source/file"
    for revision, content in ((first, "first"), ("HEAD", "second"), ("HEAD", "second")):
        result = launch("--source", url, "--revision", revision)
        assert result.returncode == 0, result.stderr
        assert file.read_text() == content
    assert len(cloud.installs()) == 2
    assert len(cloud.calls("symskip_source.tar.gz")) == 0


def test_without_git_there_is_a_line_that_says_so(cloud, launch, checkout):
    shutil.rmtree(checkout / ".git")
    result = launch(GIT_CEILING_DIRECTORIES=str(checkout.parent))
    assert result.returncode == 2 and "give --source URL" in result.stderr
    assert cloud.calls("create") == []


@pytest.mark.parametrize(
    ("type_", "runtime"),
    [
        ("v4-8", "tpu-ubuntu2204-base"),
        ("v5litepod-16", "v2-alpha-tpuv5-lite"),
        ("v5p-512", "v2-alpha-tpuv5"),
        ("v6e-256", "v2-alpha-tpuv6e"),
    ],
)
def test_flags_win_over_variables_and_reach_gcloud(type_, runtime, launch):
    result = launch(
        *("--dry-run", f"--type={type_}", "--zone", "z", "--project=q", "--provisioning=on-demand"),
        *("--workdir", "gs://w/r/", "--data-dir=gs://d", "--config", "folder"),
        *("--create-flag=--network=n", "--ssh-flag=--internal-ip", "--name", "n"),
        SYMSKIP_ZONE="other",
        SYMSKIP_TPU_TYPE="other",
        SYMSKIP_PROVISIONING="spot",
        SYMSKIP_CONFIG="other",
    )
    lines = [shlex.split(line) for line in result.stdout.splitlines()]
    (create,) = [line for line in lines if "create" in line]
    assert create[4:] == [
        *("create", "n", "--node-id=n", f"--accelerator-type={type_}"),
        *(f"--runtime-version={runtime}", "--network=n", "--project=q", "--zone=z", "--quiet"),
    ]
    on_slice = [line for line in lines if "tpu-vm" in line]
    assert len(on_slice) == 6 and all("--internal-ip" in line for line in on_slice)
    run = "pretrain --cluster tpu --config folder --workdir gs://w/r --config.data.data_dir=gs://d"
    assert f"--command=bash symskip_worker.sh run first {run}" in [line[7] for line in on_slice]


def test_variables_stand_for_flags(launch):
    result = launch(
        "--dry-run",
        SYMSKIP_PROJECT="q",
        SYMSKIP_TPU_TYPE="v6e-8",
        CLOUDSDK_COMPUTE_ZONE="z",
        SYMSKIP_TPU_RUNTIME="r",
        SYMSKIP_TPU_NAME="n",
        SYMSKIP_PROVISIONING="on-demand",
        SYMSKIP_CONFIG="imagenet:animals",
        SYMSKIP_WORKDIR="gs://w",
        SYMSKIP_DATA_DIR="gs://d",
        SYMSKIP_SOURCE="https://example.com/r",
        SYMSKIP_REVISION="v1",
    )
    assert (
        "create n --node-id=n --accelerator-type=v6e-8 --runtime-version=r --project=q --zone=z"
        in result.stdout
    )
    assert "symskip_worker.sh install https://example.com/r v1" in result.stdout
    assert "--cluster tpu --config imagenet:animals --workdir gs://w --config.data" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "environment", "words"),
    [
        ([], {"SYMSKIP_PROJECT": ""}, ["needed: the project", "--project", "SYMSKIP_PROJECT"]),
        ([], {"SYMSKIP_BUCKET": ""}, ["needed: a folder for the run", "--bucket"]),
        (["--workdir=gs://w"], {"SYMSKIP_BUCKET": ""}, ["needed: where ImageNet", "--data-dir"]),
        (["--workdir=runs/w"], {}, ["--workdir", '"runs/w"', "gs://"]),
        (["--type=v5p-8"], {}, ["needed: a zone that has v5p-8", "--zone"]),
        (["--name=A b"], {}, ["--name", '"A b"']),
        (["--max-restarts=0"], {}, ["--max-restarts", '"0"']),
        (["--grace=1m"], {}, ["--grace", '"1m"']),
        (["--poll", "often"], {}, ["--poll", '"often"']),
        (["--revision=v1"], {}, ["--revision", "--source"]),
        ([], {"SYMSKIP_PROVISIONING": "free"}, ['"free"', "spot or on-demand"]),
        (["--zone"], {}, ["--zone needs a value"]),
        (["--nonsense=1"], {}, ['"--nonsense"', "--help"]),
        (["stop", "delete"], {}, ["stop and delete"]),
    ],
)
def test_what_is_missing_or_wrong_is_said_in_one_line(arguments, environment, words, cloud, launch):
    assert_refused(launch(*arguments, **environment), "tpu_imagenet: ", *words)
    assert cloud.calls() == []


def test_a_slice_of_another_type_under_the_name_is_not_touched(cloud, launch):
    assert launch().returncode == 0
    cloud.forget()
    result = launch("--type=v4-32", "--name=symskip-v4-128")
    assert_refused(result, "is a v4-128 there, not a v4-32")
    assert {call[4] for call in cloud.calls("compute")} == {"describe"}
