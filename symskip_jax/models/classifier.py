"""The encoder with a classification head (supplement A)."""

import jax.numpy as jnp
from flax import linen as nn
from jax import Array
from jax.typing import DTypeLike

from symskip_jax.models.autoencoder import Encoder
from symskip_jax.models.layers import Init, kernel_init
from symskip_jax.models.specs import HeadKind, Spec


class Head(nn.Module):
    """Features [B, h, w, C] -> logits [B, num_classes], float32.

    `fully_connected` flattens, so it serves only the image size that it was initialised with.
    """

    kind: HeadKind
    num_classes: int
    hidden: tuple[int, ...] = ()
    dropout: float = 0.0
    initializer: Init = "gaussian"
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, features_bhwc: Array, *, train: bool) -> Array:
        init = kernel_init(self.initializer)
        x = features_bhwc
        if self.kind == "pool_linear":
            x = x.mean((1, 2))
        elif self.kind == "fully_connected":
            x = x.reshape(x.shape[0], -1)
            for i, width in enumerate(self.hidden):
                raw = nn.Dense(width, dtype=self.dtype, kernel_init=init, name=f"fc{i}")(x)
                x = nn.relu(raw)
                self.sow("intermediates", f"fc{i}.raw", raw)
                self.sow("intermediates", f"fc{i}.relu", x)
                x = nn.Dropout(self.dropout, deterministic=not train)(x)
        # A 1x1 convolution is this same product at every position.
        x = nn.Dense(self.num_classes, dtype=self.dtype, kernel_init=init, name="classes")(x)
        if self.kind == "conv_pool":
            x = x.mean((1, 2))
        self.sow("intermediates", "logits", x)
        return x.astype(jnp.float32)


class Classifier(nn.Module):
    """Encoder and head (supplement A).

    Shapes: [B, H, W, C] normalised -> logits [B, num_classes], float32.

    Attributes:
        spec: the encoder's table, which names the head.
        num_classes: number of classes.
        dropout: probability of dropping a hidden unit of a fully connected head.
        initializer: initialisation of the kernels.
        dtype: compute dtype; parameters and statistics are float32.
        axis_name: mapped axis over which BatchNorm takes its statistics, under pmap.
        batch_norm_groups: contiguous parts of equal size that BatchNorm normalises each by itself
            in training; of the batch or, under pmap, of the images of all devices. What cannot be
            cut so is a `UserError`.
    """

    spec: Spec
    num_classes: int
    dropout: float = 0.0
    initializer: Init = "gaussian"
    dtype: DTypeLike = jnp.float32
    axis_name: str | None = None
    batch_norm_groups: int = 1

    def setup(self) -> None:
        """Builds the encoder and the head."""
        self.encoder = Encoder(
            self.spec,
            self.initializer,
            self.dtype,
            self.axis_name,
            batch_norm_groups=self.batch_norm_groups,
        )
        self.head = Head(
            self.spec.head,
            self.num_classes,
            self.spec.hidden,
            self.dropout,
            self.initializer,
            self.dtype,
        )

    def __call__(self, images_bhwc: Array, *, train: bool) -> Array:
        """Returns the logits."""
        return self.logits(self.features(images_bhwc, train=train), train=train)

    def features(self, images_bhwc: Array, *, train: bool) -> Array:
        """Returns the deepest features [B, h, w, width]."""
        return self.encoder(images_bhwc, train=train)[0]

    def logits(self, features_bhwc: Array, *, train: bool) -> Array:
        """Returns the logits of features."""
        return self.head(features_bhwc, train=train)
