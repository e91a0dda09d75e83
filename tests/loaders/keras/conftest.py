"""Keras as the reference, where it is installed."""

from types import ModuleType

import pytest

from convscope.loaders.keras import engine


@pytest.fixture(scope="session")
def keras() -> ModuleType:
    """Keras with torch as its backend."""
    pytest.importorskip("h5py")
    library = engine.library()
    if library is None:
        pytest.skip("keras is not installed")
    return library
