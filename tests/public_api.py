"""The signatures of the public names, as they stand in the source.

    python tests/public_api.py > tests/public_api.txt

is run after a change of them that is meant.
"""

import ast
import functools
import inspect
from collections.abc import Iterator
from pathlib import Path

import symskip_jax


@functools.cache
def parse(path: str) -> ast.Module:
    return ast.parse(Path(path).read_text())


def definition(name: str) -> ast.FunctionDef | ast.ClassDef:
    """Where a public name is written down, without what it computes."""
    found = getattr(symskip_jax, name)
    return next(
        node
        for node in parse(inspect.getfile(found)).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name
    )


def methods(definition: ast.ClassDef) -> list[ast.FunctionDef]:
    """What users call: no name with an underscore but `__call__`, no `setup`, which Flax calls."""
    nodes = [node for node in definition.body if isinstance(node, ast.FunctionDef)]
    return [it for it in nodes if it.name == "__call__" or it.name[0] != "_" and it.name != "setup"]


def heading(function: ast.FunctionDef) -> str:
    returns = f" -> {ast.unparse(function.returns)}" if function.returns else ""
    return f"def {function.name}({ast.unparse(function.args)}){returns}"


def lines() -> Iterator[str]:
    for name in symskip_jax.__all__:
        node = definition(name)
        if isinstance(node, ast.FunctionDef):
            yield heading(node)
            continue
        bases = ", ".join(map(ast.unparse, node.bases))
        yield f"class {name}({bases})" if bases else f"class {name}"
        for part in node.body:
            if isinstance(part, ast.AnnAssign):
                yield f"    {ast.unparse(part)}"
        for method in methods(node):
            kinds = "".join(f"@{ast.unparse(it)} " for it in method.decorator_list)
            yield f"    {kinds}{heading(method)}"


if __name__ == "__main__":
    print("\n".join(lines()))
