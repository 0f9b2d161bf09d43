"""What the experiments are defined to run, and that the logs bear their choices out."""

import ast
import json
import math
import re
import statistics
from pathlib import Path

import pytest
from scipy import stats

from symskip_jax.config import load_config
from symskip_jax.reproduction.definitions import DEFINITIONS, define
from symskip_jax.reproduction.definitions.cifar import rates_at
from symskip_jax.reproduction.grid import SCALES, Cell, Run
from symskip_jax.reproduction.machine import step_rate
from symskip_jax.reproduction.summary import Measured, correlation_text, measure
from symskip_jax.training.records import read_metrics

FIGURE = "{:.1f} +- {:.1f} %"
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
    assert "these 4 recipes, of the 2 seeds all have: " in said
    assert f": {found.statistic:+.2f} ({low:+.2f} to {high:+.2f})" in said
    assert "over 8 runs, all:" in said and "seeds of one recipe are not" in said


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", DEFINITIONS)
def test_every_command_has_a_configuration_or_that_of_its_source(name, scale):
    for run in define(name, scale).runs():
        assert run.config or run.source is not None and run.source.config, run.name


def test_other_images_are_rebuilt_under_all_three_corruptions_too():
    runs = {it.name: it for it in define("figure2", "paper").runs()}
    for sheet in ("sheet", "sheet_stl10", "sheet_voc"):
        kinds = []
        for source in runs[sheet].sources():
            found = load_config(source.config, source.overrides(0, "images")).corruption
            kinds.append("gaussian" if found.kind == "gaussian" else found.num_blocks)
        assert kinds[:2] == ["gaussian", 1] and kinds[2] in (8, 32), sheet


@pytest.mark.parametrize("scale", SCALES)
def test_what_is_pre_trained_for_table_2_trains_its_new_layers_first(scale):
    for run in define("table2", scale).runs():
        if run.verb == "finetune" and run.source is not None:
            recipe = load_config(run.config, run.overrides(0, "images")).finetune
            assert 0 < recipe.head_epochs < recipe.epochs, run.name


def test_both_networks_of_figure_5_are_shown_the_same_images_of_no_training():
    animals, vehicles = (it for it in define("figure5", "paper").runs() if it.verb == "visualize")
    assert animals.arguments == vehicles.arguments and animals.source != vehicles.source
    assert "--config.data.test_split=animals_validation" in animals.arguments
    assert "vehicles_validation" in animals.arguments


def last_tests(pattern, name, factor=1.0):
    """The figures of the last tests of logs in a folder of results."""
    logs = [read_metrics(path.parent) for path in sorted(RESULTS.glob(f"{pattern}/metrics.jsonl"))]
    return [factor * log[-1][name] for log in logs]


def told(values):
    return FIGURE.format(statistics.fmean(values), statistics.stdev(values))


CONFIGS = sorted((ROOT / "configs").glob("*.py"))
MEASURED = {
    "digits": [
        (told, f"quickstart/seed_*/{stage}", "accuracy", 100.0)
        for stage in ("finetune", "scratch_gaussian", "scratch_he")
    ],
    "cifar10_4k": [
        (told, f"table2/small/{start}/seed_*", "accuracy", 100.0)
        for start in ("random_gaussian", "random_he", "no_skip", "skip", "skip_he")
    ]
    + [
        (lambda it: f"{it[0]:.2f} %", f"table2/paper/{start}/seed_0", "accuracy", 100.0)
        for start in ("random_gaussian", "random_he", "skip")
    ],
    "folder": [
        (lambda it: f"{it[0]:.2f} dB", "folder_small", name, 1.0)
        for name in ("psnr", "psnr_identity")
    ],
    "voc2012_segmentation": [
        (told, f"figure4/small/{start}/seed_*", "mean_iu", 100.0)
        for start in ("encoder_decoder", "encoder", "random_gaussian")
    ],
}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda it: it.stem)
def test_a_configuration_says_how_it_is_run_what_it_costs_and_what_came_out(path):
    said = ast.get_docstring(ast.parse(path.read_text()))
    assert f"--config {path.stem}" in said or f"--config configs/{path.stem}.py" in said
    assert all(part in said for part in ("Cost: ", "Expected", "Measured"))
    for tell, pattern, name, factor in MEASURED.get(path.stem, ()):
        figure = tell(last_tests(pattern, name, factor))
        assert figure in said.replace("\n", " "), figure
    if path.stem == "red_net":
        run = RESULTS / "restoration" / "small" / "restore_red10" / "seed_0" / "restore.json"
        found = json.loads(run.read_text())
        assert all(f"{found[it]:.2f} dB" in said for it in ("psnr", "psnr_noisy"))


def test_what_is_said_of_table_2_at_the_scale_of_the_paper_is_what_its_logs_say():
    starts = ("random_gaussian", "random_he", "skip", "no_skip", "skip_he")
    logged = {it: last_tests(f"table2/paper/{it}/seed_*", "accuracy", 100.0) for it in starts}
    assert [len(it) for it in logged.values()] == [1, 1, 1, 0, 0]
    gaussian, he, skip = (it[0] for it in logged.values() if it)
    readme, document = (
        " ".join((ROOT / name).read_text().split())
        for name in ("README.md", "docs/reproduction.md")
    )
    assert f"{skip - gaussian:.1f} points over the paper's own random start (the paper: " in readme
    assert f"and {skip - he:.1f} over He's" in readme
    notes = {
        it: json.loads((RESULTS / "table2" / "paper" / it / "seed_0" / "run.json").read_text())
        for it in ("pretrain_skip", "skip", "random_he")
    }
    times = (notes["pretrain_skip"]["flops"] + notes["skip"]["flops"]) / notes["random_he"]["flops"]
    assert f"takes {times:.0f} times the operations of a random one" in readme
    assert f"The random start is {70.89 - gaussian:.1f} points below the paper's" in readme
    for said in (readme, document):
        behind = 80.22 - skip
        assert f"{behind:.1f} points below the paper's, {behind / 0.37:.1f} of its dev" in said
    assert all(f"{it:.2f} %" in document for it in (gaussian, he, skip))


def test_what_a_gpu_is_expected_to_reach_is_what_its_logs_say():
    notes = [json.loads(it.read_text()) for it in RESULTS.glob("table2/paper/*/seed_0/run.json")]
    machines = [start["machine"] for note in notes for start in note["starts"]]
    assert machines and {it["platform"] for it in machines} == {"gpu"}
    fastest = max(machines, key=lambda it: it["matrix_flops_per_second"]["float32"])
    pretraining = max(notes, key=lambda it: it["flops"])
    (start,) = pretraining["starts"]
    reached = pretraining["flops"] / start["seconds"]
    assert reached == pytest.approx(step_rate(fastest, "float32"), rel=0.05)


def test_the_quickstart_notebook_says_what_the_logs_say():
    said = " ".join((ROOT / "colab" / "quickstart.py").read_text().replace("# ", "").split())
    for stage, what in (("finetune", "pre-trained"), ("scratch_he", "from scratch with He's")):
        values = last_tests(f"quickstart/seed_*/{stage}", "accuracy", 100.0)
        assert f"{told(values).replace('+-', '±')} {what}" in said, stage


def test_the_readme_says_what_the_older_logs_say():
    said = " ".join((ROOT / "README.md").read_text().split())
    for start in ("gaussian", "pretrained_no_skip", "pretrained_skip", "he"):
        values = last_tests(f"cifar10_4k_small/{start}/seed_*/finetune", "accuracy", 100.0)
        assert told(values).replace("+-", "±").removesuffix(" %") in said, start


def test_the_readme_says_which_recipes_come_nearest():
    measured = measure(define("recipes", "small"), RESULTS)
    found = {(it.cell.row, it.cell.column): it.values[0] for it in measured if it.values}
    said = " ".join((ROOT / "README.md").read_text().split())
    ahead = []
    for labels in ("250 labels", "1,000 labels", "4,000 labels"):
        column = f"{labels}, accuracy (%)"
        ours = {
            re.split("pre-trained: (?:the paper's, )?", row)[1]: it
            for (row, of), it in found.items()
            if of == column and row.startswith("pre-trained")
        }
        recipe = max(ours, key=lambda it: ours[it])
        behind = found[f"{HE_ROW}, equal budget", column] - ours[recipe]
        short = labels if labels.startswith("250") else labels.removesuffix(" labels")
        assert re.search(rf"{behind:.1f} (points )?with {short} \({recipe}\)", said)
        # Fine-tuned the same way, where that is what the recipe is about.
        alone = found.get((f"{HE_ROW}, {recipe}", column), found[HE_ROW, column])
        ahead.append(f"{ours[recipe] - alone:.1f}")
    assert f"ahead of He's start, fine-tuned the same way, by {ahead[0]}, {ahead[1]} and" in said
    assert f"and {ahead[2]} points" in said


def test_pre_training_with_sgd_is_not_said_to_decay_weights():
    for cell in define("supplement_c", "paper").cells:
        run = cell.run
        recipe = load_config(run.config, run.overrides(0, "images"))[run.verb]
        assert ("weight decay" in cell.row) == (recipe.weight_decay > 0), cell.row
