"""Fixtures: a checkout with the launchers, and a fake gcloud that they run against.

A plugin of the test files that name it in `pytest_plugins`.
"""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_commands import LAUNCH, finish
from fake_gcloud import Gcloud
from tpu_launch import begin, git


@pytest.fixture(scope="session")
def original(tmp_path_factory) -> Path:
    """A repository of the launchers and of little else."""
    folder = tmp_path_factory.mktemp("checkout") / "a checkout"
    shutil.copytree(LAUNCH, folder / "launch")
    (folder / "constraints.txt").write_text("")
    (folder / "file").write_text("first")
    git(folder.parent, "init", "--quiet", str(folder))
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message=first")
    return folder


@pytest.fixture
def checkout(original, tmp_path) -> Path:
    shutil.copytree(original, tmp_path / "a checkout")
    return tmp_path / "a checkout"


@pytest.fixture
def cloud(tmp_path) -> Iterator[Gcloud]:
    cloud = Gcloud(tmp_path / "cloud", "say step 1; save 100; exit 0")
    yield cloud
    cloud.close()


@pytest.fixture
def launch(cloud, checkout) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the launcher of the checkout with what it needs, looking often."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return finish(begin(cloud, checkout, *arguments, **environment))

    return run
