"""The starts that the paper compares, and what scales have in common."""

from collections.abc import Mapping

from symskip_jax.reproduction.grid import Cell, Run, Scale

NOT_CORRUPTED = "finetune.corruption_probability=0.0"
HE = "model.init=he"
NO_SKIP = "model.skip=none"

# Networks and recipes so small that every command takes a second or two.
SMOKE = (
    "data.crop=(13, 13)",
    "data.num_labels=20",
    "corruption.block_size=(3, 3)",
    "model.name=network_1",
    "model.blocks=(1, 1, 0, 0)",
    "model.n=4",
    "model.width_multiplier=1.0",
    "pretrain.batch_size=8",
    "pretrain.epochs=1",
    "pretrain.milestones=()",
    "finetune.batch_size=8",
    "finetune.epochs=1",
    "finetune.milestones=()",
    "finetune.head_epochs=0",
    "run.eval_batch_size=32",
    "run.monitor_images=0",
)


def config_at(name: str, scale: Scale) -> str:
    """Returns a configuration as `--config` takes it; smoke is the small one made tiny."""
    return name if scale == "paper" else f"{name}:small"


def settings_at(scale: Scale, smoke: tuple[str, ...] = SMOKE) -> tuple[str, ...]:
    """Returns the settings that every run has at a scale."""
    return smoke if scale == "smoke" else ()


def few_saves_at(scale: Scale) -> tuple[str, ...]:
    """Returns the settings of trainings whose epochs are shorter than a save takes."""
    epochs = {"paper": 10.0, "small": 5.0}
    return (f"run.checkpoint_every={epochs[scale]}",) if scale in epochs else ()


def seeds_at(scale: Scale, paper: int, small: int) -> int:
    """Returns how many seeds there are by default."""
    return {"paper": paper, "small": small, "smoke": 1}[scale]


class Starts:
    """Pre-training and fine-tuning of one network on one task, from every start.

    Args:
        experiment: whose runs they are.
        config: of the pre-training and, unless `task` is given, of the fine-tuning.
        role: of the dataset of the pre-training.
        settings: of all runs.
        task: config and role of the fine-tuning where they differ.
        prefix: of the runs' names.
        alone: settings of the pre-training alone.
        paired: settings of the fine-tuning alone.
        rates: learning rate of a fine-tuning, by its name, where it is not the configuration's.
        once: one pre-training, of seed 0, serves all seeds.
    """

    def __init__(
        self,
        experiment: str,
        config: str,
        role: str,
        settings: tuple[str, ...] = (),
        task: tuple[str, str] | None = None,
        prefix: str = "",
        alone: tuple[str, ...] = (),
        paired: tuple[str, ...] = (),
        rates: Mapping[str, str] | None = None,
        once: bool = False,
    ):
        self._experiment = experiment
        self._config, self._role = config, role
        self._task_config, self._task_role = task or (config, role)
        self._settings, self._prefix = settings, prefix
        self._alone, self._paired = alone, paired
        self._rates, self._once = rates or {}, once

    def pretrain(self, name: str, *settings: str) -> Run:
        """Returns a pre-training."""
        return Run(
            self._experiment,
            f"{self._prefix}{name}",
            "pretrain",
            self._role,
            self._config,
            (*self._settings, *self._alone, *settings),
            once=self._once,
        )

    def finetune(self, name: str, source: Run | None, *settings: str) -> Run:
        """Returns a fine-tuning, from scratch where there is no source."""
        rate = (f"finetune.learning_rate={self._rates[name]}",) if name in self._rates else ()
        return Run(
            self._experiment,
            f"{self._prefix}{name}",
            "finetune",
            self._task_role,
            self._task_config,
            (*self._settings, *self._paired, *rate, *settings),
            source=source,
        )

    def scratch(self, name: str, *settings: str) -> Run:
        """Returns a fine-tuning of a random start: its images are never corrupted."""
        return self.finetune(name, None, NOT_CORRUPTED, *settings)

    @property
    def skip(self) -> Run:
        """Pre-trained with skips, as the paper is."""
        return self.finetune("skip", self.pretrain("pretrain_skip"))

    @property
    def no_skip(self) -> Run:
        """Pre-trained with the skip from input to output alone (footnote 1)."""
        source = self.pretrain("pretrain_no_skip", NO_SKIP)
        return self.finetune("no_skip", source, NO_SKIP)

    @property
    def skip_he(self) -> Run:
        """Pre-trained with skips, from He's initialisation."""
        return self.finetune("skip_he", self.pretrain("pretrain_skip_he", HE), HE)

    def cells(
        self, column: str, metric: str, paper: tuple[str, str, str], factor: float = 100.0
    ) -> tuple[Cell, ...]:
        """Returns a row for each start.

        Args:
            column: what is measured.
            metric: see `Cell`.
            paper: its figures: random, without skips, with skips.
            factor: see `Cell`.
        """
        random, no_skip, skip = paper
        rows = (
            ("from scratch, Gaussian(0, 0.01)", self.scratch("random_gaussian"), random),
            ("from scratch, He", self.scratch("random_he", HE), ""),
            ("pre-trained without skips", self.no_skip, no_skip),
            ("pre-trained with skips", self.skip, skip),
            ("pre-trained with skips, He initialisation", self.skip_he, ""),
        )
        return tuple(Cell(row, column, run, metric, factor, said) for row, run, said in rows)
