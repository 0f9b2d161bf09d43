"""BatchNorm over parts of a batch, against torch's and nn.BatchNorm on each part by itself."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from data_helpers import user_error
from flax import linen as nn

from symskip_jax.models import (
    Discriminator,
    Layer,
    Segmenter,
    WideAutoEncoder,
    WideClassifier,
    wide_resnet,
)
from symskip_jax.models.layers import BATCH_NORM_EPSILON, GroupedBatchNorm, batch_norm

RANDOM = np.random.default_rng(0)
# Parts of other means and variances.
X_BHWC = np.concatenate([RANDOM.normal(k, 1 + k, (2, 5, 3, 4)) for k in range(4)], dtype=np.float32)
PULL = RANDOM.normal(size=X_BHWC.shape).astype(np.float32)
VARIABLES = {
    "params": {
        "scale": RANDOM.uniform(0.5, 1.5, 4).astype(np.float32),
        "bias": RANDOM.normal(size=4).astype(np.float32),
    },
    "batch_stats": {
        "mean": RANDOM.normal(size=4).astype(np.float32),
        "var": RANDOM.uniform(0.5, 1.5, 4).astype(np.float32),
    },
}


def train(norm, variables, x, pull):
    """Outputs, new statistics, and the gradients of sum(outputs * pull) of x and parameters."""

    def run(x, params):
        return norm.apply(
            {**variables, "params": params},
            x,
            use_running_average=False,
            mutable=["batch_stats"],
        )

    y, pull_back, updated = jax.vjp(run, x, variables["params"], has_aux=True)
    return y, updated["batch_stats"], *pull_back(pull.astype(y.dtype))


@pytest.mark.parametrize("groups", [2, 4, 8])
def test_each_part_is_what_torch_makes_of_it_alone(groups):
    torch = pytest.importorskip("torch")
    got = jax.jit(train, static_argnums=0)(
        batch_norm(jnp.float32, None, groups), VARIABLES, X_BHWC, PULL
    )
    y, statistics, dx, dparams = jax.device_get(got)

    parts, means, variances, slopes = [], [], [], []
    scale, bias = (torch.tensor(v.astype(float)) for v in VARIABLES["params"].values())
    for part, pull in zip(np.split(X_BHWC, groups), np.split(PULL, groups), strict=True):
        # Momentum 1: its running statistics are those of the part, the variance unbiased.
        theirs = torch.nn.BatchNorm2d(4, eps=BATCH_NORM_EPSILON, momentum=1.0).double()
        theirs.weight, theirs.bias = map(torch.nn.Parameter, (scale, bias))
        x = torch.tensor(part.astype(float).transpose(0, 3, 1, 2), requires_grad=True)
        out = theirs(x)
        out.backward(torch.tensor(pull.astype(float).transpose(0, 3, 1, 2)))
        parts.append([it.detach().numpy().transpose(0, 2, 3, 1) for it in (out, x.grad)])
        slopes.append([theirs.weight.grad.numpy(), theirs.bias.grad.numpy()])
        count = part[..., 0].size
        means.append(theirs.running_mean.numpy())
        variances.append(theirs.running_var.numpy() * (count - 1) / count)

    # Of values around 3 with deviation 4, float32's mean of squares minus square of the mean is
    # good to about 1e-6.
    expected_y, expected_dx = (np.concatenate(it) for it in zip(*parts, strict=True))
    tiny.assert_close(y, expected_y, rtol=1e-5)
    tiny.assert_close(dx, expected_dx, rtol=1e-5)
    for name, slope in zip(("scale", "bias"), zip(*slopes, strict=True), strict=True):
        tiny.assert_close(dparams[name], np.sum(slope, 0), rtol=1e-5)
    for name, values in (("mean", means), ("var", variances)):
        running = 0.9 * VARIABLES["batch_stats"][name] + 0.1 * np.mean(values, 0)
        tiny.assert_close(statistics[name], running, rtol=1e-5)


def test_one_group_is_the_layer_that_it_always_was():
    assert type(batch_norm(jnp.float32, None)) is nn.BatchNorm
    assert type(batch_norm(jnp.float32, None, 2)) is GroupedBatchNorm


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_inference_is_the_same_bit_for_bit(dtype):
    x = X_BHWC.astype(dtype)

    @functools.partial(jax.jit, static_argnums=0)
    def infer(norm):
        return norm.apply(VARIABLES, x, use_running_average=True)

    whole, grouped = (infer(batch_norm(dtype, None, groups)) for groups in (1, 4))
    assert whole.dtype == grouped.dtype == dtype
    np.testing.assert_array_equal(grouped, whole)


def test_bfloat16_has_float32_statistics():
    low = X_BHWC.astype(jnp.bfloat16)
    norm = functools.partial(batch_norm, jnp.bfloat16, None)
    y, statistics, _, _ = train(norm(4), VARIABLES, low, PULL)
    parts = [train(norm(1), VARIABLES, part, PULL[:2]) for part in np.split(low, 4)]
    assert y.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(statistics)} == {np.dtype("float32")}
    # An output may round to the next of bfloat16's numbers, 2**-8 apart.
    tiny.assert_close(y, np.concatenate([part[0] for part in parts]), rtol=2**-8)
    means = jax.tree.map(lambda *it: np.mean(it, 0), *[part[1] for part in parts])
    tiny.assert_close(statistics, means, rtol=1e-5)


DEVICES = 4


@pytest.mark.parametrize("groups", [2, 4, 8])
def test_pmap_agrees_whether_groups_are_parts_of_devices_or_devices_of_groups(groups):
    alone = jax.jit(train, static_argnums=0)(
        batch_norm(jnp.float32, None, groups), VARIABLES, X_BHWC, PULL
    )
    mapped = jax.pmap(
        functools.partial(train, batch_norm(jnp.float32, "data", groups)),
        axis_name="data",
        in_axes=(None, 0, 0),
        devices=jax.devices()[:DEVICES],
    )
    x, pull = (it.reshape(DEVICES, -1, *it.shape[1:]) for it in (X_BHWC, PULL))
    y, statistics, dx, dparams = jax.device_get(mapped(VARIABLES, x, pull))
    tiny.assert_close(y.reshape(X_BHWC.shape), alone[0], rtol=1e-5)
    tiny.assert_close(dx.reshape(X_BHWC.shape), alone[2], rtol=1e-5)
    tiny.assert_close({k: v.sum(0) for k, v in dparams.items()}, alone[3], rtol=1e-5)
    for name, copies in statistics.items():
        np.testing.assert_array_equal(copies, np.broadcast_to(copies[:1], copies.shape))
        tiny.assert_close(copies[0], alone[1][name], rtol=1e-5)


@pytest.mark.parametrize(("groups", "devices"), [(3, 1), (3, 4), (6, 4), (32, 4)])
def test_what_cannot_be_cut_is_refused(groups, devices):
    norm = batch_norm(jnp.float32, None if devices == 1 else "data", groups)
    run = functools.partial(train, norm, VARIABLES)
    if devices > 1:
        run = functools.partial(jax.eval_shape, jax.pmap(run, "data"))
    given = [it if devices == 1 else it.reshape(devices, 2, *it.shape[1:]) for it in (X_BHWC, PULL)]
    message = user_error(lambda: run(*given))
    assert f"{8 // devices} images" in message and f"{groups} groups" in message


WIDE = wide_resnet(10, 1).scaled(1 / 8)
MODELS = {
    "auto-encoder": tiny.autoencoder(),
    "channel-wise": tiny.autoencoder(skip="none", bottleneck="channel_wise"),
    "classifier": tiny.classifier(),
    "segmenter": Segmenter(tiny.SPEC, 2),
    "wide auto-encoder": WideAutoEncoder(WIDE, 3),
    "wide classifier": WideClassifier(WIDE, tiny.CLASSES),
    "discriminator": Discriminator((Layer(5, 2, 3), Layer(5, 2, 5))),
}


@pytest.mark.parametrize("name", MODELS)
def test_every_layer_of_every_network_is_cut(name):
    model = MODELS[name]
    images = RANDOM.normal(size=(4, 8, 8, 3)).astype(np.float32)
    images[2:] = 2 * images[2:] + 1
    grouped = model.clone(batch_norm_groups=2)

    def shapes(model):
        return jax.eval_shape(
            functools.partial(model.init, train=False), jax.random.key(0), images[:1]
        )

    assert shapes(grouped) == shapes(model)  # one tree: checkpoints of either are the other's
    variables = tiny.make_state(model, tiny.sgd(0.1)).variables

    @functools.partial(jax.jit, static_argnums=0)
    def run(model, images):
        return model.apply(variables, images, train=True, mutable=["batch_stats"])

    output, updated = run(grouped, images)
    (first, of_first), (second, of_second) = (run(model, part) for part in np.split(images, 2))
    tiny.assert_close(output, np.concatenate([first, second]), rtol=1e-4)
    means = jax.tree.map(lambda *it: np.mean(it, 0), of_first, of_second)
    tiny.assert_close(updated, means, rtol=1e-4)
    # It is not what the whole batch would have made.
    assert np.abs(output - run(model, images)[0]).max() > 1e-2 * np.abs(output).max()
