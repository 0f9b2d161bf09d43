"""What the tests of the data sources share."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordWriter
from tensorflow_datasets.proto import tf_example_pb2

from symskip_jax.errors import UserError


def user_error(call: Callable[[], object]) -> str:
    """The message of the UserError that the call raises, which must be a single line."""
    with pytest.raises(UserError) as caught:
        call()
    message = str(caught.value)
    assert message and "\n" not in message
    return message


def noise_images(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def write_image(path: Path, image: np.ndarray, *params: int) -> None:
    """Write an RGB, RGBA or grey image in the format of the path's extension."""
    path.parent.mkdir(parents=True, exist_ok=True)
    swap = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}
    if image.ndim == 3:
        image = cv2.cvtColor(image, swap[image.shape[-1]])
    assert cv2.imwrite(str(path), image, list(params))


def write_tfds(
    data_dir: Path,
    splits: dict[str, tuple[np.ndarray, list[int] | list[dict[str, list[Any]]]]],
    *,
    config: str = "",
    version: str = "1.0.0",
    features: dict | None = None,
    file_format: str = "array_record",
) -> Path:
    """Write `scribbles` as TFDS would, but without TensorFlow: {split: (images, labels)}.

    A label is a number, or the numbers, or a text as bytes, of several features by name.
    """
    folder = data_dir / "scribbles" / config / version
    folder.mkdir(parents=True)
    features = features or {
        "image": tfds.features.Image(shape=(None, None, 3)),
        "label": tfds.features.ClassLabel(names=["cat", "dog"]),
    }
    tfds.features.FeaturesDict(features).save_config(folder)
    for split, (images, labels) in splits.items():
        file = folder / f"scribbles-{split}.array_record-00000-of-00001"
        writer = ArrayRecordWriter(str(file), "group_size:1")
        for image, label in zip(images, labels, strict=True):
            example = tf_example_pb2.Example()
            png = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()
            example.features.feature["image"].bytes_list.value.append(png)
            for name, values in (label if isinstance(label, dict) else {"label": [label]}).items():
                feature = example.features.feature[name]
                is_text = any(isinstance(it, bytes) for it in values)
                (feature.bytes_list if is_text else feature.int64_list).value.extend(values)
            writer.write(example.SerializeToString())
        writer.close()
    info = {
        "name": "scribbles",
        "version": version,
        "fileFormat": file_format,
        "splits": [
            {
                "name": split,
                "shardLengths": [str(len(labels))],
                "numBytes": "1",
                "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
            }
            for split, (_, labels) in splits.items()
        ],
    }
    (folder / "dataset_info.json").write_text(json.dumps(info))
    return folder
