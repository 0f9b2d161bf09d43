import math
import re

import pytest

from symskip_jax.errors import UserError
from symskip_jax.models import network_1, network_2, network_3

# Table 1 of the supplement, a line of each cell after the other.
PRINTED = {
    "network_1 of CIFAR": """
        conv3x3,128 conv3x3,128 conv3x3,128 conv3x3,128 conv3x3/2,128
        conv3x3,256 conv3x3,256 conv3x3,256 conv3x3,256 conv3x3/2,256
        conv3x3,512 conv3x3,512 conv3x3,512 conv3x3,512 conv3x3/2,512""",
    "network_1 of STL-10": """
        conv3x3,64 conv3x3/2,64
        conv3x3,128 conv3x3/2,128
        conv3x3,256 conv3x3,256 conv3x3/2,256
        conv3x3,512 conv3x3,512 conv3x3/2,512""",
    "network_2": """
        conv3x3,96 conv3x3,96 conv3x3/2,96
        conv3x3,192 conv3x3,192 conv3x3/2,192
        conv3x3,192 conv1x1,192""",
    "network_3": """
        conv3x3,64 conv3x3/2,64
        conv3x3,128 conv3x3/2,128
        conv3x3,256 conv3x3,256 conv3x3/2,256
        conv3x3,512 conv3x3,512 conv3x3/2,512
        conv3x3,512 conv3x3,512 conv3x3/2,512""",
}
BUILT = {
    "network_1 of CIFAR": network_1(),
    "network_1 of STL-10": network_1((2, 2, 3, 3), n=64),
    "network_2": network_2(),
    "network_3": network_3(),
}


@pytest.mark.parametrize("name", PRINTED)
def test_layers_are_the_papers(name):
    rows = re.findall(r"conv(\d)x\1(?:/(\d))?,(\d+)", PRINTED[name])
    assert len(rows) == len(PRINTED[name].split())
    expected = [(int(kernel), int(stride or 1), int(width)) for kernel, stride, width in rows]
    assert [tuple(layer) for layer in BUILT[name].layers] == expected


def test_heads_are_the_papers():
    assert [(spec.head, spec.hidden) for spec in BUILT.values()] == [
        ("pool_linear", ()),
        ("pool_linear", ()),
        ("conv_pool", ()),
        ("fully_connected", (4096, 4096)),
    ]


@pytest.mark.parametrize(
    ("name", "side", "sides"),
    [
        ("network_1 of CIFAR", 29, [29, 15, 8, 4]),
        ("network_1 of STL-10", 89, [89, 45, 23, 12, 6]),
        ("network_2", 29, [29, 15, 8]),
        ("network_3", 225, [225, 113, 57, 29, 15, 8]),
    ],
)
def test_strides_halve_the_size_rounding_up(name, side, sides):
    sizes = BUILT[name].sizes(side, 8)
    assert len(sizes) == len(BUILT[name].layers) + 1
    assert list(dict.fromkeys(height for height, _ in sizes)) == sides
    assert sizes[-1][1] == math.ceil(8 / 2 ** (len(sides) - 1))


def test_multiplier_scales_every_width_and_nothing_else():
    spec = network_3().scaled(1 / 32)
    assert [layer.width for layer in spec.layers] == [2, 2, 4, 4, *[8] * 3, *[16] * 6]
    assert spec.hidden == (128, 128)
    assert [layer[:2] for layer in spec.layers] == [layer[:2] for layer in network_3().layers]


@pytest.mark.parametrize("multiplier", [0.0, 0.001, -1.0, math.nan, math.inf])
@pytest.mark.parametrize("spec", [network_2(), network_3()], ids=lambda spec: spec.name)
def test_multiplier_that_leaves_no_filters_is_answered_in_a_line(spec, multiplier):
    with pytest.raises(UserError) as caught:
        spec.scaled(multiplier)
    message = str(caught.value)
    assert "\n" not in message
    assert f"model.width_multiplier={multiplier}" in message
    smallest = float(re.search(r"about (\S+) or more", message)[1])
    assert min(layer.width for layer in spec.scaled(smallest).layers) == 1


@pytest.mark.parametrize(
    ("blocks", "n"), [((0, 0, 0, 0), 8), ((2, -1, 2, 0), 8), ((2, 2, 2, 0), 0)]
)
def test_blocks_that_make_no_network_are_answered_in_a_line(blocks, n):
    with pytest.raises(UserError) as caught:
        network_1(blocks, n)
    message = str(caught.value)
    assert "\n" not in message
    assert str(blocks) in message
    assert f"model.n={n}" in message
