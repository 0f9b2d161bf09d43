"""One device and eight simulated ones take the same steps, under jit and under pmap."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import command
import jax
import numpy as np
import pytest
import several
import tiny

from symskip_jax.data.base import VOID
from symskip_jax.models import Discriminator, Layer, Segmenter
from symskip_jax.training.adversarial import context_encoder_step
from symskip_jax.training.averaging import averaged_variables, averaging, start_average
from symskip_jax.training.dispatch import resident_advance
from symskip_jax.training.losses import segmentation_loss
from symskip_jax.training.mesh import (
    DATA_AXIS,
    data_mesh,
    jit_step,
    pmap_step,
    replicate_for_pmap,
    replicated,
    split_over_devices,
)
from symskip_jax.training.skips import SkipSchedule
from symskip_jax.transforms import Corruption

DEVICES = 8
BATCHES = [tiny.make_batch(16, seed=seed) for seed in range(3)]
OPTIMIZER = tiny.sgd(0.1)
EMA_DECAY = 0.7


class Kind(NamedTuple):
    """A training: (axis_name) -> module, (module, optimiser, axis_name) -> step, module -> state.

    Each image has a flip, and a corruption or skips of its own; some steps cut their batches.
    """

    model: Callable[..., Any]
    bind: Callable[..., Any]
    state: Callable[[Any], Any] = functools.partial(tiny.make_state, optimizer=OPTIMIZER)
    batches: Sequence[Any] = BATCHES


def bind_averaged(model, optimizer, axis_name=None):
    skips = SkipSchedule(drop=0.5, fade=(0, 4))
    step = tiny.bind_pretrain(model, optimizer, flip=True, skips=skips, axis_name=axis_name)
    return averaging(step, EMA_DECAY)


def bind_context_encoder(model, optimizer, axis_name=None):
    masks = Corruption("regions", fill=tiny.NORMALIZATION.mean)
    bound = tiny.bind_pretrain(
        model, optimizer, masks, flip=True, axis_name=axis_name, accumulate=2
    )
    return functools.partial(
        context_encoder_step,
        discriminator=Discriminator(JUDGES, axis_name=axis_name),
        adversarial_weight=0.25,
        **bound.keywords,
    )


def with_masks(batch):
    """The same images; from none to all pixels of one count."""
    random = np.random.default_rng(int(batch["image"].sum()))
    masks = random.integers(0, 2, (len(batch["image"]), 8, 8))
    masks[np.arange(8) >= random.permutation(len(masks))[:, None]] = VOID
    return {**batch, "label": masks}


JUDGES = (Layer(5, 2, 3), Layer(5, 2, 5))
KINDS = {
    "pretrain": Kind(tiny.autoencoder, functools.partial(tiny.bind_pretrain, flip=True)),
    "finetune": Kind(
        tiny.classifier, functools.partial(tiny.bind_finetune, flip=True, accumulate=2)
    ),
    "masks": Kind(
        functools.partial(Segmenter, tiny.SPEC, 2),
        functools.partial(tiny.bind_finetune, task_loss=segmentation_loss, accumulate=2),
        batches=[with_masks(batch) for batch in BATCHES],
    ),
    "skips and average": Kind(
        tiny.autoencoder,
        bind_averaged,
        lambda model: start_average(tiny.make_state(model, OPTIMIZER), EMA_DECAY),
    ),
    "context encoder": Kind(
        functools.partial(tiny.autoencoder, skip="none", bottleneck="channel_wise"),
        bind_context_encoder,
        lambda model: tiny.make_pair_state(model, Discriminator(JUDGES), OPTIMIZER),
    ),
}
# Devices add in another order than one alone: some float32 roundings (6e-8) in the sums of one
# step, which BatchNorm's divisions carry on, and every further step of training enlarges them.
ONE_STEP, THREE_STEPS = 1e-5, 1e-4


def take_under_jit(kind, devices):
    """Yields (state, metrics) after each step."""
    training, mesh = KINDS[kind], data_mesh(jax.devices()[:devices])
    model = training.model()
    step = jit_step(training.bind(model, OPTIMIZER), mesh)
    state = jax.device_put(training.state(model), replicated(mesh))
    yield jax.device_get(state), None
    for batch in training.batches:
        state, measured = step(state, jax.device_put(batch, split_over_devices(mesh)))
        assert all(len(leaf.sharding.device_set) == devices for leaf in jax.tree.leaves(state))
        assert all(leaf.is_fully_replicated for leaf in jax.tree.leaves(state))
        yield jax.device_get(state), jax.device_get(measured)


def take_under_pmap(kind, devices):
    """Yields (state, metrics) after each step, which must be the same on every device.

    Of several processes each has its own devices, and takes its rows of the batches.
    """
    training, used = KINDS[kind], jax.devices()[:devices]
    model = training.model(axis_name=DATA_AXIS)
    step = pmap_step(training.bind(model, OPTIMIZER, axis_name=DATA_AXIS), used)
    alone = training.model()  # outside pmap there is no axis to take statistics over
    places = [n for n, it in enumerate(used) if it.process_index == jax.process_index()]
    state = replicate_for_pmap(training.state(alone), [used[n] for n in places])
    yield one_of(jax.device_get(state)), None
    for batch in training.batches:
        parts = jax.tree.map(lambda x: x.reshape(devices, -1, *x.shape[1:])[places], batch)
        state, measured = step(state, parts)
        yield one_of(jax.device_get(state)), one_of(jax.device_get(measured))


def one_of(copies):
    for leaf in jax.tree.leaves(copies):
        np.testing.assert_array_equal(leaf, np.broadcast_to(leaf[:1], leaf.shape))
    return jax.tree.map(lambda leaf: leaf[0], copies)


@functools.cache
def on_one_device(kind):
    return list(take_under_jit(kind, 1))


def compared(steps):
    """What two runs must have alike: after the first step, and after the third."""
    (first, measured), (last, last_measured) = steps[1], steps[3]
    weights = (last.params, last.batch_stats, averaged_variables(last), last_measured)
    return (tiny.gradients_of(first), first.batch_stats, measured), weights


def assert_alike(ours, theirs):
    for part, reference, rtol in zip(ours, theirs, (ONE_STEP, THREE_STEPS), strict=True):
        tiny.assert_close(part, reference, rtol=rtol)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("take", [take_under_jit, take_under_pmap])
def test_eight_devices_take_the_steps_that_one_takes(kind, take):
    one, eight = on_one_device(kind), list(take(kind, DEVICES))
    tiny.assert_same(eight[0], one[0])  # they start alike
    assert eight[3][0].step == 3
    assert_alike(compared(eight), compared(one))


def test_two_processes_take_them_under_pmap_too(tmp_path):
    out, kinds, address = tmp_path / "arrays.npz", ("pretrain", "finetune"), several.free_address()
    here = [
        command.start_script(
            "pmap_worker.py", address, 2, number, out, *kinds, devices=DEVICES // 2
        )
        for number in range(2)
    ]
    with several.killed_at_the_end(here):
        for process in here:
            ended = command.finish(process)
            assert ended.returncode == 0, ended.stderr
    arrays = np.load(out)
    for kind in kinds:
        expected = compared(on_one_device(kind))
        leaves = [arrays[f"{kind} {place}"] for place in range(len(jax.tree.leaves(expected)))]
        assert_alike(jax.tree.unflatten(jax.tree.structure(expected), leaves), expected)


def resident_run(devices):
    """State and metrics after two epochs of three steps, of 50 images in batches of 16."""
    model, mesh = tiny.classifier(tiny.ONE_LAYER), data_mesh(jax.devices()[:devices])
    bound = tiny.bind_finetune(model, OPTIMIZER, tiny.NO_CORRUPTION)
    shards = []

    def step(state, batch):
        jax.debug.inspect_array_sharding(batch["image"], callback=shards.append)
        return bound(state, batch)

    advance = resident_advance(
        step, mesh, tiny.make_batch(50), batch_size=16, seed=3, steps_per_dispatch=3
    )
    state = jax.device_put(tiny.make_state(model, OPTIMIZER), replicated(mesh))
    records = []
    for first in (0, 3):
        state, measured = advance(state, first, 3)
        records.append(measured)
    assert {shard.shard_shape((16, 8, 8, 3))[0] for shard in shards} == {16 // devices}
    return jax.device_get(state), {k: np.concatenate([r[k] for r in records]) for k in records[0]}


def test_two_epochs_of_resident_data_are_the_same_on_eight_devices():
    (one, metrics_of_one), (eight, metrics_of_eight) = resident_run(1), resident_run(DEVICES)
    assert one.step == eight.step == 6
    tiny.assert_close(metrics_of_eight, metrics_of_one, rtol=THREE_STEPS)
    tiny.assert_close(eight.params, one.params, rtol=THREE_STEPS)
    tiny.assert_close(eight.batch_stats, one.batch_stats, rtol=THREE_STEPS)


def test_the_state_given_to_a_compiled_step_is_donated():
    mesh = data_mesh(jax.devices()[:1])
    state = jax.device_put(tiny.make_state(tiny.classifier(), OPTIMIZER), replicated(mesh))
    step = jit_step(lambda state, batch: (state.replace(step=state.step + 1), {}), mesh)
    step(state, BATCHES[0])
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state))
