"""What `import symskip_jax` offers: listed, documented, typed, and not changed by accident."""

import ast
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest
from public_api import definition, lines, methods, parse

import symskip_jax

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "api.md").read_text()


def argument_names(function: ast.FunctionDef) -> list[str]:
    taken = function.args
    given = [*taken.posonlyargs, *taken.args, *taken.kwonlyargs]
    return [it.arg for it in given if it.arg not in ("self", "cls")]


def section(docstring: str, title: str) -> str:
    """Returns the indented lines below a heading of a docstring; "" where there is none."""
    found = re.search(rf"^{title}:\n((?:(?: .*)?\n)+)", inspect.cleandoc(docstring) + "\n", re.M)
    return found[1] if found else ""


def test_the_list_is_that_of_the_page() -> None:
    documented = re.findall(r"^::: symskip_jax\.(\w+)$", PAGE, re.MULTILINE)
    assert sorted(documented) == sorted(symskip_jax.__all__)


def test_names_are_there_for_people_type_checkers_and_stars() -> None:
    assert {*symskip_jax.__all__} <= {*dir(symskip_jax)}
    namespace: dict[str, object] = {}
    exec("from symskip_jax import *", namespace)
    assert {*symskip_jax.__all__} <= {*namespace}
    tree = ast.parse(inspect.getsource(symskip_jax))
    (checked,) = [it for it in tree.body if isinstance(it, ast.If)]
    typed = {alias.name: it.module for it in checked.body for alias in it.names}  # pyright: ignore
    assert sorted(typed) == sorted(symskip_jax.__all__)
    for name, module in typed.items():
        assert getattr(symskip_jax, name) is getattr(importlib.import_module(module), name)
    assert (ROOT / "symskip_jax" / "py.typed").exists()


def test_a_name_that_is_not_there_is_an_ordinary_mistake() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'pretrain_stap'"):
        symskip_jax.pretrain_stap  # noqa: B018
    with pytest.raises(ImportError, match="pretrain_stap"):
        exec("from symskip_jax import pretrain_stap")


def test_the_import_waits_for_what_is_asked_for() -> None:
    script = (
        "import sys, symskip_jax\n"
        "symskip_jax.__version__, dir(symskip_jax), symskip_jax.UserError\n"
        "print(*sorted({'jax', 'flax', 'numpy', 'orbax', 'ml_collections'} & set(sys.modules)))\n"
        "symskip_jax.psnr\n"
        "print(*sorted({'jax', 'flax', 'orbax'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["", "jax"]


@pytest.mark.parametrize("name", symskip_jax.__all__)
def test_a_docstring_says_what_goes_in_and_comes_out(name: str) -> None:
    node = definition(name)
    said = ast.get_docstring(node) or ""
    assert said and said.splitlines()[0].endswith((".", "]"))
    if isinstance(node, ast.FunctionDef):
        described = re.findall(r"^    (\w+): ", section(said, "Args"), re.MULTILINE)
        assert described == argument_names(node)
        returns = ast.unparse(node.returns) if node.returns else "None"
        assert bool(section(said, "Returns")) == (returns != "None")
        raises = [it for it in ast.walk(node) if isinstance(it, ast.Raise)]
        assert bool(section(said, "Raises")) >= bool(raises)
        return
    fields = [it.target.id for it in node.body if isinstance(it, ast.AnnAssign)]  # pyright: ignore
    assert re.findall(r"^    (\w+): ", section(said, "Attributes"), re.MULTILINE) == fields
    assert all(ast.get_docstring(method) for method in methods(node))


def test_what_is_for_torch_is_on_the_page_and_says_what_goes_in() -> None:
    documented = set(re.findall(r"^::: symskip_jax\.interop\.(\w+\.\w+)$", PAGE, re.MULTILINE))
    there = set()
    for module in ("torch_file", "torch_modules"):
        body = parse(str(ROOT / "symskip_jax" / "interop" / f"{module}.py")).body
        there |= {f"{module}.{it.targets[0].id}" for it in body if isinstance(it, ast.Assign)}  # pyright: ignore
        for node in body:
            if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name[0] == "_":
                continue
            there.add(f"{module}.{node.name}")
            functions = [it for it in ast.walk(node) if isinstance(it, ast.FunctionDef)]
            assert functions
            for function in functions:
                said = section(ast.get_docstring(function) or "", "Args")
                described = re.findall(r"^    (\w+): ", said, re.MULTILINE)
                assert described == argument_names(function), (node.name, function.name)
    assert documented == there


@pytest.mark.parametrize("name", symskip_jax.__all__)
def test_every_argument_and_result_has_a_type(name: str) -> None:
    node = definition(name)
    functions = [node] if isinstance(node, ast.FunctionDef) else methods(node)
    for function in functions:
        assert function.returns is not None
        given = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
        assert all(it.annotation for it in given if it.arg not in ("self", "cls"))
        assert function.args.vararg is None and function.args.kwarg is None


def test_signatures_are_those_that_were_promised() -> None:
    promised = Path(__file__).with_name("public_api.txt").read_text().splitlines()
    assert list(lines()) == promised, "if it is meant: python tests/public_api.py"


@pytest.mark.parametrize("page", ["README.md", "docs/your_loop.md"])
def test_what_is_shown_needs_nothing_private(page: str) -> None:
    shown = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    nodes = [node for code in shown for node in ast.walk(ast.parse(code))]
    ours = [
        it
        for it in nodes
        if isinstance(it, ast.ImportFrom) and (it.module or "").startswith("symskip_jax")
    ]
    assert ours and {it.module for it in ours} == {"symskip_jax"}
    assert {alias.name for it in ours for alias in it.names} <= {*symskip_jax.__all__}


def test_every_package_says_whether_it_is_public() -> None:
    assert "Public: " in (symskip_jax.__doc__ or "")
    packages = [it for it in pkgutil.iter_modules(symskip_jax.__path__) if it.ispkg]
    assert packages
    for package in packages:
        source = ROOT / "symskip_jax" / package.name / "__init__.py"
        said = ast.get_docstring(ast.parse(source.read_text())) or ""
        assert re.search(r"^Private\b", said, re.MULTILINE), package.name
