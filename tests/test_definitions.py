"""What the experiments are defined to run, and that the logs bear their choices out."""

import math
import statistics
from pathlib import Path

import pytest
from scipy import stats

from symskip_jax.config import load_config
from symskip_jax.reproduction.definitions import define
from symskip_jax.reproduction.definitions.cifar import rates_at
from symskip_jax.reproduction.grid import Cell, Run
from symskip_jax.reproduction.summary import Measured, correlation_text, measure

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "results"
HE_ROW = "from scratch, He"


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


def test_what_was_pre_trained_is_compared_with_what_costs_as_much():
    cells = define("recipes", "small").cells
    rows = {(it.row, it.column) for it in cells}
    for cell in cells:
        if cell.run.verb == "finetune":
            alone = cell.run.source is None and cell.run.name.startswith("scratch_")
            equal = "from scratch, He, equal budget"
            wanted = equal if not alone or cell.row in ("from scratch, He", equal) else HE_ROW
            assert cell.baseline == wanted and (wanted, cell.column) in rows, cell


def test_larger_and_more_masks_hide_as_many_pixels():
    runs = {it.name: it for it in define("recipes", "small").runs()}

    def pixels(name):
        overrides = runs[f"pretrain_{name}"].overrides(0, "images")
        corruption = load_config("cifar10_4k:small", overrides).corruption
        return corruption.num_blocks * math.prod(corruption.block_size)

    assert pixels("more_blocks") == pytest.approx(pixels("heavier"), rel=0.01)


def test_the_correlation_is_told_of_recipes_too_where_seeds_are_alike():
    psnrs = {"a": [20.0, 20.1], "b": [21.0, 21.2], "c": [22.0, 21.9], "d": [23.0, 23.1]}
    accuracies = {"a": [50.0, 51.0], "b": [53.0, 52.0], "c": [51.0, 52.5], "d": [55.0, 53.5]}
    run = Run("supplement_d", "run", "finetune", "cifar10")
    measured = [
        Measured(Cell(row, name, run, name), dict(enumerate(of[row])), (), (), "", "")
        for row in psnrs
        for name, of in (("accuracy", accuracies), ("psnr", psnrs))
    ]
    xs, ys = ([statistics.fmean(it) for it in of.values()] for of in (psnrs, accuracies))
    found = stats.pearsonr(xs, ys)
    low, high = found.confidence_interval(0.95)
    said = correlation_text(measured)
    assert f"these 4 recipes: {found.statistic:+.2f} ({low:+.2f} to {high:+.2f})" in said
    assert "over 8 runs, all:" in said and "seeds of one recipe are not" in said
