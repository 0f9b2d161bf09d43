"""CIFAR-10 and CIFAR-100: tables 1 and 2, figures 2 and 3, supplement D."""

from collections.abc import Mapping

from symskip_jax.reproduction.definitions.starts import (
    HE,
    NO_SKIP,
    NOT_CORRUPTED,
    Starts,
    config_at,
    few_saves_at,
    seeds_at,
    settings_at,
)
from symskip_jax.reproduction.definitions.stl10 import ten_folds, unlabelled_stl10
from symskip_jax.reproduction.definitions.voc import imagenet_starts
from symskip_jax.reproduction.grid import Cell, Experiment, Run, Scale

ACCURACY = "test accuracy (%)"
PSNR = "PSNR (dB)"


def table1(scale: Scale) -> Experiment:
    """All labels, Network-1, Gaussian noise."""
    cells: tuple[Cell, ...] = ()
    for role, name, paper in (
        ("cifar10", "CIFAR-10", ("93.95", "92.07", "95.15")),
        ("cifar100", "CIFAR-100", ("74.11", "70.21", "75.41")),
    ):
        starts = Starts(
            "table1", config_at(role, scale), role, settings_at(scale), prefix=f"{role}_"
        )
        cells += starts.cells(f"{name} {ACCURACY}", "accuracy", paper)
    return Experiment(
        "table1",
        scale,
        "Does pre-training help where every image has a label?",
        "5.2, table 1",
        cells,
        seeds_at(scale, 1, 3),
    )


# The best rate of each start on images held out, at the scale small: see `rates`. At the scale of
# paper all have the paper's.
TUNED = {
    "random_gaussian": "1e-2",
    "random_he": "1e-2",
    "no_skip": "5e-3",
    "skip": "2e-3",
    "skip_he": "5e-3",
    # Fine-tuned on clean images alone, as `recipes` does.
    "skip_clean": "2e-3",
    "skip_he_clean": "1e-2",
}


def rates_at(scale: Scale) -> Mapping[str, str]:
    """Returns the tuned learning rate of each start, by its name in `rates`."""
    return TUNED if scale == "small" else {}


def limited_labels(scale: Scale) -> Starts:
    """CIFAR-10 with 4,000 labels, Network-2, small blocks masked: table 2's runs."""
    head_first = ("finetune.epochs=2", "finetune.head_epochs=1")
    return Starts(
        "table2",
        config_at("cifar10_4k", scale),
        "cifar10",
        settings_at(scale),
        # On a GPU an epoch of the whole network takes seconds.
        alone=few_saves_at(scale) if scale == "paper" else (),
        paired=head_first if scale == "smoke" else few_saves_at(scale),
        rates=rates_at(scale),
    )


def table2(scale: Scale) -> Experiment:
    """4,000 labels."""
    paper = ("70.89 ± 0.30", "74.07 ± 0.43", "80.22 ± 0.37")
    return Experiment(
        "table2",
        scale,
        "Does pre-training on 50,000 images help with 4,000 labels?",
        "5.3.1, table 2",
        limited_labels(scale).cells(ACCURACY, "accuracy", paper),
        2 if scale == "smoke" else 5,
    )


def figure2(scale: Scale) -> Experiment:
    """Reconstructions under the three corruptions, each by a network trained for it."""
    config = config_at("cifar10_4k", scale)
    cifar = Starts("figure2", config, "cifar10", settings_at(scale))
    runs = _corrupted(cifar, 6 if scale == "smoke" else 12)
    runs["many small blocks"] = limited_labels(scale).pretrain("pretrain_skip")
    cells = tuple(
        Cell(row, f"{what} {PSNR}", run, metric)
        for row, run in runs.items()
        for what, metric in (("rebuilt", "psnr"), ("corrupted", "psnr_identity"))
    )
    sheets = [_sheet("sheet", "cifar10", tuple(runs.values()))]
    # The supplement's figures of other images, beside what was trained for tables 3 and 4.
    if scale != "small":
        of_stl10 = [ten_folds(scale).pretrain("pretrain_skip")]
        of_imagenet = [imagenet_starts("table4", scale).pretrain("pretrain_skip")]
        if scale == "paper":
            stl10 = unlabelled_stl10("figure2", scale, "stl10_")
            imagenet = imagenet_starts("figure2", scale, prefix="imagenet_")
            # As large a share of the side as 12 of CIFAR's 29 pixels.
            of_stl10 = [*_corrupted(stl10, 37).values(), *of_stl10]
            of_imagenet = [*_corrupted(imagenet, 93).values(), *of_imagenet]
        on_voc = ("--config.data.name=voc:{data}", "--config.data.test_split=test")
        sheets.append(_sheet("sheet_stl10", "stl10", tuple(of_stl10)))
        sheets.append(_sheet("sheet_voc", "voc2007", tuple(of_imagenet), *on_voc))
    return Experiment(
        "figure2",
        scale,
        "What do networks trained for each corruption rebuild?",
        "3.2, figure 2; supplement, figures 1 to 3",
        cells,
        1,
        pictures=tuple(sheets),
    )


def _corrupted(starts: Starts, side: int) -> dict[str, Run]:
    """Returns pre-trainings under the two corruptions that no table has; a block is `side` wide."""
    block = ("corruption.num_blocks=1", f"corruption.block_size=({side}, {side})")
    return {
        "Gaussian noise": starts.pretrain(
            "gaussian", "corruption.kind=gaussian", "corruption.sigma=30.0"
        ),
        "one big block": starts.pretrain("big_block", *block),
    }


def _sheet(name: str, role: str, sources: tuple[Run, ...], *arguments: str) -> Run:
    return Run(
        "figure2",
        name,
        "visualize",
        role,
        arguments=("--reconstructions", *arguments),
        source=sources[0],
        beside=sources[1:],
    )


def figure3(scale: Scale) -> Experiment:
    """Probes of every encoder layer of the three networks, and of one that learned nothing."""
    starts = limited_labels(scale)
    # The paper's third network learned to classify with every label.
    supervised = Run(
        "figure3",
        "supervised",
        "finetune",
        "cifar10",
        config_at("cifar10_4k", scale),
        (*settings_at(scale), "data.num_labels=0", NOT_CORRUPTED, HE)
        + (() if scale == "smoke" else _EVERY_LABEL[scale]),
    )
    looked_at = (
        ("auto-encoder with skips", "skip", starts.pretrain("pretrain_skip")),
        ("auto-encoder without skips", "no_skip", starts.pretrain("pretrain_no_skip", NO_SKIP)),
        ("classification network, He initialisation", "supervised", supervised),
        (
            "auto-encoder with skips, He initialisation",
            "skip_he",
            starts.pretrain("pretrain_skip_he", HE),
        ),
        ("untrained, He initialisation", "untrained", None),
    )
    shorter: tuple[str, ...] = {
        "paper": (),
        "small": ("probe.epochs=3",),
        "smoke": ("probe.num_labels=20", "probe.epochs=1", "probe.parameters=500"),
    }[scale]
    cells = tuple(
        Cell(
            row,
            column,
            _probe(name, run, (*settings_at(scale), *shorter), config_at("cifar10_4k", scale)),
            metric,
            factor,
        )
        for row, name, run in looked_at
        for column, metric, factor in (
            ("deepest layer, accuracy (%)", "deepest_accuracy", 100.0),
            ("deepest layer, PSNR (dB)", "deepest_psnr", 1.0),
        )
    )
    return Experiment(
        "figure3",
        scale,
        "What do the layers of each network know of the class, and of the image?",
        "5.1, figure 3",
        cells,
        1,
        "layers",
    )


def _probe(name: str, run: Run | None, settings: tuple[str, ...], config: str) -> Run:
    if run is None:
        arguments = ("--init_only",)
        return Run(
            "figure3", f"probe_{name}", "probe", "cifar10", config, (*settings, HE), arguments
        )
    own = tuple(it for it in settings if it.startswith("probe."))
    return Run("figure3", f"probe_{name}", "probe", "cifar10", "", own, source=run)


# As many steps as table 2's networks take with their few labels and more.
_EVERY_LABEL = {
    "paper": (),
    "small": ("finetune.epochs=4", "finetune.milestones=(2.0, 3.0)"),
}


def supplement_d(scale: Scale) -> Experiment:
    """PSNR against accuracy: table 2's runs, and pre-trainings of other lengths and rates."""
    rates = rates_at(scale)
    starts = Starts(
        "supplement_d",
        config_at("cifar10_4k", scale),
        "cifar10",
        settings_at(scale),
        paired=few_saves_at(scale),
        rates={
            name: rates["skip"]
            for name in ("epochs_1", "epochs_2", "rate_5e-4", "rate_5e-3")
            if "skip" in rates
        },
    )
    table = limited_labels(scale)
    cells: list[Cell] = []

    def add(row: str, run: Run) -> None:
        assert run.source is not None
        cells.append(Cell(row, ACCURACY, run, "accuracy", 100.0))
        cells.append(Cell(row, PSNR, run.source, "psnr"))

    add("with skips", table.skip)
    add("without skips", table.no_skip)
    add("with skips, He initialisation", table.skip_he)
    for epochs in {"paper": (30, 60), "small": (1, 2), "smoke": (1,)}[scale]:
        # The paper's milestones in proportion; a shorter one has no time for them.
        milestones = f"({epochs / 2}, {epochs * 3 / 4})" if scale == "paper" else "()"
        lasting = (f"pretrain.epochs={epochs}", f"pretrain.milestones={milestones}")
        source = starts.pretrain(f"pretrain_epochs_{epochs}", *lasting)
        how_long = f"pre-trained for {epochs} epoch{'s' * (epochs > 1)}"
        add(f"with skips, {how_long}", starts.finetune(f"epochs_{epochs}", source))
    for rate in () if scale == "smoke" else ("5e-4", "5e-3"):
        source = starts.pretrain(f"pretrain_rate_{rate}", f"pretrain.learning_rate={rate}")
        add(f"with skips, pre-trained at {rate}", starts.finetune(f"rate_{rate}", source))
    return Experiment(
        "supplement_d",
        scale,
        "Does a better reconstruction go with a higher accuracy?",
        "supplement D",
        tuple(cells),
        seeds_at(scale, 3, 1),
        "scatter",
    )
