"""How strong the inner skips are in pre-training, step by step and image by image."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from symskip_jax.transforms import Purpose, keys_for


@dataclasses.dataclass(frozen=True)
class SkipSchedule:
    """What the inner skips are multiplied by; the input-to-output skip always stays.

    Not of the paper, whose inner skips are whole or, as in its footnote 1, not there.

    Attributes:
        drop: probability that an inner skip of an image is left out of a training step. Those that
            stay are not made stronger, so that an image with all of its skips is treated as in
            evaluation.
        fade: two steps, between which the skips fade linearly from 1 to 0; None for never.
    """

    drop: float = 0.0
    fade: tuple[float, float] | None = None

    def strength(self, step: Array | int) -> Array | None:
        """Returns the strength float32 [] at a step; None where it is 1 at every step."""
        if self.fade is None:
            return None
        first, last = self.fade
        left = (last - jnp.asarray(step, jnp.float32)) / (last - first)
        return jnp.clip(left, 0, 1)

    def scale(self, keys_b: Array, step: Array, count: int) -> Array | None:
        """Returns what a training step multiplies the skips by.

        Args:
            keys_b: [B] one key an image.
            step: [] steps taken before.
            count: inner skips of the network.

        Returns:
            float32 [B, count], or [] where no skip is dropped, or None for 1 everywhere.
        """
        strength = self.strength(step)
        if self.drop == 0:
            return strength
        kept = jax.vmap(lambda key: jax.random.bernoulli(key, 1 - self.drop, (count,)))(
            keys_for(keys_b, Purpose.SKIP_DROP)
        ).astype(jnp.float32)
        return kept if strength is None else kept * strength


ALL_SKIPS = SkipSchedule()


def skip_arguments(scale: Array | None) -> dict[str, Any]:
    """Returns what to call an auto-encoder with: nothing for None, as not all can scale skips."""
    return {} if scale is None else {"skip_scale": scale}
