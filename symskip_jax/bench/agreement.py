"""Whether contenders compute the same thing."""

from symskip_jax.errors import UserError

# Of a figure of ours. Rounding in float32, summed over thirty layers, is a few 1e-6 of the loss
# and, as ReLUs near their bend turn over, some 1e-5 of the gradient; GPUs multiply float32 in TF32,
# with ten bits of mantissa, and bfloat16 has seven, so that single products are 5e-4 and 4e-3 off.
# Another network (one skip fewer, another padding) is off by several per cent or more.
TOLERANCES = {"float32 cpu": 1e-3, "float32 gpu": 1e-2, "bfloat16": 5e-2}


def tolerance_of(dtype: str, platform: str) -> float:
    """Returns the largest relative difference that rounding explains."""
    if dtype == "bfloat16":
        return TOLERANCES["bfloat16"]
    return TOLERANCES["float32 cpu" if platform == "cpu" else "float32 gpu"]


def differences(ours: dict[str, float], peers: dict[str, float]) -> dict[str, float]:
    """Returns how far each figure is from ours, relative to ours."""
    return {name: abs(peers[name] - value) / abs(value) for name, value in ours.items()}


def assert_agrees(
    name: str, ours: dict[str, float], peers: dict[str, float], tolerance: float
) -> None:
    """Sees that a peer computes what we do.

    Raises:
        UserError: a figure is further away than the tolerance; the furthest is named.
    """
    apart = differences(ours, peers)
    # Written so that NaN is no agreement.
    wrong = {figure: it for figure, it in apart.items() if not it <= tolerance}
    if wrong:
        figure = max(wrong, key=lambda it: wrong[it])
        raise UserError(
            f"{name} computes something else: its {figure} is {wrong[figure]:.2g} away from ours, "
            f"relative, and {tolerance:g} is allowed; timing it would compare nothing"
        )
