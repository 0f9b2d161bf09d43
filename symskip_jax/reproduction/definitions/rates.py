"""Which learning rate suits which start: so that no baseline loses for want of tuning."""

from symskip_jax.reproduction.definitions.cifar import limited_labels
from symskip_jax.reproduction.definitions.starts import (
    HE,
    NO_SKIP,
    Starts,
    config_at,
    few_saves_at,
    seeds_at,
    settings_at,
)
from symskip_jax.reproduction.grid import Cell, Experiment, Scale

RATES = ("2e-3", "5e-3", "1e-2", "2e-2")
# Labels come from nine tenths of the training images, and accuracy is measured on the last tenth.
_HELD_OUT = ("data.train_split=train[:90%]", "data.test_split=train[90%:]")


def rates(scale: Scale) -> Experiment:
    """4,000 labels of CIFAR-10 at four rates, on training images held out of fine-tuning."""
    # The made-up arrays of smoke have no slices.
    held_out = () if scale == "smoke" else _HELD_OUT
    starts = Starts(
        "rates",
        config_at("cifar10_4k", scale),
        "cifar10",
        (*settings_at(scale), *held_out, *few_saves_at(scale)),
    )
    sources = limited_labels(scale)
    cells: list[Cell] = []
    for rate in RATES[:1] if scale == "smoke" else RATES:
        at = f"finetune.learning_rate={rate}"
        rows = (
            ("from scratch, Gaussian(0, 0.01)", starts.scratch(f"random_gaussian_{rate}", at)),
            ("from scratch, He", starts.scratch(f"random_he_{rate}", HE, at)),
            (
                "pre-trained without skips",
                starts.finetune(f"no_skip_{rate}", sources.no_skip.source, NO_SKIP, at),
            ),
            ("pre-trained with skips", starts.finetune(f"skip_{rate}", sources.skip.source, at)),
            (
                "pre-trained with skips, He initialisation",
                starts.finetune(f"skip_he_{rate}", sources.skip_he.source, HE, at),
            ),
        )
        cells += [
            Cell(row, f"at {rate}, accuracy held out (%)", run, "accuracy", 100.0)
            for row, run in rows
        ]
    return Experiment(
        "rates",
        scale,
        "Which learning rate suits which start, with 4,000 labels?",
        "beyond the paper; its rate is 2e-3",
        tuple(cells),
        seeds_at(scale, 1, 1),
    )
