"""Labels of a folder's images out of its labels.csv."""

import logging
from pathlib import Path

import numpy as np
import pytest
from data_helpers import user_error, write_image

from symskip_jax.data.resident import load_resident
from symskip_jax.data.sources import open_source


@pytest.fixture
def root(tmp_path) -> Path:
    for index in range(12):
        write_image(tmp_path / "some" / f"{index:02}.png", np.full((4, 4), index, np.uint8))
    return tmp_path


def write(root: Path, text: str, encoding: str = "utf-8") -> None:
    (root / "labels.csv").write_text(text, encoding=encoding)


def labels(root: Path, split: str) -> dict[int, str | None]:
    """The class of each image, which is known by its grey level."""
    data = load_resident(open_source(f"folder:{root}", split))
    names = data.class_names or ()
    return {
        int(image[0, 0, 0]): names[label] if label >= 0 else None
        for image, label in zip(data.images_nhwc, data.labels_n, strict=True)
    }


ROWS = "".join(f"some/{index:02}.png,{'owl' if index % 2 else 'bee'}\n" for index in range(10))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_labels_are_those_of_the_file_and_the_rest_has_none(root, encoding, caplog):
    write(root, "file,label\n" + ROWS, encoding)
    with caplog.at_level(logging.WARNING):
        source = open_source(f"folder:{root}", "train")
    assert not caplog.text and source.class_names == ("bee", "owl")
    found = labels(root, "train") | labels(root, "test")
    assert found == {i: ("owl" if i % 2 else "bee") if i < 10 else None for i in range(12)}
    np.testing.assert_array_equal(source.labels(), load_resident(source).labels_n)


def test_quotes_line_ends_order_and_other_columns(root):
    write(root, 'note, label,file\r\n"a, b",Ångström,./some/00.png\r\n\r\n,"x,y",some//01.png\r\n')
    found = labels(root, "train") | labels(root, "test")
    assert found[0] == "Ångström" and found[1] == "x,y" and found[2] is None


def test_an_empty_label_is_none_and_the_same_row_twice_does_no_harm(root):
    write(root, "file,label\nsome/00.png,bee\nsome/01.png,\nsome/00.png,bee\n")
    found = labels(root, "train") | labels(root, "test")
    assert found == {0: "bee"} | dict.fromkeys(range(1, 12))


def test_a_file_without_rows_leaves_all_images_unlabelled(root):
    write(root, "file,label\n")
    assert open_source(f"folder:{root}", "train").features.label_kind == "none"


def test_splits_of_the_file(root):
    write(root, "file,label,split\nsome/00.png,bee,val\nsome/01.png,owl,train\nsome/02.png,,val\n")
    assert labels(root, "val") == labels(root, "test") == {0: "bee", 2: None}
    assert labels(root, "train") == {1: "owl"} | dict.fromkeys(range(3, 12))
    assert open_source(f"folder:{root}", "val").class_names == ("bee", "owl")
    message = user_error(lambda: open_source(f"folder:{root}", "valid"))
    assert "no split 'valid'" in message and "train, val" in message


def test_folders_of_splits_stay_splits(root):
    (root / "some").rename(root / "train")
    write_image(root / "test" / "a.png", np.full((4, 4), 99, np.uint8))
    write(root, "file,label\ntrain/03.png,bee\ntest/a.png,owl\n")
    assert labels(root, "test") == {99: "owl"} and labels(root, "train")[3] == "bee"
    assert len(labels(root, "train")) == 12


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("file,label\nsome/00.png,bee\nsome/99.png,bee\n", ["line 3", "'some/99.png'"]),
        ("file,label\n../x.png,bee\n", ["line 2", "'../x.png'"]),
        (
            "file,label\nsome/00.png,bee\n\nsome/00.png,owl\n",
            ["line 4", "'owl'", "'some/00.png'", "line 2", "'bee'"],
        ),
        ("file;label\nsome/00.png;bee\n", ["line 1", "'file' and 'label'", "'file;label'"]),
        ("file,class\nsome/00.png,bee\n", ["line 1", "'file' and 'label'", "'file,class'"]),
        ("file,label,label\nsome/00.png,bee,owl\n", ["line 1", "each once", "'file,label,label'"]),
        ("", ["line 1", "'file' and 'label'"]),
        ("file,label\nsome/00.png\n", ["line 2", "1 values for 2 columns"]),
        ("file,label,split\nsome/00.png,bee,dev\n", ["line 2", "'dev'", "train, test, val"]),
        ('file,label\nsome/00.png,"bee\n', ["no CSV"]),
        (
            "file,label,split\nsome/00.png,bee,val\nsome/00.png,bee,test\n",
            ["line 3", "'bee,test'", "line 2", "'bee,val'"],
        ),
    ],
)
def test_a_wrong_line_is_named(root, text, parts):
    write(root, text)
    message = user_error(lambda: open_source(f"folder:{root}", "train"))
    for part in (str(root / "labels.csv"), *parts):
        assert part in message, message


def test_other_encodings_are_refused(root):
    write(root, "file,label\nsome/00.png,é\n", "latin-1")
    assert "not UTF-8" in user_error(lambda: open_source(f"folder:{root}", "train"))


def test_the_fingerprint_tells_paths_labels_and_splits_apart(root):
    def fingerprint(split="train"):
        return open_source(f"folder:{root}", split).fingerprint()

    write(root, "file,label\n" + ROWS)
    before = fingerprint()
    assert before == fingerprint() != fingerprint("test") and len(before) == 16
    write(root, "file,label\n" + ROWS.replace("owl", "cow"))
    renamed = fingerprint()
    write(root, "file,label\n" + ROWS.replace("bee", "fly", 1))
    assert len({before, renamed, fingerprint()}) == 3
    (root / "labels.csv").unlink()
    unlabelled = fingerprint()
    (root / "some" / "05.png").rename(root / "some" / "5.png")
    assert len({before, unlabelled, fingerprint()}) == 3
