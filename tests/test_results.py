"""The README says what the committed logs say."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_tables_of_the_readme_are_those_of_the_logs() -> None:
    command = [sys.executable, str(ROOT / "results" / "summarize.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_every_log_is_of_a_finished_run_that_measured_every_test_image() -> None:
    sizes = {
        ("digits", "test"): 500,
        ("tfds:cifar10", "test"): 10_000,
        ("npz:cifar10", "test"): 10_000,
        ("tfds:cifar10", "train[90%:]"): 5_000,
        ("voc_segmentation:voc2012", "val"): 50,
        ("folder:JPEGImages", "test"): 16,
        ("folder:photographs", "test"): 16,
    }
    logs = sorted((ROOT / "results").glob("*/**/metrics.jsonl"))
    assert logs
    for path in logs:
        config = json.loads(path.with_name("config.json").read_text())
        records = [json.loads(line) for line in path.read_text().splitlines()]
        epochs = config[f"config.{config['verb']}.epochs"]
        assert records[-1]["split"] == "test" and records[-1]["epoch"] == epochs, path
        data = config["config.data.name"], config["config.data.test_split"]
        assert records[-1]["count"] == sizes[data], path


def test_seeds_of_a_start_differ_in_the_seed_and_the_labels_alone() -> None:
    # Another draw of the labels is other data to fine-tune on; how often is saved changes nothing.
    seeded = {"config.seed", "config.data.labels_seed", "labels", "init", "data"}
    seeded.add("config.run.checkpoint_every")
    compared = 0
    for start in sorted((ROOT / "results").rglob("seed_0")):
        for first in start.rglob("config.json"):
            fields = json.loads(first.read_text())
            for folder in start.parent.glob("seed_*"):
                other = folder / first.relative_to(start)
                if not other.exists():
                    continue
                second = json.loads(other.read_text())
                # A run of another day may have fields that came up meanwhile.
                both = fields.keys() & second.keys()
                differing = {key for key in both if fields[key] != second[key]}
                assert differing <= seeded, other
                assert second["config.seed"] == int(folder.name.removeprefix("seed_"))
                compared += 1
    assert compared >= 3 * 7  # the stages of quickstart alone


def test_tables_on_scaling_are_those_of_the_logs() -> None:
    command = [sys.executable, str(ROOT / "results" / "scaling_tables.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_tables_on_speed_are_those_of_the_logs() -> None:
    command = [sys.executable, str(ROOT / "results" / "speed_tables.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_tables_of_times_are_those_of_the_logs() -> None:
    command = [sys.executable, str(ROOT / "results" / "times_tables.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_pages_on_looking_and_features_say_what_the_logs_say() -> None:
    logs, pages = ROOT / "results" / "looking", ROOT / "docs"
    printed = (logs / "features.txt").read_text().strip()
    features = " ".join((pages / "features.md").read_text().split())
    assert f"this prints {printed}:" in features
    lines = (logs / "digits" / "metrics.jsonl").read_text().splitlines()
    records = [json.loads(it) for it in lines]
    first, *others = (it["seconds"] for it in records if it["split"] == "test")
    trained = sum(it["seconds"] for it in records if it["split"] == "train") / (1 + len(others))
    took = f"{min(others):.1f} to {max(others):.1f} s, and {first:.1f} s at first"
    assert took in features and f"from one to the next took {trained:.1f} s" in features
    page = " ".join((pages / "looking.md").read_text().split())
    tuned, before = (
        json.loads((logs / it / "neighbors.json").read_text()) for it in ("4k-ft", "4k")
    )
    told = (
        f"{100 * tuned['same_class']:.0f} % of the six nearest are of an image's own class, where "
    )
    assert f"{told}{100 * tuned['by_chance']:.0f} % would be by chance" in page
    assert f"that it began from, {100 * before['same_class']:.0f} %, of the same layer" in page


def test_tables_on_reproduction_are_those_of_the_logs() -> None:
    command = [sys.executable, str(ROOT / "results" / "reproduction.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
