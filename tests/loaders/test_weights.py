"""Weight files of every format: opened without running code, or refused with the reason."""

import os
import pickle
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import convscope as cs
from convscope.errors import ConvScopeError, LoadError
from convscope.loaders.weights import read_state
from tests.loaders.state_dicts import same_state

SMALL = "torchvision:shufflenet_v2_x0_5"


class NeedsCode:
    """A class, which a pickle can only store by referring to code."""

    def __init__(self, state: dict[str, Any]) -> None:
        self.state_dict = state


class CallsTheSystem:
    """An object that runs a program when it is unpickled."""

    def __reduce__(self) -> Any:
        return os.system, ("false",)


@pytest.fixture(scope="module")
def weights_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for weight files that several tests share."""
    return tmp_path_factory.mktemp("weights")


@pytest.fixture(scope="module")
def ten_classes(weights_folder: Path, torchvision: ModuleType) -> tuple[Path, dict[str, torch.Tensor]]:
    """Weights of a small network trained on ten classes."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        state = torchvision.models.shufflenet_v2_x0_5(num_classes=10).state_dict()
    save_file(state, weights_folder / "ten.safetensors")
    return weights_folder / "ten.safetensors", state


def test_an_address_can_name_a_weight_file(ten_classes: Any) -> None:
    path, state = ten_classes
    model = cs.load(f"{SMALL}?weights={path}")
    assert same_state(model, state)
    assert model.source == cs.load(SMALL, weights=path).source
    with pytest.raises(LoadError, match="no such weight file"):
        cs.load(f"{SMALL}?weights=nowhere.safetensors")


def test_own_weights_with_another_number_of_classes_have_a_caveat_on_assumptions(ten_classes: Any) -> None:
    path, state = ten_classes
    model = cs.load(SMALL, weights=path)
    assert same_state(model, state)
    assert model.labels is None
    assert len(model.caveats) == 1
    assert "which is assumed" in model.caveats[0]
    assert model.source == f"{SMALL} with {path}"
    assert len(cs.predict(model, "sample:photo/china", top=99).labels) == 10
    assert cs.predict(model, "sample:photo/china").labels[0].startswith("class ")


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "squeezenet1_1", "densenet121", "googlenet"])
def test_every_kind_of_head_adapts_to_ten_classes(name: str, torchvision: ModuleType, tmp_path: Path) -> None:
    from convscope.loaders import torchvision as loader

    options = {"init_weights": False} if name == "googlenet" else {}
    with torch.device("meta"):
        net = torchvision.models.get_model(name, weights=None, num_classes=10, **options)
    state = {k: torch.zeros(v.shape, dtype=v.dtype) for k, v in net.state_dict().items()}
    save_file(state, tmp_path / "w.safetensors")
    model = cs.load(f"torchvision:{name}", weights=tmp_path / "w.safetensors")
    assert model.labels is None
    assert loader._class_count(model.module) == 10


def test_a_thousand_classes_keep_the_names_of_imagenet(torchvision: ModuleType, tmp_path: Path) -> None:
    state = torchvision.models.shufflenet_v2_x0_5().state_dict()
    save_file(state, tmp_path / "w.safetensors")
    model = cs.load(SMALL, weights=tmp_path / "w.safetensors")
    assert len(model.labels or ()) == 1000


def test_timm_accepts_own_weights(torchvision: ModuleType, tmp_path: Path) -> None:
    import timm

    state = timm.create_model("test_convnext", num_classes=7).state_dict()
    save_file(state, tmp_path / "w.safetensors")
    model = cs.load("timm:test_convnext", weights=tmp_path / "w.safetensors")
    assert same_state(model, state)
    assert model.labels is None
    assert len(cs.predict(model, "sample:photo/china", top=99).labels) == 7


def _prefixed(state: dict[str, Any]) -> Any:
    return {f"module.{k}": v for k, v in state.items()}


def _compiled(state: dict[str, Any]) -> Any:
    return {f"_orig_mod.{k}": v for k, v in state.items()}


def _half_precision(state: dict[str, Any]) -> Any:
    return {k: v.half() if v.is_floating_point() else v for k, v in state.items()}


PACKINGS = {
    "plain": lambda s: s,
    "data-parallel": _prefixed,
    "compiled": _compiled,
    "under state_dict": lambda s: {"epoch": 3, "state_dict": s},
    "under model": lambda s: {"model": s, "optimizer": {"lr": 0.1}},
    "under model_state_dict": lambda s: {"model_state_dict": s},
    "nested twice": lambda s: {"model": {"state_dict": _prefixed(s)}, "epoch": 1},
    "half precision": _half_precision,
    "without batch counters": lambda s: {k: v for k, v in s.items() if not k.endswith("num_batches_tracked")},
}


@pytest.mark.parametrize("pack", PACKINGS.values(), ids=PACKINGS)
def test_all_checkpoint_formats_are_opened(pack: Any, ten_classes: Any, tmp_path: Path) -> None:
    _, state = ten_classes
    torch.save(pack(state), tmp_path / "w.pt")
    model = cs.load(SMALL, weights=tmp_path / "w.pt")
    for name, value in model.module.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(value, state[name], atol=1e-2, rtol=1e-3)


@pytest.mark.parametrize("extension", ["pt", "pth", "th", "bin", "ckpt"])
def test_a_checkpoint_may_have_any_usual_extension(extension: str, tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / f"w.{extension}")
    assert torch.equal(read_state(tmp_path / f"w.{extension}", trust=False)["a"], torch.ones(2))


def test_the_prefix_module_is_kept_if_the_network_uses_it(tmp_path: Path) -> None:
    """``module.`` is a prefix of data-parallel training only if the network does not use it itself."""
    (tmp_path / "net.py").write_text(
        "from torch import nn\nmake = nn.Sequential()\nmake.add_module('module', nn.Conv2d(3, 2, 1))\n"
    )
    state = {"module.weight": torch.ones(2, 3, 1, 1), "module.bias": torch.zeros(2)}
    torch.save(state, tmp_path / "w.pt")
    assert same_state(cs.load(f"{tmp_path}/net.py:make", weights=tmp_path / "w.pt"), state)


@pytest.mark.parametrize("name", ["resnet20-12fca82f.th", "version-RFB-320.pth", "mtcnn_rnet.pt"])
def test_published_checkpoints_are_read(name: str, assets: Path) -> None:
    state = read_state(assets / "loaders" / name, trust=False)
    assert len(state) > 10
    assert all(isinstance(value, torch.Tensor) for value in state.values())


def test_the_content_of_a_weight_file_decides_how_it_is_read(tmp_path: Path) -> None:
    state = {"weight": torch.ones(2, 3, 1, 1)}
    torch.save(state, tmp_path / "pickle.safetensors")
    save_file(state, tmp_path / "tensors.pt")
    for name in ("pickle.safetensors", "tensors.pt"):
        assert torch.equal(read_state(tmp_path / name, trust=False)["weight"], state["weight"])


def test_code_in_a_pickle_named_safetensors_is_not_run(tmp_path: Path) -> None:
    torch.save({"a": CallsTheSystem()}, tmp_path / "w.safetensors")
    with pytest.raises(LoadError, match="is refused: opening this pickle would run code"):
        read_state(tmp_path / "w.safetensors", trust=False)


def test_an_archive_of_archives_without_its_last_bytes_is_said_to_be_cut_off(tmp_path: Path) -> None:
    torch.save({"weight": torch.ones(2)}, tmp_path / "inner.pt")
    with zipfile.ZipFile(tmp_path / "w.pt", "w") as archive:
        archive.write(tmp_path / "inner.pt", "data/inner.pt")  # zipfile takes the end of this for that of the whole
    (tmp_path / "w.pt").write_bytes((tmp_path / "w.pt").read_bytes()[:-30])
    with pytest.raises(LoadError, match=r"its archive is cut off or damaged.*; save or copy it again$"):
        read_state(tmp_path / "w.pt", trust=False)


def _truncated(path: Path, state: Any) -> Path:
    save_file(state, path)
    path.write_bytes(path.read_bytes()[:-1000])
    return path


def _save(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


def _write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def _truncated_pickle(path: Path, state: Any) -> Path:
    torch.save(state, path)
    path.write_bytes(path.read_bytes()[:5000])
    return path


BAD_WEIGHTS = {
    "a missing file": (lambda p, s: p / "none.safetensors", r"^no such weight file: '.*none\.safetensors'$"),
    "a folder": (lambda p, s: p, r"^no such weight file: "),
    "another extension": (
        lambda p, s: _write(p / "w.zip", b"x"),
        r"^cannot read weights from 'w\.zip': it must end in \.safetensors, \.pt",
    ),
    "a truncated safetensors": (
        lambda p, s: _truncated(p / "w.safetensors", s),
        r"w\.safetensors' is not a complete safetensors file: ",
    ),
    "an empty safetensors": (
        lambda p, s: _write(p / "w.safetensors", b""),
        r"w\.safetensors' is not a complete safetensors file: ",
    ),
    "a text called .safetensors": (
        lambda p, s: _write(p / "w.safetensors", b"plain text " * 99),
        r"is not a complete safetensors file: ",
    ),
    "a truncated checkpoint": (lambda p, s: _truncated_pickle(p / "w.pt", s), r"w\.pt' cannot be read as weights: "),
    "an empty checkpoint": (lambda p, s: _write(p / "w.pt", b""), r"w\.pt' cannot be read as weights: "),
    "a text called .pth": (
        lambda p, s: _write(p / "w.pth", b"plain text " * 99),
        r"w\.pth' cannot be read as weights: ",
    ),
    "zeros called .pt": (
        lambda p, s: _write(p / "w.pt", bytes(99)),
        r"is no checkpoint .* damaged \(UnpicklingError: Unsupported operand 0\); save it again, with torch\.save",
    ),
    "a picture called .pt": (
        lambda p, s: _write(p / "w.pt", b"\x89PNG\r\n\x1a\n" + bytes(99)),
        r"w\.pt' cannot be read as weights: ",
    ),
    "a list of tensors": (
        lambda p, s: _save(p / "w.pt", list(s.values())),
        r"w\.pt' holds no state dict \(names to tensors\), but list$",
    ),
    "numbers": (lambda p, s: _save(p / "w.pt", {"lr": 0.1, "epoch": 3}), r"w\.pt' holds no state dict"),
    "nothing": (lambda p, s: _save(p / "w.pt", {}), r"w\.pt' holds no state dict"),
    "another network": (
        lambda p, s: _save(p / "w.pt", {"stem.weight": torch.zeros(1)}),
        r"w\.pt' is not for ShuffleNetV2: it lacks conv1\.0\.weight, .* and \d+ more; has unknown stem\.weight$",
    ),
    "a layer too few": (
        lambda p, s: _save(p / "w.pt", {k: v for k, v in s.items() if not k.startswith("fc")}),
        r"is not for ShuffleNetV2: it lacks fc\.weight, fc\.bias$",
    ),
    "a layer too many": (
        lambda p, s: _save(p / "w.pt", {**s, "extra": torch.zeros(1)}),
        r"is not for ShuffleNetV2: it has unknown extra$",
    ),
    "another width": (
        lambda p, s: _save(p / "w.pt", {**s, "conv1.0.weight": torch.zeros(3, 3, 3, 3)}),
        r"it does not fit: conv1\.0\.weight is \(3, 3, 3, 3\), not \(24, 3, 3, 3\)",
    ),
    "code in a pickle": (
        lambda p, s: _save(p / "w.pt", NeedsCode(s)),
        r"w\.pt' is refused: opening this pickle would run code .* trust=True opens it anyway",
    ),
    "a call of the system in a pickle": (
        lambda p, s: _save(p / "w.pt", {"a": CallsTheSystem()}),
        r"w\.pt' is refused: opening this pickle would run code .* trust=True opens it anyway",
    ),
    "a plain pickle": (
        lambda p, s: _write(p / "w.pt", pickle.dumps(NeedsCode({}))),
        r"w\.pt' (is refused|cannot be read)",
    ),
}


@pytest.mark.parametrize(("make", "sentence"), BAD_WEIGHTS.values(), ids=BAD_WEIGHTS)
def test_weights_that_cannot_be_read_or_do_not_fit_are_refused(
    make: Any, sentence: str, ten_classes: Any, tmp_path: Path
) -> None:
    path = make(tmp_path, ten_classes[1])
    with pytest.raises(LoadError, match=sentence) as caught:
        cs.load(SMALL, weights=path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("weights", [{}, 3, object()], ids=["a state dict", "a number", "an object"])
def test_weights_that_are_not_a_path_are_refused(weights: Any, torchvision: ModuleType) -> None:
    with pytest.raises(ConvScopeError, match="weight"):
        cs.load(SMALL, weights=weights)


def test_a_pickle_that_needs_code_is_opened_on_request(ten_classes: Any, tmp_path: Path) -> None:
    from torchvision.models import shufflenet_v2_x0_5

    _, state = ten_classes
    net = shufflenet_v2_x0_5(num_classes=10)
    net.load_state_dict(state)
    for content in (net, {"state_dict": state, "made by": NeedsCode({})}, {"model": net}):
        path = _save(tmp_path / "w.pt", content)
        with pytest.raises(LoadError, match="is refused: opening this pickle would run code"):
            cs.load(SMALL, weights=path)
        assert same_state(cs.load(SMALL, weights=path, trust=True), state)


def test_a_torchscript_archive_is_distinguished_from_weights(assets: Path) -> None:
    with pytest.raises(
        LoadError, match=r"mnist_cnn_scripted\.pt' is a TorchScript archive, not a state dict"
    ) as caught:
        cs.load(SMALL, weights=assets / "loaders/mnist_cnn_scripted.pt")
    assert "\n" not in str(caught.value)


def test_published_weights_are_explained(assets: Path) -> None:
    model = cs.load("torchvision:squeezenet1_1", weights=assets / "models/squeezenet1_1.safetensors")
    picture = assets / "imagenet_samples/n02391049_zebra.JPEG"
    assert cs.predict(model, picture).labels[0] == "zebra"
    attribution = cs.grad_cam(model, picture)
    assert attribution.target == "zebra"
    assert not attribution.blank


def test_an_archive_that_unpacks_to_far_more_than_itself_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}.")
        archive.writestr("archive/data/0", bytes(40 * 2**20))
    with pytest.raises(LoadError, match=r"is refused: its [\d,]+ bytes would unpack to 41,943,044 in 2 records"):
        read_state(path, trust=False)
