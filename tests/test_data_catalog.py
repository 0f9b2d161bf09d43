import subprocess
import sys

import archives
from data_helpers import noise_images, write_tfds

from symskip_jax.data.archives.importing import import_archives
from symskip_jax.data.catalog import list_datasets
from symskip_jax.data.sources import FORMS, open_source

SPLITS = {"train": (noise_images(3, 4, 4, 3), [0, 1, 0]), "test": (noise_images(1, 4, 4, 3), [1])}


def test_every_form_is_listed_without_any_data(tmp_path):
    listed = list_datasets(str(tmp_path / "nowhere"))
    assert [name for name, _, _ in listed] == list(FORMS.values())
    assert all(description and where for _, description, where in listed)


def test_prepared_datasets_are_listed_by_names_that_open_them(tmp_path):
    write_tfds(tmp_path, SPLITS)
    folder = write_tfds(tmp_path, {"train": SPLITS["train"]}, config="large", version="2.0.1")
    found = [it for it in list_datasets(str(tmp_path)) if it.name.startswith("tfds:s")]
    assert [it.name for it in found] == ["tfds:scribbles:1.0.0", "tfds:scribbles/large:2.0.1"]
    assert [it.description for it in found] == ["train 3, test 1", "train 3"]
    assert found[1].where == str(folder)
    for it in found:
        assert len(open_source(it.name, "train", str(tmp_path))) == 3


def test_an_imported_devkit_is_listed_by_a_name_that_opens_it(tmp_path):
    lists = {"train": ["a"], "val": ["b"], "trainval": ["a", "b"]}
    archive = archives.write(tmp_path / "packed", archives.voc("2012", ["a", "b"], lists))
    import_archives("voc2012", [archive], str(tmp_path), any_checksum=True)
    (tmp_path / "VOCdevkit" / "VOCcode").mkdir()
    (found,) = (it for it in list_datasets(str(tmp_path)) if it.name.startswith("voc:/"))
    path = str(tmp_path / "VOCdevkit" / "VOC2012")
    assert found == (f"voc:{path}", "train 1, val 1, trainval 2", path)
    assert len(open_source(found.name, "trainval")) == 2


def test_what_cannot_be_read_says_so(tmp_path):
    write_tfds(tmp_path, SPLITS, file_format="tfrecord")
    (found,) = (it for it in list_datasets(str(tmp_path)) if "scribbles" in it.name)
    assert "tfrecord" in found.description and "cannot be read" in found.description


def test_folders_that_are_no_datasets_are_left_out(tmp_path):
    for folder, text in (
        ("cats/1.0.0", "not json"),
        ("dogs/1.0.0", "[]"),
        ("emus/1.0.0", '{"splits": [{}]}'),
        ("ants/incomplete.X_1.0.0", "{}"),
    ):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "dataset_info.json").write_text(text)
    assert [it.name for it in list_datasets(str(tmp_path))] == list(FORMS.values())


def test_the_default_folder_is_that_of_tfds(tmp_path, monkeypatch):
    write_tfds(tmp_path, SPLITS)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    assert "tfds:scribbles:1.0.0" in [it.name for it in list_datasets()]


def test_listing_imports_nothing_slow():
    code = (
        "import sys; from symskip_jax.data.catalog import list_datasets; list_datasets();"
        "print([m for m in ('jax', 'tensorflow_datasets', 'numpy') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "[]", result.stderr
