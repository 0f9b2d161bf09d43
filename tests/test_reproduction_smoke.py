"""Every experiment at the scale of smoke: the real commands, on data made for them."""

import contextlib

import pytest

from symskip_jax.cli import main
from symskip_jax.reproduction.command import Hands, reproduce
from symskip_jax.reproduction.definitions import DEFINITIONS, define
from symskip_jax.reproduction.machine import describe_machine
from symskip_jax.reproduction.summary import measure


def in_this_process(words, log):
    with (
        log.open("a") as out,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(out),
    ):
        return main(words)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    # One for all, as experiments share runs.
    return tmp_path_factory.mktemp("reproduction")


@pytest.mark.parametrize("name", DEFINITIONS)
def test_every_cell_is_run_and_gets_its_figure(name, place, capsys):
    status = reproduce(
        name,
        scale="smoke",
        seeds=None,
        only=None,
        dry_run=False,
        data=(),
        runs=place / "runs",
        results=place / "results",
        hands=Hands(in_this_process, describe_machine),
    )
    assert status == 0, capsys.readouterr().err
    experiment = define(name, "smoke")
    for it in measure(experiment, place / "results"):
        assert len(it.values) == experiment.seeds, it.cell
    folder = place / "results" / name / "smoke"
    assert "not run" not in (folder / "table.md").read_text()
    assert (folder / "plot.png").exists() and (folder / "plot.svg").exists()
