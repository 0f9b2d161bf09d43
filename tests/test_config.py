"""Configurations: files, overrides, the way to JSON and back, and what each field says."""

import ast
import io
import tokenize
from pathlib import Path

import pytest
from conftest import ROOT
from data_helpers import user_error

from symskip_jax import config as config_module
from symskip_jax.config import (
    apply_overrides,
    base_config,
    config_from_flat,
    flat,
    flat_items,
    load_config,
)

SHIPPED = sorted(path.stem for path in (ROOT / "configs").glob("*.py"))
GOOD = """
from symskip_jax.config import base_config

def get_config(arg):
    config = base_config()
    config.seed = 7 if arg == "lucky" else 3
    return config
"""


@pytest.fixture
def write_config(tmp_path):
    def write(text: str) -> str:
        path = tmp_path / "mine.py"
        path.write_text(text)
        return str(path)

    return write


# Files.


def test_a_file_is_loaded_by_its_path_with_its_argument(write_config):
    path = write_config(GOOD)
    assert load_config(path).seed == 3
    assert load_config(f"{path}:lucky").seed == 7


@pytest.mark.parametrize("name", SHIPPED)
def test_what_comes_along_is_loaded_by_its_name(name, monkeypatch, tmp_path):
    by_path = load_config(str(ROOT / "configs" / f"{name}.py"))
    monkeypatch.chdir(tmp_path)
    assert flat(load_config(name)) == flat(by_path)


def test_the_argument_changes_what_the_file_says_it_does():
    full, small = load_config("cifar10_4k"), load_config("cifar10_4k:small")
    assert (full.model.width_multiplier, small.model.width_multiplier) == (1.0, 0.125)
    assert load_config("imagenet").data.train_split == "train"
    assert load_config("imagenet:animals").data.train_split == "animals"


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("cifra10", ["cifra10", "digits", "did you mean cifar10?"]),
        ("nowhere/cifar10.py", ["nowhere/cifar10.py", "did you mean cifar10?"]),
        ("digits:small", ["'small'", "takes none"]),
        ("cifar10_4k:smal", ["'smal'", "one of small"]),
    ],
)
def test_what_cannot_be_found_is_named_beside_what_can(name, parts):
    message = user_error(lambda: load_config(name))
    assert all(part in message for part in parts), message


HEAD = "from symskip_jax.config import base_config\ndef get_config(arg):\n    c = base_config()\n"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("def get_config(:\n", ["SyntaxError", "line 1"]),
        ("seed = 3\n", ["defines no get_config(arg)"]),
        ("import no_such_module\n", ["line 1", "no_such_module"]),
        ("def get_config():\n    return 3\n", ["takes 0 positional arguments"]),
        (HEAD, ["returns None, not a ConfigDict"]),
        (
            HEAD + "    c.model.witdh_multiplier = 2.0\n",
            ["line 4", "did you mean width_multiplier"],
        ),
        (HEAD + "    c.modle.n = 2\n", ["line 4", "modle", '"model"']),
        (HEAD + "    c.seed = 'one'\n", ["line 4", "seed", "int"]),
        (
            HEAD + "    c.unlock()\n    c.model.width_multiplyer = 2\n    return c\n",
            ["model.width_multiplyer", "did you mean model.width_multiplier?"],
        ),
        (
            HEAD + "    c.unlock()\n    del c.model.n, c.seed\n    return c\n",
            ["leaves out model.n, seed", "base_config()"],
        ),
    ],
)
def test_a_file_that_is_wrong_is_answered_in_a_line(write_config, text, parts):
    path = write_config(text)
    message = user_error(lambda: load_config(path))
    assert all(part in message for part in [path, *parts]), message


# Overrides.


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("seed=5", 5),
        ("pretrain.learning_rate=2e-3", 0.002),
        ("model.width_multiplier=2", 2.0),
        ("data.name=npz:photos=small.npz", "npz:photos=small.npz"),
        ("data.data_dir=", ""),
        ("data.flip=false", False),
        ("data.flip=True", True),
        ("data.crop=(6, 5)", (6, 5)),
        ("pretrain.milestones=(1.5, 2)", (1.5, 2)),
        ("finetune.milestones=()", ()),
    ],
)
def test_an_override_sets_its_field_and_no_other(override, value):
    key = override.partition("=")[0]
    before, config = flat(base_config()), load_config("cifar10", [f"--config.{override}"])
    found = dict(flat_items(config))[key]
    assert found == value and type(found) is type(value)
    changed = {k for k, v in flat(config).items() if v != flat(load_config("cifar10"))[k]}
    assert changed <= {key}
    assert flat(base_config()) == before


def test_the_last_override_wins():
    assert load_config("digits", ["--config.seed=1", "--config.seed=2"]).seed == 2


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("pretrain.learningrate=1", ["pretrain.learningrate", "mean pretrain.learning_rate?"]),
        ("sed=1", ["sed", "mean seed?"]),
        ("model=3", ["unknown config key model;"]),
        ("model.blocks[0]=3", ["model.blocks[0]", "mean model.blocks?"]),
        ("seed=one", ["seed=one", "int", "like 0"]),
        ("seed=1.5", ["seed=1.5", "int"]),
        ("pretrain.learning_rate=fast", ["pretrain.learning_rate=fast", "float", "like 0.0001"]),
        ("data.flip=perhaps", ["data.flip=perhaps", "bool", "like True"]),
    ],
)
def test_an_override_that_is_wrong_names_the_field_the_value_and_the_mend(override, parts):
    message = user_error(lambda: apply_overrides(base_config(), [f"--config.{override}"]))
    assert all(part in message for part in parts), message


# To JSON and back.


@pytest.mark.parametrize("name", [*SHIPPED, "cifar10_4k:small", "voc2012_segmentation:small"])
def test_a_configuration_survives_json(name):
    config = load_config(name)
    again = config_from_flat(flat(config))
    assert dict(flat_items(again)) == dict(flat_items(config))  # tuples are tuples again
    assert flat(again) == flat(config)


def test_the_configuration_of_another_version_names_what_is_unknown():
    fields = flat(base_config()) | {"model.deepness": 3}
    assert "unknown config key model.deepness" in user_error(lambda: config_from_flat(fields))
    # A field that is younger than the run has its default.
    fields = {k: v for k, v in flat(base_config()).items() if k != "model.dropout"}
    assert config_from_flat(fields).model.dropout == base_config().model.dropout


# What the source says.


def test_every_field_has_a_comment():
    source = Path(config_module.__file__).read_text()
    comments = {
        token.start[0]: token.string
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    fields, silent = set(), []
    for node in ast.walk(ast.parse(source)):
        if not (isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute)):
            continue
        *_, name = ast.unparse(node.targets[0]).split(".")
        is_section = isinstance(node.value, ast.Call)
        if not is_section:
            fields.add(name)
            if len(comments.get(node.lineno, "")) < len("# epochs"):
                silent.append(f"{name}, line {node.lineno}")
    assert fields == {key.rpartition(".")[2] for key in flat(base_config())}
    assert not silent


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_file_says_how_to_run_it_and_what_comes_out(name):
    docstring = ast.get_docstring(ast.parse((ROOT / "configs" / f"{name}.py").read_text()))
    assert docstring is not None
    assert "symskip pretrain --config" in docstring
    # What a pre-training is for.
    assert "symskip finetune --config" in docstring or "symskip restore" in docstring
    assert "easured" in docstring or "reaches" in docstring
