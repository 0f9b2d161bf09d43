"""What each experiment of the paper runs, scale by scale.

Private.
"""

from collections.abc import Callable

from symskip_jax.errors import UserError, did_you_mean
from symskip_jax.reproduction.definitions import cifar, rates, recipes, related, stl10, voc
from symskip_jax.reproduction.grid import Experiment, Scale

DEFINITIONS: dict[str, Callable[[Scale], Experiment]] = {
    "table1": cifar.table1,
    "table2": cifar.table2,
    "table3": stl10.table3,
    "table4": voc.table4,
    "table5": voc.table5,
    "figure2": cifar.figure2,
    "figure3": cifar.figure3,
    "figure4": voc.figure4,
    "figure5": voc.figure5,
    "figure6": voc.figure6,
    "supplement_c": related.supplement_c,
    "supplement_d": cifar.supplement_d,
    "restoration": related.restoration,
    "rates": rates.rates,
    "recipes": recipes.recipes,
}


def define(name: str, scale: Scale) -> Experiment:
    """Returns an experiment at a scale.

    Raises:
        UserError: there is none of that name.
    """
    if name not in DEFINITIONS:
        raise UserError(
            f"experiment {name} is unknown; choose one of {', '.join(DEFINITIONS)}"
            + did_you_mean(name, DEFINITIONS)
        )
    return DEFINITIONS[name](scale)
