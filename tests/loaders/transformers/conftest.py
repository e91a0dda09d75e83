"""Folders of tiny networks, each written when it is first used."""

from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("transformers", reason="transformers is not installed")

from tests.loaders.transformers.networks import Build, save


@pytest.fixture(scope="session")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Build], Path]:
    """The folder of a network by the function that builds it; tests copy it before they change it."""
    root = tmp_path_factory.mktemp("transformers")

    def folder(build: Build) -> Path:
        path = root / build.__name__
        return path if path.is_dir() else save(build, path)

    return folder
