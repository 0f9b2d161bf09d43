"""Labels of a folder's images, out of a CSV file in it."""

import csv
from collections.abc import Collection
from pathlib import Path
from posixpath import normpath
from typing import NamedTuple

from symskip_jax.errors import UserError

LABEL_FILE = "labels.csv"


class Row(NamedTuple):
    """What the file says of one image: label and split, "" where it says nothing, and its line."""

    label: str
    split: str
    line: int


def read_label_file(
    path: Path, images: Collection[str], splits: Collection[str]
) -> tuple[dict[str, Row], bool]:
    """Read a CSV file with the columns `file`, `label` and, perhaps, `split`.

    It is UTF-8, with or without a byte order mark. Other columns are passed over. An image whose
    label is left empty has none.

    Args:
        path: of the CSV file.
        images: the paths that `file` may name, relative to the folder of the CSV file.
        splits: the names that `split` may have.

    Returns:
        The rows by the path of the image, and whether there is a column `split`.

    Raises:
        UserError: it cannot be read, lacks a column, names an image that is not there or the same
            one with two labels, or a split that there cannot be; the line is named.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _read_rows(csv.reader(file, strict=True), path, images, splits)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8: save it as UTF-8") from error


def _read_rows(
    reader, path: Path, images: Collection[str], splits: Collection[str]
) -> tuple[dict[str, Row], bool]:
    rows: dict[str, Row] = {}
    try:
        columns = [name.strip() for name in next(reader, [])]
        if columns.count("file") != 1 or columns.count("label") != 1:
            raise UserError(
                f"{path} line 1 must name the columns, with commas between, among them 'file' and "
                f"'label', each once: it is '{_line(','.join(columns))}'"
            )
        for values in filter(None, reader):
            where = f"{path} line {reader.line_num}"
            if len(values) != len(columns):
                raise UserError(f"{where} has {len(values)} values for {len(columns)} columns")
            fields = dict(zip(columns, map(str.strip, values), strict=True))
            row = Row(fields["label"], fields.get("split", ""), reader.line_num)
            file = normpath(fields["file"])
            if file not in images:
                raise UserError(
                    f"{where} names '{_line(fields['file'])}', which is no image in its folder"
                )
            if "split" in fields and row.split not in splits:
                raise UserError(
                    f"{where} has the split '{_line(row.split)}': it must be one of "
                    f"{', '.join(splits)}"
                )
            before = rows.setdefault(file, row)
            if before[:2] != row[:2]:
                said, said_before = (_line(",".join(filter(None, it[:2]))) for it in (row, before))
                raise UserError(
                    f"{where} says '{said}' of '{file}', of which line {before.line} says "
                    f"'{said_before}'"
                )
    except csv.Error as error:
        raise UserError(f"{path} line {reader.line_num} is no CSV: {error}") from error
    return rows, "split" in columns


def _line(text: str) -> str:
    """As much of it as fits into a line, without what would break one."""
    return "".join(it if it.isprintable() else repr(it)[1:-1] for it in text[:200])
