"""launch/tpu_imagenet.sh against a fake gcloud, on whose workers its commands really run."""

import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from fake_commands import assert_refused, finish, wait_for
from tpu_launch import RUN, WORKDIR, begin, copied, first_start, git, queued, without_repeats

pytest_plugins = ("tpu_checkout",)


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


def test_a_slice_of_another_type_under_the_name_is_not_touched(cloud, launch):
    assert launch().returncode == 0
    cloud.forget()
    result = launch("--no-check", "--type=v4-32", "--name=symskip-v4-128")
    assert_refused(result, "is a v4-128 there, not a v4-32")
    assert {call[4] for call in cloud.calls("compute")} == {"describe"}
