"""Features of images and their nearest neighbours, beside scikit-learn and plain NumPy."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny

from symskip_jax.analysis.features import extract_features, flat_features
from symskip_jax.analysis.frozen import FrozenNetwork
from symskip_jax.analysis.neighbors import TEMPERATURE, knn_accuracy, nearest_neighbors
from symskip_jax.data.parts import parts_of
from symskip_jax.models import activations


@pytest.fixture(scope="module")
def network() -> FrozenNetwork:
    model = tiny.autoencoder(tiny.ONE_LAYER)
    state = tiny.make_state(model, optax.identity())
    return FrozenNetwork(model, state.variables, tiny.NORMALIZATION, (7, 7))


@pytest.mark.parametrize(("grid", "width"), [(1, 4), (2, 16), (0, 64)])
def test_features_are_the_activations_of_every_whole_image_in_order(network, grid, width):
    data, mask = tiny.make_batch(11), np.ones(11, bool)
    mask[3] = False
    found = extract_features(network, "encoder.0.relu", lambda: parts_of(data, 4, mask), grid)
    central = data["image"][:, :7, :7].astype(np.float32)
    inputs = (central - tiny.NORMALIZATION.mean) / tiny.NORMALIZATION.std
    maps = np.asarray(
        activations(network.model, network.variables, jnp.asarray(inputs))["encoder.0.relu"]
    )
    expected = {
        1: lambda: maps.mean((1, 2)),
        2: lambda: maps.reshape(11, 2, 2, 2, 2, 4).mean((2, 4)).reshape(11, -1),
        0: lambda: maps.reshape(11, -1),
    }[grid]()
    assert found.features_nd.dtype == np.float32 and found.features_nd.shape == (10, width)
    np.testing.assert_allclose(found.features_nd, expected[mask], atol=1e-5)
    np.testing.assert_array_equal(found.labels_n, data["label"][mask])
    np.testing.assert_array_equal(found.indices_n, np.flatnonzero(mask))


def test_logits_have_no_positions_to_average():
    logits = jnp.asarray(np.random.default_rng(0).normal(size=(3, 5)), jnp.float32)
    np.testing.assert_array_equal(flat_features(logits), logits)


def angles(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, count)
    found = random.normal(size=(count, 6)) + 1.2 * np.eye(6)[labels]
    # Lengths say nothing where the cosine counts.
    return (found * random.uniform(0.1, 10, (count, 1))).astype(np.float32), labels


@pytest.mark.parametrize("k", [1, 7, 500])
def test_the_neighbours_are_those_of_the_largest_cosine(k):
    train, queries = angles(60, 0)[0], angles(9, 1)[0]
    units = [
        x / np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True) for x in (train, queries)
    ]
    cosines = units[1] @ units[0].T
    order = np.argsort(-cosines, axis=1)[:, :k]
    found = nearest_neighbors(train, queries, k)
    np.testing.assert_array_equal(found.indices_mk, order)
    np.testing.assert_allclose(found.cosines_mk, np.take_along_axis(cosines, order, 1), atol=1e-5)


def test_no_image_is_its_own_neighbour():
    train, _ = angles(30, 0)
    found = nearest_neighbors(train, None, 29)
    assert found.indices_mk.shape == (30, 29)
    assert not (found.indices_mk == np.arange(30)[:, None]).any()


@pytest.mark.parametrize("k", [1, 20, 100])
def test_neighbours_vote_with_the_exponential_of_their_cosine(k):
    (train, train_labels), (test, test_labels) = angles(80, 0), angles(200, 1)
    found = nearest_neighbors(train, test, k)
    votes = np.exp(found.cosines_mk / TEMPERATURE)
    counts = np.stack([(votes * (train_labels[found.indices_mk] == c)).sum(1) for c in range(3)], 1)
    expected = (counts.argmax(1) == test_labels).mean()
    assert 0.4 < expected < 1
    assert knn_accuracy(train, train_labels, test, test_labels, k) == pytest.approx(expected)
