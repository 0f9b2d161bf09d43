"""The contender that is this package, run as `symskip pretrain` runs it."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from symskip_jax.bench.jax_tools import device_facts, device_peak_bytes, norm_of, recording_norm
from symskip_jax.bench.problem import Problem
from symskip_jax.config import config_from_flat
from symskip_jax.experiments import setup
from symskip_jax.experiments.running import make_optimizer, make_schedule
from symskip_jax.training.dispatch import Advance, resident_advance
from symskip_jax.training.mesh import Step, jit_step, replicated, state_shardings
from symskip_jax.training.state import TrainState, new_state
from symskip_jax.training.steps import Batch, Metrics, pretrain_step
from symskip_jax.transforms import (
    Normalization,
    PretrainTransform,
    image_keys,
)


class Ours:
    """This package's step, the images resident."""

    def __init__(self, problem: Problem, *, everywhere: bool = False) -> None:
        """Builds what `symskip_jax.experiments.pretrain` would, on one device or on all."""
        self._problem = problem
        config = self._config = config_from_flat(problem.config)
        self._steps_per_epoch = len(problem.images) // problem.batch_size
        self._normalization = Normalization(tuple(problem.mean), tuple(problem.std))
        self._transform = PretrainTransform(
            setup.make_augmentation(config), setup.make_corruption(config, self._normalization)
        )
        schedule = make_schedule(config.pretrain, self._steps_per_epoch)
        optimizer = make_optimizer(config.pretrain, schedule, self._steps_per_epoch)
        self._mesh = setup.make_mesh(config, None if everywhere else jax.devices()[:1])
        self._optimizer = setup.spread_optimizer(config, optimizer, self._mesh)
        groups = setup.batch_norm_groups(config, self._mesh.size)
        model = setup.make_autoencoder(config, problem.images.shape[-1])
        self._step = functools.partial(
            pretrain_step,
            model=model.clone(batch_norm_groups=groups),
            normalization=self._normalization,
        )
        self._whole = replicated(self._mesh)
        labels = np.zeros(len(problem.images), np.int32)
        self._data = jax.device_put({"image": problem.images, "label": labels}, self._whole)
        self._training = self._course(
            functools.partial(self._step, optimizer=self._optimizer, transform=self._transform),
            problem.params,
            problem.batch_stats,
        )
        self._transforming = self._course(self._transform_step, {}, {})

    def facts(self) -> dict[str, Any]:
        """Returns the device, and how many steps a dispatch takes."""
        at_once = min(self._steps_per_dispatch, self._steps_per_epoch)
        on_cpu = device_facts()["platform"] == "cpu"
        devices = self._mesh.devices.size
        return {
            **device_facts(),
            "devices": devices,
            "steps_per_dispatch": 1 if on_cpu else at_once,
        }

    def run(self, steps: int) -> None:
        """Takes steps; see `Contender`."""
        self._training.run(steps)

    def run_transform(self, steps: int) -> None:
        """Does what steps do to their images before the network sees them, and nothing else."""
        self._transforming.run(steps)

    def check(self) -> dict[str, float]:
        """Takes two steps of `pretrain_step` on the images of the check; see `Contender`."""
        self._training.forget()
        problem = self._problem
        optimizer = recording_norm(self._optimizer)
        channels = problem.images.shape[-1]

        def given(keys_b: Array, images_bhwc: Array) -> tuple[Array, Array]:
            return images_bhwc[..., :channels], images_bhwc[..., channels:]

        transform: Any = given  # it has the call of a PretrainTransform, and nothing else is used
        step = functools.partial(self._step, optimizer=optimizer, transform=transform)
        pairs = np.concatenate([problem.corrupted, problem.clean], axis=-1)
        batch = jax.device_put({"image": pairs}, self._whole)
        state = self._fresh_state(problem.params, problem.batch_stats, optimizer)
        compiled = jit_step(step, self._mesh, self._shardings(state))
        state, before = compiled(state, batch)
        norm = norm_of(state.opt_state)
        state, after = compiled(state, batch)
        return {
            "loss": float(before["loss"]),
            "loss_after": float(after["loss"]),
            "gradient_norm": norm,
        }

    def peak_bytes(self) -> int:
        """Returns the peak of memory; see `Contender`."""
        return device_peak_bytes()

    @property
    def _steps_per_dispatch(self) -> int:
        return self._config.run.steps_per_dispatch

    def _fresh_state(self, params: Any, batch_stats: Any, optimizer: Any) -> TrainState:
        # The problem's arrays must not be donated.
        params, batch_stats = jax.tree.map(jnp.array, (params, batch_stats))
        key = jax.random.key(self._config.seed)
        state = new_state(params, batch_stats, optimizer, key)
        return jax.device_put(state, self._shardings(state))

    def _shardings(self, state: TrainState) -> TrainState:
        return state_shardings(state, self._mesh, self._config.run.shard_optimizer)

    def _course(self, step: Step, params: Any, batch_stats: Any) -> "_Course":
        def start() -> TrainState:
            return self._fresh_state(params, batch_stats, self._optimizer)

        advance = resident_advance(
            step,
            self._mesh,
            self._data,
            batch_size=self._problem.batch_size,
            seed=self._config.seed,
            steps_per_dispatch=self._steps_per_dispatch,
            shardings=self._shardings(jax.eval_shape(start)),
        )
        return _Course(advance, start, self._steps_per_dispatch, self._steps_per_epoch)

    def _transform_step(self, state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        """Makes both images of a batch whole in memory, as the network would want them."""
        keys_b = image_keys(state.step_key(), batch["image"].shape[0])
        corrupted, clean = self._transform(keys_b, batch["image"])
        inputs, targets = lax.optimization_barrier(
            (self._normalization.normalize(corrupted), self._normalization.normalize(clean))
        )
        pixels = inputs[0, 0, 0, 0] + targets[0, 0, 0, 0]
        return dataclasses.replace(state, step=state.step + 1), {"pixels": pixels}


class _Course:
    """Steps one after the other, dispatched as `symskip_jax.training.loop.fit` does."""

    def __init__(
        self,
        advance: Advance,
        start: Callable[[], TrainState],
        steps_per_dispatch: int,
        steps_per_epoch: int,
    ) -> None:
        self._advance, self._start = advance, start
        self._most, self._steps_per_epoch = steps_per_dispatch, steps_per_epoch
        self.forget()

    def forget(self) -> None:
        self._state: TrainState | None = None
        self._step = 0

    def run(self, steps: int) -> None:
        state = self._start() if self._state is None else self._state
        while steps:
            left_of_epoch = self._steps_per_epoch - self._step % self._steps_per_epoch
            count = min(steps, self._most, left_of_epoch)
            state, _ = self._advance(state, self._step, count)
            self._step += count
            steps -= count
        self._state = jax.block_until_ready(state)
