"""ImageNet to PASCAL VOC: tables 4 and 5, figures 4, 5 and 6."""

from symskip_jax.reproduction.definitions.starts import (
    HE,
    NO_SKIP,
    NOT_CORRUPTED,
    Starts,
    seeds_at,
)
from symskip_jax.reproduction.grid import Cell, Experiment, Run, Scale

_SMOKE = (
    "data.crop=(33, 33)",
    "data.resize=0",
    "corruption.block_size=(5, 5)",
    "model.name=network_1",
    "model.blocks=(2, 1, 0, 0)",
    "model.n=4",
    "model.width_multiplier=1.0",
    "pretrain.batch_size=4",
    "pretrain.epochs=1",
    "pretrain.milestones=()",
    "finetune.batch_size=4",
    "finetune.epochs=1",
    "finetune.milestones=()",
    "run.eval_batch_size=4",
)


def _settings(scale: Scale) -> tuple[str, ...]:
    return _SMOKE if scale == "smoke" else ()


def _classification(scale: Scale) -> Starts:
    """From ImageNet to VOC 2007: table 4's runs."""
    return Starts(
        "table4", scale, "imagenet", "imagenet", _settings(scale), task=("voc2007", "voc2007")
    )


def table4(scale: Scale) -> Experiment:
    """Multi-label classification, with Context Encoder beside it."""
    starts = _classification(scale)
    cells = list(starts.cells("mAP (%)", "mean_average_precision", ("67.11", "69.38", "71.25")))
    for kind, paper in (("center", "70.24"), ("regions", "70.24")):
        source = Run(
            "table4",
            f"pretrain_context_encoder_{kind}",
            "pretrain",
            "imagenet",
            f"imagenet_context_encoder:{kind}",
            (*_settings(scale), *_small_context_encoder(scale)),
        )
        run = starts.finetune(f"context_encoder_{kind}", source, NO_SKIP)
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


def _small_context_encoder(scale: Scale) -> tuple[str, ...]:
    if scale == "paper":
        return ()
    return ("model.width_multiplier=0.125", "pretrain.epochs=1", "pretrain.milestones=()") * (
        scale == "small"
    )


def table5(scale: Scale) -> Experiment:
    """Pre-training on animals and on vehicles: VOC 2007 by coarse class."""
    starts = Starts(
        "table5", scale, "imagenet", "imagenet", _settings(scale), task=("voc2007", "voc2007")
    )
    table = _classification(scale)
    rows: list[tuple[str, Run, tuple[str, str, str]]] = [
        ("no pre-training", table.scratch("random_gaussian"), ("67.02", "76.87", "67.11")),
        ("no pre-training, He", table.scratch("random_he", HE), ("", "", "")),
        ("animals, 93,000", _on(starts, "animals", scale), ("73.04", "79.04", "70.77")),
        ("vehicles, 93,000", _on(starts, "vehicles", scale), ("72.17", "80.00", "70.93")),
    ]
    columns = (
        ("animal mAP (%)", "map_animal"),
        ("vehicle mAP (%)", "map_vehicle"),
        ("mAP of all (%)", "mean_average_precision"),
    )
    cells = tuple(
        Cell(row, column, run, metric, 100.0, paper)
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


def _on(starts: Starts, subset: str, scale: Scale) -> Run:
    """Returns a fine-tuning after pre-training on one subset."""
    split = "train" if scale == "smoke" else subset
    source = starts.pretrain(f"pretrain_{subset}", f"data.pretrain_split={split}")
    return starts.finetune(subset, source)


def figure4(scale: Scale) -> Experiment:
    """Segmentation with the decoder kept: three initialisations, and He's."""
    # At the small scale without ImageNet: on the images of VOC themselves.
    own = scale != "paper"
    starts = Starts(
        "figure4",
        scale,
        "voc2012_segmentation" if own else "imagenet",
        "voc2012" if own else "imagenet",
        _settings(scale),
        task=("voc2012_segmentation", "voc2012"),
    )
    source = starts.pretrain("pretrain_skip")
    if not own:
        source = _classification(scale).pretrain("pretrain_skip")
    both = "finetune.init_parts=encoder_decoder"
    rows = (
        ("all layers Gaussian(0, 0.01)", starts.scratch("random_gaussian")),
        ("all layers He", starts.scratch("random_he", HE)),
        ("encoder pre-trained", starts.finetune("encoder", source, NOT_CORRUPTED)),
        (
            "encoder and decoder pre-trained",
            starts.finetune("encoder_decoder", source, both, NOT_CORRUPTED),
        ),
    )
    cells = tuple(Cell(row, "mean IU (%)", run, "mean_iu", 100.0) for row, run in rows)
    return Experiment(
        "figure4",
        scale,
        "Does keeping the decoder help segmentation?",
        "5.4.2, figure 4",
        cells,
        seeds_at(scale, 1, 3),
    )


def figure5(scale: Scale) -> Experiment:
    """What the 12th ReLU of two networks attends to."""
    return _maps("figure5", scale, ("animals", "vehicles"))


def figure6(scale: Scale) -> Experiment:
    """How little the maps change where the image is corrupted."""
    return _maps("figure6", scale, ("animals",))


def _maps(name: str, scale: Scale, subsets: tuple[str, ...]) -> Experiment:
    starts = Starts("table5", scale, "imagenet", "imagenet", _settings(scale))
    split = {subset: "train" if scale == "smoke" else subset for subset in subsets}
    cells = tuple(
        Cell(
            f"pre-trained on {subset}",
            "likeness of maps, clean and corrupted",
            Run(
                name,
                f"maps_{subset}",
                "visualize",
                "imagenet",
                # The tiny network of smoke has three layers.
                arguments=("--layer", f"encoder.{2 if scale == 'smoke' else 11}.relu"),
                source=starts.pretrain(
                    f"pretrain_{subset}", f"data.pretrain_split={split[subset]}"
                ),
            ),
            "similarity",
        )
        for subset in subsets
    )
    return Experiment(
        name,
        scale,
        "What do deep maps show, and do they outlast corruption?",
        f"5.5.2, figure {name[-1]}",
        cells,
        1,
        "maps",
    )
