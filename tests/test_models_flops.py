"""The count of operations, against torch's count of a real step's convolutions."""

import pytest
from torch_reference import AutoEncoder, torch

from symskip_jax.models import AutoEncoder as FlaxAutoEncoder
from symskip_jax.models import Spec, network_1, network_2, network_3
from symskip_jax.models.flops import forward_flops, step_flops


@pytest.mark.parametrize(
    ("spec", "size", "batch"),
    [
        (network_1((2, 1, 2, 1), n=2), (29, 29), 3),
        (network_2().scaled(1 / 48), (32, 32), 1),
        (network_3().scaled(1 / 32), (61, 40), 2),
    ],
)
def test_a_step_takes_the_operations_that_torch_counts(
    spec: Spec, size: tuple[int, int], batch: int
) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    model = AutoEncoder(spec.layers, 3)
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(batch, 3, *size)).sum().backward()
    assert step_flops(spec, 3, size, batch) == counter.get_total_flops()


def test_a_forward_pass_takes_about_the_operations_that_torch_counts() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    spec = network_2().scaled(1 / 8)
    with FlopCounterMode(display=False) as counter:
        AutoEncoder(spec.layers, 3)(torch.zeros(1, 3, 32, 32))
    # XLA leaves out the products with padding, and counts BatchNorm and ReLU.
    counted = forward_flops(FlaxAutoEncoder(spec, 3), (32, 32, 3))
    assert counted == pytest.approx(counter.get_total_flops(), rel=0.1)
