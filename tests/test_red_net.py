"""RED-Net: the network without BatchNorm, and that everything around it copes."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from data_helpers import user_error
from torch_reference import to_state_dict, torch

from symskip_jax.bench.posing import pose
from symskip_jax.config import load_config
from symskip_jax.experiments import setup
from symskip_jax.experiments.finetune import with_pretrained
from symskip_jax.models import AutoEncoder, Classifier, red_net
from symskip_jax.training.checkpoints import Restored
from symskip_jax.training.schedules import make_optimizer, milestone_schedule

NARROW = red_net(10).scaled(1 / 16)
OPTIMIZER = make_optimizer(milestone_schedule(1e-3, (), 0.1, 1))


class TorchRedNet(torch.nn.Module):
    """RED10 as Mao, Shen and Yang describe it, with the names of our parameters."""

    def __init__(self, width, channels):
        super().__init__()
        layer = {"kernel_size": 3, "padding": 1}
        widths = [channels, *[width] * 5]
        self.encoder, self.decoder = torch.nn.ModuleList(), torch.nn.ModuleList()
        for fan_in, fan_out in zip(widths[:-1], widths[1:], strict=True):
            conv = torch.nn.Conv2d(fan_in, fan_out, **layer)
            deconv = torch.nn.ConvTranspose2d(fan_out, fan_in, **layer)
            self.encoder.append(torch.nn.ModuleDict({"conv": conv}))
            self.decoder.append(torch.nn.ModuleDict({"deconv": deconv}))

    def forward(self, images):
        (conv1, conv2, conv3, conv4, conv5) = (it["conv"] for it in self.encoder)
        (deconv1, deconv2, deconv3, deconv4, deconv5) = (it["deconv"] for it in self.decoder)
        second = conv2(torch.relu(conv1(images)))
        fourth = conv4(torch.relu(conv3(torch.relu(second))))
        x = torch.relu(conv5(torch.relu(fourth)))
        x = torch.relu(deconv5(x) + fourth)
        x = torch.relu(deconv4(x))
        x = torch.relu(deconv3(x) + second)
        x = torch.relu(deconv2(x))
        return images + deconv1(x)


def test_it_is_torchs_with_the_same_weights():
    model = AutoEncoder(NARROW, 1)
    state = tiny.make_state(model, OPTIMIZER, channels=1)
    assert state.batch_stats == {}
    images = np.random.default_rng(0).normal(size=(2, 13, 10, 1)).astype(np.float32)
    reference = TorchRedNet(4, 1)
    reference.load_state_dict(to_state_dict(state.params, reference), strict=True)
    with torch.no_grad():
        expected = reference.double()(torch.tensor(images.transpose(0, 3, 1, 2)).double())
    found = model.apply(state.variables, images, train=False)
    np.testing.assert_allclose(found, expected.numpy().transpose(0, 2, 3, 1), atol=1e-5)


@pytest.mark.parametrize("depth", [10, 20, 30])
def test_it_has_as_many_layers_as_its_name_says(depth):
    config = load_config(f"red_net:{depth}")
    model = setup.make_autoencoder(config, 1)
    shapes = jax.eval_shape(
        lambda: model.init(jax.random.key(0), jnp.zeros((1, 51, 51, 1)), train=False)
    )
    kernels = [leaf.shape for leaf in jax.tree.leaves(shapes) if leaf.ndim == 4]
    assert len(kernels) == depth
    assert {shape[:2] for shape in kernels} == {(3, 3)}
    assert {size for shape in kernels for size in shape[2:]} == {1, 64}


def test_other_depths_are_refused():
    message = user_error(
        lambda: setup.make_spec(load_config("red_net", ["--config.model.depth=12"]))
    )
    assert message == "model.depth=12 makes no red_net; choose one of 10, 20, 30"


def test_a_classifier_starts_from_its_encoder():
    state = tiny.make_state(Classifier(NARROW, 2), OPTIMIZER, channels=1)
    trained = tiny.make_state(AutoEncoder(NARROW, 1), OPTIMIZER, seed=1, channels=1)
    saved = {field.name: getattr(trained, field.name) for field in dataclasses.fields(trained)}
    started = with_pretrained(state, Restored(saved, {}), ("encoder",))
    tiny.assert_same(started.params["encoder"], trained.params["encoder"])
    tiny.assert_same(started.params["head"], state.params["head"])
    assert started.batch_stats == {}


def test_it_is_not_compared_with_networks_that_have_batch_norm():
    assert "model.name=red_net cannot be compared" in user_error(
        lambda: pose(load_config("red_net:small"))
    )
