"""Networks written to files open again with the same scores, input and labels."""

import builtins
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import convscope as cs
from convscope.errors import CannotWrite, MissingExtra
from convscope.loaders.saving import refuse_other_endings, save_network
from tests.loaders.torch_files.networks import images, save, saved_net, scripted
from tests.nets import LABELS, MEAN, STD

INPUT = cs.ImageInput(size=16, mean=MEAN, std=STD, resize=20, interpolation="bicubic")


def model() -> cs.Model:
    return cs.Model(saved_net(), input=INPUT, labels=LABELS, name="net", caveats=("a remark",))


def test_a_network_without_a_library_is_rebuilt_from_an_exported_program(tmp_path: Path) -> None:
    files, difference = save_network(model(), tmp_path / "net.safetensors")
    assert [file.name for file in files] == ["net.safetensors", "net.py", "net.pt2"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.pt2", "net.py", "net.safetensors"]
    assert difference is not None
    assert difference < 1e-6
    reopened = cs.load(f"{tmp_path}/net.py:make")
    assert torch.equal(reopened.run(images(3)), model().run(images(3)))
    assert (reopened.input, tuple(reopened.labels or ()), reopened.name) == (INPUT, LABELS, "net")
    assert reopened.caveats == ("a remark",)
    assert reopened.layers() == model().layers()
    state = load_file(tmp_path / "net.safetensors")
    assert {*state} == {*saved_net().state_dict()}
    assert all(torch.equal(state[name], value) for name, value in saved_net().state_dict().items())


def test_the_weights_in_the_safetensors_file_count(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_network(model(), tmp_path / "net.safetensors")
    state = {name: torch.zeros_like(value) for name, value in load_file(tmp_path / "net.safetensors").items()}
    save_file(state, tmp_path / "net.safetensors")
    assert not cs.load(f"{tmp_path}/net.py:make").run(images(1)).any()


def test_an_architecture_of_a_library_is_rebuilt_from_its_address(tmp_path: Path, torchvision: Any) -> None:
    original = cs.load("torchvision:shufflenet_v2_x0_5?weights=none")
    files, difference = save_network(original, tmp_path / "net.safetensors")
    assert [file.name for file in files] == ["net.safetensors", "net.py"]
    assert difference == 0
    assert "cs.load('torchvision:shufflenet_v2_x0_5', weights=" in files[1].read_text("utf-8")
    reopened = cs.load(f"{tmp_path}/net.py:make")
    x = torch.randn(1, 3, 224, 224)
    assert torch.equal(reopened.run(x), original.run(x))
    assert reopened.caveats == tuple(map(str, original.caveats))


def test_a_script_is_written_with_its_layers(tmp_path: Path) -> None:
    save(scripted(saved_net()), tmp_path / "script.pt")
    save_network(cs.load(f"{tmp_path}/script.pt?size=16"), tmp_path / "net.safetensors")
    reopened = cs.load(f"{tmp_path}/net.py:make")
    assert torch.allclose(reopened.run(images(2)), saved_net()(images(2)), atol=1e-6)
    assert isinstance(reopened.module.get_submodule("block.conv2"), nn.Conv2d)


def test_names_do_not_become_code(tmp_path: Path) -> None:
    network = model()
    network.name = 'net"""\nraise SystemExit\n"""\\'
    network.labels = ("'", '"""', "\\", "\n")
    save_network(network, tmp_path / "net.safetensors")
    reopened = cs.load(f"{tmp_path}/net.py:make")
    assert tuple(reopened.labels or ()) == network.labels


def test_onnx_gives_the_same_scores(tmp_path: Path) -> None:
    onnx, onnxruntime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    files, difference = save_network(model(), tmp_path / "net.onnx")
    assert files == [tmp_path / "net.onnx"]
    assert difference is not None
    assert difference < 1e-5
    session = onnxruntime.InferenceSession(str(files[0]), providers=["CPUExecutionProvider"])
    (scores,) = session.run(None, {"input": images(3).numpy()})
    assert np.allclose(scores, saved_net()(images(3)).detach(), atol=1e-5)
    metadata = {entry.key: entry.value for entry in onnx.load(files[0]).metadata_props}
    assert metadata["convscope.labels"] == '["ant", "bee", "cat", "dog"]'


def test_a_network_of_keras_is_written_in_both_forms(tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    from tests.loaders.keras import handmade

    (tmp_path / "net.keras").write_bytes(handmade.archive_bytes())
    opened = cs.load(tmp_path / "net.keras")
    endings = [".safetensors", *([".onnx"] if importlib.util.find_spec("onnxruntime") else [])]
    for ending in endings:
        _, difference = save_network(opened, tmp_path / f"out{ending}")
        assert difference is not None
        assert difference < 1e-6


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (cs.Model(lambda a, b: a, inputs=[cs.TableInput(features=2), cs.TableInput(features=2)]), "several inputs"),
        (cs.Model(nn.Embedding(4, 2), input=cs.TokenInput(vocabulary=4, length=3)), "tokens"),
    ],
)
def test_networks_of_several_inputs_or_tokens_are_not_written(model: cs.Model, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(CannotWrite, match=f"takes {sentence}: only networks of one input of numbers are written"):
        save_network(model, tmp_path / "net.onnx")


def test_onnx_needs_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnx" else find(name))
    with pytest.raises(MissingExtra, match="onnx"):
        save_network(model(), tmp_path / "net.onnx")
    assert not [*tmp_path.iterdir()]


class DependsOnData(nn.Module):
    """A network that decides by the values of its input, which no export can follow."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(768, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x.flatten(1)) if builtins.float(x.sum()) > 0 else -self.head(x.flatten(1))


def test_what_cannot_be_exported_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    network = cs.Model(DependsOnData().eval(), input=INPUT)
    with pytest.raises(CannotWrite, match=r"cannot be exported by torch\.export"):
        save_network(network, tmp_path / "net.safetensors")
    assert not [*tmp_path.iterdir()]


def test_a_function_has_no_weights_to_write(tmp_path: Path) -> None:
    function = cs.Model(lambda arrays: arrays.mean((1, 2, 3))[:, None], input=INPUT)
    with pytest.raises(CannotWrite, match="has no weights to write: it is a function"):
        save_network(function, tmp_path / "net.safetensors")


def test_other_endings_are_refused() -> None:
    with pytest.raises(CannotWrite, match=r"to \.safetensors \(with a Python module beside it\) or to \.onnx, not"):
        refuse_other_endings(Path("net.h5"))
