"""`symskip report` from outside: on runs that finished, that did not, and on what is no run."""

import base64
import json
import shutil
from pathlib import Path

import command
import pytest
from test_report import Page

from symskip_jax import cli

RUN_FILES = ("config.json", "metrics.jsonl", "status.json", "lock")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> str:
    return command.write_images(tmp_path_factory.mktemp("data") / "images.npz")


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory, data) -> Path:
    workdir = tmp_path_factory.mktemp("runs") / "skips" / "seed_0"
    arguments = command.pretrain(
        workdir, data, "--config.pretrain.epochs=2", "--config.run.monitor_images=20"
    )
    assert cli.main([*map(str, arguments)]) == 0
    return workdir


@pytest.fixture(scope="module")
def finetuned(pretrained, data) -> Path:
    workdir = pretrained.parent.parent / "labels" / "seed_0"
    more = (f"--init={pretrained}", "--config.finetune.epochs=3")
    arguments = command.finetune(workdir, data, *more)
    assert cli.main([*map(str, arguments)]) == 0
    return workdir


def copy_of(run: Path, folder: Path) -> Path:
    """Returns a folder with what a page is made of, but for the checkpoints."""
    folder.mkdir(parents=True)
    for name in RUN_FILES:
        shutil.copy(run / name, folder)
    return folder


def lines_of(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def change(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def page_of(path: Path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


def rows_of(page: Page) -> dict[str, str]:
    """The rows of all tables, their cells beside one another, by the first."""
    rows = [text for tag, attributes, text in page.elements if tag == "tr"]
    return {text[0]: "|".join(text[1:]) for text in rows if text}


def facts_of(page: Page) -> dict[str, str]:
    return dict(zip(page.texts("dt"), page.texts("dd"), strict=True))


def test_a_page_of_one_run_tells_what_it_measured(pretrained, symskip):
    assert symskip("report", pretrained).strip() == str(pretrained / "report.html")
    page = page_of(pretrained / "report.html")
    last = lines_of(pretrained)[-1]
    facts = facts_of(page)
    assert (facts["kind"], facts["state"], facts["epoch"]) == ("pre-training", "finished", "2 of 2")
    assert facts["PSNR (dB)"] == f"{last['psnr']:.2f}"
    assert facts["PSNR of the corrupted input (dB)"] == f"{last['psnr_identity']:.2f}"
    assert float(facts["operations"].split()[0]) > 0
    for chart in ("Pre-training: loss of training", "PSNR, test images", "Speed of training"):
        (svg,) = page.attributes("svg", role="img", **{"aria-label": chart})
    units = {"PSNR (dB)", "epoch", "images/s", "mean squared error, log scale"}
    assert units <= set(page.texts("text"))
    assert "corrupted input" in page.texts("li")
    assert rows_of(page)["pretrain.epochs"] == "120|2"
    assert "data.crop" in rows_of(page) and "pretrain.optimizer" not in rows_of(page)


def test_the_sheets_of_every_evaluation_are_in_the_page(pretrained, symskip):
    symskip("report", pretrained)
    sheets = sorted((pretrained / "images").glob("step_*.png"))
    found = page_of(pretrained / "report.html").attributes("img")
    assert len(sheets) == len(found) == 2
    embedded = [base64.b64decode(it["src"].partition(",")[2], validate=True) for it in found]
    assert embedded == [sheet.read_bytes() for sheet in sheets]
    assert "step 6, epoch 1" in found[0]["alt"] and "step 12, epoch 2" in found[1]["alt"]


def test_many_sheets_are_thinned_and_one_that_is_broken_is_named(pretrained, symskip, tmp_path):
    run = copy_of(pretrained, tmp_path / "run")
    sheet = (pretrained / "images" / "step_00000006.png").read_bytes()
    (run / "images").mkdir()
    for step in range(1, 21):
        (run / "images" / f"step_{step:08d}.png").write_bytes(sheet)
    (run / "images" / "step_00000020.png").write_bytes(sheet[:-9])
    symskip("report", run)
    page = page_of(run / "report.html")
    assert len(page.attributes("img")) == 5
    assert page.texts("h3")[0] == "Step 1" and page.texts("h3")[-1] == "Step 20"
    assert "step_00000020.png is no whole PNG file." in page.texts("p")


def test_runs_beside_one_another_show_what_differs(pretrained, finetuned, symskip, tmp_path):
    out = tmp_path / "pages" / "all.html"
    symskip("report", pretrained, finetuned, "--out", out)
    page = page_of(out)
    rows = rows_of(page)
    assert rows["run"] == rows["setting"] == "skips/seed_0|labels/seed_0"
    assert rows["verb"] == "pretrain|finetune" and rows["init"] == f"–|{pretrained}"
    # What the command sets for both is in neither table.
    assert {"pretrain.epochs", "finetune.epochs"} <= rows.keys()
    assert not {"model.n", "seed", "data.name", "config.model.n"} & rows.keys()
    accuracy = [it["accuracy"] for it in lines_of(finetuned) if it["split"] == "test"][-1]
    assert rows["accuracy (%)"] == f"–|{100 * accuracy:.2f} (of 16 images)"
    assert page.attributes("svg", role="img", **{"aria-label": "Accuracy, test images"})
    legends = [text for text in page.texts("ul") if "labels/seed_0" in text]
    # Its loss is of another kind, and has a chart of its own.
    assert "Fine-tuning: loss of training" in page.texts("h2") and len(legends) > 3
    losses = page.texts("figure")[page.texts("h2").index("Fine-tuning: loss of training") - 1]
    assert "skips" not in losses and "cross-entropy (nats)" in losses


def test_steps_of_the_head_alone_cost_a_third(finetuned, pretrained, symskip, tmp_path):
    def operations(run: Path) -> float:
        symskip("report", run, f"--out={tmp_path / 'page.html'}")
        return float(facts_of(page_of(tmp_path / "page.html"))["operations"].split()[0])

    started = operations(finetuned)
    scratch = copy_of(finetuned, tmp_path / "scratch")
    shutil.copytree(finetuned / "checkpoints", scratch / "checkpoints")
    change(scratch / "config.json", init="scratch")
    # Two of three epochs were of the head alone: 1 + 1 + 3 passes, not 3 + 3 + 3.
    assert started / operations(scratch) == pytest.approx(5 / 9, rel=0.01)  # printed to 3 digits


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({"state": "running"}, "dead, last heard of"),
        ({"state": "running", "host": "elsewhere", "updated": "now"}, "running, last heard of"),
        ({"state": "failed", "message": "loss is nan"}, "failed: loss is nan"),
        ({"state": "stopped", "message": "SIGTERM"}, "stopped: SIGTERM"),
    ],
)
def test_a_run_without_a_result_is_shown_as_far_as_it_came(
    pretrained, symskip, tmp_path, changes, state
):
    run = copy_of(pretrained, tmp_path / "run")
    if changes.get("updated"):
        from datetime import UTC, datetime

        changes = {**changes, "updated": datetime.now(UTC).isoformat()}
    change(run / "status.json", **changes)
    first, *_ = (run / "metrics.jsonl").read_text().splitlines()
    (run / "metrics.jsonl").write_text(f'{first}\n{{"step": 4, "epo')
    symskip("report", run)
    page = page_of(run / "report.html")
    facts = facts_of(page)
    assert facts["state"].startswith(state) and "PSNR (dB)" not in facts
    assert facts["epoch"] == f"{json.loads(first)['epoch']:.4g} of 2"
    assert facts["operations"] == "–"  # no checkpoint says on how many channels
    assert "Pre-training: loss of training" in page.texts("h2")
    assert "PSNR, test images" not in page.texts("h2")


def test_a_run_that_has_just_begun_has_a_page_too(pretrained, symskip, tmp_path):
    run = copy_of(pretrained, tmp_path / "run")
    for name in ("metrics.jsonl", "status.json"):
        (run / name).unlink()
    symskip("report", run)
    page = page_of(run / "report.html")
    assert "Nothing was measured yet." in page.texts("p")
    assert facts_of(page)["state"] == "unknown: no status.json"
    assert not page.attributes("svg")


def test_what_was_probed_on_the_way_is_drawn(pretrained, symskip, tmp_path):
    assert {"knn_accuracy", "linear_accuracy_middle"} <= lines_of(pretrained)[-1].keys()
    run = copy_of(pretrained, tmp_path / "run")
    with (run / "metrics.jsonl").open("a") as file:
        for epoch, accuracy in ((1.0, 0.25), (2.0, 0.5)):
            record = {"step": 6 * epoch, "epoch": epoch, "split": "validation", "psnr": 20.0}
            record |= {"knn_accuracy": accuracy, "knn_accuracy_middle": 0.375}
            record |= {"monitor_count": 1000, "linear_accuracy": 0.75}
            file.write(json.dumps({**record, "psnr_without_skips": 12.5}) + "\n")
    symskip("report", run)
    page = page_of(run / "report.html")
    assert facts_of(page)["kNN probe, accuracy (%)"] == "50.00 (of 1,000 images)"
    assert facts_of(page)["linear probe, accuracy (%)"] == "75.00 (of 1,000 images)"
    assert facts_of(page)["PSNR, skips left out (dB)"] == "12.50 (of 1,000 images)"
    charts = [svg["aria-label"] for svg in page.attributes("svg", role="img")]
    for probe in ("kNN probe", "Linear probe"):
        assert f"{probe}, test images" in charts
    named = {it.get("aria-label"): "".join(text) for tag, it, text in page.elements if tag == "svg"}
    knn = named["kNN probe, validation images"]
    assert "accuracy (%)" in knn and "25" in knn and "50" in knn
    legends = page.texts("li")
    assert {"run: half-way layer", "run: skips left out"} <= set(legends)


def test_a_page_is_replaced_and_nothing_else_is(pretrained, symskip, tmp_path):
    out = tmp_path / "page.html"
    symskip("report", pretrained, f"--out={out}")
    out.write_text(out.read_text().replace("finished", "FINISHED"))
    symskip("report", pretrained, f"--out={out}")
    assert "FINISHED" not in out.read_text()
    notes = tmp_path / "notes.txt"
    notes.write_text("mine")
    message = symskip("report", pretrained, f"--out={notes}")
    assert f"--out {notes} exists and is no page of symskip" in message
    assert notes.read_text() == "mine"


def test_what_is_no_run_gets_one_line(pretrained, symskip, tmp_path):
    (tmp_path / "empty").mkdir()
    message = symskip("report", pretrained, tmp_path / "empty")
    assert f"{tmp_path / 'empty'} holds no run: no config.json in it" in message
    assert "is named twice" in symskip("report", pretrained, f"{pretrained}/../seed_0")
    broken = copy_of(pretrained, tmp_path / "broken")
    (broken / "config.json").write_text('{"verb": "pre')
    assert f"{broken} cannot be read" in symskip("report", broken)
    (broken / "config.json").write_text("[]")
    assert "it is no configuration of a run" in symskip("report", broken)
    assert "is no file" in symskip("report", pretrained, f"--out={tmp_path}")
    inside = tmp_path / "file"
    inside.touch()
    assert "cannot be written" in symskip("report", pretrained, f"--out={inside / 'page.html'}")
