import archives
import numpy as np
import pytest
import tensorflow_datasets as tfds
from data_helpers import user_error

from symskip_jax.data import named_subsets, tfds_source
from symskip_jax.data.archives.importing import import_archives
from symskip_jax.data.named_subsets import read_class_list
from symskip_jax.data.sources import open_source
from symskip_jax.data.splits import draw_evenly

ANIMALS = ("n01514668", "n02124075")  # cock, Egyptian cat
VEHICLES = ("n02687172", "n04612504")  # aircraft carrier, yawl
NEITHER = ("n01440764", "n07753592")  # tench, banana


pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def data_dir(tmp_path):
    wnids = [*NEITHER, *VEHICLES, *ANIMALS]
    path = archives.write(tmp_path / "train.tar", archives.imagenet_train(wnids, per_class=3)[0])
    import_archives("imagenet2012", [path], str(tmp_path / "data"), any_checksum=True)
    return tmp_path / "data"


def wnids_of(subset, data_dir):
    source = open_source("tfds:imagenet2012", subset, str(data_dir))
    assert source.class_names is not None and source.name == f"tfds:imagenet2012 {subset}"
    labels = [source[i].label for i in range(len(source))]
    assert source.labels().tolist() == labels
    return [source.class_names[label] for label in labels]


def test_animals_and_vehicles(data_dir):
    assert wnids_of("animals", data_dir) == [wnid for wnid in ANIMALS for _ in range(3)]
    assert wnids_of("vehicles", data_dir) == [wnid for wnid in VEHICLES for _ in range(3)]


def test_animals_among_the_images_for_validation(tmp_path):
    wnids = tfds.core.tfds_path("datasets/imagenet2012/validation_labels.txt").read_text().split()
    known = {it: {wnid for wnid, _ in read_class_list(it)} for it in ("animals", "vehicles")}
    numbers = range(1, 31)
    path = archives.write(tmp_path / "val.tar", archives.imagenet_validation(numbers)[0])
    import_archives("imagenet2012", [path], str(tmp_path / "data"), any_checksum=True)
    for name, chosen in known.items():
        expected = [wnids[number - 1] for number in numbers if wnids[number - 1] in chosen]
        assert expected and wnids_of(f"{name}_validation", tmp_path / "data") == expected


def test_where_there_are_more_images_they_are_drawn_evenly(data_dir, monkeypatch):
    monkeypatch.setattr(named_subsets, "NUM_DRAWN", 4)
    drawn = wnids_of("animals", data_dir)
    assert sorted(drawn) == [wnid for wnid in sorted(ANIMALS) for _ in range(2)]
    assert drawn == wnids_of("animals", data_dir)


def test_without_a_list_of_labels_they_are_read_once(data_dir, own_cache, caplog, monkeypatch):
    monkeypatch.setattr(tfds_source, "LARGE", 18)
    expected = wnids_of("vehicles", data_dir)
    (data_dir / "imagenet2012/5.1.0/labels-train.npy").unlink()
    assert not caplog.records
    assert wnids_of("vehicles", data_dir) == expected
    (record,) = caplog.records
    assert "labels of 18 images" in record.getMessage()
    (kept,) = (own_cache / "symskip_jax" / "labels").iterdir()
    assert wnids_of("vehicles", data_dir) == expected and len(caplog.records) == 1
    kept.write_bytes(b"damaged")
    assert wnids_of("vehicles", data_dir) == expected and len(caplog.records) == 2


def test_a_damaged_list_of_subsets_is_named(data_dir):
    path = data_dir / "imagenet2012/5.1.0/subsets.json"
    for content in ("{", '{"a": {"split": "train", "indices": [18]}}', '{"a": 1}', "[]"):
        path.write_text(content)
        message = user_error(lambda: open_source("tfds:imagenet2012", "a", str(data_dir)))
        assert str(path) in message
    path.write_text('{"a": {"split": "train", "indices": [17, 0]}}')
    assert wnids_of("a", data_dir) == [ANIMALS[1], NEITHER[0]]


def test_the_lists_are_of_classes_and_have_no_class_in_common():
    labels = tfds.core.tfds_path("datasets/imagenet2012/labels.txt").read_text().split()
    animals, vehicles = (
        [wnid for wnid, _ in read_class_list(it)] for it in ("animals", "vehicles")
    )
    assert set(animals) <= set(labels) and set(vehicles) <= set(labels)
    assert not set(animals) & set(vehicles)
    # 59 birds and 218 mammals.
    assert (len(animals), len(vehicles)) == (277, 72)
    assert dict(read_class_list("vehicles"))["n04612504"].startswith("yawl")


def test_an_even_draw_takes_small_classes_whole():
    labels = np.repeat([4, 1, 7], [2, 10, 10])
    drawn = draw_evenly(labels, 12, 0)
    assert np.unique(labels[drawn], return_counts=True)[1].tolist() == [5, 2, 5]
    assert len(set(drawn.tolist())) == 12 and (np.diff(drawn) > 0).all()
    for num_drawn in (1, 2, 3, 21, 22):
        counts = np.unique(labels[draw_evenly(labels, num_drawn, 3)], return_counts=True)[1]
        assert counts.sum() == num_drawn
    assert draw_evenly(labels, 12, 0).tolist() != draw_evenly(labels, 12, 1).tolist()
