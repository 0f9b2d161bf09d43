"""`symskip export`: every format gives what the network gives, at odd and at even sizes."""

import hashlib
import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import exported
import jax
import jax.numpy as jnp
import numpy as np
import onnx
import onnxruntime
import pytest
from exported import CLASSES, NORMALIZATION, THREE_LAYERS, config_of, save_run
from jax import export
from safetensors.numpy import load_file
from torch_reference import torch

from symskip_jax import cli
from symskip_jax.experiments import setup
from symskip_jax.interop import torch_file
from symskip_jax.interop.facts import PARTS

ROOT = Path(__file__).resolve().parent.parent
TOLERANCE = 1e-4  # of the largest output
FORMATS = ("safetensors", "onnx", "stablehlo")


class Case(NamedTuple):
    """A network, what of it is exported, and the sizes of images that it is shown."""

    part: str
    fields: tuple[str, ...] = THREE_LAYERS
    task: str | None = None
    fade: tuple[float, float] | None = None
    sizes: tuple[tuple[int, int], ...] = ((12, 10), (9, 7))
    formats: tuple[str, ...] = FORMATS


def model_is(name: str, width: float, *more: str) -> tuple[str, ...]:
    return (f"--config.model.name={name}", f"--config.model.width_multiplier={width}", *more)


TORCHS_NAMES, JAX_ALONE = FORMATS[:2], FORMATS[2:]
GATED = (*THREE_LAYERS, "--config.model.skip_gate=learned")
AFTER = (*THREE_LAYERS, "--config.model.skip_placement=after")
CONTEXT_ENCODER = (*THREE_LAYERS, "--config.model.bottleneck=channel_wise")
WIDE_RESNET = model_is("wide_resnet", 1 / 8, "--config.model.depth=10", "--config.model.widen=1")
CASES = {
    "network_1": Case("autoencoder"),
    "network_2_no_skips": Case(
        "autoencoder", model_is("network_2", 1 / 48, "--config.model.skip=none")
    ),
    "network_3": Case("autoencoder", model_is("network_3", 1 / 64)),
    # Without BatchNorm; saved when the skips had faded to a half.
    "red_net": Case(
        "autoencoder", model_is("red_net", 1 / 16, "--config.model.depth=10"), fade=(4.0, 10.0)
    ),
    "pool_linear": Case("classifier", task="classification"),
    "conv_pool": Case("classifier", model_is("network_2", 1 / 48), task="multi_label"),
    "fully_connected": Case(
        "classifier",
        # Features of 2x1, as their order matters.
        model_is("network_3", 1 / 64, "--config.data.crop=(33,16)"),
        task="classification",
        sizes=((33, 16),),
    ),
    "segmenter": Case("segmenter", task="segmentation"),
    "encoder": Case("encoder", model_is("network_2", 1 / 48), task="classification"),
    # What only JAX's own format has, but for the encoders.
    "gated": Case("autoencoder", GATED, formats=JAX_ALONE),
    "encoder_of_gated": Case("encoder", GATED, formats=TORCHS_NAMES),
    "after": Case("autoencoder", AFTER, formats=JAX_ALONE),
    "encoder_of_after": Case("encoder", AFTER, formats=TORCHS_NAMES),
    "context_encoder": Case("autoencoder", CONTEXT_ENCODER, sizes=((9, 8),), formats=JAX_ALONE),
    "encoder_of_context_encoder": Case("encoder", CONTEXT_ENCODER, formats=TORCHS_NAMES),
    "wide_resnet": Case("autoencoder", WIDE_RESNET, formats=JAX_ALONE),
    "encoder_of_wide_resnet": Case("encoder", WIDE_RESNET, formats=JAX_ALONE),
    "wide_resnet_classifier": Case(
        "classifier", WIDE_RESNET, task="classification", formats=JAX_ALONE
    ),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Any:
    """Returns a function of a case that exports it once, to files by format, beside its state."""
    made: dict[str, Any] = {}

    def make(name: str) -> tuple[dict[str, Path], Any]:
        if name not in made:
            case = CASES[name]
            workdir = tmp_path_factory.mktemp(name)
            state = save_run(workdir, *case.fields, task=case.task, fade=case.fade)
            found = {}
            for form in case.formats:
                found[form] = workdir / f"{name}.{form}"
                words = ("export", workdir, "--format", form, "--out", found[form])
                part = () if case.part != "encoder" else ("--part", "encoder")
                assert cli.main([*map(str, words), *part]) == 0
            made[name] = found, state
        return made[name]

    return make


def pixels(size: tuple[int, int], count: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, *size, 3), np.uint8)


def source(case: Case, state: Any, images: np.ndarray) -> np.ndarray:
    """What the run's own module makes of images, channels last."""
    config = config_of(*case.fields)
    if case.task == "segmentation":
        model: Any = setup.make_segmenter(config, len(CLASSES))
    elif case.task is not None:
        model = setup.make_classifier(config, len(CLASSES))
    else:
        model = setup.make_autoencoder(config, 3)

    @jax.jit
    def apply(variables: Any, x: Any) -> Any:
        if case.part == "encoder":
            return model.apply(variables, x, method=lambda m, x: m.encoder(x, train=False)[0])
        options = {} if case.fade is None else {"skip_scale": 0.5}
        return model.apply(variables, x, train=False, **options)

    mean, std = np.array(NORMALIZATION.mean), np.array(NORMALIZATION.std)
    y = np.asarray(apply(state.variables, jnp.asarray((images - mean) / std, jnp.float32)))
    return np.clip(y * std + mean, 0, 255) if case.part == "autoencoder" else y


def by_torch(path: Path, images: np.ndarray) -> np.ndarray:
    model = torch_file.load(path)
    assert not model.training and not model.network.training
    with torch.no_grad():
        y = model(torch.tensor(images.transpose(0, 3, 1, 2))).numpy()
    return y.transpose(0, 2, 3, 1) if y.ndim == 4 else y


def by_onnxruntime(path: Path, images: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {"images": images})[0]


def by_jax(path: Path, images: np.ndarray) -> np.ndarray:
    return np.asarray(export.deserialize(bytearray(path.read_bytes())).call(images))


RUNTIMES = {"safetensors": by_torch, "onnx": by_onnxruntime, "stablehlo": by_jax}


@pytest.mark.parametrize("name", CASES)
def test_every_format_gives_what_the_network_gives(name: str, files: Any) -> None:
    case, (paths, state) = CASES[name], files(name)
    for count, size in zip((2, 1), case.sizes, strict=False):  # another batch at each size, too
        images = pixels(size, count)
        expected = source(case, state, images)
        assert expected.std() > 1e-3
        for form, path in paths.items():
            got = RUNTIMES[form](path, images)
            assert (got.shape, got.dtype) == (expected.shape, np.float32), form
            error = np.abs(got - expected).max() / np.abs(expected).max()
            assert error < TOLERANCE, form


def test_what_the_page_promises_is_compared() -> None:
    """Each format and part that docs/export.md names, at odd and at even sizes."""
    page = (ROOT / "docs" / "export.md").read_text()
    assert {*re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)} == {*FORMATS, *PARTS}
    compared = {
        (form, case.part, length % 2)
        for case in CASES.values()
        for form, size in itertools.product(case.formats, case.sizes)
        for length in size
    }
    assert compared == {*itertools.product(FORMATS, PARTS, (0, 1))}


def test_faded_skips_are_not_those_of_full_strength(files: Any) -> None:
    """The tolerance above can tell them apart."""
    paths, state = files("red_net")
    images = pixels((9, 7), 1)
    whole = source(CASES["red_net"]._replace(fade=None), state, images)
    error = np.abs(by_torch(paths["safetensors"], images) - whole).max() / np.abs(whole).max()
    assert error > 100 * TOLERANCE


def test_stablehlo_runs_where_jax_is_alone(files: Any, tmp_path: Path) -> None:
    paths, state = files("network_1")
    script = (
        "import sys\n"
        "for name in ('symskip_jax', 'flax', 'torch'):\n"
        "    sys.modules[name] = None  # importing it is an error\n"
        "import numpy as np\n"
        "from jax import export\n"
        "model = export.deserialize(bytearray(open(sys.argv[1], 'rb').read()))\n"
        "assert model.platforms == ('cpu', 'cuda', 'tpu'), model.platforms\n"
        "np.save('output.npy', model.call(np.load('images.npy')))\n"
    )
    images = pixels((9, 7), 2)
    np.save(tmp_path / "images.npy", images)
    command = [sys.executable, "-c", script, str(paths["stablehlo"])]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    expected = source(CASES["network_1"], state, images)
    error = np.abs(np.load(tmp_path / "output.npy") - expected).max() / np.abs(expected).max()
    assert error < TOLERANCE


def test_tensors_have_torchs_names_and_shapes(files: Any) -> None:
    bn = ("weight", "bias", "running_mean", "running_var")
    expected = {f"encoder.{i}.conv.weight": (4, 3 if i == 0 else 4, 3, 3) for i in range(3)}
    expected |= {f"encoder.{i}.bn.{name}": (4,) for i in range(3) for name in bn}
    expected |= {f"decoder.{i}.deconv.weight": (4, 4, 3, 3) for i in (1, 2)}
    expected |= {f"decoder.{i}.bn.{name}": (4,) for i in (1, 2) for name in bn}
    expected |= {"decoder.0.deconv.weight": (4, 3, 3, 3), "decoder.0.deconv.bias": (3,)}
    tensors = load_file(files("network_1")[0]["safetensors"])
    assert {name: tensor.shape for name, tensor in tensors.items()} == expected
    segmenter = load_file(files("segmenter")[0]["safetensors"])
    del expected["decoder.0.deconv.weight"], expected["decoder.0.deconv.bias"]
    expected |= {"decoder.classes.weight": (3, 4, 3, 3), "decoder.classes.bias": (3,)}
    assert {name: tensor.shape for name, tensor in segmenter.items()} == expected
    # Three filters of network_3 at the image, 8 at the features of 2x1; hidden layers of 64.
    head = {k: t.shape for k, t in load_file(files("fully_connected")[0]["safetensors"]).items()}
    head = {name: shape for name, shape in head.items() if name.startswith("head.")}
    assert head == {
        **{"head.fc0.weight": (64, 16), "head.fc0.bias": (64,)},
        **{"head.fc1.weight": (64, 64), "head.fc1.bias": (64,)},
        **{"head.classes.weight": (3, 64), "head.classes.bias": (3,)},
    }


def test_onnx_leaves_the_batch_and_where_it_can_the_size_open(files: Any) -> None:
    def shapes(name: str) -> list[list[int | str]]:
        model = onnx.load(files(name)[0]["onnx"])
        document = json.loads({it.key: it.value for it in model.metadata_props}["symskip_jax"])
        assert document["network"]["mean"] == list(NORMALIZATION.mean)
        values = (*model.graph.input, *model.graph.output)
        return [
            [d.dim_param or d.dim_value for d in it.type.tensor_type.shape.dim] for it in values
        ]

    open_shape = ["batch", "height", "width", 3]
    assert shapes("network_1") == [open_shape, open_shape]
    assert shapes("segmenter") == [open_shape, [*open_shape[:3], len(CLASSES)]]
    assert shapes("fully_connected") == [["batch", 33, 16, 3], ["batch", len(CLASSES)]]


@pytest.mark.parametrize("form", FORMATS)
def test_the_same_export_is_the_same_file_and_no_other_is_replaced(
    form: str, files: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = files("network_1")[0][form]
    content = path.read_bytes()
    assert str(ROOT).encode() not in content and b"site-packages" not in content
    again = ["export", "--workdir", str(path.parent), "--format", form, "--out"]
    assert cli.main([*again, str(path)]) == 0
    assert path.read_bytes() == content
    capsys.readouterr()
    (other := tmp_path / "other").write_bytes(b"mine")
    assert cli.main([*again, str(other)]) == cli.EXIT_WRONG_INPUT
    assert cli.main([*again, str(path), "--data-license=CC0"]) == cli.EXIT_WRONG_INPUT
    lines = capsys.readouterr().err.splitlines()
    assert [str(other) in lines[0], f"{path}.md" in lines[1], len(lines)] == [True, True, 2]
    assert other.read_bytes() == b"mine" and {*tmp_path.iterdir()} == {other}


def test_the_card_tells_what_the_file_is(tmp_path: Path) -> None:
    workdir = tmp_path / "run"
    exported.save_run(workdir, *THREE_LAYERS, task="classification", step=7)
    records = [
        {"step": 3, "epoch": 0.5, "split": "test", "accuracy": 0.25},
        {"step": 6, "epoch": 1.0, "split": "test", "accuracy": 0.5, "seconds": 1.0},
        {"step": 7, "epoch": 1.2, "split": "train", "accuracy": 0.75},
        {"step": 9, "epoch": 1.5, "split": "test", "accuracy": 0.875},
    ]
    (workdir / "metrics.jsonl").write_text("".join(json.dumps(it) + "\n" for it in records))
    words = ["export", str(workdir), "--format=safetensors", "--data-license", "CC BY 4.0"]
    assert cli.main(words) == 0
    (path,) = (workdir / "exports").glob("*.safetensors")
    assert path.name == "classifier_00000007.safetensors"
    card = path.with_name(f"{path.name}.md").read_text()
    assert hashlib.sha256(path.read_bytes()).hexdigest() in card
    for part in (
        *(
            "| accuracy | 0.5 |",
            "after step 6; the file is of step 7",
            "CC BY 4.0",
            "digits, train",
        ),
        *("0 cat, 1 dog, 2 a \\| b", "model.n = 4", "110.5000, 120.2500, 130.1250"),
        f"torch_file.load('{path.name}')",
    ):
        assert part in card, part
    assert "0.75" not in card and "0.875" not in card and "seconds" not in card
