"""Beside the paper's main line: supplement C's ResNet, and RED-Net's restoration."""

from symskip_jax.reproduction.definitions.starts import (
    NOT_CORRUPTED,
    SMOKE,
    config_at,
    seeds_at,
)
from symskip_jax.reproduction.grid import Cell, Experiment, Run, Scale

_SHORT_ADAM = ("pretrain.learning_rate=1e-3", "finetune.learning_rate=1e-3")


def supplement_c(scale: Scale) -> Experiment:
    """A Wide ResNet under Adam and under SGD with weight decay, pre-trained and not."""
    settings = ()
    if scale == "smoke":
        settings = (*SMOKE, "model.name=wide_resnet", "model.depth=10", "model.widen=1")
        settings += ("model.width_multiplier=0.25",)
    elif scale == "small":
        settings = ("model.depth=10", "model.widen=1", "pretrain.epochs=2", "finetune.epochs=10")
        settings += ("pretrain.milestones=(1.0, 1.5)", "finetune.milestones=(3.0, 6.0, 8.0)")
    cells: list[Cell] = []
    for optimizer, name in (("adam", "Adam"), ("sgd", "SGD with momentum and weight decay")):
        config = f"cifar100_wide_resnet:{optimizer}"
        # The configuration's rate for Adam is one for two hundred epochs.
        rates = _SHORT_ADAM if (scale, optimizer) == ("small", "adam") else ()

        def run(
            run_name: str,
            verb: str,
            source: Run | None = None,
            config: str = config,
            rates: tuple[str, ...] = rates,
        ) -> Run:
            return Run(
                "supplement_c",
                run_name,
                verb,
                "cifar100",
                config,
                (*settings, *rates, "finetune.head_epochs=0", NOT_CORRUPTED),
                source=source,
            )

        source = run(f"pretrain_{optimizer}", "pretrain")
        # No weights decay in pre-training: see the configuration.
        without_decay = name.removesuffix(" and weight decay")
        cells.append(Cell(f"pre-training, {without_decay}", "PSNR (dB)", source, "psnr"))
        for row, run_name, start in (
            ("from scratch", f"random_{optimizer}", None),
            ("pre-trained", f"pretrained_{optimizer}", source),
        ):
            tuned = run(run_name, "finetune", start)
            cells.append(Cell(f"{row}, {name}", "test accuracy (%)", tuned, "accuracy", 100.0))
    return Experiment(
        "supplement_c",
        scale,
        "Adam against SGD for a ResNet with symmetric skips",
        "supplement C",
        tuple(cells),
        seeds_at(scale, 1, 1),
    )


def restoration(scale: Scale) -> Experiment:
    """RED-Net on Set12: grey images, Gaussian noise of 30."""
    cells: list[Cell] = []
    sheets: list[Run] = []
    settings = ()
    if scale == "smoke":
        settings = ("model.width_multiplier=0.125", "data.crop=(15, 15)")
        settings += ("pretrain.batch_size=4", "pretrain.epochs=1", "pretrain.milestones=()")
    depths = (10, 20, 30) if scale == "paper" else (10,)
    for depth in depths:
        config = f"red_net:{depth}" if scale == "paper" else config_at("red_net", scale)
        source = Run("restoration", f"red{depth}", "pretrain", "photographs", config, settings)
        shown = Run(
            "restoration",
            f"restore_red{depth}",
            "restore",
            "set12",
            arguments=("{data}", "--sigma", "30"),
            source=source,
        )
        sheets.append(_sheet(f"sheet_red{depth}", source, scale))
        for column, metric in (
            ("restored PSNR (dB)", "psnr"),
            ("noisy PSNR (dB)", "psnr_noisy"),
        ):
            cells.append(Cell(f"RED{depth}", column, shown, metric))
    return Experiment(
        "restoration",
        scale,
        "How well is noise of 30 removed from Set12?",
        "Mao, Shen and Yang, 2016",
        tuple(cells),
        seeds_at(scale, 1, 1),
        pictures=tuple(sheets),
    )


def _sheet(name: str, source: Run, scale: Scale) -> Run:
    """Returns what draws the middles of some images of Set12, with noise and without it again."""
    # Set12 has no splits: none of it was trained on. Windows of training show too little to see.
    shown = ("--config.data.name=folder:{data}", "--config.data.test_split=train", "--images", "4")
    larger = () if scale == "smoke" else ("--config.data.crop=(129, 129)",)
    arguments = ("--reconstructions", *shown, *larger)
    return Run("restoration", name, "visualize", "set12", arguments=arguments, source=source)
