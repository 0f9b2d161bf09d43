"""The fields of a configuration and the files that set them, as Markdown."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from symskip_jax.config import base_config, flat_items

ROOT = Path(__file__).resolve().parents[2]

_FIELD = re.compile(r"^ +(config|training)\.([\w.]+) = .*?  # (.*)$", re.MULTILINE)


def fields() -> str:
    """Every field: its default, and the comment beside it."""
    return "\n".join(_field_lines())


def meanings() -> dict[str, str]:
    """The comment beside each field in symskip_jax/config.py, by dotted key."""
    source = (ROOT / "symskip_jax" / "config.py").read_text()
    found: dict[str, str] = {}
    for owner, name, comment in _FIELD.findall(source):
        owners = ("pretrain.", "finetune.") if owner == "training" else ("",)
        found |= {f"{it}{name}": comment for it in owners}
    return found


def _field_lines() -> Iterator[str]:
    said, values = meanings(), dict(flat_items(base_config()))
    for section in dict.fromkeys(key.rpartition(".")[0] for key in said):
        yield f"\n## {section or 'seed'}\n\n| field | default | meaning |\n| --- | --- | --- |"
        for key in said:
            if key.rpartition(".")[0] == section:
                value = '""' if values[key] == "" else values[key]
                # It may break before a word where there is little room.
                shown = re.sub(r"(?<=[._])", "<wbr>", key)
                name = f'<code id="config.{key}">{shown}</code>'
                yield f"| {name} | `{value}` | {_prose(said[key])} |"


def files() -> str:
    """What each file in configs/ says of itself."""
    return "\n".join(_file_lines())


def _file_lines() -> Iterator[str]:
    for path in sorted((ROOT / "configs").glob("*.py")):
        said = ast.get_docstring(ast.parse(path.read_text())) or ""
        yield f"\n### {path.stem}\n\n{said.replace('+-', '±')}\n"


def _prose(text: str) -> str:
    return re.sub(r"([|<*_\[])", r"\\\1", text)
