"""The public names and their signatures, as they stand in the source; nothing is imported.

A module is public whose docstring says "Public: ", and its names are those of its `__all__`. Other
names of ours in a signature are written out, so that a type is promised and not what we call it.

    python tests/public_api.py > tests/public_api.txt

is run after a change that is meant.
"""

import ast
import copy
import functools
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

Function = ast.FunctionDef
Definition = ast.FunctionDef | ast.ClassDef


@functools.cache
def parse(module: str) -> ast.Module:
    path = ROOT.joinpath(*module.split("."))
    return ast.parse(
        (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text()
    )


def says_public(module: str) -> bool:
    return bool(re.search(r"^Public: ", ast.get_docstring(parse(module)) or "", re.MULTILINE))


@functools.cache
def public() -> dict[str, list[str]]:
    """The names of each public module."""
    paths = [it.relative_to(ROOT).with_suffix("") for it in (ROOT / "symskip_jax").rglob("*.py")]
    modules = sorted(".".join(it.parts).removesuffix(".__init__") for it in paths)
    return {module: exported(module) for module in modules if says_public(module)}


def exported(module: str) -> list[str]:
    found = find(module, "__all__")
    assert found and isinstance(found[1], ast.Assign), f"{module} says Public and has no __all__"
    return ast.literal_eval(found[1].value)


def statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for node in body:
        yield from statements(node.body) if isinstance(node, ast.If) else [node]


def find(module: str, name: str) -> tuple[str, ast.stmt] | None:
    """Where a name is written down, whatever it was imported through; None if not in here."""
    for node in statements(parse(module).body):
        match node:
            case ast.ImportFrom(module=str(origin)) if origin.startswith("symskip_jax"):
                for alias in node.names:
                    if name == (alias.asname or alias.name):
                        return find(origin, alias.name)
            case ast.FunctionDef() | ast.ClassDef() if node.name == name:
                return module, node
            case ast.Assign(targets=[ast.Name(id=target)]) if target == name:
                return module, node
            case ast.AnnAssign(target=ast.Name(id=target)) if target == name:
                return module, node
    return None


def definition(module: str, name: str) -> tuple[str, Definition]:
    found = find(module, name)
    assert found and isinstance(found[1], Definition), f"{module}.{name} is written down nowhere"
    return found[0], found[1]


@functools.cache
def public_definitions() -> set[tuple[str, str]]:
    """The module that each public name is written down in, and its name there."""
    given = [definition(module, name) for module, names in public().items() for name in names]
    return {(home, node.name) for home, node in given}


def methods(definition: ast.ClassDef) -> list[Function]:
    """What users call: no name with an underscore but two, no `setup`, which Flax calls."""
    nodes = [node for node in definition.body if isinstance(node, Function)]
    called = ("__init__", "__call__")
    return [it for it in nodes if it.name in called or it.name[0] != "_" and it.name != "setup"]


def raises(module: str, function: Function, seen: frozenset[str] = frozenset()) -> bool:
    """Whether a function of a module raises, or one of ours that it calls by its name."""
    nodes = [*ast.walk(function)]
    if any(isinstance(it, ast.Raise) for it in nodes):
        return True
    names = {
        it.func.id for it in nodes if isinstance(it, ast.Call) and isinstance(it.func, ast.Name)
    }
    called = [found for it in sorted(names - seen) if (found := find(module, it))]
    return any(
        raises(home, node, seen | names) for home, node in called if isinstance(node, Function)
    )


class WrittenOut(ast.NodeTransformer):
    """Puts what it stands for in the place of each name of ours that is not public."""

    def __init__(self, module: str) -> None:
        self.module = module

    def visit_arg(self, node: ast.arg) -> ast.arg:
        if isinstance(node.annotation, ast.AST):
            node.annotation = self.visit(node.annotation)
        return node

    def visit_Name(self, node: ast.Name) -> ast.expr:
        found = find(self.module, node.id)
        if found is None or (found[0], node.id) in public_definitions():
            return node
        home, meant = found
        match meant:
            case ast.Assign(value=value) | ast.AnnAssign(value=ast.expr() as value):
                return written_out(value, home)
            case ast.FunctionDef(body=[*_, ast.Return(value=ast.expr() as value)]):
                assert len(meant.body) <= 2, f"{home}.{node.id} is too long to stand in a signature"
                names = ", ".join(it.arg for it in meant.args.args)
                return ast.parse(f"lambda {names}: {ast.unparse(value)}", mode="eval").body
        raise AssertionError(f"{home}.{node.id} stands in a public signature and is private")


def written_out(node, module: str):
    return WrittenOut(module).visit(copy.deepcopy(node))


def heading(function: Function, module: str) -> str:
    kinds = "".join(f"@{ast.unparse(it)} " for it in function.decorator_list)
    arguments = ast.unparse(written_out(function.args, module))
    returns = (
        f" -> {ast.unparse(written_out(function.returns, module))}" if function.returns else ""
    )
    return f"{kinds}def {function.name}({arguments}){returns}"


def lines_of(module: str, name: str) -> Iterator[str]:
    home, node = definition(module, name)
    if isinstance(node, Function):
        yield heading(node, home)
        return
    bases = ", ".join(ast.unparse(written_out(it, home)) for it in node.bases)
    yield f"class {name}({bases})" if bases else f"class {name}"
    for part in node.body:
        if isinstance(part, ast.AnnAssign):
            kind = ast.unparse(written_out(part.annotation, home))
            value = f" = {ast.unparse(written_out(part.value, home))}" if part.value else ""
            yield f"    {ast.unparse(part.target)}: {kind}{value}"
    yield from (f"    {heading(method, home)}" for method in methods(node))


def lines() -> Iterator[str]:
    for module, names in public().items():
        yield f"# {module}"
        for name in names:
            yield from lines_of(module, name)


if __name__ == "__main__":
    print("\n".join(lines()))
