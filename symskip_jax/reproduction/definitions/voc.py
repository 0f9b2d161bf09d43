"""ImageNet to PASCAL VOC: tables 4 and 5, figures 4, 5 and 6."""

from symskip_jax.reproduction.definitions.starts import (
    HE,
    NOT_CORRUPTED,
    Starts,
    seeds_at,
)
from symskip_jax.reproduction.grid import Cell, Experiment, Run, Scale

# What stands for ImageNet and Network-3 where there are two CPU cores.
_SMALL = (
    "model.width_multiplier=0.125",
    "data.crop=(65, 65)",
    "corruption.block_size=(9, 9)",
    "corruption.num_blocks=8",
    "pretrain.batch_size=32",
    "pretrain.learning_rate=1e-3",
    "pretrain.epochs=1",
    "pretrain.milestones=()",
    "finetune.batch_size=32",
    "finetune.learning_rate=1e-3",
    "finetune.epochs=20",
    "finetune.milestones=(10.0, 15.0)",
    "run.eval_every=5.0",
)
_SMOKE = (
    "data.crop=(33, 33)",
    "corruption.num_blocks=2",
    "corruption.block_size=(5, 5)",
    "model.name=network_1",
    "model.blocks=(2, 1, 0, 0)",
    "model.n=16",
    "model.width_multiplier=0.25",
    "pretrain.batch_size=4",
    "pretrain.epochs=1",
    "pretrain.milestones=()",
    "finetune.batch_size=4",
    "finetune.epochs=1",
    "finetune.milestones=()",
    "run.eval_batch_size=4",
    "run.monitor_images=0",
)
# The made-up images that stand for ImageNet have other splits.
_SMOKE_SPLITS = ("data.train_split=train", "data.test_split=test")
_TASK = ("voc2007", "voc2007")


def _settings(scale: Scale) -> tuple[str, ...]:
    return {"paper": (), "small": _SMALL, "smoke": _SMOKE}[scale]


def imagenet_starts(
    experiment: str, scale: Scale, config: str = "imagenet", prefix: str = ""
) -> Starts:
    """Pre-training on ImageNet, or part of it, and VOC 2007."""
    alone = _SMOKE_SPLITS if scale == "smoke" else ()
    return Starts(
        experiment, config, "imagenet", _settings(scale), task=_TASK, prefix=prefix, alone=alone
    )


def table4(scale: Scale) -> Experiment:
    """Multi-label classification, with Context Encoder beside it."""
    starts = imagenet_starts("table4", scale)
    cells = list(starts.cells("mAP (%)", "mean_average_precision", ("67.11", "69.38", "71.25")))
    # The paper has one figure, and does not say of which masks; regions are those for features.
    for kind, paper in (("center", ""), ("regions", "70.24")):
        encoder = imagenet_starts("table4", scale, f"imagenet_context_encoder:{kind}")
        source = encoder.pretrain(f"pretrain_context_encoder_{kind}")
        run = starts.finetune(f"context_encoder_{kind}", source)
        masks = "centre masks" if kind == "center" else "random region masks"
        row = f"Context Encoder, {masks}"
        cells.append(Cell(row, "mAP (%)", run, "mean_average_precision", 100.0, paper))
    return Experiment(
        "table4",
        scale,
        "Does pre-training on ImageNet without labels help on VOC 2007?",
        "5.4.1, table 4",
        tuple(cells),
        seeds_at(scale, 1, 1),
    )


def table5(scale: Scale) -> Experiment:
    """Pre-training on animals and on vehicles: VOC 2007 by coarse class."""
    table = imagenet_starts("table4", scale)
    rows: list[tuple[str, Run, tuple[str, str, str]]] = [
        ("no pre-training", table.scratch("random_gaussian"), ("67.02", "76.87", "67.11")),
        ("no pre-training, He", table.scratch("random_he", HE), ("", "", "")),
        (
            "animals, 93,000",
            imagenet_starts("table5", scale).finetune("animals", _on("animals", scale)),
            ("73.04", "79.04", "70.77"),
        ),
        (
            "vehicles, 93,000",
            imagenet_starts("table5", scale).finetune("vehicles", _on("vehicles", scale)),
            ("72.17", "80.00", "70.93"),
        ),
    ]
    columns = (
        ("animal mAP (%)", "map_animal"),
        ("vehicle mAP (%)", "map_vehicle"),
        ("mAP of all (%)", "mean_average_precision"),
    )
    cells = tuple(
        Cell(row, column, run, metric, 100.0, paper, "no pre-training, He")
        for row, run, papers in rows
        for (column, metric), paper in zip(columns, papers, strict=True)
    )
    return Experiment(
        "table5",
        scale,
        "Does a network that saw animals recognise animals better?",
        "5.5.1, table 5",
        cells,
        1,
    )


def _on(subset: str, scale: Scale) -> Run:
    """Returns a pre-training on one subset of ImageNet."""
    return imagenet_starts("table5", scale, f"imagenet:{subset}").pretrain(f"pretrain_{subset}")


def figure4(scale: Scale) -> Experiment:
    """Segmentation with the decoder kept: three initialisations, and He's."""
    task = ("voc2012_segmentation", "voc2012")
    if scale == "paper":
        source = imagenet_starts("table4", scale).pretrain("pretrain_skip")
        starts = Starts("figure4", "imagenet", "imagenet", task=task)
    else:
        # Without ImageNet: on the photographs of VOC themselves.
        config = "voc2012_segmentation:small"
        smoke = _SMOKE if scale == "smoke" else ()
        starts = Starts("figure4", config, "voc2012", smoke)
        source = starts.pretrain("pretrain_skip")
    half, both = "finetune.init_parts=encoder", "finetune.init_parts=encoder_decoder"
    rows = (
        ("all layers Gaussian(0, 0.01)", starts.scratch("random_gaussian")),
        ("all layers He", starts.scratch("random_he", HE)),
        ("encoder pre-trained", starts.finetune("encoder", source, half, NOT_CORRUPTED)),
        (
            "encoder and decoder pre-trained",
            starts.finetune("encoder_decoder", source, both, NOT_CORRUPTED),
        ),
    )
    cells = tuple(
        Cell(row, "mean IU (%)", run, "mean_iu", 100.0, baseline="all layers He")
        for row, run in rows
    )
    return Experiment(
        "figure4",
        scale,
        "Does keeping the decoder help segmentation?",
        "5.4.2, figure 4",
        cells,
        seeds_at(scale, 1, 3),
    )


def figure5(scale: Scale) -> Experiment:
    """What the 12th ReLU of two networks attends to, on the same images of animals and vehicles."""
    columns = (
        ("top channels for animals, by how many deviations", "selectivity", 1.0),
        ("top channels for vehicles, by how many deviations", "selectivity_against", 1.0),
    )
    return _maps(
        "figure5",
        scale,
        "Does a network that saw animals attend to animals?",
        ("animals", "vehicles"),
        ("--images", "4"),
        columns,
    )


def figure6(scale: Scale) -> Experiment:
    """How little the maps change where the image is corrupted: more channels of one network."""
    return _maps(
        "figure6",
        scale,
        "Do deep maps outlast corruption?",
        ("animals",),
        ("--images", "3", "--channels", "16"),
        (),
    )


def _maps(
    name: str,
    scale: Scale,
    title: str,
    subsets: tuple[str, ...],
    arguments: tuple[str, ...],
    columns: tuple[tuple[str, str, float], ...],
) -> Experiment:
    """Returns maps of images that none was trained on, and of the channels that tell them apart."""
    one, other = "animals_validation", "vehicles_validation"
    layer = "encoder.11.relu"
    if scale == "smoke":  # made-up images have no such splits, and the tiny network three layers
        one, other, layer = "test", "train", "encoder.2.relu"
    columns += (
        ("top channels that are so of corrupted images too (%)", "top_kept", 100.0),
        ("likeness of maps, clean and corrupted", "corrupted", 1.0),
        ("likeness of maps, two images", "between", 1.0),
    )
    words = (f"--config.data.test_split={one}", "--against", other, "--layer", layer, *arguments)
    cells = tuple(
        Cell(
            f"pre-trained on {subset}",
            column,
            Run(
                name,
                f"maps_{subset}",
                "visualize",
                "imagenet",
                arguments=words,
                source=_on(subset, scale),
            ),
            metric,
            factor,
        )
        for subset in subsets
        for column, metric, factor in columns
    )
    return Experiment(name, scale, title, f"5.5.2, figure {name[-1]}", cells, 1)
