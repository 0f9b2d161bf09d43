"""The oracle for the Flax modules: the networks in plain torch, written from the paper.

A test that imports this is skipped where torch is missing.
"""

import pytest

torch = pytest.importorskip("torch", reason="the oracle is torch: install the extra `interop`")

from symskip_jax.interop.torch_modules import (  # noqa: E402
    AutoEncoder,
    Classifier,
    load_variables,
    to_state_dict,
)

__all__ = ["AutoEncoder", "Classifier", "count_values", "load_variables", "to_state_dict", "torch"]


def count_values(model):
    """Counts, from here on, the values a channel that each BatchNorm takes its statistics over."""
    counts = {}

    def record(name):
        def hook(module, inputs):
            counts[name] = inputs[0].numel() // inputs[0].shape[1]

        return hook

    for name, module in model.named_modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.register_forward_pre_hook(record(name))
    return counts
