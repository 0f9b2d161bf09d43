"""What is declared, pinned and imported: the promises of pyproject.toml and constraints.txt."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from symskip_jax.extras import how_to_install

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
# Extras that name one of JAX's own, whose bound is that of jax.
ACCELERATORS = {"cuda", "tpu"}
# Imported by tensorflow-datasets or by jax.export, which do not declare them everywhere.
INDIRECT = {"array-record", "flatbuffers", "importlib-resources"}


def canonical(requirement: str) -> str:
    """The name alone, as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\[<>=;~! ]", requirement)[0]).lower()


def bounded_requirements() -> list[str]:
    extras = [r for name, group in EXTRAS.items() if name not in ACCELERATORS for r in group]
    return PROJECT["dependencies"] + extras


def third_party_imports() -> set[str]:
    """Top-level modules that the package or the configs import, at whatever depth."""
    found = set()
    for path in [*(ROOT / "symskip_jax").rglob("*.py"), *(ROOT / "configs").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.split(".")[0])
    return found - set(sys.stdlib_module_names) - {"symskip_jax", "configs"}


def test_default_install_brings_neither_tensorflow_nor_torch() -> None:
    default = {canonical(r) for r in PROJECT["dependencies"]}
    assert not default & {"tensorflow", "tensorflow-cpu", "torch", "keras"}


@pytest.mark.parametrize("requirement", bounded_requirements())
def test_requirement_is_a_lower_bound_that_test_lowest_can_pin(requirement: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_-]+(\[[a-z]+\])?>=[0-9.]+", requirement)
    line = rf'^ +"{re.escape(requirement)}",'
    assert re.search(line, (ROOT / "pyproject.toml").read_text(), re.MULTILINE)


def test_imports_and_dependencies_are_the_same_set() -> None:
    distributions = packages_distributions()
    imported = {canonical(distributions[m][0]) for m in third_party_imports() if m in distributions}
    missing = third_party_imports() - set(distributions) - {"tensorflow"}
    assert not missing, "imported but not installed with the dev and interop extras"

    optional = {
        canonical(requirement)
        for extra in ("gcs", "prepare", "onnx", "interop", "tables")
        for requirement in EXTRAS[extra]
    }
    default = {canonical(r) for r in PROJECT["dependencies"]}
    assert imported - optional - default == set(), "imported but not declared"
    assert default - imported - INDIRECT == set(), "declared but not imported"


def test_constraints_are_names_and_exact_versions_of_all_we_require() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    malformed = [x for x in lines if not re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*( ; .+)?", x)]
    assert not malformed
    assert lines == sorted(lines, key=canonical)
    assert {canonical(r) for r in bounded_requirements()} <= {canonical(x) for x in lines}


def test_an_extra_is_installed_as_the_readme_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone = tmp_path / "a clone"
    clone.mkdir()
    monkeypatch.chdir(clone)
    assert how_to_install("gcs", clone) == "pip install 'symskip-jax[gcs]'"
    (clone / "constraints.txt").touch()
    monkeypatch.setattr("sys.prefix", str(clone / ".venv"))
    said = how_to_install("cuda", clone)
    assert said == ".venv/bin/pip install -c constraints.txt -e '.[cuda]'"
    assert f"`{said}`" in (ROOT / "README.md").read_text()
    monkeypatch.chdir(tmp_path)
    assert how_to_install("cuda", clone) == f"cd '{clone}' && {said}"
    monkeypatch.setattr("sys.prefix", "/elsewhere")
    monkeypatch.setattr("sys.executable", "/elsewhere/bin/python")
    assert "&& /elsewhere/bin/python -m pip install -c" in how_to_install("cuda", clone)


def test_every_extra_that_is_asked_for_is_declared() -> None:
    texts = [path.read_text() for path in (ROOT / "symskip_jax").rglob("*.py")]
    asked = {name for text in texts for name in re.findall(r"how_to_install\('(\w+)'\)", text)}
    assert len(asked) > 3 and asked <= EXTRAS.keys()


def test_make_says_what_it_installs_and_that_it_takes_a_while(tmp_path: Path) -> None:
    for name in ("pip", "symskip"):
        script = tmp_path / "bin" / name
        script.parent.mkdir(exist_ok=True)
        script.write_text(f"#!/bin/sh\necho {name} runs\n")
        script.chmod(0o755)
    make = ["make", "--no-print-directory", "quickstart", f"VENV={tmp_path}"]
    done = subprocess.run(make, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    before, _, after = done.stdout.partition("pip runs\n")
    assert f"into {tmp_path}:\nsome minutes" in before and "symskip runs" in after
    again = subprocess.run(make, cwd=ROOT, capture_output=True, text=True)
    assert "installing" not in again.stdout and "symskip runs" in again.stdout


@pytest.mark.parametrize("arguments", [[], ["pretrain"], ["bench", "step"]])
def test_help_needs_no_heavy_import(arguments: list[str]) -> None:
    script = (
        "import sys\n"
        "from symskip_jax.cli import main\n"
        "try:\n"
        f"    main({[*arguments, '--help']!r})\n"
        "except SystemExit as exit:\n"
        "    assert not exit.code, exit.code\n"
        "heavy = {'jax', 'flax', 'tensorflow', 'torch', 'matplotlib', 'sklearn', 'numpy'}\n"
        "print('heavy:', *sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "heavy:"


def test_console_script_is_the_command() -> None:
    command = Path(sys.executable).with_name("symskip")
    done = subprocess.run([command, "--help"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "pretrain" in done.stdout
