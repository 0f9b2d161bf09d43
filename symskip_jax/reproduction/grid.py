"""What an experiment is made of: cells, each the last of a chain of commands."""

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from symskip_jax.errors import UserError, did_you_mean

Scale = Literal["paper", "small", "smoke"]
SCALES: tuple[Scale, ...] = ("paper", "small", "smoke")


@dataclasses.dataclass(frozen=True)
class Run:
    """One command, run once for each seed.

    Attributes:
        experiment: whose folder it has; other experiments may use what came out.
        name: of its folder there.
        verb: of `symskip`: pretrain, finetune, probe, visualize or restore.
        role: of the dataset that it reads; see `symskip_jax.reproduction.datasets`.
        config: as `--config` takes it; "" where the run of `source` has it.
        settings: fields of the configuration, as `key=value`; `{seed}` stands for the seed.
        arguments: more of the command line; `{data}` stands for the folder of the dataset.
        source: the run that it starts from: `--init` of finetune, the one looked at by the others.
        beside: more runs to look at.
        once: one run, of seed 0, serves all seeds of what starts from it.
    """

    experiment: str
    name: str
    verb: str
    role: str
    config: str = ""
    settings: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    source: "Run | None" = None
    beside: tuple["Run", ...] = ()
    once: bool = False

    @property
    def is_training(self) -> bool:
        """Whether it trains a network, and keeps its identity in `config.json`."""
        return self.verb in ("pretrain", "finetune")

    def chain(self) -> Iterator["Run"]:
        """Yields what it starts from, first things first, and itself."""
        for run in self.sources():
            yield from run.chain()
        yield self

    def sources(self) -> tuple["Run", ...]:
        """Returns what it starts from directly."""
        return (() if self.source is None else (self.source,)) + self.beside

    def chosen(self) -> tuple[str, ...]:
        """Returns the settings, of several of one field the last."""
        return tuple({it.partition("=")[0]: it for it in self.settings}.values())

    def seed(self, seed: int) -> int:
        """Returns which of its own seeds serves one of the experiment's."""
        return 0 if self.once else seed

    def folder(self, root: Path, scale: Scale, seed: int) -> Path:
        """Returns the folder of one seed below `root`, of working folders or of results."""
        return root / self.experiment / scale / self.name / f"seed_{self.seed(seed)}"

    def overrides(self, seed: int, data_name: str) -> list[str]:
        """Returns the fields that its configuration is given on the command line."""
        words = [f"--config.{it}".replace("{seed}", str(seed)) for it in self.chosen()]
        if not self.config:
            return words
        own = [f"seed={seed}", f"data.name={data_name}", f"data.labels_seed={seed}"]
        return [f"--config.{it}" for it in own] + words

    def command(self, runs: Path, scale: Scale, seed: int, names: Mapping[str, str]) -> list[str]:
        """Returns what is typed behind `symskip`.

        Args:
            runs: the root of the working folders.
            scale: of the run.
            seed: of everything drawn.
            names: of the datasets, by their roles.
        """
        own = str(self.folder(runs, scale, seed))
        sources = [str(it.folder(runs, scale, seed)) for it in self.sources()]
        name = names[self.role]
        words = [self.verb, *(["--config", self.config] if self.config else [])]
        words += self.overrides(seed, name)
        # Nothing in a table or figure comes from it.
        words += ["--config.run.monitor_images=0"] if self.verb == "pretrain" else []
        words += [it.replace("{data}", name.partition(":")[2]) for it in self.arguments]
        if self.is_training:
            return [*words, "--workdir", own, *(["--init", *sources] if sources else [])]
        taken = "--checkpoint" if self.verb == "restore" else "--workdir"
        out = f"{own}/probe.json" if self.verb == "probe" else own
        return [*words, taken, *(sources or [own]), "--out", out]


@dataclasses.dataclass(frozen=True)
class Cell:
    """One figure of a table: which run gives it, and what the paper has there.

    Attributes:
        row: in the paper's words where it has it.
        column: what is measured, with its unit.
        run: whose figure it is.
        metric: `accuracy`, `psnr` and the like, of the last test record of a training or of the
            JSON file that another command leaves.
        factor: that the figure is shown times: 100 for percent.
        paper: the paper's figure as it prints it; "" where it has none.
        baseline: the row of the same column that it is compared with, seed by seed.
    """

    row: str
    column: str
    run: Run
    metric: str
    factor: float = 1.0
    paper: str = ""
    baseline: str = "from scratch, He"


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A table or a figure of the paper, at one scale.

    Attributes:
        name: as typed: table2.
        scale: of the runs.
        title: what it asks.
        section: of the paper.
        cells: row by row.
        pictures: runs that give no figure and are wanted for what they draw.
        seeds: how many by default.
        drawing: how it is drawn; see `symskip_jax.reproduction.drawing`.
    """

    name: str
    scale: Scale
    title: str
    section: str
    cells: tuple[Cell, ...]
    seeds: int
    drawing: str = "bars"
    pictures: tuple[Run, ...] = ()

    def only(self, row: str | None) -> "Experiment":
        """Returns it with the cells of one row or one run alone, or with runs that have no cell.

        Raises:
            UserError: there is no such row and no such run.
        """
        if row is None:
            return self
        cells = tuple(cell for cell in self.cells if row in (cell.row, cell.run.name))
        measured = {cell.run for cell in cells}
        others = tuple(it for it in self.runs() if it.name == row and it not in measured)
        if not cells and not others:
            known = [*dict.fromkeys(it.name for it in self.runs())]
            raise UserError(
                f"--only {row}: {self.name} has no such run; choose one of {', '.join(known)}"
                + did_you_mean(row, [*known, *(cell.row for cell in self.cells)])
            )
        return dataclasses.replace(self, cells=cells, pictures=others)

    def runs(self) -> list[Run]:
        """Returns every run that the cells need, each once, sources first."""
        wanted = [*(cell.run for cell in self.cells), *self.pictures]
        return list(dict.fromkeys(it for run in wanted for it in run.chain()))
