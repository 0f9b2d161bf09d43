"""Optimisers: torch's, on parameters of every kind and over several steps."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from symskip_jax.training.schedules import adamw, make_optimizer, sgd

torch = pytest.importorskip("torch")

RATE, DECAY, MOMENTUM, STEPS = 0.1, 0.02, 0.9, 6
SHAPES = {
    "encoder": {"0": {"conv": {"kernel": (3, 3, 2, 4)}, "bn": {"scale": (4,), "bias": (4,)}}},
    "head": {"classes": {"kernel": (4, 3), "bias": (3,)}},
}
is_shape = {"is_leaf": lambda node: isinstance(node, tuple)}


def draw(seed):
    random = np.random.default_rng(seed)
    return jax.tree.map(lambda s: np.float32(random.normal(size=s)), SHAPES, **is_shape)


def is_kernel(path):
    return path[-1].key == "kernel"


def sgd_of_torch(named):
    parameters = [p for _, p in named]
    return torch.optim.SGD(parameters, lr=RATE, momentum=MOMENTUM, weight_decay=DECAY)


def adamw_of_torch(named):
    groups = [
        {"params": [p for path, p in named if is_kernel(path)], "weight_decay": DECAY},
        {"params": [p for path, p in named if not is_kernel(path)], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=RATE)


RULES = {"sgd": (sgd(MOMENTUM, DECAY), sgd_of_torch), "adamw": (adamw(DECAY), adamw_of_torch)}


@pytest.mark.parametrize("frozen_steps", [0, 3])
@pytest.mark.parametrize("name", RULES)
def test_steps_are_torchs_also_of_what_thaws(name, frozen_steps):
    rule, peer_of = RULES[name]
    optimizer = make_optimizer(
        optax.constant_schedule(RATE), rule=rule, frozen=("encoder",), frozen_steps=frozen_steps
    )
    params = start = jax.tree.map(jnp.asarray, draw(0))
    state = optimizer.init(params)
    named = [
        (path, torch.nn.Parameter(torch.tensor(np.asarray(leaf))))
        for path, leaf in jax.tree.leaves_with_path(params)
    ]
    parts = [[it for it in named if it[0][0].key == part] for part in ("encoder", "head")]
    peers = [peer_of(part) for part in parts]
    update = jax.jit(optimizer.update)
    for step in range(STEPS):
        gradients = draw(step + 1)
        updates, state = update(gradients, state, params, value=jnp.float32(0))
        params = optax.apply_updates(params, updates)
        for (_, parameter), gradient in zip(named, jax.tree.leaves(gradients), strict=True):
            parameter.grad = torch.tensor(gradient)
        for peer, frozen_for in zip(peers, (frozen_steps, 0), strict=True):
            if step >= frozen_for:
                peer.step()
        if step < frozen_steps:
            jax.tree.map(np.testing.assert_array_equal, params["encoder"], start["encoder"])
    for leaf, (path, parameter) in zip(jax.tree.leaves(params), named, strict=True):
        ours, theirs = np.asarray(leaf), parameter.detach().numpy()
        np.testing.assert_allclose(ours, theirs, atol=1e-5, err_msg=str(path))
