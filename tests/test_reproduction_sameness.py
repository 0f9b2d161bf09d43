"""`symskip reproduce`: what counts as done, and what becomes of another recipe's run."""

import json

import pytest
from played import Commands, asked, define_own, edit, play, read_note, seed_folder, table

from symskip_jax.reproduction.command import write_tables
from symskip_jax.reproduction.definitions import define

pytestmark = pytest.mark.usefixtures("without_pictures")


def own_folder(tmp_path, name, root="results"):
    return seed_folder(tmp_path, name, "own", root)


def test_what_was_run_with_another_recipe_is_run_again_and_in_no_table(tmp_path):
    play(tmp_path, Commands(), only="skip")
    path = seed_folder(tmp_path, "skip") / "config.json"

    def redo(**changes):
        edit(path, lambda config: config.update(changes))
        return asked(tmp_path, only="skip")

    # Where data lay, and how often was saved, changes nothing.
    assert redo(**{"config.data.data_dir": "elsewhere", "config.run.checkpoint_every": 7.0}) == []
    assert redo(**{"config.finetune.batch_size": 7}) == ["skip"]
    edit(path, lambda config: config.update({"config.finetune.epochs": 7}))
    write_tables(define("table2", "small"), tmp_path / "results")
    assert table(tmp_path)["pre-trained with skips"]["seeds"] == "0"


def test_a_new_recipe_of_a_source_is_one_of_what_starts_from_it(tmp_path, monkeypatch, capsys):
    define_own(monkeypatch, "pretrain.learning_rate=1e-3")
    assert asked(tmp_path, "own") == ["source", "tuned"]
    define_own(monkeypatch, "pretrain.learning_rate=5e-4")
    write_tables(define("own", "small"), tmp_path / "results")
    assert table(tmp_path, "own")["tuned"]["seeds"] == "0"
    assert asked(tmp_path, "own") == ["source", "tuned"]
    assert asked(tmp_path, "own") == []
    # What was there before is kept.
    said = capsys.readouterr().err
    for name, rate in (("source", 1e-3), ("tuned", 2e-3)):
        folder = own_folder(tmp_path, name, "runs")
        aside = folder.with_name("seed_0.old-1")
        config = json.loads((aside / "config.json").read_text())
        assert config["config.pretrain.learning_rate"] == rate
        assert f"{name} seed 0: what was there is of another recipe or source" in said
        assert f"was moved to {aside}" in said
    # And again, beside it.
    define_own(monkeypatch, "pretrain.learning_rate=1e-3")
    assert asked(tmp_path, "own") == ["source", "tuned"]
    assert own_folder(tmp_path, "source", "runs").with_name("seed_0.old-2").exists()


def test_what_started_from_another_recipe_than_its_source_has_now_is_run_again(tmp_path):
    play(tmp_path, Commands(), only="skip")

    def started_elsewhere(note):
        note["sources"]["table2/pretrain_skip"]["pretrain.epochs"] = 7

    for root in ("results", "runs"):
        edit(seed_folder(tmp_path, "skip", root=root) / "run.json", started_elsewhere)
    assert asked(tmp_path, only="skip") == ["skip"]
    assert seed_folder(tmp_path, "skip", root="runs").with_name("seed_0.old-1").exists()


def make_notes_old(tmp_path):
    for name in ("skip", "pretrain_skip"):
        for root in ("results", "runs"):
            path = seed_folder(tmp_path, name, root=root) / "run.json"
            command = json.loads(path.read_text())["command"]
            path.write_text(json.dumps({"done": True, "command": command, "seconds": 5.0}))


@pytest.mark.parametrize("are_folders_kept", [True, False])
def test_logs_that_do_not_tell_their_sources_are_judged_by_those_of_the_sources(
    tmp_path, are_folders_kept
):
    play(tmp_path, Commands(), only="skip")
    make_notes_old(tmp_path)
    assert asked(tmp_path, only="skip") == []
    for root in ("results", "runs"):
        path = seed_folder(tmp_path, "pretrain_skip", root=root) / "config.json"
        edit(path, lambda config: config.update({"config.pretrain.epochs": 7}))
    if not are_folders_kept:
        (tmp_path / "runs").rename(tmp_path / "lost")
    # Both anew: the old fine-tuning is not gone on with, either.
    assert asked(tmp_path, only="skip") == ["pretrain_skip", "skip"]
    assert asked(tmp_path, only="skip") == []
    for name in ("skip", "pretrain_skip") if are_folders_kept else ():
        folder = seed_folder(tmp_path, name, root="runs")
        assert folder.with_name("seed_0.old-1").exists()


def test_logs_of_a_source_that_was_replaced_stay_old_when_it_is_run_once_more(tmp_path):
    play(tmp_path, Commands(), only="skip")
    make_notes_old(tmp_path)
    path = seed_folder(tmp_path, "pretrain_skip") / "config.json"
    edit(path, lambda config: config.update({"config.pretrain.epochs": 7}))
    assert asked(tmp_path, only="pretrain_skip") == ["pretrain_skip"]
    (tmp_path / "runs").rename(tmp_path / "lost")
    assert asked(tmp_path, only="skip") == ["pretrain_skip", "skip"]


def test_another_recipe_half_way_makes_way(tmp_path, capsys):
    play(tmp_path, Commands(status=lambda name, seed: int(name == "skip")), only="skip")
    folder = seed_folder(tmp_path, "skip", root="runs")
    edit(folder / "config.json", lambda config: config.update({"config.finetune.epochs": 7}))
    assert asked(tmp_path, only="skip") == ["skip"]
    aside = folder.with_name("seed_0.old-1")
    assert json.loads((aside / "config.json").read_text())["config.finetune.epochs"] == 7
    assert f"moved to {aside}" in capsys.readouterr().err
    # Its start was that of another run.
    assert len(read_note(tmp_path, "skip")["starts"]) == 1


def test_a_run_goes_on_though_data_and_folders_were_moved(tmp_path, capsys):
    play(tmp_path, Commands(status=lambda name, seed: int(name == "skip")), only="skip")
    (tmp_path / "runs").rename(tmp_path / "moved")
    path = seed_folder(tmp_path, "skip", root="moved") / "config.json"
    edit(path, lambda config: config.update({"config.run.checkpoint_every": 9.0}))
    images = f"cifar10=npz:{tmp_path}/images.npz"
    assert asked(tmp_path, only="skip", runs="moved", data=(images,)) == ["skip"]
    assert "moved to" not in capsys.readouterr().err
    assert len(read_note(tmp_path, "skip")["starts"]) == 2


@pytest.mark.parametrize(
    ("experiment", "name", "ours", "other"),
    [
        ("figure3", "probe_skip", "probe.epochs=3", "probe.epochs=30"),
        ("figure3", "probe_untrained", "/probe.json", "/probe.json --more"),
        ("figure2", "sheet", "big_block/seed_0", "big_block/seed_01"),
        ("restoration", "restore_red10", "--sigma 30", "--sigma 300"),
    ],
)
def test_another_command_of_what_trains_nothing_is_another_run(
    tmp_path, experiment, name, ours, other
):
    assert asked(tmp_path, experiment, only=name)[-1] == name
    assert asked(tmp_path, experiment, only=name) == []

    def change(note):
        assert ours in note["command"]
        note["command"] = note["command"].replace(ours, other)

    edit(seed_folder(tmp_path, name, experiment) / "run.json", change)
    assert asked(tmp_path, experiment, only=name) == [name]


def test_a_probe_of_another_recipe_is_another_run_though_its_words_are_the_same(tmp_path):
    settings = {"name": "figure3", "only": "probe_untrained"}
    assert asked(tmp_path, **settings) == ["probe_untrained"]
    path = seed_folder(tmp_path, "probe_untrained", "figure3") / "run.json"

    def redo(**changes):
        edit(path, lambda note: note["recipe"].update(changes))
        return asked(tmp_path, **settings)

    assert redo() == []
    assert redo(**{"probe.batch_size": 7}) == ["probe_untrained"]
    # Logs of old note no recipe.
    edit(path, lambda note: note.pop("recipe"))
    assert asked(tmp_path, **settings) == []


def test_a_field_that_there_was_not_yet_has_the_value_it_has_unset(tmp_path):
    for name, left in (("random_gaussian", []), ("random_he", ["random_he"])):
        play(tmp_path, Commands(), only=name)
        path = seed_folder(tmp_path, name) / "config.json"
        edit(path, lambda config: config.pop("config.model.init"))
        assert asked(tmp_path, only=name) == left
