"""How a run says what it is at: its status, where its time goes, and what hangs."""

import json
import threading
import time

import jax
import pytest

from symskip_jax.cli import main
from symskip_jax.training.homes import Home
from symskip_jax.training.logs import Silent
from symskip_jax.training.records import read_metrics
from symskip_jax.training.timing import Timing
from symskip_jax.training.watching import Watch, read_status

TINY = [
    *("--config", "digits", "--config.model.n=4", "--config.pretrain.epochs=2"),
    *("--config.pretrain.milestones=(1,)", "--config.run.steps_per_dispatch=4"),
    *("--config.run.eval_batch_size=500", "--config.run.checkpoint_every=1"),
]


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("watched") / "run"
    words = ["pretrain", *TINY, "--config.run.profile_steps=(6, 9)", "--workdir", str(folder)]
    assert main(words) == 0
    return folder


def test_a_finished_run_has_a_status(workdir, capsys):
    assert main(["status", str(workdir)]) == 0
    said = capsys.readouterr().out
    assert f"{workdir}: finished" in said
    assert "step         40 of 40 (100%)" in said
    assert "checkpoints  20, 40" in said
    assert main(["status", str(workdir), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["latest"]["test"]["step"] == 40
    assert found["memory"]["host_peak_bytes"] > 2**20
    # All of the time but what it took to get ready and to end.
    assert set(found["spent"]) == {"training", "evaluation", "saving"}
    assert 0 < sum(found["spent"].values()) <= found["seconds"]


def test_the_log_tells_what_time_went_into_saving_and_waiting(workdir):
    train = [it for it in read_metrics(workdir) if it["split"] == "train"]
    assert all(it["input_seconds"] == 0 for it in train)  # the images were on the device
    # The checkpoint of the first epoch is of the time before the second epoch's first record.
    assert [it["step"] for it in train if it["saving_seconds"] > 0] == [24]


def test_a_trace_holds_the_steps_asked_for(workdir):
    (trace,) = workdir.glob("profile/plugins/profile/*/*.xplane.pb")
    data = jax.profiler.ProfileData.from_file(str(trace))
    names = [event.name for plane in data.planes for line in plane.lines for event in line.events]
    calls = [it for it in names if it.startswith("PjitFunction(take)")]
    assert len(calls) in (3, 6)  # some versions note each twice, one within the other


def test_what_hung_in_an_earlier_start_is_not_said_of_this_one(workdir, tmp_path, capsys):
    status = read_status(workdir)
    path = tmp_path / "stacks" / "process_0.txt"
    path.parent.mkdir()
    before = "2020-01-01T00:00:00+00:00 training has lasted 9 s, it is the first\nThread 0x1\n"
    path.write_text(before)
    (tmp_path / "status.json").write_text(json.dumps(status))
    assert main(["status", str(tmp_path)]) == 0
    assert "hung  " not in capsys.readouterr().out
    path.write_text(before + before.replace("2020-01-01T00:00:00+00:00", status["updated"]))
    assert main(["status", str(tmp_path)]) == 0
    assert f"hung         see {path}" in capsys.readouterr().out


def test_a_run_that_died_is_said_to_be_dead(workdir, tmp_path, capsys):
    status = read_status(workdir) | {"state": "running"}
    (tmp_path / "lock").touch()
    (tmp_path / "status.json").write_text(json.dumps(status))
    assert main(["status", str(tmp_path)]) == 1
    assert "dead: no sign of life from" in capsys.readouterr().out
    # One on another host may hold a lock that is not seen here; it was heard of a moment ago.
    (tmp_path / "status.json").write_text(json.dumps(status | {"host": "elsewhere"}))
    assert main(["status", str(tmp_path)]) == 0
    old = status | {"host": "elsewhere", "updated": "2020-01-01T00:00:00+00:00"}
    (tmp_path / "status.json").write_text(json.dumps(old))
    assert main(["status", str(tmp_path)]) == 1


@pytest.mark.parametrize("latest", [{}, {"train": {"step": 10}}])
def test_a_run_that_died_is_where_its_last_checkpoint_is(latest, workdir, tmp_path, capsys):
    status = read_status(workdir) | {"state": "running", "latest": latest}
    told = latest["train"]["step"] if latest else 0
    for saved, step in ((), told), ((20, 40), 40):
        for number in saved:
            (tmp_path / "checkpoints" / f"{number}").mkdir(parents=True)
        (tmp_path / "status.json").write_text(json.dumps(status))
        (tmp_path / "lock").touch()
        assert main(["status", str(tmp_path)]) == 1
        assert f"step         {step} of 40" in capsys.readouterr().out


def test_the_time_left_is_told_without_what_compiling_took(workdir, tmp_path, capsys):
    began = {"state": "running", "host": "elsewhere", "seconds": 30.0, "resumed_at": 0}
    latest = {"train": {"step": 10}, "test": {"step": 8, "accuracy": 0.5}}
    status = read_status(workdir) | began | {"latest": latest}
    for compiling, left in (None, None), (20.0, "0:00:30"):
        (tmp_path / "status.json").write_text(json.dumps(status | {"compiling": compiling}))
        assert main(["status", str(tmp_path)]) == 0
        told = "10 of 40 (25%)" + (f", about {left} left\n" if left else "\n")
        said = capsys.readouterr().out
        assert told in said and "accuracy 0.5 (step 8)" in said


def test_compiling_is_what_the_first_of_each_kind_takes_longer():
    timing = Timing()
    for seconds in (0.2, 0.02):
        assert timing.compiling() is None
        with timing.of("training"):
            time.sleep(seconds)
    assert timing.compiling() == pytest.approx(0.18, abs=0.05)


def test_where_there_is_no_run_it_says_so(tmp_path, capsys):
    assert main(["status", str(tmp_path)]) == 2
    line = f"symskip: WORKDIR {tmp_path} holds no run: no status.json in it\n"
    assert capsys.readouterr().err == line
    for name in "cab":
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "status.json").touch()
    for folder in (tmp_path, tmp_path / "runs"):
        assert main(["status", str(folder)]) == 2
        there = ", ".join(str(tmp_path / "runs" / name) for name in "abc")
        line = f"symskip: WORKDIR {folder} holds no run: no status.json in it; runs: {there}\n"
        assert capsys.readouterr().err == line


def test_what_hangs_is_found_out(tmp_path, caplog):
    timing = Timing()

    def hang_here():
        for _ in range(100):
            if list(tmp_path.glob("stacks/*")):
                time.sleep(0.2)  # time to write it all
                return
            time.sleep(0.05)

    with Watch(Home(tmp_path, tmp_path), Silent(), timing, facts={}, stall_seconds=0.2):
        assert read_status(tmp_path)["state"] == "running"
        for _ in range(3):
            with timing.of("training"):
                time.sleep(0.001)
        time.sleep(0.4)  # nothing is under way
        assert not list(tmp_path.glob("stacks/*"))
        with timing.of("training"):
            hang_here()
    stacks = (tmp_path / "stacks" / "process_0.txt").read_text()
    assert "hang_here" in stacks
    assert stacks.count("training has lasted 0 s, usual are 0.001") == 1
    assert "what every thread is at is in" in caplog.text


def test_stacks_are_written_on_a_host_that_has_nothing_of_the_run_yet(tmp_path):
    # As on the hosts of all processes but the first, of a run on a bucket.
    timing, folder = Timing(), tmp_path / "runs" / "here"
    with (
        Watch(Home(folder, folder), Silent(), timing, facts={}, stall_seconds=0.02),
        timing.of("training"),
    ):
        time.sleep(0.6)
    assert "training has lasted" in (folder / "stacks" / "process_0.txt").read_text()


def test_a_bucket_that_does_not_answer_is_found_out_and_left_behind(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("symskip_jax.training.watching.PERIOD", 0.05)
    monkeypatch.setattr("symskip_jax.training.watching._LAST_SECONDS", 0.3)
    asked, answers = threading.Event(), threading.Event()

    class Bucket(Home):
        def publish(self):
            asked.set()
            answers.wait()

    timing, home = Timing(), Bucket(tmp_path / "bucket", tmp_path)
    with Watch(home, Silent(), timing, facts={}, stall_seconds=0.02):
        assert asked.wait(5)
        with timing.of("saving"):
            time.sleep(0.6)
    stacks = (tmp_path / "stacks" / "process_0.txt").read_text()
    assert "saving has lasted" in stacks and "publish" in stacks
    assert read_status(tmp_path)["state"] == "finished"
    assert "has not answered for 0 s: the last of the log may be in" in caplog.text
    answers.set()


def test_the_first_of_its_kind_has_more_patience(tmp_path):
    timing = Timing()
    with Watch(Home(tmp_path, tmp_path), Silent(), timing, facts={}, stall_seconds=0.1):
        with timing.of("evaluation"):
            time.sleep(0.4)
        assert not list(tmp_path.glob("stacks/*"))
        with timing.of("saving"):
            time.sleep(1.3)
        assert "it is the first" in (tmp_path / "stacks" / "process_0.txt").read_text()


def test_time_within_another_activity_counts_once():
    timing = Timing()
    with timing.of("training"):
        time.sleep(0.02)
        with timing.of("input"):
            time.sleep(0.05)
    totals = timing.totals()
    assert 0.02 <= totals["training"] < 0.05 <= totals["input"]
    assert timing.last("training") >= 0.07
