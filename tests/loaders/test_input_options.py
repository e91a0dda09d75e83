"""Options of an address for signals, bands, volumes and clips."""

from pathlib import Path

import pytest
import torch

import convscope as cs
from convscope.errors import LoadError
from convscope.loaders.address import apply_settings
from convscope.loaders.preprocessing import ASSUMED_PIXELS, assumed_size


def test_a_described_input_ends_what_is_assumed_about_images() -> None:
    model = cs.Model(torch.nn.Flatten(), input=cs.ImageInput(size=8), assumed_from="networks for images")
    model.caveats = (ASSUMED_PIXELS, assumed_size(8, 8), "another")
    apply_settings(model, {"input": "signal", "shape": "1,64"}, {})
    assert isinstance(model.input, cs.SignalInput)
    assert list(model.caveats) == ["another"]
    assert model.assumed_from == ""


def test_an_address_says_what_kind_of_input_a_network_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text("import torch\ndef make():\n    return torch.nn.Conv3d(1, 2, 3)\n")
    model = cs.load("net.py:make?input=volume&shape=1,16,16,16&window=-1000,400&orientation=SAR&spacing=2,2,2&mean=0.5")
    expected = cs.VolumeInput(
        shape=(1, 16, 16, 16), window=(-1000, 400), orientation="SAR", spacing=(2, 2, 2), mean=(0.5,)
    )
    assert model.input == expected
    assert cs.load(model.source).input == expected, "the source opens it again"
    for address, message in {
        "net.py:make?input=volumes": "no kind of input 'volumes'; did you mean 'volume'",
        "net.py:make?input=signal&orientation=RAS": "has no option 'orientation'",
        "net.py:make?window=0,1": "needs the kind of input",
        "net.py:make?input=volume&window=5,1": "low below high",
        "net.py:make?input=volume&shape=1,a,2,3": "is not of the form",
        "net.py:make?input=signal&standardize=maybe": "is not of the form",
        "net.py:make?input=signal&std=0": "std must be above zero, got 0",
        "net.py:make?input=volume&std=-0.2": "std must be above zero, got -0.2",
        "net.py:make?size=8&std=0.5,0,0.5": "std must be above zero, got 0",
        "net.py:make?size=8&std=-1,1,1": "std must be above zero, got -1",
    }.items():
        with pytest.raises(LoadError, match=message):
            cs.load(address)
