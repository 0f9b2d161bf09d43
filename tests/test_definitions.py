"""What the experiments are defined to run, and that the logs bear their choices out."""

import statistics
from pathlib import Path

import pytest

from symskip_jax.reproduction.definitions import define
from symskip_jax.reproduction.definitions.cifar import rates_at
from symskip_jax.reproduction.summary import measure

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "results"


@pytest.mark.parametrize("name", rates_at("small"))
def test_a_tuned_rate_is_the_best_on_images_held_out_and_between_two_others(name):
    found = {
        it.cell.run.name.rpartition("_")[2]: it.values
        for it in measure(define("rates", "small"), RESULTS)
        if it.cell.run.name.rpartition("_")[0] == name
    }
    accuracies = {rate: statistics.fmean(it.values()) for rate, it in found.items() if it}
    if not accuracies:
        pytest.skip(f"no rate of {name} was run")
    best = max(accuracies, key=lambda rate: accuracies[rate])
    assert best == rates_at("small")[name]
    tried = sorted(found, key=float)
    place = tried.index(best)
    assert 0 < place < len(tried) - 1, f"{best} is at the edge of what is tried"
    missing = {tried[place - 1], tried[place + 1]} - {*accuracies}
    if missing:
        pytest.skip(f"{name} was not run at {', '.join(missing)}, beside the best so far")
