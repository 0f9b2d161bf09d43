"""`symskip reproduce` with commands that are played: each leaves at once what the real one does."""

import csv
import json
from pathlib import Path

from symskip_jax.config import flat, load_config
from symskip_jax.errors import UserError
from symskip_jax.reproduction.command import Hands, reproduce
from symskip_jax.reproduction.definitions import DEFINITIONS
from symskip_jax.reproduction.grid import Cell, Experiment, Run
from symskip_jax.training.workdir import claim_workdir

MACHINE = {
    "platform": "cpu",
    "cpu_cores": 2,
    "devices": 1,
    "matrix_flops_per_second": {"float32": 1e11, "bfloat16": 3e10},
}


class Commands:
    """Plays `symskip`: keeps what it was asked, and leaves a log with an accuracy.

    Folders are claimed as training claims them, and refused if they hold another run.
    """

    def __init__(self, accuracy=lambda name, seed: 0.5, status=lambda name, seed: 0):
        self.asked, self._accuracy, self._status = [], accuracy, status

    @property
    def names(self):
        return [name for name, _ in self.asked]

    def __call__(self, words, log):
        workdir = log.parent
        name, seed = workdir.parent.name, int(workdir.name.removeprefix("seed_"))
        self.asked.append((name, seed))
        log.write_text("it went wrong\n")
        if words[0] in ("pretrain", "finetune"):
            try:
                self._train(words, workdir, self._accuracy(name, seed))
            except UserError as error:
                log.write_text(f"{error}\n")
                return 2
        elif words[0] == "probe":
            layer = {"classification": {"accuracy": 0.5}, "reconstruction": {"psnr": 20.0}}
            (workdir / "probe.json").write_text(json.dumps({"layers": {"encoder.0": layer}}))
        else:
            (workdir / "shown.json").write_text(json.dumps({"psnr": 30.0, "psnr_noisy": 18.0}))
        return self._status(name, seed)

    def _train(self, words, workdir, accuracy):
        overrides = [it for it in words if it.startswith("--config.")]
        fields = flat(load_config(words[words.index("--config") + 1], overrides))
        config = {f"config.{k}": v for k, v in fields.items() if not k.startswith("probe.")}
        init = words[words.index("--init") + 1] if "--init" in words else "scratch"
        claim_workdir(workdir, {"verb": words[0], "init": init, **config}, {}).close()
        # Of this machine and of the moment.
        (workdir / "status.json").write_text(json.dumps({"host": "somewhere", "accuracy": 0.0}))
        record = {"split": "test", "psnr": 20.0, "seconds": 10.0}
        records = [
            {**record, "epoch": 1.0, "accuracy": accuracy - 0.1},
            {**record, "epoch": 2.0, "accuracy": accuracy},
        ]
        (workdir / "metrics.jsonl").write_text("".join(json.dumps(it) + "\n" for it in records))


def play(tmp_path, commands, name="table2", machine=MACHINE, runs="runs", **settings):
    arguments = {"scale": "small", "seeds": "1", "only": None, "dry_run": False, "data": ()}
    return reproduce(
        name,
        **{**arguments, **settings},
        runs=tmp_path / runs,
        results=tmp_path / "results",
        hands=Hands(commands, lambda: machine),
    )


def asked(tmp_path, name="table2", **settings):
    """The names of the runs that were left to do, in their order; none of them fails."""
    commands = Commands()
    assert play(tmp_path, commands, name, **settings) == 0
    return commands.names


def table(tmp_path, name="table2"):
    text = (tmp_path / "results" / name / "small" / "table.csv").read_text()
    return {line["row"]: line for line in csv.DictReader(text.splitlines())}


def seed_folder(tmp_path, name, experiment="table2", root="results"):
    return tmp_path / root / experiment / "small" / name / "seed_0"


def edit(path, change):
    """Changes the content of a JSON file as a function says, in place."""
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def define_own(monkeypatch, *settings, tuning=()):
    """Makes an experiment `own`: a pre-training with settings of its own, and a fine-tuning."""
    network = ("model.name=network_1", "model.blocks=(1, 1, 0, 0)", "model.width_multiplier=0.125")
    config = "cifar10_4k:small"
    source = Run("own", "source", "pretrain", "cifar10", config, (*network, *settings))
    tuned = Run("own", "tuned", "finetune", "cifar10", config, (*network, *tuning), source=source)
    cells = (Cell("tuned", "test accuracy (%)", tuned, "accuracy", 100.0),)
    own = Experiment("own", "small", "Does it help?", "9", cells, 1)
    monkeypatch.setitem(DEFINITIONS, "own", lambda scale: own)


def read_note(tmp_path, name, experiment="table2", root="results"):
    path: Path = seed_folder(tmp_path, name, experiment, root) / "run.json"
    return json.loads(path.read_text())
