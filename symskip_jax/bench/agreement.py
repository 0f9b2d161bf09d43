"""Whether contenders compute the same thing."""

from symskip_jax.errors import UserError

# Largest relative difference to our figure that rounding explains. In float32 on a CPU the losses
# of Network-1 (n = 32, batch 32) were 1e-6 apart before a step and 1e-5 after it, where Adam turns
# rounding of the smallest gradients into whole steps. Torch sums the gradients of BatchNorm over
# channels-last tensors one by one, so that its norm was 4e-4 off, and is more so with more pixels.
# bfloat16 has seven bits of mantissa: six layers (n = 8, batch 8) on a CPU were 3e-4 apart in their
# losses and 2e-3 in the norm, and more layers are more. GPUs multiply float32 in TF32, with ten
# bits; that row is an estimate between the other two.
# Another network (no skips, another padding) is off by per cents in every figure.
TOLERANCES = {
    "float32 on cpu": {"loss": 1e-4, "loss_after": 1e-3, "gradient_norm": 1e-2},
    "float32 on gpu": {"loss": 2e-3, "loss_after": 5e-3, "gradient_norm": 2e-2},
    "bfloat16": {"loss": 1e-2, "loss_after": 2e-2, "gradient_norm": 5e-2},
}


def tolerances_of(dtype: str, platform: str) -> dict[str, float]:
    """Returns the tolerance of each figure of a check."""
    if dtype == "bfloat16":
        return TOLERANCES["bfloat16"]
    return TOLERANCES["float32 on cpu" if platform == "cpu" else "float32 on gpu"]


def differences(ours: dict[str, float], peers: dict[str, float]) -> dict[str, float]:
    """Returns how far each figure is from ours, relative to ours."""
    return {name: abs(peers[name] - value) / abs(value) for name, value in ours.items()}


def assert_agrees(
    name: str, ours: dict[str, float], peers: dict[str, float], tolerances: dict[str, float]
) -> None:
    """Sees that a peer computes what we do.

    Raises:
        UserError: a figure is further away than its tolerance.
    """
    for figure, apart in differences(ours, peers).items():
        if not apart <= tolerances[figure]:  # NaN is no agreement either
            raise UserError(
                f"{name} computes something else: its {figure} is {peers[figure]:.6g}, ours "
                f"{ours[figure]:.6g}, {apart:.2g} away where {tolerances[figure]:g} is allowed; "
                "timing it would compare nothing"
            )
