"""Every layer's activation, by name."""

from collections.abc import Mapping
from typing import Any

from flax import linen as nn
from flax.traverse_util import flatten_dict
from jax import Array


def activations(
    model: nn.Module, variables: Mapping[str, Any], images_bhwc: Array
) -> dict[str, Array]:
    """Runs a model in inference mode and returns the activations of all its layers.

    Section 5.1 probes them, section 5.5.2 looks at them.

    Args:
        model: an AutoEncoder, a Classifier or a Segmenter.
        variables: its `params` and `batch_stats`.
        images_bhwc: [B, H, W, C] normalised.

    Returns:
        In the model's dtype, by name: `encoder.0.raw` (the output of the first convolution) and
        `encoder.0.relu` (after BatchNorm and ReLU), and so on; `decoder.1.raw` (before a skip is
        added), `decoder.1.relu` (what the next layer is given) and so on, where decoder i mirrors
        encoder i and decoder 0 has `raw` only (a Segmenter has no decoder 0); of a bottleneck
        `channel_wise.raw` and `channel_wise.relu`; of a head `head.logits` and, of its hidden
        layers, `head.fc0.raw` and so on.
    """
    _, captured = model.apply(variables, images_bhwc, train=False, mutable=["intermediates"])
    # Flax keeps a tuple, as a module may be called more than once; these are called once.
    flat: dict[Any, Any] = flatten_dict(captured["intermediates"])
    return {".".join(path): value for path, (value,) in flat.items()}
