"""Loaders: from an address to a model, or to a one-line error about the address, the file or the network."""

import pickle
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import convscope as cs
from convscope.errors import ConvScopeError, InputError, LoadError, MissingExtra, UnknownName
from convscope.loaders import download
from convscope.loaders.weights import read_state
from tests.nets import PlainNet, seeded
from tests.waiting import TIMEOUT

SMALL = "torchvision:shufflenet_v2_x0_5"


class NeedsCode:
    """A class, which a pickle can only store by referring to code."""

    def __init__(self, state: dict[str, Any]) -> None:
        self.state_dict = state


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


def same_state(model: cs.Model, state: dict[str, torch.Tensor]) -> bool:
    actual = model.module.state_dict()
    return all(torch.equal(actual[name], state[name]) for name in state)


# Addresses


@pytest.mark.parametrize(
    ("address", "kind", "sentence"),
    [
        (
            "resnet18",
            UnknownName,
            r"^'resnet18' is not the address of a model: write it as torchvision:resnet50 or net\.py:make$",
        ),
        ("", UnknownName, r"^'' is not the address of a model"),
        ("torchvision:", UnknownName, r"^'torchvision:' is not the address of a model"),
        (":resnet18", UnknownName, r"':resnet18'"),
        (
            "torchvison:resnet18",
            UnknownName,
            r"no kind of model 'torchvison'; did you mean 'torchvision'\? \(try .*torchvision:resnet50",
        ),
        ("http://x.org/net.pt", UnknownName, r"no kind of model 'http' \(try "),
        (
            "torchvision:resnet81",
            UnknownName,
            r"^torchvision has no classification network 'resnet81'; did you mean 'resnet\d+'\?",
        ),
        (
            "torchvision:zeppelin",
            UnknownName,
            r"^torchvision has no classification network 'zeppelin' \('convscope models' lists",
        ),
        ("torchvision:fcn_resnet50", UnknownName, r"^torchvision has no classification network 'fcn_resnet50'"),
        (
            "torchvision:resnet18?weights=IMAGENET1K_V2",
            UnknownName,
            r"^resnet18 has no weights 'IMAGENET1K_V2'; did you mean 'IMAGENET1K_V1'\? \(it has .* and none\)",
        ),
        ("torchvision:resnet18?weights", UnknownName, r"^resnet18 has no weights ''"),
        ("torchvision:resnet18?wights=none", LoadError, r"has the option 'wights'; did you mean 'weights'"),
        ("timm:convnext_atoo", UnknownName, r"^timm has no network 'convnext_atoo'; did you mean 'convnext_atto'\?"),
        (
            "timm:resnet18?weights=a1_in1k",
            UnknownName,
            r"^timm names weights in the architecture: timm:resnet18\.a1_in1k$",
        ),
        ("timm:resnet18.no_such_tag?weights=none", ConvScopeError, r"no_such_tag"),
        (
            "bundled:digit",
            UnknownName,
            r"^no bundled network 'digit'; did you mean 'digits'\? \(there are digits and shapes\)$",
        ),
        ("bundled:digits?weights=best", LoadError, r"^bundled:digits comes with its weights"),
        ("net.py", LoadError, r"^'net\.py' needs the function that makes the network: net\.py:NAME$"),
        ("none.py:make", LoadError, r"^no such file: 'none\.py'$"),
    ],
)
def test_an_invalid_address_is_refused(
    address: str, kind: type[ConvScopeError], sentence: str, torchvision: Any
) -> None:
    with pytest.raises(kind, match=sentence) as caught:
        cs.load(address)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("device", ["cuda:99", "warp", "cpu:x"])
def test_an_unavailable_device_is_refused(device: str) -> None:
    with pytest.raises(ConvScopeError, match="device") as caught:
        cs.load("bundled:digits", device=device)
    assert "\n" not in str(caught.value)


def test_random_weights_need_no_download_and_have_a_caveat(torchvision: ModuleType) -> None:
    for address in (f"{SMALL}?weights=none", "timm:test_convnext?weights=none", "bundled:digits?weights=none"):
        model = cs.load(address)
        assert model.source == address
        assert model.caveats == ("random weights: the network has learned nothing",)
        assert not model.module.training
        assert cs.predict(model, "sample:photo/china", top=2).record.caveats == model.caveats


def test_the_bundled_network_classifies_a_digit() -> None:
    model = cs.load("bundled:digits", device="cpu")
    sample = cs.sample("digits/3")
    assert (model.source, model.caveats) == ("bundled:digits", ())
    assert cs.predict(model, "sample:digits/3").labels[0] == sample.label
    with pytest.raises(LoadError, match="bundled:digits comes with its weights"):
        cs.load("bundled:digits", weights="own.safetensors")


# Own weights


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


# Source files


SOURCE = """
from torch import nn
import convscope as cs

def make():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))

def whole():
    return cs.Model(make(), input=cs.ImageInput(size=8), labels=["no", "yes"])

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(2, 2)

ready = make()

def raises():
    raise ValueError("no data")

def gives_words():
    return "a network"

def wants(number):
    return make()

number = 3
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "my_net.py").write_text(SOURCE)
    return tmp_path / "my_net.py"


@pytest.mark.parametrize("name", ["make", "Net", "ready"])
def test_a_function_a_class_or_a_module_in_a_file_is_opened_as_a_model(name: str, source: Path) -> None:
    model = cs.load(f"{source}:{name}")
    assert isinstance(model, cs.Model)
    assert (model.source, model.name) == (f"{source}:{name}", name)
    assert cs.load(Path(f"{source}:{name}")).name == name


def test_a_model_returned_by_a_function_keeps_its_settings(source: Path) -> None:
    model = cs.load(f"{source}:whole")
    assert (model.labels, model.input.size, model.source) == (("no", "yes"), (8, 8), f"{source}:whole")
    assert cs.predict(model, np.zeros((8, 8, 3), np.uint8)).labels


def test_weights_are_loaded_into_a_network_from_a_file(source: Path, tmp_path: Path) -> None:
    state = cs.load(f"{source}:make").module.state_dict()
    save_file(state, tmp_path / "w.safetensors")
    model = cs.load(f"{source}:make", weights=tmp_path / "w.safetensors")
    assert same_state(model, state)
    assert model.source == f"{source}:make with {tmp_path / 'w.safetensors'}"


@pytest.mark.parametrize(
    ("name", "kind", "sentence"),
    [
        ("maek", UnknownName, r"^my_net\.py has no 'maek'; did you mean 'make'\?$"),
        ("", UnknownName, r"^my_net\.py has no ''"),
        ("raises", LoadError, r"^my_net\.py:raises raised ValueError: no data$"),
        ("gives_words", LoadError, r"my_net\.py:gives_words gives str, not a torch\.nn\.Module or a convscope\.Model$"),
        (
            "wants",
            LoadError,
            r"^my_net\.py:wants raised TypeError: wants\(\) missing 1 required positional argument: 'number'$",
        ),
        ("number", LoadError, r"my_net\.py:number gives int, not a torch\.nn\.Module"),
    ],
)
def test_a_name_that_returns_no_network_is_refused(
    name: str, kind: type[ConvScopeError], sentence: str, source: Path
) -> None:
    with pytest.raises(kind, match=sentence) as caught:
        cs.load(f"{source}:{name}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("def make(:\n", r"bad\.py:make raised SyntaxError: "),
        ("import no_such_package\n", r"bad\.py:make raised ModuleNotFoundError: No module named 'no_such_package'"),
        ("1 / 0\n", r"bad\.py:make raised ZeroDivisionError: division by zero"),
        ("import sys; sys.path.clear(); sys.path.append('/')\nmake = 3\n", r"bad\.py:make gives int"),
        ("raise SystemExit(3)\n", r"bad\.py:make (raised|stopped) .*3"),
    ],
)
def test_a_file_that_cannot_be_run_is_refused(
    text: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "bad.py").write_text(text)
    with pytest.raises(LoadError, match=sentence) as caught:
        cs.load(f"{tmp_path}/bad.py:make")
    assert "\n" not in str(caught.value)


def test_the_weights_option_is_not_silently_ignored(source: Path) -> None:
    with pytest.raises(LoadError, match="weights"):
        cs.load(f"{source}:make?weights=IMAGENET1K_V1")


def test_a_file_may_import_its_neighbours_and_the_search_path_is_restored(tmp_path: Path) -> None:
    import sys

    (tmp_path / "neighbour_of_net.py").write_text("from torch import nn\nparts = [nn.Flatten(), nn.Linear(4, 2)]\n")
    (tmp_path / "net_with_neighbour.py").write_text(
        "from neighbour_of_net import parts\nfrom torch import nn\nmake = lambda: nn.Sequential(*parts)\n"
    )
    before = list(sys.path)
    assert len(cs.load(f"{tmp_path}/net_with_neighbour.py:make").module) == 2
    assert sys.path == before


def test_files_with_the_same_name_in_two_folders_are_distinct(tmp_path: Path) -> None:
    for folder, width in (("a", 2), ("b", 5)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "twin_net.py").write_text(f"from torch import nn\nmake = lambda: nn.Linear(1, {width})\n")
    widths = [cs.load(f"{tmp_path}/{folder}/twin_net.py:make").module.out_features for folder in "aba"]
    assert widths == [2, 5, 2]


# Downloads


def _refuse_connection(*_: Any, **__: Any) -> Any:
    raise OSError("network is unreachable")


@pytest.fixture
def connect(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """A replacement for ``socket.create_connection`` that is refused, or waits until the test ends."""
    finished = threading.Event()

    def silence(*_: Any, **__: Any) -> Any:
        finished.wait(TIMEOUT)
        raise OSError("timed out")

    yield silence if request.param == "silent" else _refuse_connection
    finished.set()


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(download, "CONNECT_TIMEOUT", 0.3)


@pytest.mark.usefixtures("empty_cache")
@pytest.mark.parametrize("connect", ["refused", "silent"], indirect=True)
@pytest.mark.parametrize("address", ["torchvision:resnet18", "timm:convnext_atto"])
def test_a_missing_network_is_reported_quickly_with_a_remedy(
    address: str, connect: Any, monkeypatch: pytest.MonkeyPatch, torchvision: Any
) -> None:
    monkeypatch.setattr(socket, "create_connection", connect)
    with pytest.raises(
        LoadError,
        match=f"weights of {address} could not be fetched .*no network.*pass a file.*'{address}.weights=none'",
    ) as caught:
        cs.load(address)
    assert "\n" not in str(caught.value)


def test_the_connection_timeout_is_below_ten_seconds() -> None:
    assert download.CONNECT_TIMEOUT < 8


@pytest.mark.usefixtures("empty_cache")
def test_a_failed_download_is_reported_in_the_same_way(
    monkeypatch: pytest.MonkeyPatch, torchvision: ModuleType
) -> None:
    def reset_connection(*_: Any, **__: Any) -> None:
        raise ConnectionResetError("reset by peer")

    monkeypatch.setattr(download, "is_reachable", lambda url: True)
    monkeypatch.setattr(torch.hub, "download_url_to_file", reset_connection)
    with pytest.raises(LoadError, match=r"could not be fetched \(ConnectionResetError: reset by peer\): pass a file"):
        cs.load("torchvision:resnet18")


@pytest.mark.usefixtures("empty_cache")
def test_a_silent_server_times_out(monkeypatch: pytest.MonkeyPatch, torchvision: ModuleType) -> None:
    """A proxy may accept the connection and send nothing, so the download has a timeout too."""
    limits: list[float | None] = []

    def urlopen(*_: Any, **__: Any) -> None:
        limits.append(socket.getdefaulttimeout())
        raise TimeoutError("timed out")

    monkeypatch.setattr(download, "is_reachable", lambda url: True)
    monkeypatch.setattr(torch.hub, "urlopen", urlopen)
    with pytest.raises(LoadError, match="could not be fetched"):
        cs.load("torchvision:resnet18")
    assert limits[0] is not None
    assert limits[0] < 60
    assert socket.getdefaulttimeout() is None


def test_a_missing_library_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    plain = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "timm" else plain(name, *a))
    with pytest.raises(MissingExtra, match=r"this needs the package 'timm': \S+ -m pip install .*'timm>=1"):
        cs.load("timm:convnext_atto?weights=none")


def test_a_loaded_model_is_explained_from_a_path(tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (50, 40), "red").save(tmp_path / "red.png")
    model = cs.load(f"{SMALL}?weights=none")
    attribution = cs.grad_cam(model, tmp_path / "red.png", target="tabby")
    assert attribution.values.shape == (224, 224)
    assert attribution.record.input == str(tmp_path / "red.png")
    with pytest.raises(InputError, match="no such file"):
        cs.grad_cam(model, tmp_path / "blue.png")


def test_a_module_can_be_passed_instead_of_a_model() -> None:
    assert cs.grad_cam(seeded(PlainNet), torch.zeros(1, 3, 8, 8)).layers == ("features",)
