"""Where things lie on a mesh of replicas, and that the steps are the same wherever they do."""

import dataclasses
import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from symskip_jax.bench.collectives import collectives
from symskip_jax.data.base import ArraySource
from symskip_jax.data.order import epoch_order
from symskip_jax.data.stream import Stream
from symskip_jax.training import mesh as mesh_module
from symskip_jax.training.averaging import averaged_shapes, averaging, start_average
from symskip_jax.training.checkpoints import Checkpoints
from symskip_jax.training.dispatch import drawing, in_a_loop, resident_advance
from symskip_jax.training.feed import Feed, streamed_advance
from symskip_jax.training.mesh import (
    DATA_AXIS,
    REPLICA_AXIS,
    data_mesh,
    jit_step,
    make_sharded,
    pmap_step,
    replicate_for_pmap,
    replicated,
    sharded_optimizer,
    split_over_devices,
    state_shardings,
    with_shardings,
)
from symskip_jax.training.schedules import make_optimizer, milestone_schedule
from symskip_jax.training.state import init_state
from symskip_jax.training.timing import Timing

DEVICES, REPLICAS = 8, 2
MESH = data_mesh(replicas=REPLICAS)
SGD = tiny.sgd(0.1)
leaves = jax.tree.leaves
ADAM = make_optimizer(milestone_schedule(1e-2, (1,), 0.1, 3), plateau_patience=1)
BATCHES = [tiny.make_batch(16, seed=seed) for seed in range(2)]
# As in test_devices: devices add in another order than one alone, and a step carries that on.
ONE_STEP, TWO_STEPS = 1e-5, 1e-4


# The mesh.


def test_a_replica_is_a_row_of_neighbours_and_the_batch_goes_over_all():
    assert MESH.axis_names == (REPLICA_AXIS, DATA_AXIS)
    assert MESH.devices.tolist() == np.reshape(jax.devices(), (REPLICAS, -1)).tolist()
    assert data_mesh().devices.shape == (1, DEVICES)
    rows = jax.device_put(np.arange(16), split_over_devices(MESH))
    found = {shard.device: np.asarray(shard.data).tolist() for shard in rows.addressable_shards}
    assert found == {device: [2 * i, 2 * i + 1] for i, device in enumerate(jax.devices())}


@dataclasses.dataclass(frozen=True)
class Elsewhere:
    """A device of another process, as TPUs number them: across the processes of a row of hosts."""

    id: int
    process_index: int


def test_devices_are_taken_process_by_process(monkeypatch):
    there = [Elsewhere(number, process) for number, process in enumerate((0, 0, 1, 1, 0, 0, 1, 1))]
    monkeypatch.setattr(mesh_module.jax, "devices", lambda: there)
    monkeypatch.setattr(mesh_module, "Mesh", lambda devices, axes: devices)
    assert [[it.id for it in row] for row in data_mesh(replicas=2)] == [[0, 1, 4, 5], [2, 3, 6, 7]]
    chosen = data_mesh(there[::-1]).ravel()
    assert [it.id for it in chosen] == [0, 1, 4, 5, 2, 3, 6, 7]


@pytest.mark.parametrize("replicas", [0, 3, 16])
def test_replicas_that_do_not_divide_the_devices_are_refused(replicas):
    with pytest.raises(ValueError, match=f"8 devices make no {replicas} replicas"):
        data_mesh(replicas=replicas)


# The same steps with the same groups, wherever the batch is.

KINDS = {
    "pretrain": (tiny.autoencoder, tiny.bind_pretrain, {"flip": True}),
    "finetune": (
        functools.partial(tiny.classifier, tiny.ONE_LAYER),
        tiny.bind_finetune,
        {"flip": True, "accumulate": 2},
    ),
}


def under_jit(kind, groups, mesh, shard_optimizer=False):
    """The states after each step, and the latest metrics."""
    make, bind, options = KINDS[kind]
    model = make(batch_norm_groups=groups)
    optimizer = sharded_optimizer(SGD, mesh) if shard_optimizer else SGD
    state = tiny.make_state(model, optimizer)
    shardings = state_shardings(state, mesh, shard_optimizer)
    step = jit_step(bind(model, optimizer, **options), mesh, shardings)
    state, states = jax.device_put(state, shardings), []
    for batch in BATCHES:
        state, measured = step(state, jax.device_put(batch, split_over_devices(mesh)))
        assert jax.tree.map(lambda x: x.sharding, state) == shardings
        states.append(jax.device_get(state))
    return states, measured


def under_pmap(kind, groups):
    make, bind, options = KINDS[kind]
    model = make(batch_norm_groups=groups, axis_name=DATA_AXIS)
    step = pmap_step(bind(model, SGD, axis_name=DATA_AXIS, **options), jax.devices())
    state = replicate_for_pmap(tiny.make_state(make(), SGD), jax.devices())
    states = []
    for batch in BATCHES:
        parts = jax.tree.map(lambda x: x.reshape(DEVICES, -1, *x.shape[1:]), batch)
        state, measured = step(state, parts)
        copies = jax.device_get(state)
        jax.tree.map(lambda x: np.testing.assert_array_equal(x, np.stack([x[0]] * DEVICES)), copies)
        states.append(jax.tree.map(lambda x: x[0], copies))
    return states, jax.tree.map(lambda x: x[0], measured)


@functools.cache
def on_one_device(kind, groups):
    return under_jit(kind, groups, data_mesh(jax.devices()[:1]))


def assert_agree(found, expected):
    (first, last), measured = found
    (first_expected, last_expected), measured_expected = expected
    for part in ("params", "batch_stats", "opt_state"):
        one, two = getattr(first, part), getattr(last, part)
        tiny.assert_close(one, getattr(first_expected, part), rtol=ONE_STEP)
        tiny.assert_close(two, getattr(last_expected, part), rtol=TWO_STEPS)
    tiny.assert_close(measured, measured_expected, rtol=TWO_STEPS)


@pytest.mark.parametrize(("kind", "groups"), [("pretrain", 1), ("pretrain", 8), ("finetune", 4)])
def test_replicas_take_the_steps_that_one_device_takes(kind, groups):
    assert_agree(under_jit(kind, groups, MESH), on_one_device(kind, groups))


@pytest.mark.parametrize(("kind", "groups"), [("pretrain", 8), ("finetune", 4)])
def test_pmap_has_the_groups_that_jit_has(kind, groups):
    assert_agree(under_pmap(kind, groups), on_one_device(kind, groups))


def test_groups_are_not_the_whole_batch():
    (grouped, _), _ = on_one_device("pretrain", 8)
    (whole, _), _ = on_one_device("pretrain", 1)
    errors = [
        np.abs(a - b).max() / np.abs(b).max()
        for a, b in zip(*(jax.tree.leaves(it.opt_state) for it in (grouped, whole)), strict=True)
    ]
    assert max(errors) > 100 * ONE_STEP


def test_a_sharded_optimizer_takes_the_same_steps():
    found = under_jit("pretrain", 1, MESH, shard_optimizer=True)
    assert_agree(found, on_one_device("pretrain", 1))


# What lies where.


def bytes_on(device, tree):
    shards = [s for x in jax.tree.leaves(tree) for s in x.addressable_shards]
    return sum(shard.data.nbytes for shard in shards if shard.device == device)


def adam_state(seed, optimizer=ADAM):
    return init_state(tiny.autoencoder(tiny.ONE_LAYER), optimizer, seed, (8, 8, 3))


def test_a_device_holds_its_part_of_the_optimizers_state_and_of_nothing_else():
    whole, sharded = (make_sharded(adam_state, 3, MESH, sharded) for sharded in (False, True))
    tiny.assert_same(sharded, whole)
    for device in jax.devices():
        held = bytes_on(device, sharded.opt_state)
        # Two moments of each parameter, in four parts where a length is a multiple of 4: here all
        # but the bias of the output, of three numbers. Beside them numbers alone.
        moments = 2 * 4 * sum(x.size / (1 if x.shape == (3,) else 4) for x in leaves(whole.params))
        assert held - moments == sum(x.nbytes for x in leaves(whole.opt_state) if x.ndim == 0)
        assert held < 0.35 * bytes_on(device, whole.opt_state)
        rest = whole.replace(opt_state=()), sharded.replace(opt_state=())
        assert bytes_on(device, rest[0]) == bytes_on(device, rest[1])
    kernel = sharded.opt_state[0].mu["encoder"]["0"]["conv"]["kernel"]
    assert kernel.sharding.spec == jax.sharding.PartitionSpec(None, None, None, DATA_AXIS)


def test_the_longest_dimension_that_the_axis_divides_is_split():
    like = jax.eval_shape(adam_state, 0)
    shapes = {"a": (3, 8, 12), "b": (16, 9), "c": (7, 9), "d": (), "e": (4, 4)}
    fake = like.replace(opt_state={k: jax.ShapeDtypeStruct(v, "f4") for k, v in shapes.items()})
    specs = {k: v.spec for k, v in state_shardings(fake, MESH, True).opt_state.items()}
    spec = jax.sharding.PartitionSpec
    assert specs == {
        "a": spec(None, None, DATA_AXIS),
        "b": spec(DATA_AXIS),
        "c": spec(),
        "d": spec(),
        "e": spec(DATA_AXIS),
    }


def test_averages_stay_whole():
    state = averaged_shapes(adam_state, 0.9)
    shardings = state_shardings(state, MESH, shard_optimizer=True)
    assert jax.tree.structure(shardings) == jax.tree.structure(state)
    assert all(x.is_fully_replicated for x in leaves(shardings.opt_state.average))
    assert not all(x.is_fully_replicated for x in leaves(shardings.opt_state.inner))


@functools.cache
def averaged_problem():
    """A step that averages, its state, and the places of that, the optimiser's state split."""
    optimizer = sharded_optimizer(SGD, MESH)
    model = tiny.classifier(tiny.ONE_LAYER)
    step = averaging(tiny.bind_finetune(model, optimizer, tiny.NO_CORRUPTION, flip=True), 0.9)
    state = start_average(tiny.make_state(model, optimizer), 0.9)
    return step, state, state_shardings(state, MESH, shard_optimizer=True)


DATA = tiny.make_batch(48)
SOURCE = ArraySource("stripes", DATA["image"], DATA["label"], tuple("abcd"))
STEPS, SEED = 3, 5


def resident(step, shardings):
    return resident_advance(
        step,
        MESH,
        DATA,
        batch_size=16,
        seed=SEED,
        steps_per_dispatch=STEPS,
        shardings=shardings,
    )


def looped(step, shardings):
    """What `resident_advance` does on accelerators."""
    whole = replicated(MESH)
    take = drawing(step, STEPS, 16, split_over_devices(MESH))
    data, order = jax.device_put((DATA, epoch_order(SEED, 0, 48)), whole)
    run = in_a_loop(take, MESH, STEPS, shardings)
    return lambda state, first, n: run(state, data, order, n)


def streamed(step, shardings):
    feed = Feed(Stream(SOURCE, None, batch_size=16, seed=SEED), MESH, STEPS, Timing())
    return streamed_advance(step, MESH, feed, shardings)


@functools.cache
def without_sharding():
    step, state, _ = averaged_problem()
    state = jax.device_put(jax.tree.map(jnp.copy, state), replicated(MESH))
    return jax.device_get(resident(step, None)(state, 0, STEPS))


@pytest.mark.parametrize("way", [resident, looped, streamed])
def test_every_way_to_take_steps_leaves_the_state_where_it_was(way):
    step, start, shardings = averaged_problem()
    state = jax.device_put(jax.tree.map(jnp.copy, start), shardings)
    given = leaves(state)
    end, measured = way(step, shardings)(state, 0, STEPS)
    assert jax.tree.map(lambda x: x.sharding, end) == shardings
    assert all(x.is_deleted() for x in given)  # so one state is all that there ever is
    expected, measured_expected = without_sharding()
    tiny.assert_close(jax.device_get(end), expected, rtol=TWO_STEPS)
    tiny.assert_close(measured, measured_expected, rtol=TWO_STEPS)


def test_a_checkpoint_comes_back_in_parts_and_whole(tmp_path):
    whole = make_sharded(adam_state, 3, data_mesh(jax.devices()[:1]))
    abstract = jax.eval_shape(adam_state, 0)
    checkpoints = Checkpoints(tmp_path / "checkpoints", "psnr")
    checkpoints.save(whole, {})
    for mesh in (MESH, data_mesh(), data_mesh(jax.devices()[:2], 2)):
        shardings = state_shardings(abstract, mesh, shard_optimizer=True)
        restored = checkpoints.restore_latest(with_shardings(abstract, shardings))
        assert restored is not None
        assert jax.tree.map(lambda x: x.sharding, restored.state) == shardings
        tiny.assert_same(jax.device_get(restored.state), jax.device_get(whole))
    checkpoints.close()
    # And what was saved in parts comes back whole.
    saved = make_sharded(adam_state, 4, MESH, shard_optimizer=True)
    again = Checkpoints(tmp_path / "again", "psnr")
    again.save(saved, {})
    restored = again.restore_latest(whole)
    again.close()
    assert restored is not None
    tiny.assert_same(jax.device_get(restored.state), jax.device_get(saved))
    assert restored.state.step.devices() == {jax.devices()[0]}


# What devices say to each other.


def said(groups, shard_optimizer=False):
    """The collectives of a step on the mesh."""
    model = tiny.autoencoder(batch_norm_groups=groups)
    optimizer = sharded_optimizer(ADAM, MESH) if shard_optimizer else ADAM
    state = jax.eval_shape(lambda: tiny.make_state(model, optimizer))
    shardings = state_shardings(state, MESH, shard_optimizer)
    step = jit_step(tiny.bind_pretrain(model, optimizer, flip=True), MESH, shardings)
    lowered = step.lower(with_shardings(state, shardings), abstract_batch(MESH))
    return collectives(lowered.compile().as_text()), state


def abstract_batch(mesh):
    split = split_over_devices(mesh)
    return {
        name: jax.ShapeDtypeStruct(values.shape, values.dtype, sharding=split)
        for name, values in BATCHES[0].items()
    }


def forward(groups):
    """The collectives of the network's outputs in training, nothing else."""
    model = tiny.autoencoder(batch_norm_groups=groups)
    variables = tiny.make_state(model, SGD).variables

    def run(variables, images):
        return model.apply(variables, images, train=True, mutable=["batch_stats"])[0]

    split = split_over_devices(MESH)
    compiled = jax.jit(run, in_shardings=(replicated(MESH), split), out_shardings=split)
    images = jax.ShapeDtypeStruct((16, 8, 8, 3), jnp.float32)
    return collectives(compiled.lower(variables, images).compile().as_text())


NORMALIZED = 5  # layers of tiny.SPEC with BatchNorm: three and their mirrors, but for the last


def test_devices_with_statistics_of_their_own_wait_for_nobody_on_the_way_forward():
    assert forward(groups=DEVICES) == []
    assert {(it.kind, it.group_size) for it in forward(groups=DEVICES // 2)} == {("all-reduce", 2)}
    everybody = forward(groups=1)
    assert len(everybody) == NORMALIZED and {it.group_size for it in everybody} == {DEVICES}


def test_nor_do_they_in_a_step_whose_sums_come_all_at_its_end():
    found, _ = said(groups=DEVICES)
    assert {(it.kind, it.group_size) for it in found} == {("all-reduce", DEVICES)}
    # The compiler may combine the sums as it likes, but nothing makes it wait at each layer.
    assert len(found) < NORMALIZED
    assert all(it.purpose == "gradients" for it in found)


def test_a_sharded_optimizer_gathers_each_parameter_once_and_nothing_else():
    (found, state), (usual, _) = said(1, shard_optimizer=True), said(1)
    shardings = leaves(state_shardings(state, MESH, True).opt_state[0].mu)
    split = [
        p.shape
        for p, where in zip(leaves(state.params), shardings, strict=True)
        if not where.is_fully_replicated
    ]
    gathered = [it for it in found if it.kind == "all-gather"]
    assert sorted(a.shape for it in gathered for a in it.arrays) == sorted(split)
    assert {it.group_size for it in gathered} == {DEVICES // REPLICAS}

    def summed(found):
        return sorted(a.shape for it in found if it.kind == "all-reduce" for a in it.arrays)

    assert summed(found) == summed(usual)
    assert {it.kind for it in found} == {"all-gather", "all-reduce"}


# Accelerators that are not here.


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", KINDS)
def test_steps_can_be_lowered_for_tpu_and_cuda(kind, dtype):
    make, bind, options = KINDS[kind]
    model = make(dtype=jnp.dtype(dtype), batch_norm_groups=4)
    optimizer = sharded_optimizer(ADAM, MESH)
    state = jax.eval_shape(lambda: tiny.make_state(model, optimizer))
    shardings = state_shardings(state, MESH, shard_optimizer=True)
    step = jit_step(bind(model, optimizer, **options), MESH, shardings)
    arguments = with_shardings(state, shardings), abstract_batch(MESH)
    exported = jax.export.export(step, platforms=("tpu", "cuda"))(*arguments)
    assert (exported.platforms, exported.nr_devices) == (("tpu", "cuda"), DEVICES)
    text = exported.mlir_module()
    convolutions = re.findall(r"stablehlo.convolution.*?-> tensor<[\dx]*x(\w+)>", text)
    assert set(convolutions) == {{"float32": "f32", "bfloat16": "bf16"}[dtype]}
