"""What devices say to each other is read from programs that JAX compiles here, sizes known."""

import re

import jax
import jax.numpy as jnp
import pytest
from jax import lax
from jax.sharding import AxisType, PartitionSpec
from ml_collections import ConfigDict

from symskip_jax.bench.collectives import Array, collectives
from symskip_jax.bench.scaling import lowered_step, summarize
from symskip_jax.config import load_config
from symskip_jax.errors import UserError
from symskip_jax.training.mesh import data_mesh

OUTER, INNER = 2, 4
SPLIT, WHOLE = PartitionSpec("inner"), PartitionSpec()


def hlo_of(function, given=SPLIT, returned=SPLIT):
    """The text of a function of one device's part of x, compiled for 2 x 4 devices."""
    mesh = jax.make_mesh((OUTER, INNER), ("outer", "inner"), axis_types=(AxisType.Auto,) * 2)
    mapped = jax.shard_map(function, mesh=mesh, in_specs=given, out_specs=returned, check_vma=False)
    return jax.jit(mapped).lower(jnp.zeros((64, 16))).compile().as_text()


@pytest.mark.parametrize(
    ("kind", "function", "given", "returned", "group", "size"),
    [
        ("all-reduce", lambda x: lax.psum(x, "inner"), SPLIT, WHOLE, INNER, 16 * 16 * 4),
        ("all-reduce", lambda x: lax.psum(x, "outer"), SPLIT, SPLIT, OUTER, 16 * 16 * 4),
        ("all-reduce", lambda x: lax.psum(x, ("outer", "inner")), WHOLE, WHOLE, 8, 64 * 16 * 4),
        (
            "all-gather",
            lambda x: lax.all_gather(x, "inner", tiled=True),
            SPLIT,
            WHOLE,
            INNER,
            64 * 16 * 4,
        ),
        (
            "reduce-scatter",
            lambda x: lax.psum_scatter(x, "inner", tiled=True),
            WHOLE,
            SPLIT,
            INNER,
            64 * 16 * 4,
        ),
        (
            "collective-permute",
            lambda x: lax.ppermute(x, "inner", [(0, 1), (1, 2)]),
            SPLIT,
            SPLIT,
            6,  # three of each outer row take part
            16 * 16 * 4,
        ),
        (
            "all-to-all",
            lambda x: lax.all_to_all(x, "inner", 1, 0, tiled=True),
            SPLIT,
            SPLIT,
            INNER,
            16 * 16 * 4,
        ),
    ],
)
def test_each_kind_is_found_with_its_bytes_and_its_group(
    kind, function, given, returned, group, size
):
    (found,) = collectives(hlo_of(function, given, returned))
    assert (found.kind, found.group_size, found.bytes) == (kind, group, size)
    assert not found.is_async


def test_what_the_compiler_combined_is_one_with_all_its_arrays():
    def two_sums(x):
        return lax.psum((x, x[0]), "inner")

    (found,) = collectives(hlo_of(two_sums, SPLIT, WHOLE))
    assert sorted(array.shape for array in found.arrays) == [(16,), (16, 16)]
    assert found.bytes == (16 * 16 + 16) * 4


def test_no_communication_no_collectives():
    assert collectives(hlo_of(lambda x: x + 1)) == []


def test_starts_and_every_way_to_write_groups():
    # As GPU and TPU compilers write them: no device here makes them do it.
    text = """HloModule m, replica_count=1, num_partitions=8
  %a = (f32[128]{0}, bf16[2,3]{1,0:T(8,128)(2,1)S(3)}) all-reduce-start(%x, %y), replica_groups={}
  %b = (f32[128]{0}, bf16[2,3]{1,0}) all-reduce-done(%a)
  %c = (f32[4]{0}, f32[16]{0}) all-gather-start(%x), replica_groups=[2,4]<=[4,2]T(1,0)
  %d = f32[16]{0} all-gather-done(%c)
  %e = (f32[4]{0}, f32[4]{0}, u32[], u32[]) collective-permute-start(%x), \
source_target_pairs={{0,1},{1,0}}
  ROOT %f = s4[3]{0} all-reduce(%x), replica_groups=mesh['a'=4,'b'=2] {'b'}, \
metadata={op_name="jit(step)/transpose(jvp(Net))/0/bn/reduce_sum"}
"""
    found = collectives(text)
    assert [(it.kind, it.is_async, it.bytes, it.group_size) for it in found] == [
        ("all-reduce", True, 128 * 4 + 6 * 2, 8),
        ("all-gather", True, 16 * 4, 4),
        ("collective-permute", True, 4 * 4, 2),
        ("all-reduce", False, 2, 2),
    ]
    assert [it.purpose for it in found[::3]] == ["gradients", "backward statistics"]


@pytest.mark.parametrize(
    "dtype", ["float32", "bfloat16", "int8", "uint32", "bool", "float8_e4m3fn"]
)
def test_the_size_of_a_dtype_is_that_of_jax(dtype):
    text = jax.jit(lambda x: x).lower(jax.ShapeDtypeStruct((3, 5), dtype)).compile().as_text()
    name = re.search(r"ENTRY.*?: (\w+)\[3,5\]", text)
    assert name
    assert Array(name[1], (3, 5)).bytes == 15 * jnp.dtype(dtype).itemsize


def test_other_texts_are_refused_in_one_line():
    with pytest.raises(UserError, match="HloModule"):
        collectives("module @jit_step {")
    with pytest.raises(UserError, match="replica_groups"):
        collectives("HloModule m\n %a = f32[2]{0} all-reduce(%x), replica_groups=new\n")


def tiny_config(**model: object) -> ConfigDict:
    config = load_config("cifar10")
    config.update({"model": {"blocks": (3, 0, 0, 0), "n": 4, **model}, "data": {"crop": (8, 8)}})
    return config


def compiled_for(devices: int, config: ConfigDict):
    """The collectives of the step as JSON holds them, and its facts."""
    lowered, facts = lowered_step(config, data_mesh(jax.devices()[:devices]), per_device=2)
    return summarize(lowered.compile().as_text()), facts


def count(found, *purposes):
    return sum(it["count"] for it in found if it["purpose"] in purposes)


def test_one_device_says_nothing():
    assert compiled_for(1, tiny_config())[0] == []


def test_a_step_sums_each_gradient_once_and_the_statistics_of_each_layer_once():
    found, facts = compiled_for(2, tiny_config())
    assert {(it["kind"], it["group_size"]) for it in found} == {("all-reduce", 2)}
    # Three layers and their mirrors, all but the last with BatchNorm.
    normalized = 2 * 3 - 1
    assert count(found, "forward statistics") == normalized
    # Some of the backward ones are combined with gradients; nothing is summed on its own twice.
    assert count(found, "backward statistics", "gradients") <= normalized + 2
    vectors = sum(it["count"] * it["bytes"] for it in found if it["purpose"] != "gradients")
    total = sum(it["count"] * it["bytes"] for it in found)
    # Of each BatchNorm two vectors forward, and backward three or less, all four features long.
    assert vectors <= 5 * normalized * 4 * 4
    few = 5 * normalized * 4 * 4 + 64
    assert 4 * facts["kernel_parameters"] <= total <= 4 * facts["parameters"] + few


def test_count_and_bytes_do_not_depend_on_the_number_of_devices():
    two, eight = (compiled_for(devices, tiny_config())[0] for devices in (2, 8))
    assert [{**it, "group_size": 8} for it in two] == eight
