"""STL-10: table 3."""

from symskip_jax.reproduction.definitions.starts import Starts, config_at, settings_at
from symskip_jax.reproduction.grid import Experiment, Scale


def ten_folds(scale: Scale) -> Starts:
    """100,000 images without labels, once; then the ten folds of 1,000: seed k is fold k."""
    return unlabelled_stl10("table3", scale)


def unlabelled_stl10(experiment: str, scale: Scale, prefix: str = "") -> Starts:
    """The same, of another experiment's."""
    # The invented data of smoke has one fold.
    fold = () if scale == "smoke" else ("data.train_split=fold_{seed}",)
    return Starts(
        experiment,
        config_at("stl10", scale),
        "stl10",
        settings_at(scale),
        prefix=prefix,
        alone=("data.pretrain_split=train",) if scale == "smoke" else (),
        paired=fold,
        once=True,
    )


def table3(scale: Scale) -> Experiment:
    """1,000 labels, ten times."""
    cells = ten_folds(scale).cells(
        "test accuracy (%)", "accuracy", ("64.6 ± 0.7", "70.2 ± 0.6", "75.8 ± 0.5")
    )
    return Experiment(
        "table3",
        scale,
        "Does pre-training on 100,000 images help with 1,000 labels?",
        "5.3.2, table 3",
        cells,
        1 if scale == "smoke" else 10,
    )
