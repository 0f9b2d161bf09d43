"""What a person reads beside an exported file, as Markdown."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from symskip_jax import __version__
from symskip_jax.interop.facts import NetworkFacts

_GIVES = {
    "encoder": "the deepest feature maps",
    "autoencoder": "the reconstruction, on the 0-255 scale",
    "classifier": "the logits of the classes",
    "segmenter": "the logits of the classes, for each pixel",
}
_SHAPES = {
    "encoder": "[B, h, w, {last}]",
    "autoencoder": "[B, H, W, {channels}]",
    "classifier": "[B, {classes}]",
    "segmenter": "[B, H, W, {classes}]",
}


def model_card(
    *,
    name: str,
    form: str,
    sha256: str,
    num_bytes: int,
    parameters: int,
    network: NetworkFacts,
    step: int,
    figures: Mapping[str, Any] | None,
    how_learnt: str,
    data_license: str | None,
    settings: Mapping[str, Any],
    before: Sequence[tuple[str, str, Mapping[str, Any] | None]],
) -> str:
    """Returns the card of a file.

    Args:
        name: of the file.
        form: safetensors, stablehlo or onnx.
        sha256: of the file, in hexadecimals.
        num_bytes: of the file.
        parameters: how many numbers were learnt.
        network: what it is.
        step: of the checkpoint, in steps of the run.
        figures: what the run measured on its test images last, up to that step; empty for nothing,
            None where that was not recorded.
        how_learnt: a sentence: on which data, and what training started from.
        data_license: of the data; None where nobody said.
        settings: of the training, by dotted name.
        before: (title, a sentence, settings) of each training that this one built upon, the latest
            first; None for settings that were not recorded.
    """
    sections = [
        f"# {name}",
        f"The {_words(network)}, written by symskip_jax {__version__}.",
        "## What it is",
        _facts_table(name, form, sha256, num_bytes, parameters, network),
        "## Load it",
        _loading(name, form, network),
        "## Data",
        f"{how_learnt} Licence of the data: {data_license or 'unknown'}.",
        "## Measured by the run",
        _figures_table(step, figures),
        "## Configuration",
        _lines(settings),
    ]
    for title, how, theirs in before:
        sections += [f"## {title}", how, *([] if theirs is None else [_lines(theirs)])]
    return "\n\n".join(sections) + "\n"


def _words(network: NetworkFacts) -> str:
    if network.part == "encoder":
        return f"encoder of a {network.spec}"
    noun = {"autoencoder": "denoising auto-encoder"}.get(network.part, network.part)
    return f"{noun} made of a {network.spec}"


def _facts_table(
    name: str, form: str, sha256: str, num_bytes: int, parameters: int, network: NetworkFacts
) -> str:
    size = " x ".join(map(str, network.image_size))
    rows = {
        "file": f"`{name}`, {form}, {num_bytes:,} bytes",
        "sha256": f"`{sha256}`",
        "parameters": f"{parameters:,}",
        "layers": ", ".join(f"{k}x{k}/{s} {w}" for k, s, w in network.layers)
        + " (kernel/stride width)",
        "skips": _skips(network),
        "images": f"{network.channels} channels; trained on {size} pixels, "
        + ("takes any size" if network.any_size else "takes this size alone"),
        "mean, 0-255": _numbers(network.mean),
        "deviation, 0-255": _numbers(network.std),
        "gives": _GIVES[network.part],
    }
    if network.class_names is not None:
        rows["classes"] = ", ".join(f"{i} {_cell(it)}" for i, it in enumerate(network.class_names))
    return _table(("", ""), rows.items())


def _skips(network: NetworkFacts) -> str:
    if network.skip is None:
        return "no decoder"
    strength = "" if network.skip_strength == 1 else f", {network.skip_strength:.4g} times"
    return network.skip + strength


def _loading(name: str, form: str, network: NetworkFacts) -> str:
    shape = _SHAPES[network.part].format(
        last=network.layers[-1][2],
        channels=network.channels,
        classes=len(network.class_names or ()),
    )
    if form == "safetensors":
        code = f"""\
from symskip_jax.interop import torch_file  # needs torch

model = torch_file.load({name!r})
outputs = model(images)  # [B, {network.channels}, H, W], 0 to 255; outputs are channels first"""
    elif form == "onnx":
        code = f"""\
import onnxruntime

session = onnxruntime.InferenceSession({name!r})
(outputs,) = session.run(None, {{"images": images}})  # uint8 [B, H, W, {network.channels}]"""
    else:
        code = f"""\
from jax import export

with open({name!r}, "rb") as file:
    model = export.deserialize(bytearray(file.read()))
outputs = model.call(images)  # uint8 [B, H, W, {network.channels}]"""
    given = "" if form == "safetensors" else f"\n\nOutputs: float32 {shape}."
    back = f"\n\nBack into a run: `symskip import {name} --workdir DIR`."
    return f"```python\n{code}\n```{given}{back if form == 'safetensors' else ''}"


def _figures_table(step: int, figures: Mapping[str, Any] | None) -> str:
    if figures is None:
        return f"What was measured up to step {step}, which this is, was not recorded."
    if not figures:
        return f"Nothing was measured up to step {step}, which this is."
    rows = [
        (_cell(key), f"{value:.6g}" if isinstance(value, float) else value)
        for key, value in figures.items()
        if key != "step"
    ]
    table = _table(("figure", "value"), rows)
    return (
        f"On the test images, after step {figures['step']}; the file is of step {step}.\n\n{table}"
    )


def _table(header: tuple[str, str], rows: Any) -> str:
    lines = [header, ("---", "---"), *rows]
    return "\n".join(f"| {key} | {value} |" for key, value in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.4f}" for value in values)


def _lines(settings: Mapping[str, Any]) -> str:
    lines = (f"{key} = {json.dumps(value)}" for key, value in settings.items())
    return "\n".join(("```text", *lines, "```"))
