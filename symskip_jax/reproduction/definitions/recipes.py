"""Beyond the paper: is there a recipe in which pre-training beats a tuned He start?"""

import math

from symskip_jax.reproduction.definitions.cifar import limited_labels, rates_at
from symskip_jax.reproduction.definitions.starts import (
    HE,
    NOT_CORRUPTED,
    Starts,
    config_at,
    few_saves_at,
    settings_at,
)
from symskip_jax.reproduction.grid import Cell, Experiment, Run, Scale

LABELS = (250, 1000, 4000)
LONGER = "from scratch, He, equal budget"

# What pre-training does otherwise: name -> what, settings.
PRETRAINING = {
    "paper": ("the paper's", ()),
    "gaussian": ("the paper's, from Gaussian(0, 0.01)", ("model.init=gaussian",)),
    # Both add up to as many pixels, 648 and 650, before blocks overlap: 3 times the paper's.
    "heavier": ("larger masks", ("corruption.block_size=(9, 9)",)),
    "more_blocks": ("more masks", ("corruption.num_blocks=26",)),
    "noise_levels": (
        "Gaussian noise, 10 to 100 per image",
        ("corruption.kind=gaussian", "corruption.sigma=10.0", "corruption.sigma_max=100.0"),
    ),
    "masked_loss": ("masked loss", ("pretrain.loss=masked",)),
    "skip_drop": ("skips dropped half the time", ("pretrain.skip_drop=0.5",)),
    "skip_fade": ("skips faded out", ("pretrain.skip_fade={fade}",)),
    "gated": ("gated skips", ("model.skip_gate=learned",)),
    "after": ("skips after the activation", ("model.skip_placement=after",)),
    "no_skip": ("no skips", ("model.skip=none",)),
}
# What fine-tuning does otherwise, for every start.
FINETUNING = {
    "ema": ("moving average of weights", ("finetune.ema_decay=0.99",)),
    "cosine": (
        "cosine with warm-up",
        ("finetune.schedule=cosine", "finetune.warmup_epochs={warmup}"),
    ),
    "adamw": ("AdamW", ("finetune.optimizer=adamw", "finetune.weight_decay=0.05")),
    "smoothing": ("label smoothing", ("finetune.label_smoothing=0.1",)),
    "strong": ("stronger augmentation", ("finetune.augmentation=strong",)),
}

# Rates: of the start that a run is most like. Others were pre-trained from He's initialisation.
_TUNED_LIKE = {
    "gaussian": "skip_clean",
    "gaussian_he_head": "skip_clean",
    "corrupted": "skip_he",
}


def recipes(scale: Scale) -> Experiment:
    """Every option by itself, from He's initialisation: by fine-tuning, and by a probe."""
    starts = Starts(
        "recipes",
        config_at("cifar10_4k", scale),
        "cifar10",
        (*settings_at(scale), HE),
        paired=few_saves_at(scale),
    )
    pretraining, finetuning = PRETRAINING, FINETUNING
    if scale == "smoke":  # One of each kind of program: each option has tests of its own.
        pretraining = {name: PRETRAINING[name] for name in ("paper", "noise_levels", "skip_fade")}
        finetuning = {"ema": FINETUNING["ema"]}
    table, rates = limited_labels(scale), rates_at(scale)
    pretrain_epochs = {"paper": 120, "small": 3, "smoke": 1}[scale]
    cells: list[Cell] = []

    def add(labels: int, row: str, run: Run, baseline: str = LONGER) -> None:
        column = f"{labels:,} labels, accuracy (%)"
        cells.append(Cell(row, column, run, "accuracy", 100.0, baseline=baseline))

    def tuned(name: str, labels: int, source: Run | None, *settings: str) -> Run:
        like = _TUNED_LIKE.get(name, "skip_he_clean")
        start = "random_he" if source is None else like
        rate = (f"finetune.learning_rate={rates[start]}",) if start in rates else ()
        own = (*_lasting(scale, labels), *rate, NOT_CORRUPTED, *settings)
        return starts.finetune(f"{name}_{labels}", source, *own)

    # What table 2 has already: the paper's pre-training, from both initialisations.
    sources = {
        "paper": table.pretrain("pretrain_skip_he", HE),
        "gaussian": table.pretrain("pretrain_skip"),
    } | {
        name: starts.pretrain(
            f"pretrain_{name}", *(it.replace("{fade}", _fade(pretrain_epochs)) for it in settings)
        )
        for name, (_, settings) in pretraining.items()
        if name not in ("paper", "gaussian")
    }
    # Smoke has twenty labels, whatever is asked for.
    for labels in LABELS[2:] if scale == "smoke" else LABELS:
        in_table = labels == LABELS[2]
        scratch = tuned("scratch", labels, None)
        add(labels, "from scratch, He", table.scratch("random_he", HE) if in_table else scratch)
        longer = tuned("scratch_longer", labels, None, *_equal_budget(scale, labels))
        add(labels, LONGER, longer)
        corrupted = tuned(
            "corrupted", labels, sources["paper"], "finetune.corruption_probability=0.5"
        )
        add(
            labels,
            "pre-trained: the paper's, fine-tuned on corrupted images too",
            table.skip_he if in_table else corrupted,
        )
        for name, (what, settings) in pretraining.items():
            # What the network is, its initialisation too, is for fine-tuning as well.
            own = settings if name in ("gaussian", "gated", "after", "no_skip") else ()
            add(labels, f"pre-trained: {what}", tuned(name, labels, sources[name], *own))
        if scale != "smoke":  # Whether the old layers' start or the new ones' decides.
            run = tuned("gaussian_he_head", labels, sources["gaussian"])
            add(labels, "pre-trained: the paper's, from Gaussian(0, 0.01); new layers He", run)
    # What was pre-trained otherwise is probed before it is fine-tuned, what is fine-tuned otherwise
    # after it, beside the paper's after it.
    probed = {what: _probe(name, sources[name], scale) for name, (what, _) in pretraining.items()}
    probed["the paper's, once fine-tuned"] = _probe(
        "tuned_paper", tuned("paper", LABELS[2], sources["paper"]), scale
    )
    for name, (what, settings) in finetuning.items():
        warmup = "5.0" if scale == "paper" else "1.0"
        own = tuple(it.replace("{warmup}", warmup) for it in settings)
        row = f"from scratch, He, {what}"
        add(4000, row, tuned(f"scratch_{name}", 4000, None, *own), "from scratch, He")
        run = tuned(f"paper_{name}", 4000, sources["paper"], *own)
        add(4000, f"pre-trained: the paper's, {what}", run)
        probed[f"the paper's, {what}"] = _probe(f"tuned_{name}", run, scale)
    for what, run in probed.items():
        for column, metric in (
            ("best layer, probe's accuracy (%)", "best_accuracy"),
            ("deepest layer, probe's accuracy (%)", "deepest_accuracy"),
        ):
            cells.append(Cell(f"pre-trained: {what}", column, run, metric, 100.0))
    return Experiment(
        "recipes",
        scale,
        "Is there a recipe in which pre-training beats the tuned He start?",
        "beyond the paper",
        tuple(cells),
        {"paper": 3, "small": 3, "smoke": 1}[scale],
        "bars and layers",
    )


def _probe(name: str, source: Run, scale: Scale) -> Run:
    # Averages over a grid: whole early layers have tens of thousands of features.
    settings = ("probe.grid=4", *(("probe.num_labels=20",) if scale == "smoke" else ()))
    kind = ("--kind", "classification")
    return Run("recipes", f"probe_{name}", "probe", "cifar10", "", settings, kind, source=source)


def _fade(epochs: int) -> str:
    return f"({epochs / 4:g}, {3 * epochs / 4:g})"


def _lasting(scale: Scale, labels: int) -> tuple[str, ...]:
    """Returns how long is trained with so many labels: fewer, for more epochs of fewer steps."""
    if scale == "smoke" or labels == LABELS[2]:
        return ()
    epochs, head = (200, 10) if scale == "paper" else (20, 2)
    times = math.isqrt(LABELS[2] // labels)
    return (f"data.num_labels={labels}", *_epochs(epochs * times, head * times))


def _equal_budget(scale: Scale, labels: int) -> tuple[str, ...]:
    """Returns the settings under which a random start costs what the others do with pre-training.

    A pre-training step takes twice the operations of a fine-tuning step: the decoder's too. What
    of an epoch fills no batch waits for the next, so that epochs are counted in batches.
    """
    if scale == "smoke":
        return ("finetune.epochs=3",)
    pretrain, epochs, batch = (120, 200, 128) if scale == "paper" else (3, 20, 64)
    steps = labels // batch
    times = math.isqrt(LABELS[2] // labels)
    in_all = epochs * times * steps + 2 * pretrain * (50_000 // batch)
    return _epochs(in_all // steps, 0)


def _epochs(epochs: int, head: int) -> tuple[str, ...]:
    milestones = ", ".join(f"{share * epochs:g}" for share in (0.3, 0.6, 0.8))
    return (
        f"finetune.epochs={epochs}",
        f"finetune.milestones=({milestones})",
        f"finetune.head_epochs={head}",
        # With few labels an epoch is a handful of steps.
        f"run.eval_every={epochs / 4:g}",
        f"run.checkpoint_every={epochs / 4:g}",
    )
