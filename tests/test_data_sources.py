import subprocess
import sys

import numpy as np
import pytest
from data_helpers import user_error

from symskip_jax.data.sources import FORMS, open_source


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("digit", "'digits'"),
        ("Digits", "'digits'"),
        ("tfd:cifar10", "'tfds:cifar10'"),
        ("cifar10", "'tfds:cifar10'"),
        ("folders:photos", "'folder:photos'"),
        ("folder:", "'folder:PATH'"),
        ("photos/train.npz", "'npz:photos/train.npz'"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest_and_all_the_forms(name, hint):
    message = user_error(lambda: open_source(name, "train"))
    assert f"'{name}'" in message and f"did you mean {hint}?" in message
    assert all(form in message for form in FORMS.values())


@pytest.mark.parametrize("name", ["", "s3:bucket", "%"])
def test_a_name_near_to_nothing_is_answered_with_the_forms(name):
    message = user_error(lambda: open_source(name, "train"))
    assert "did you mean" not in message
    assert all(form in message for form in FORMS.values())


def test_a_folder_named_bare_is_taken_for_a_folder(tmp_path):
    assert f"'folder:{tmp_path}'" in user_error(lambda: open_source(str(tmp_path), "train"))


def test_a_file_of_arrays_waits_for_no_large_library(tmp_path):
    np.savez(tmp_path / "a.npz", train_images=np.zeros((2, 4, 4), np.uint8))
    code = (
        "import sys; from symskip_jax.data.sources import open_source;"
        f"open_source('npz:{tmp_path / 'a.npz'}', 'train');"
        "print([m for m in ('jax', 'tensorflow_datasets', 'cv2', 'sklearn') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "[]", result.stderr
