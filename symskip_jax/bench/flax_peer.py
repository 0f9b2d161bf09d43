"""The contender that a researcher would write in Flax linen without thinking about speed.

What it shares with this package is the function that it computes, and nothing of the code.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from flax.training.train_state import TrainState
from jax import Array

from symskip_jax.bench.jax_tools import device_facts, device_peak_bytes, norm_of, recording_norm
from symskip_jax.bench.problem import Problem


class PlainAutoEncoder(nn.Module):
    """Convolutions and their mirrors with skips: [B, H, W, C] -> [B, H, W, C]."""

    layers: tuple[tuple[int, int, int], ...]
    skip: str
    dtype: Any

    @nn.compact
    def __call__(self, images: Array) -> Array:
        def norm_relu(x: Array, name: str) -> Array:
            norm = nn.BatchNorm(
                use_running_average=False, momentum=0.9, dtype=self.dtype, name=name
            )
            return nn.relu(norm(x))

        x, raws, sizes = images, [], []
        for i, (kernel, stride, width) in enumerate(self.layers):
            sizes.append(x.shape[1:3])
            conv = nn.Conv(
                width,
                (kernel, kernel),
                (stride, stride),
                padding=kernel // 2,
                use_bias=False,
                dtype=self.dtype,
                name=f"conv{i}",
            )
            raws.append(conv(x))
            x = norm_relu(raws[-1], f"conv_bn{i}")
        for i in reversed(range(len(self.layers))):
            kernel, stride, _ = self.layers[i]
            width = self.layers[i - 1][2] if i else images.shape[-1]
            deconv = nn.ConvTranspose(
                width,
                (kernel, kernel),
                (stride, stride),
                padding=[
                    _padding(kernel, stride, before, after)
                    for before, after in zip(x.shape[1:3], sizes[i], strict=True)
                ],
                use_bias=i == 0,
                dtype=self.dtype,
                name=f"deconv{i}",
            )
            x = deconv(x)
            if i == 0:
                break
            if self.skip == "symmetric" and i % 2 == 0:
                x = x + raws[i - 1]
            x = norm_relu(x, f"deconv_bn{i}")
        return images + x.astype(jnp.float32)


def _padding(kernel: int, stride: int, before: int, after: int) -> tuple[int, int]:
    """Returns the zeros around the dilated input that make `after` outputs of `before` inputs."""
    low = kernel - 1 - kernel // 2
    return low, after - stride * (before - 1) - 1 + kernel - 1 - low


class State(TrainState):
    """Parameters, moments and statistics."""

    batch_stats: Any
    key: Array


class FlaxPeer:
    """Plain Flax: whole-batch random draws, optax's Adam, one jitted step, its state donated."""

    def __init__(self, problem: Problem) -> None:
        """Builds the model and the jitted step."""
        self._problem = problem
        config = problem.config
        dtype = jnp.dtype(config["model.dtype"])
        self._model = PlainAutoEncoder(tuple(problem.layers), config["model.skip"], dtype)
        self._images = jnp.asarray(problem.images)
        self._rate = config["pretrain.learning_rate"]
        self._state: State | None = None
        self._order = np.zeros(0, np.int32)
        self._step = jax.jit(self._augmented_step, donate_argnums=0)

    def facts(self) -> dict[str, Any]:
        """Returns the device."""
        return device_facts()

    def run(self, steps: int) -> None:
        """Takes steps; see `Contender`."""
        batch_size = self._problem.batch_size
        state = self._fresh_state(optax.adam(self._rate)) if self._state is None else self._state
        for _ in range(steps):
            if len(self._order) < batch_size:
                self._order = np.random.permutation(len(self._images)).astype(np.int32)
            chosen, self._order = self._order[:batch_size], self._order[batch_size:]
            state, _ = self._step(state, self._images[chosen])
        self._state = jax.block_until_ready(state)

    def check(self) -> dict[str, float]:
        """Takes two steps; see `Contender`."""
        self._state = None
        step = jax.jit(self._given_step, donate_argnums=0)
        pair = jnp.asarray(self._problem.corrupted), jnp.asarray(self._problem.clean)
        state = self._fresh_state(recording_norm(optax.adam(self._rate)))
        state, before = step(state, *pair)
        norm = norm_of(state.opt_state)
        state, after = step(state, *pair)
        return {"loss": float(before), "loss_after": float(after), "gradient_norm": norm}

    def peak_bytes(self) -> int:
        """Returns the peak of memory; see `Contender`."""
        return device_peak_bytes()

    def _augmented_step(self, state: State, images: Array) -> tuple[State, Array]:
        crop_key, flip_key, corruption_key = jax.random.split(
            jax.random.fold_in(state.key, state.step), 3
        )
        clean = self._crop(crop_key, images)
        if self._problem.config["data.flip"]:
            flip = jax.random.bernoulli(flip_key, shape=(len(clean), 1, 1, 1))
            clean = jnp.where(flip, clean[:, :, ::-1], clean)
        clean = clean.astype(jnp.float32)
        return self._given_step(state, self._corrupt(corruption_key, clean), clean)

    def _given_step(self, state: State, corrupted: Array, clean: Array) -> tuple[State, Array]:
        mean, std = jnp.array(self._problem.mean), jnp.array(self._problem.std)
        inputs, targets = (corrupted - mean) / std, (clean - mean) / std

        def loss_fn(params: Any) -> tuple[Array, Any]:
            variables = {"params": params, "batch_stats": state.batch_stats}
            outputs, updated = self._model.apply(variables, inputs, mutable=["batch_stats"])
            return jnp.mean((outputs - targets) ** 2), updated["batch_stats"]

        (loss, batch_stats), gradients = jax.value_and_grad(loss_fn, has_aux=True)(state.params)
        return state.apply_gradients(grads=gradients, batch_stats=batch_stats), loss

    def _crop(self, key: Array, images: Array) -> Array:
        crop = self._problem.crop
        _, height, width, channels = images.shape
        if crop == (height, width):
            return images
        corners = jax.random.randint(
            key, (len(images), 2), 0, jnp.array([height - crop[0] + 1, width - crop[1] + 1])
        )

        def cut(image: Array, corner: Array) -> Array:
            start = (corner[0], corner[1], 0)
            return jax.lax.dynamic_slice(image, start, (*crop, channels))

        return jax.vmap(cut)(images, corners)

    def _corrupt(self, key: Array, clean: Array) -> Array:
        config = self._problem.config
        if config["corruption.kind"] == "gaussian":
            return clean + config["corruption.sigma"] * jax.random.normal(key, clean.shape)
        if config["corruption.kind"] == "none":
            return clean
        count, (block_h, block_w) = config["corruption.num_blocks"], config["corruption.block_size"]
        batch, height, width, _ = clean.shape
        limits = jnp.array([height - block_h + 1, width - block_w + 1])
        corners = jax.random.randint(key, (batch, count, 2), 0, limits)
        top, left = corners[..., :1], corners[..., 1:]
        rows = (jnp.arange(height) >= top) & (jnp.arange(height) < top + block_h)
        columns = (jnp.arange(width) >= left) & (jnp.arange(width) < left + block_w)
        masked = (rows[..., :, None] & columns[..., None, :]).any(1)[..., None]
        return jnp.where(masked, jnp.array(self._problem.mean), clean)

    def _fresh_state(self, optimizer: Any) -> State:
        params, batch_stats = self._problem.params, self._problem.batch_stats
        params, batch_stats = _renamed(params), _renamed(batch_stats)
        # The kernels of nn.ConvTranspose are applied the other way round.
        for name, leaves in params.items():
            if name.startswith("deconv") and "kernel" in leaves:
                leaves["kernel"] = leaves["kernel"][::-1, ::-1]
        params, batch_stats = jax.tree.map(jnp.array, (params, batch_stats))
        return State.create(
            apply_fn=self._model.apply,
            params=params,
            tx=optimizer,
            batch_stats=batch_stats,
            key=jax.random.key(self._problem.config["seed"]),
        )


def _renamed(tree: dict[str, Any]) -> dict[str, Any]:
    """Gives `encoder/0/conv` and its kin the names of the plain model: `conv0`, `conv_bn0`."""
    names = {
        ("encoder", "conv"): "conv{}",
        ("encoder", "bn"): "conv_bn{}",
        ("decoder", "deconv"): "deconv{}",
        ("decoder", "bn"): "deconv_bn{}",
    }
    renamed: dict[str, Any] = {}
    for half, layers in tree.items():
        for number, parts in layers.items():
            for part, leaves in parts.items():
                renamed[names[half, part].format(number)] = dict(leaves)
    return renamed
