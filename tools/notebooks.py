"""Runs a notebook of colab/ from its script, and stores it with what came out.

    .venv/bin/python tools/notebooks.py colab/quickstart.py
    .venv/bin/python tools/notebooks.py colab/quickstart.py --out /tmp/small.ipynb --set 'NAME = 1'

The script is the source; the cell that installs is kept and not run. Each notebook runs in a new
folder, with what is installed here.
"""

import argparse
import os
import re
import sys
import tempfile
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

LIMIT_BYTES = 60_000  # of what a cell says in text; more is a mistake
# `!` runs a command on a terminal, so it draws bars, and moves the cursor over them.
BAR = re.compile(r"^.*(?:━|\d/\d+ \S*\d\d:\d\d).*\n", re.MULTILINE)  # a narrow one has no ━
CURSOR = re.compile(r"\x1b\[[?\d;]*[A-Zhl]")


def execute(notebook: nbformat.NotebookNode, folder: Path, settings: list[str]) -> None:
    """Runs all cells but those tagged `install`, in a folder; the first error is raised.

    The statements of `settings` run at the end of the cell tagged `parameters`, and are not kept.
    """
    (cell,) = (it for it in notebook.cells if "parameters" in it.metadata.get("tags", []))
    kept = cell.source
    cell.source = "\n".join([kept, *settings])
    os.environ["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    client = NotebookClient(
        notebook,
        timeout=3600,
        kernel_name="python3",
        skip_cells_with_tag="install",
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute()
    cell.source = kept


def without_bars(text: str) -> str:
    """Returns what a command leaves on a terminal, with its colours, but for its progress bars."""
    return BAR.sub("", CURSOR.sub("", text).replace("\r\n", "\n"))


def tidy(notebook: nbformat.NotebookNode) -> None:
    """Drops what changes from run to run and says nothing; checks that outputs are small."""
    notebook.metadata.pop("language_info", None)
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
        for output in cell.get("outputs", []):
            if "text" in output:
                output.text = without_bars(output.text)
        text = "".join(it.get("text", "") for it in cell.get("outputs", []))
        if len(text) > LIMIT_BYTES:
            raise ValueError(f"cell {number} prints {len(text)} bytes, more than {LIMIT_BYTES}")


def main() -> None:
    """Reads the command line, runs the notebook and writes it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("script", type=Path)
    parser.add_argument("--out", type=Path, help="default: beside the script")
    parser.add_argument("--set", action="append", default=[], help="a statement, after the others")
    arguments = parser.parse_args()
    notebook = jupytext.read(arguments.script)
    with tempfile.TemporaryDirectory() as folder:
        execute(notebook, Path(folder), arguments.set)
    tidy(notebook)
    jupytext.write(notebook, arguments.out or arguments.script.with_suffix(".ipynb"))


if __name__ == "__main__":
    main()
