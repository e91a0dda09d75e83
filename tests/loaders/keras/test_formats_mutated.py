"""Whatever a Keras file holds: a model, or one sentence; nothing else is raised."""

import sys
from pathlib import Path
from typing import Any

import pytest

import convscope as cs
from convscope.errors import ConvScopeError
from convscope.loaders.keras import engine

pytest.importorskip("h5py")

from tests.loaders.keras import handmade
from tests.loaders.keras.mutations import mutated_bytes, mutated_tree

CONFIG = handmade.functional(
    handmade.IMAGE,
    handmade.CONV,
    handmade.layer("BatchNormalization", "norm", "conv", scale=False, center=False),
    handmade.layer("MaxPooling2D", "max", "norm", pool_size=[2, 2], strides=[2, 2], padding="same"),
    handmade.layer("ZeroPadding2D", "pad", "max", padding=[[1, 1], [1, 1]]),
    handmade.layer("Reshape", "shape", "pad", target_shape=[36, 4]),
    handmade.layer("Permute", "turn", "shape", dims=[2, 1]),
    handmade.layer("Concatenate", "join", ["turn", "turn"], axis=1),
    handmade.layer("GlobalAveragePooling1D", "mean", "join"),
    handmade.layer("Activation", "scores", "mean", activation="softmax"),
    output="scores",
)


@pytest.fixture(autouse=True)
def without_keras(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only our own readers are tested."""
    monkeypatch.setattr(engine, "library", lambda: None)


def opens_or_is_refused(path: Any) -> bool:
    """Whether a file opens; nothing but our own errors is raised, no code is imported."""
    modules, message = set(sys.modules), ""
    try:
        cs.load(path)
    except ConvScopeError as error:
        message = str(error)
    assert "\n" not in message
    assert not {"keras", "tensorflow"} & (set(sys.modules) - modules)
    return not message


@pytest.mark.parametrize("ending", ["keras", "h5"])
@pytest.mark.parametrize("seed", range(30))
def test_a_file_with_changed_bytes(tmp_path: Path, ending: str, seed: int):
    whole = handmade.archive_bytes() if ending == "keras" else handmade.hdf5_bytes()
    path = tmp_path / f"net.{ending}"
    path.write_bytes(mutated_bytes(whole, seed))
    opens_or_is_refused(path)


@pytest.mark.parametrize("seed", range(80))
def test_a_configuration_with_changed_values(tmp_path: Path, seed: int):
    arrays = handmade.weights()
    own = {name: arrays[name] for name in ("conv/kernel", "conv/bias")}
    own |= {f"batch_normalization/vars/{index}": arrays["conv/bias"] ** 2 + 1 for index in range(2)}
    path = tmp_path / "net.keras"
    path.write_bytes(handmade.archive_bytes(mutated_tree(CONFIG, seed), own))
    opens_or_is_refused(path)


@pytest.mark.parametrize("seed", range(20))
def test_a_changed_model_json(tmp_path: Path, seed: int):
    opens_or_is_refused(handmade.write_tfjs(tmp_path / "web", mutated_tree(handmade.tfjs_content(), seed)))


def test_the_unchanged_configuration_opens(tmp_path: Path):
    """Otherwise the mutations would test nothing but the refusal of one error."""
    arrays = handmade.weights()
    own = {name: arrays[name] for name in ("conv/kernel", "conv/bias")}
    own |= {f"batch_normalization/vars/{index}": arrays["conv/bias"] ** 2 + 1 for index in range(2)}
    path = tmp_path / "net.keras"
    path.write_bytes(handmade.archive_bytes(CONFIG, own))
    assert opens_or_is_refused(path)
