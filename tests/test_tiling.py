"""An image in tiles is the image in one piece."""

import functools

import hypothesis
import hypothesis.strategies as st
import jax
import numpy as np
import pytest
import tiny
from data_helpers import user_error

from symskip_jax.evaluation.tiling import map_tiles, spans
from symskip_jax.models import AutoEncoder, Layer, Spec, network_1, red_net
from symskip_jax.training.schedules import make_optimizer, milestone_schedule

OPTIMIZER = make_optimizer(milestone_schedule(1e-3, (), 0.1, 1))
NETWORKS = {
    "RED10": red_net(10).scaled(1 / 16),
    "Network-1": network_1((1, 2, 0, 0), n=4),
    "stride 3, kernel 5": Spec("tiny", (Layer(5, 3, 4), Layer(3, 1, 4)), "pool_linear"),
}


@hypothesis.given(
    size=st.integers(1, 400),
    stride=st.integers(1, 16),
    overlap=st.integers(0, 50),
    more=st.integers(0, 60),
)
def test_pieces_cover_an_axis_once_and_are_cut_where_they_are_right(size, stride, overlap, more):
    tile = overlap + 1 + stride + more
    pieces = spans(size, tile, overlap, stride)
    kept = [pixel for piece in pieces for pixel in range(piece.first, piece.last)]
    assert kept == list(range(size))
    for piece in pieces:
        assert piece.start % stride == 0 and piece.stop - piece.start <= tile
        assert piece.start == 0 or 2 * (piece.first - piece.start) >= overlap
        assert piece.stop == size or 2 * (piece.stop - piece.last) >= overlap
    assert len({piece.stop - piece.start for piece in pieces}) <= 2


def test_a_tile_that_is_all_overlap_is_refused():
    assert "choose 12 or more" in user_error(lambda: spans(50, 11, 10, 2))


@pytest.fixture(scope="module", params=NETWORKS)
def network(request):
    """A network with random weights, compiled, and its table."""
    model = AutoEncoder(NETWORKS[request.param], 1)
    state = tiny.make_state(model, OPTIMIZER, channels=1)
    apply = jax.jit(functools.partial(model.apply, state.variables, train=False))
    return model.spec, lambda images: np.asarray(apply(images))


def test_tiles_give_what_the_whole_image_gives(network):
    spec, apply = network
    image = np.random.default_rng(0).normal(size=(67, 53, 1)).astype(np.float32)
    whole = apply(image[None])[0]
    tile = 2 * spec.radius + spec.stride + 9
    cut = functools.partial(map_tiles, apply, image, tile=tile, stride=spec.stride)
    np.testing.assert_allclose(
        cut(overlap=2 * spec.radius), whole, rtol=0, atol=1e-5 * np.abs(whole).max()
    )
    # The test would see a seam if there were one.
    assert np.abs(cut(overlap=0) - whole).max() > 1e-2 * np.abs(whole).max()


def test_nothing_beyond_the_radius_counts(network):
    """The radius is what the network sees, and not more, as far as ReLU lets all through."""
    spec, apply = network
    image = np.ones((1, 67, 67, 1), np.float32)
    seen = []
    for place in range(67):
        other = image.copy()
        other[0, place] += 1000.0
        seen.append((apply(other) != apply(image))[0, 33].any())
    near = [abs(place - 33) <= spec.radius for place in range(67)]
    assert not (np.array(seen) & ~np.array(near)).any()
    assert sum(seen) >= 0.5 * sum(near)
