"""The limits of the model that the step of absent machines is expected from."""

import pytest

from symskip_jax.bench.expectation import (
    Level,
    all_reduce_seconds,
    at_batch,
    expected_step,
    h100,
    tpu_v4,
)

STATISTICS = {"kind": "all-reduce", "purpose": "forward statistics", "bytes": 1024, "count": 29}
GRADIENTS = {"kind": "all-reduce", "purpose": "gradients", "bytes": 1e8, "count": 1}


def test_one_device_has_nobody_to_wait_for():
    alone = expected_step(989e12, 0.0, [STATISTICS, GRADIENTS], h100(1), efficiency=0.5)
    assert alone.step_s == alone.compute_s == 2
    assert alone.communication_share == 0


def test_memory_takes_over_where_there_is_little_to_compute():
    step = expected_step(1.0, 3.35e12, [], h100(1), efficiency=0.5)
    assert step.step_s == pytest.approx(1)


def test_devices_are_those_of_the_machines():
    assert [h100(n).devices for n in (1, 2, 8, 16, 64, 256)] == [1, 2, 8, 16, 64, 256]
    assert tpu_v4(64).devices == 64 and tpu_v4(64).name == "TPU v4-128"


def test_large_sums_are_bound_by_bandwidth_and_small_ones_by_hops():
    ring = (Level(1024, 1e9, 1e-6),)
    assert all_reduce_seconds(1e9, ring) == pytest.approx(2, rel=2e-3)  # there and back
    assert all_reduce_seconds(4, ring) == pytest.approx(2 * 10 * 1e-6, rel=1e-3)


def test_the_outer_links_carry_only_what_the_inner_ones_have_left():
    inner, outer = Level(8, 450e9, 0.0), Level(8, 50e9, 0.0)
    both = all_reduce_seconds(8e8, (inner, outer))
    assert both == all_reduce_seconds(8e8, (inner,)) + all_reduce_seconds(1e8, (outer,))
    assert both < all_reduce_seconds(8e8, (Level(64, 50e9, 0.0),))


def test_many_small_sums_cost_more_than_one_of_all_their_bytes():
    together = {**STATISTICS, "bytes": 29 * 1024, "count": 1}
    many, one = (
        expected_step(1e12, 0.0, [it], h100(64), efficiency=0.5) for it in (STATISTICS, together)
    )
    assert many.statistics_s > 25 * one.statistics_s
    assert many.gradients_s == 0


def test_other_kinds_have_no_cost_here():
    with pytest.raises(ValueError, match="all-gather"):
        expected_step(1.0, 1.0, [{**GRADIENTS, "kind": "all-gather"}], h100(8), 0.5)


def test_a_larger_batch_reads_the_parameters_no_more_often():
    record = {"per_device": 32, "flops": 10.0, "bytes_accessed": 1280.0, "parameters": 10}
    assert at_batch(record, 32) == (10, 1280)
    assert at_batch(record, 64) == (20, 2280)
