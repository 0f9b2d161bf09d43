"""Which learning rate suits which start: so that no baseline loses for want of tuning."""

from symskip_jax.reproduction.definitions.cifar import limited_labels
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
from symskip_jax.reproduction.grid import Cell, Experiment, Run, Scale

# So far to both sides that the best is between two others, which test_definitions.py checks.
OF_RANDOM = ("2e-3", "5e-3", "1e-2", "2e-2")
OF_PRETRAINED = ("5e-4", "1e-3", "2e-3", "5e-3", "1e-2", "2e-2")
# Labels come from nine tenths of the training images, and accuracy is measured on the last tenth.
_HELD_OUT = ("data.train_split=train[:90%]", "data.test_split=train[90%:]")


def rates(scale: Scale) -> Experiment:
    """4,000 labels of CIFAR-10 at several rates, on training images held out of fine-tuning."""
    # The made-up arrays of smoke have no slices.
    held_out = () if scale == "smoke" else _HELD_OUT
    starts = Starts(
        "rates",
        config_at("cifar10_4k", scale),
        "cifar10",
        (*settings_at(scale), *held_out, *few_saves_at(scale)),
    )
    table = limited_labels(scale)
    no_skip, skip, skip_he = (it.source for it in (table.no_skip, table.skip, table.skip_he))
    clean = "fine-tuned on clean images alone"
    # name, row, what it starts from, settings.
    rows: tuple[tuple[str, str, Run | None, tuple[str, ...]], ...] = (
        ("random_gaussian", "from scratch, Gaussian(0, 0.01)", None, (NOT_CORRUPTED,)),
        ("random_he", "from scratch, He", None, (NOT_CORRUPTED, HE)),
        ("no_skip", "pre-trained without skips", no_skip, (NO_SKIP,)),
        ("skip", "pre-trained with skips", skip, ()),
        ("skip_he", "pre-trained with skips, He initialisation", skip_he, (HE,)),
        ("skip_clean", f"pre-trained with skips, {clean}", skip, (NOT_CORRUPTED,)),
        (
            "skip_he_clean",
            f"pre-trained with skips, He initialisation, {clean}",
            skip_he,
            (HE, NOT_CORRUPTED),
        ),
    )
    cells = tuple(
        Cell(
            row,
            f"at {rate}, accuracy held out (%)",
            starts.finetune(f"{name}_{rate}", source, *settings, f"finetune.learning_rate={rate}"),
            "accuracy",
            100.0,
            baseline="",  # Equal rates are no fair comparison: here each start looks for its own.
        )
        for name, row, source, settings in rows
        for rate in _tried(scale, source)
    )
    return Experiment(
        "rates",
        scale,
        "Which learning rate suits which start, with 4,000 labels?",
        "beyond the paper; its rate is 2e-3",
        cells,
        seeds_at(scale, 1, 1),
        "rates",
    )


def _tried(scale: Scale, source: Run | None) -> tuple[str, ...]:
    if scale == "smoke":
        return ("2e-3",)
    return OF_RANDOM if source is None else OF_PRETRAINED
