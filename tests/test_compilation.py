"""What XLA is told on a CPU, seen in the programs that it makes."""

import importlib.util
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from symskip_jax.models.layers import strided_convolution, transposed_convolution
from symskip_jax.training import compilation
from symskip_jax.training.mesh import data_mesh, jit_step
from symskip_jax.training.schedules import make_optimizer, milestone_schedule

ROOT = Path(__file__).resolve().parent.parent


def fused_for_ynnpack(hlo: str) -> set[str]:
    """Returns what kinds of operation a compiled program gives to YNNPACK."""
    names = set()
    bodies = dict(re.findall(r"^%(\S+) \(.*?\{\n(.*?)^\}", hlo, re.MULTILINE | re.DOTALL))
    for line in hlo.splitlines():
        if '"kind":"__ynn_fusion"' in line.replace(" ", "") or "__ynn_fusion" in line:
            called = re.search(r"calls=%(\S+?)[,\s]", line)
            if called:
                names |= set(re.findall(r"[\]})] ([a-z-]+)\(", bodies[called.group(1)]))
    return names


def needs_option():
    if not compilation.compiler_options("cpu"):
        pytest.skip("this jaxlib does not know the option, or is older than 0.10")


def test_a_step_leaves_its_convolutions_to_xla_and_its_reductions_to_ynnpack():
    needs_option()
    model, optimizer = tiny.autoencoder(), make_optimizer(milestone_schedule(1e-3, (), 0.1, 10))
    step = tiny.bind_pretrain(model, optimizer)
    state = tiny.make_state(model, optimizer)
    compiled = jit_step(step, data_mesh(jax.devices()[:1])).lower(state, tiny.make_batch())
    fused = fused_for_ynnpack(compiled.compile().as_text())
    assert "reduce" in fused
    assert "convolution" not in fused


def test_the_option_is_still_needed():
    needs_option()
    x, kernel = jnp.ones((8, 16, 16, 32)), jnp.ones((3, 3, 32, 32))

    def network(x, kernel):
        return jax.nn.relu(strided_convolution(x, kernel, 1))

    usual = jax.jit(network).lower(x, kernel).compile().as_text()
    told = jax.jit(network, compiler_options=compilation.compiler_options("cpu"))
    assert "convolution" in fused_for_ynnpack(usual)
    assert "convolution" not in fused_for_ynnpack(told.lower(x, kernel).compile().as_text())


def test_other_platforms_are_told_nothing():
    assert compilation.compiler_options("cuda") == compilation.compiler_options("tpu") == {}


def test_an_option_that_the_compiler_does_not_know_is_left_out(monkeypatch):
    monkeypatch.setattr(compilation, "_CPU_OPTIONS", {"xla_cpu_no_such_option": "true"})
    compilation._known_cpu_options.cache_clear()
    try:
        assert compilation.compiler_options("cpu") == {}
    finally:
        compilation._known_cpu_options.cache_clear()


@pytest.fixture(scope="module")
def tried():
    spec = importlib.util.spec_from_file_location("tried", ROOT / "benchmarks" / "tried.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("size", [(8, 8), (7, 10), (29, 3)])
def test_what_was_tried_computes_the_same(tried, size):
    random = np.random.default_rng(0)
    x = jnp.asarray(random.normal(size=(2, *size, 4)), jnp.float32)
    kernel = jnp.asarray(random.normal(size=(3, 3, 4, 5)), jnp.float32)
    usual = strided_convolution(x, kernel, 1)
    np.testing.assert_allclose(tried.winograd(x, kernel), usual, atol=2e-4)
    for out_size in ((2 * size[0], 2 * size[1]), (2 * size[0] - 1, 2 * size[1])):
        usual = transposed_convolution(x, kernel, 2, out_size)
        np.testing.assert_allclose(tried.dilated(x, kernel, 2, out_size), usual, atol=1e-5)
