"""What is public: listed, documented, typed, and not changed by accident; nothing else is shown."""

import ast
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest
from public_api import (
    ROOT,
    definition,
    exported,
    find,
    lines,
    methods,
    public,
    public_definitions,
    raises,
    written_out,
)

import symskip_jax

PAGE = (ROOT / "docs" / "api.md").read_text()
NAMES = [(module, name) for module, names in public().items() for name in names]
# What people copy code from; notebooks are made of the scripts in colab/.
SHOWN = [
    *(ROOT / "README.md", *(ROOT / "docs").glob("*.md")),
    *(*(ROOT / "colab").glob("*.py"), *(ROOT / "configs").glob("*.py")),
]
# `data_mesh` refuses replicas, which this does not ask for.
CANNOT_RAISE = ("replicate_for_pmap",)
# A section, table or the like of the paper, a work by its year, or the word that there is neither.
SOURCE = (
    r"\b(section|supplement|table|figure|equation|footnote)s? [A-D\d]|\b(19|20)\d\d\b"
    r"|[Nn]ot\s+of\s+the\s+paper"
)


def argument_names(function: ast.FunctionDef) -> list[str]:
    taken = function.args
    given = [*taken.posonlyargs, *taken.args, *taken.kwonlyargs]
    return [it.arg for it in given if it.arg not in ("self", "cls")]


def section(docstring: str, title: str) -> str:
    """Returns the indented lines below a heading of a docstring; "" where there is none."""
    found = re.search(rf"^{title}:\n((?:(?: .*)?\n)+)", inspect.cleandoc(docstring) + "\n", re.M)
    return found[1] if found else ""


def test_the_list_is_that_of_the_page() -> None:
    documented = re.findall(r"^::: ([\w.]+)$", PAGE, re.MULTILINE)
    assert sorted(documented) == sorted(f"{module}.{name}" for module, name in NAMES)
    assert exported("symskip_jax") == symskip_jax.__all__


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


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_a_docstring_says_what_goes_in_and_comes_out(module: str, name: str) -> None:
    home, node = definition(module, name)
    said = ast.get_docstring(node) or ""
    assert said and said.splitlines()[0].endswith((".", "]"))
    if isinstance(node, ast.FunctionDef):
        described = re.findall(r"^    (\w+): ", section(said, "Args"), re.MULTILINE)
        assert described == argument_names(node)
        returns = ast.unparse(node.returns) if node.returns else "None"
        assert bool(section(said, "Returns")) == (returns != "None")
        if name not in CANNOT_RAISE:
            assert bool(section(said, "Raises")) >= raises(home, node)
        return
    fields = [it.target.id for it in node.body if isinstance(it, ast.AnnAssign)]  # pyright: ignore
    assert re.findall(r"^    (\w+): ", section(said, "Attributes"), re.MULTILINE) == fields
    for method in methods(node):
        said = ast.get_docstring(method) or ""
        described = section(said, "Args")
        assert said
        if method.name == "__init__" or described:
            assert re.findall(r"^    (\w+): ", described, re.MULTILINE) == argument_names(method)


@pytest.mark.parametrize(
    ("heading", "text"), re.findall(r"^## (.+)\n((?:(?!## ).*\n)+)", PAGE, re.M)
)
def test_a_docstring_names_its_source_unless_its_section_has_none(heading: str, text: str) -> None:
    shown = re.findall(r"^::: ([\w.]+)\.(\w+)$", text, re.MULTILINE)
    said = {name: ast.get_docstring(definition(module, name)[1]) or "" for module, name in shown}
    assert said, heading
    if not text.lstrip().startswith("Not of the paper"):
        assert [name for name, docstring in said.items() if not re.search(SOURCE, docstring)] == []


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_a_docstring_sends_nobody_to_what_is_private(module: str, name: str) -> None:
    home, node = definition(module, name)
    parts = [node, *(methods(node) if isinstance(node, ast.ClassDef) else [])]
    said = "\n".join(ast.get_docstring(it) or "" for it in parts)
    named = [(it, find(home, it)) for it in re.findall(r"`(\w+)[`(]", said)]
    ours = {(found[0], it) for it, found in named if found}
    assert ours <= public_definitions()
    assert private_references(said) == []


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_every_argument_and_result_has_a_type(module: str, name: str) -> None:
    _, node = definition(module, name)
    functions = [node] if isinstance(node, ast.FunctionDef) else methods(node)
    for function in functions:
        assert function.returns is not None
        given = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
        assert all(it.annotation for it in given if it.arg not in ("self", "cls"))
        assert function.args.vararg is None and function.args.kwarg is None


def test_signatures_are_those_that_were_promised() -> None:
    promised = Path(__file__).with_name("public_api.txt").read_text().splitlines()
    assert list(lines()) == promised, "if it is meant: python tests/public_api.py"


@pytest.mark.parametrize(
    ("annotation", "promised"),
    [
        ("TaskLoss", "Callable[[Any, Any], tuple[Array, tuple[dict[str, Array], Array | int]]]"),
        ("Batch | TrainState", "Mapping[str, Any] | TrainState"),  # the second is public
        ("keep_labels", "lambda keys_b, labels: labels"),
    ],
)
def test_what_is_promised_is_what_an_alias_stands_for(annotation: str, promised: str) -> None:
    node = ast.parse(annotation, mode="eval").body
    assert ast.unparse(written_out(node, "symskip_jax.training.steps")) == promised


def test_nothing_private_is_promised() -> None:
    node = ast.parse("tuple[Purpose, int]", mode="eval").body
    with pytest.raises(AssertionError, match="Purpose stands in a public signature"):
        written_out(node, "symskip_jax.training.steps")


def private_references(text: str) -> list[str]:
    """The names of ours in a text that are not public, though its paragraph says nothing of it."""
    modules = public()
    known = {*modules, *(f"{module}.{name}" for module, name in NAMES)}
    # Those that public modules are reached through, as in `from symskip_jax.interop import ...`.
    known |= {module.rpartition(".")[0] for module in modules if "." in module}
    found = []
    for paragraph in re.split(r"\n\s*\n", text):
        # Not what is run with -m, which is no import.
        named = re.findall(r"(?<!-m )\bsymskip_jax(?:\.\w+)+", paragraph)
        for module, names in re.findall(
            r"\bfrom (symskip_jax[\w.]*) import (\([^)]*\)|[\w ,]+)", paragraph
        ):
            bare = re.sub(r"#.*", "", names)
            named += [f"{module}.{it}" for it in re.findall(r"(\w+)(?: as \w+)?", bare)]
        if not re.search(r"\bprivate\b|\bmay\s+change\b", paragraph):
            found += [it for it in named if it not in known]
    return found


@pytest.mark.parametrize("path", SHOWN, ids=lambda path: path.name)
def test_what_is_shown_is_public_or_said_to_be_private(path: Path) -> None:
    assert private_references(path.read_text()) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("from symskip_jax import psnr, ssim\nsymskip_jax.interop.torch_file.load(path)", []),
        ("from symskip_jax import (\n    psnr,\n    nothing,  # ours\n)", ["symskip_jax.nothing"]),
        (
            "from symskip_jax.metrics import psnr",
            ["symskip_jax.metrics"] + ["symskip_jax.metrics.psnr"],
        ),
        ("`symskip_jax.memory`\n\nis private", ["symskip_jax.memory"]),
        ("`symskip_jax.memory` is private", []),
        (
            "from symskip_jax.interop import torch_file as files, onnx_graph\n",
            ["symskip_jax.interop.onnx_graph"],
        ),
        ("python -m symskip_jax.bench.scaling", []),
    ],
)
def test_what_is_private_is_seen(text: str, found: list[str]) -> None:
    assert private_references(text) == found


def test_every_package_says_whether_it_is_public() -> None:
    assert "symskip_jax" in public()
    packages = [it for it in pkgutil.iter_modules(symskip_jax.__path__) if it.ispkg]
    assert packages
    for package in packages:
        source = ROOT / "symskip_jax" / package.name / "__init__.py"
        said = ast.get_docstring(ast.parse(source.read_text())) or ""
        assert re.search(r"^Private\b", said, re.MULTILINE), package.name
