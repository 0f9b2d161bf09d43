"""The same weights in plain torch modules: the same outputs, loss gradients and statistics.

Torch computes in float64 and we in float32, so that the rounding measured is ours alone. Torch's
float32 BatchNorm is as exact on contiguous tensors, but sums one by one in the memory order that a
transposed array keeps: there its gradients at 225x225 are up to 2 % off, ours about 1e-6.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch_reference
from torch_reference import count_values, load_variables, to_state_dict, torch

from symskip_jax.models import AutoEncoder, Classifier, network_1, network_2, network_3

TOLERANCE = 1e-4  # of ||ours - torch's|| / ||torch's||, a tensor at a time
NUM_CLASSES = 5
SPECS = {
    "network_1": network_1((2, 1, 2, 1), n=2),
    "network_2": network_2().scaled(1 / 48),
    "network_3": network_3().scaled(1 / 32),
}
SIZES = [(29, 29), (32, 32), (89, 61), (225, 225)]
# Every network at every size, and every network and every size with skips and without.
CASES = [
    (network, size, ("symmetric", "none")[(i + j) % 2])
    for i, network in enumerate(SPECS)
    for j, size in enumerate(SIZES)
]


@pytest.fixture(autouse=True)
def one_torch_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def batch_for(network, size):
    """Network-3 leaves one pixel of a small image, and BatchNorm over two values keeps their sign.

    Of its gradient nothing but rounding would be left.
    """
    return 8 if network == "network_3" and max(size) <= 32 else 2


def random_variables(model, images, rng):
    """He's scale for the kernels, and parameters and statistics of BatchNorm that all differ.

    Biases of BatchNorm are above 0, so that few of its outputs lie where ReLU bends: one that
    rounding pushes to the other side changes a gradient by more than rounding does.
    """

    def draw(path, leaf):
        if path[-1].key in ("scale", "var"):
            return rng.uniform(0.5, 1.5, leaf.shape).astype(np.float32)
        if path[-1].key == "bias" and path[-2].key == "bn":
            return rng.uniform(1.25, 2.25, leaf.shape).astype(np.float32)
        scale = np.sqrt(2 / np.prod(leaf.shape[:-1])) if leaf.ndim > 1 else 0.5
        return rng.normal(0, scale, leaf.shape).astype(np.float32)

    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), images, train=False))
    return jax.tree_util.tree_map_with_path(draw, shapes)


def ours(model, variables, images, loss_of):
    """Returns outputs in inference and in training, loss gradients and updated statistics."""

    @jax.jit
    def run(params, batch_stats):
        def loss_fn(params):
            outputs, updated = model.apply(
                {"params": params, "batch_stats": batch_stats},
                images,
                train=True,
                mutable=["batch_stats"],
            )
            return loss_of(outputs), (outputs, updated["batch_stats"])

        gradients, (trained, statistics) = jax.grad(loss_fn, has_aux=True)(params)
        inferred = model.apply({"params": params, "batch_stats": batch_stats}, images, train=False)
        return inferred, trained, gradients, statistics

    return jax.device_get(run(variables["params"], variables["batch_stats"]))


def torchs(model, variables, images, loss_of):
    """Returns what `ours` returns, of a torch model, the trees as parts of state dicts."""
    load_variables(model, variables["params"], variables["batch_stats"])
    model.double()
    images = torch.tensor(images.transpose(0, 3, 1, 2)).double()
    with torch.no_grad():
        inferred = model.eval()(images)
    before = {name: tensor.clone() for name, tensor in model.named_buffers()}
    counts = count_values(model)
    trained = model.train()(images)
    loss_of(trained).backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    statistics = {name: t for name, t in model.named_buffers() if "num_batches" not in name}
    for name, count in counts.items():
        # Torch normalises with the biased variance of a batch, as the paper of BatchNorm says and
        # Flax does, but adds the unbiased one, n / (n - 1) times that, to its running average.
        kept = 0.9 * before[f"{name}.running_var"]
        added = statistics[f"{name}.running_var"] - kept
        statistics[f"{name}.running_var"] = kept + added * (count - 1) / count
    return inferred, trained.detach(), gradients, statistics


def assert_close(got, expected):
    """Compares tensors by name, each relative to its own norm.

    No gradient is zero but for rounding, as no convolution in front of a BatchNorm has a bias, so
    there is no need of an absolute tolerance.
    """
    assert got.keys() == expected.keys()
    errors = {}
    for name, reference in expected.items():
        assert got[name].shape == reference.shape, name
        assert got[name].dtype == torch.float32, name
        errors[name] = float(
            torch.linalg.norm(got[name] - reference) / torch.linalg.norm(reference)
        )
    assert not {name: e for name, e in errors.items() if not e < TOLERANCE}


def assert_same(model, reference, variables, images, our_loss, torch_loss):
    inferred, trained, gradients, statistics = ours(model, variables, images, our_loss)
    expected = torchs(reference, variables, images, torch_loss)
    channels_first = (0, 3, 1, 2) if inferred.ndim == 4 else (0, 1)
    outputs = {"inferred": inferred, "trained": trained}
    outputs = {k: torch.tensor(v.transpose(channels_first)) for k, v in outputs.items()}
    assert_close(outputs, {"inferred": expected[0], "trained": expected[1]})
    assert_close(to_state_dict(gradients, reference), expected[2])
    assert_close(to_state_dict(statistics, reference), expected[3])


@pytest.mark.parametrize(("network", "size", "skip"), CASES)
def test_auto_encoder_is_torchs(network, size, skip):
    rng = np.random.default_rng(0)
    images, targets = rng.normal(size=(2, batch_for(network, size), *size, 3)).astype(np.float32)
    model = AutoEncoder(SPECS[network], 3, skip=skip)
    assert_same(
        model,
        torch_reference.AutoEncoder(SPECS[network].layers, 3, skip),
        random_variables(model, images, rng),
        images,
        lambda outputs: jnp.mean(jnp.square(outputs - targets)),
        lambda outputs: torch.nn.functional.mse_loss(
            outputs, torch.tensor(targets.transpose(0, 3, 1, 2)).double()
        ),
    )


@pytest.mark.parametrize(
    ("network", "size"),
    [("network_1", (32, 32)), ("network_2", (89, 61)), ("network_3", (225, 225))],
)
def test_classifier_is_torchs(network, size):
    rng = np.random.default_rng(0)
    images = rng.normal(size=(8, *size, 3)).astype(np.float32)
    labels = rng.integers(0, NUM_CLASSES, len(images))
    spec = SPECS[network]
    model = Classifier(spec, NUM_CLASSES)
    assert_same(
        model,
        torch_reference.Classifier(
            spec.layers, 3, NUM_CLASSES, head=spec.head, hidden=spec.hidden, image_size=size
        ),
        random_variables(model, images, rng),
        images,
        lambda logits: optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean(),
        lambda logits: torch.nn.functional.cross_entropy(logits, torch.tensor(labels)),
    )
