"""Two of `symskip reproduce` at once, on the same folders."""

import sys
import threading

import pytest
from played import Commands, play, table

from symskip_jax.analysis.files import replacing

# matplotlib is not for two threads.
pytestmark = pytest.mark.usefixtures("without_pictures")

PATIENCE = 120


class Ear:
    """A stream that tells when a word was written to it."""

    def __init__(self, word):
        self._word, self.heard, self.text = word, threading.Event(), ""

    def write(self, text):
        self.text += text
        if self._word in self.text:
            self.heard.set()

    def flush(self):
        pass


def test_two_writers_of_one_file_do_not_take_each_others(tmp_path):
    path = tmp_path / "table.csv"
    with replacing(path) as first, replacing(path) as second:
        first.write_text("first\n")
        second.write_text("second\n")
    assert path.read_text() == "first\n"  # the first ends last
    assert list(tmp_path.iterdir()) == [path]


def test_two_at_once_share_the_runs_out(tmp_path, monkeypatch):
    ear = Ear("random_gaussian seed 0: waiting for process")
    monkeypatch.setattr(sys, "stderr", ear)
    begun = threading.Event()

    def holds_on(name, seed):
        begun.set()
        return 0 if ear.heard.wait(PATIENCE) else 1

    first, second, statuses = Commands(status=holds_on), Commands(), []
    thread = threading.Thread(target=lambda: statuses.append(play(tmp_path, first)))
    thread.start()
    assert begun.wait(PATIENCE)
    statuses.append(play(tmp_path, second))
    thread.join(PATIENCE)
    assert statuses == [0, 0]
    # The second takes the others first, then waits; neither does what the other has done.
    assert first.names == ["random_gaussian"]
    assert second.names == [
        *("random_he", "pretrain_no_skip", "no_skip", "pretrain_skip", "skip"),
        *("pretrain_skip_he", "skip_he"),
    ]
    assert "random_gaussian seed 0: later, as process" in ear.text
    assert ear.text.count("done meanwhile") == 8
    assert {line["seeds"] for line in table(tmp_path).values()} == {"1"}


def test_what_starts_from_a_run_of_another_process_waits_with_it(tmp_path, monkeypatch):
    ear = Ear("pretrain_skip seed 0: waiting for process")
    monkeypatch.setattr(sys, "stderr", ear)
    begun = threading.Event()

    def holds_on(name, seed):
        begun.set()
        return 0 if ear.heard.wait(PATIENCE) else 1

    first, second, statuses = Commands(status=holds_on), Commands(), []

    def start_first():
        statuses.append(play(tmp_path, first, "supplement_d", only="pretrain_skip"))

    thread = threading.Thread(target=start_first)
    thread.start()
    assert begun.wait(PATIENCE)
    assert play(tmp_path, second, only="skip") == 0
    thread.join(PATIENCE)
    assert statuses == [0]
    assert first.names == ["pretrain_skip"] and second.names == ["skip"]
    assert "skip seed 0: later, as what it starts from is" in ear.text
