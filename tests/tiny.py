"""Networks, data and states so small that a test can train them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from symskip_jax.models import AutoEncoder, Classifier, Layer, Spec, network_1
from symskip_jax.training.state import new_state
from symskip_jax.training.steps import finetune_step, head_step, pretrain_step
from symskip_jax.transforms import (
    Augmentation,
    Corruption,
    FinetuneTransform,
    Normalization,
    PretrainTransform,
)

CLASSES = 4
SPEC = network_1((3, 0, 0, 0), n=4)  # three layers, so that there is a skip inside
ONE_LAYER = Spec("tiny", (Layer(3, 2, 4),), "pool_linear")
FULLY_CONNECTED = Spec("tiny", (Layer(3, 2, 4),), "fully_connected", hidden=(32,))
NORMALIZATION = Normalization((110.0, 120.0, 130.0), (60.0, 70.0, 80.0))
NOISE = Corruption("gaussian", sigma=30.0)
NO_CORRUPTION = Corruption("none")


def autoencoder(spec=SPEC, **kwargs):
    return AutoEncoder(spec, 3, **kwargs)


def classifier(spec=SPEC, **kwargs):
    return Classifier(spec, CLASSES, **kwargs)


def make_batch(count=16, size=8, seed=0):
    """Images with a bright stripe whose place is the class."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, CLASSES, count).astype(np.int32)
    images = random.integers(0, 120, (count, size, size, 3), np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[:, 2 * label : 2 * label + 2] += 130
    return {"image": images, "label": labels}


def make_state(model, optimizer, seed=0, size=8, channels=3):
    """What `init_state` would give but for the numbers: compiling it takes seconds, numpy none."""
    random = np.random.default_rng(seed)

    def fill(path, leaf):
        if path[-1].key in ("kernel", "bias", "mean"):
            deviation = np.sqrt(2 / np.prod(leaf.shape[:-1])) if leaf.ndim > 1 else 0.1
            return jnp.asarray(random.normal(0, deviation, leaf.shape), jnp.float32)
        return jnp.asarray(random.uniform(0.5, 1.5, leaf.shape), jnp.float32)

    height, width = size if isinstance(size, tuple) else (size, size)
    image = jnp.zeros((1, height, width, channels))
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), image, train=False))
    variables = jax.tree.map_with_path(fill, shapes)
    key = jax.random.key(seed)
    return new_state(variables["params"], variables.get("batch_stats", {}), optimizer, key)


def make_pair_state(model, discriminator, optimizer):
    """The same of an auto-encoder and its discriminator, for `init_context_encoder`."""
    ours, its = make_state(model, optimizer), make_state(discriminator, optimizer, seed=1)
    params = {**ours.params, "discriminator": its.params}
    return ours.replace(
        params=params,
        batch_stats={**ours.batch_stats, "discriminator": its.batch_stats},
        opt_state=optimizer.init(params),
    )


def bind_pretrain(model, optimizer, corruption=NOISE, crop=(8, 8), flip=False, **kwargs):
    return functools.partial(
        pretrain_step,
        model=model,
        optimizer=optimizer,
        transform=PretrainTransform(Augmentation(crop, flip), corruption),
        normalization=NORMALIZATION,
        **kwargs,
    )


def bind_finetune(
    model, optimizer, corruption=NOISE, probability=0.5, step=finetune_step, flip=False, **kwargs
):
    return functools.partial(
        step,
        model=model,
        optimizer=optimizer,
        transform=FinetuneTransform(Augmentation((8, 8), flip), corruption, probability),
        normalization=NORMALIZATION,
        **kwargs,
    )


bind_head = functools.partial(bind_finetune, step=head_step)


def sgd(learning_rate):
    """Gradient descent whose state holds the latest gradients; see `gradients_of`."""
    return optax.with_extra_args_support(optax.sgd(learning_rate, momentum=0.0))


def gradients_of(state):
    """The gradients that led to a state of `sgd`."""
    return optax.tree.get(state.opt_state, "trace")


def assert_same(a, b):
    """The trees are equal bit for bit."""
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(np.testing.assert_array_equal, a, b)


def assert_close(a, b, *, rtol):
    """The trees are equal to `rtol` of each array's largest entry."""
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for (path, x), y in zip(jax.tree.leaves_with_path(a), jax.tree.leaves(b), strict=True):
        x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
        scale = np.abs(y).max()
        error = np.abs(x - y).max()
        assert error <= rtol * scale, f"{jax.tree_util.keystr(path)}: {error} of {scale}"
