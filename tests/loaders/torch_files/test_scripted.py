"""TorchScript archives: opened with their layers and exact numbers, or refused in a sentence."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import convscope as cs
from convscope.errors import LayerError, LoadError
from convscope.loaders.torch_files.scripted import read_script
from tests.loaders.torch_files.networks import exported, images, save, saved_net, scripted, silently, traced
from tests.loaders.torch_files.test_exported import rewritten


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scripts")
    save(scripted(saved_net()), folder / "scripted.pt")
    save(traced(saved_net()), folder / "traced.pt")
    return folder


class ControlFlow(nn.Module):
    """Branches, loops, lists, dicts, texts, a free function and a method: what scripts hold beside operations."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.Conv2d(3, 3, 3, padding=1) for _ in range(3)])
        self.head = nn.Linear(3, 4)
        self.steps = 2
        self.names: dict[str, int] = {"first": 1, "second": 2}
        self.register_buffer("scale", torch.tensor([1.0, 2.0, 3.0]))

    def forward(self, x: Tensor, power: int = 2) -> Tensor:
        outputs: list[Tensor] = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index % 2 == 0 and x.size(1) == 3:  # noqa: SIM108 - a branch of the script
                x = F.relu(x)
            else:
                x = gated(x, self.names["second"])
            outputs.append(x)
        total = torch.zeros_like(outputs[0])
        count = 0
        while count < self.steps and len(outputs) > 1:
            total = total + outputs.pop() ** power
            count += 1
        shape = [total.shape[0], total.shape[1], -1]
        assert count == 2, "the count is {}".format(count)  # noqa: UP032 - what a script stores
        return self.pooled(total.view(shape))

    def pooled(self, x: Tensor) -> Tensor:
        pieces = torch.split(x, 1, dim=1)
        joined = torch.cat([piece.mean(-1) for piece in pieces], 1) * self.scale
        return self.head(joined)


def gated(x: Tensor, parts: int) -> Tensor:
    return x * torch.sigmoid(x / float(parts))


class Recurrent(nn.Module):
    """A GRU over the rows of a picture, and a normalized attention over its steps."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(16, 6, batch_first=True, bidirectional=True)
        self.attention = nn.MultiheadAttention(12, 2, batch_first=True)
        self.head = nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.rnn(x.mean(1))
        y = F.normalize(self.attention(y, y, y)[0], dim=-1)
        return self.head(y.mean(1))


class Upsampling(nn.Module):
    """An encoder and a decoder with a skip, transposed convolution, interpolation, padding and instance norm."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.InstanceNorm2d(4), nn.ELU())
        self.up = nn.ConvTranspose2d(4, 4, 2, stride=2)
        self.out = nn.Conv2d(8, 2, 3, padding=1, padding_mode="reflect")

    def forward(self, x: Tensor) -> Tensor:
        y = self.down(x)
        z = F.interpolate(y, scale_factor=2.0, mode="bilinear", align_corners=False)
        return F.log_softmax(self.out(torch.cat([self.up(y), F.pad(z, [0, 0, 0, 0])], dim=1)), dim=1)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "all": saved_net,
    "control flow": ControlFlow,
    "recurrent": Recurrent,
    "upsampling": Upsampling,
    "one layer": lambda: nn.Conv2d(3, 2, 3),
}
WAYS = {"scripted": scripted, "traced": traced, "frozen": lambda net: torch.jit.freeze(scripted(net))}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", NETWORKS)
def test_numbers_are_those_of_the_script(name: str, way: str, tmp_path: Path) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = NETWORKS[name]().eval()
    save(silently(lambda: WAYS[way](network)), tmp_path / "net.pt")
    script = read_script(tmp_path / "net.pt", trust=False)
    assert script.hidden_by == ""
    x = images(2).requires_grad_()
    expected, scores = network(x), script.network(x)
    assert torch.allclose(scores, expected, atol=1e-6)
    assert torch.equal(scores, script.original(x))
    gradient, reference = (torch.autograd.grad(output.square().sum(), x)[0] for output in (scores, expected))
    assert torch.allclose(gradient, reference, atol=1e-5)


def test_layers_of_scripts_are_captured_and_explained(folder: Path) -> None:
    model = cs.load(folder / "scripted.pt")
    maps = cs.feature_maps(model, images(1), layer="block.conv2")
    expected = cs.feature_maps(saved_net(), images(1), layer="block.conv2")
    assert torch.equal(maps.maps["block.conv2"], expected.maps["block.conv2"])
    value, reference = (cs.grad_cam(network, images(1)) for network in (model, saved_net()))  # the default layer
    assert torch.equal(torch.as_tensor(value.values), torch.as_tensor(reference.values))


def test_a_trace_has_its_shape_and_is_checked(folder: Path) -> None:
    model = cs.load(folder / "traced.pt")
    assert isinstance(model.input, cs.ImageInput)
    assert model.input.size == (16, 16)
    assert model.conversion is not None
    assert model.conversion.difference < 1e-5
    assert cs.load(folder / "scripted.pt").input.shape is None  # type: ignore[union-attr]


class WithRate(nn.Module):
    """A network whose forward takes a number beside its input."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 2, 3)

    def forward(self, x: Tensor, rate: int) -> Tensor:
        if rate != 16000:
            raise ValueError("the rate must be 16000")
        return self.conv(x).mean(-1)


def test_arguments_beside_the_input_are_given_in_the_address(tmp_path: Path) -> None:
    network = WithRate().eval()
    save(scripted(network), tmp_path / "net.pt")
    with pytest.raises(LoadError, match=r"takes 2 arguments \(x, rate\): give numbers .* \?arguments=16000 for rate"):
        cs.load(tmp_path / "net.pt")
    model = cs.load(f"{tmp_path / 'net.pt'}?arguments=16000")
    x = torch.randn(2, 1, 20)
    assert torch.equal(model.run(x), network(x, 16000))
    assert torch.equal(cs.load(model.source).run(x), network(x, 16000))
    for text, message in {"a": "not made of numbers", "1,2": r"takes 1 more \(rate\)"}.items():
        with pytest.raises(LoadError, match=message):
            cs.load(f"{tmp_path / 'net.pt'}?arguments={text}")


class OfText(nn.Module):
    """A network whose input is no tensor."""

    def forward(self, x: str) -> str:
        return x


def test_an_input_that_is_no_tensor_is_refused(tmp_path: Path) -> None:
    save(scripted(OfText()), tmp_path / "text.pt")
    with pytest.raises(LoadError, match=r"forward of text\.pt takes an input of type str, and lenses explain tensors"):
        cs.load(f"{tmp_path / 'text.pt'}?size=16")


def test_what_is_assumed_of_images_is_said_on_every_result(tmp_path: Path) -> None:
    save(scripted(saved_net()), tmp_path / "net.pt")
    (remark,) = cs.load(f"{tmp_path / 'net.pt'}?size=16").caveats
    assert remark.endswith("(mean 0, 0, 0, std 1, 1, 1), which is assumed")
    assert cs.load(f"{tmp_path / 'net.pt'}?size=16&mean=0.5,0.5,0.5&std=0.2,0.2,0.2").caveats == ()


class Unusual(nn.Module):
    """A network with a built-in function that nobody translated."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(768, 2)

    def forward(self, x: Tensor) -> Tensor:
        futures = torch.jit.fork(torch.relu, x)
        return self.head(torch.jit.wait(futures).flatten(1))


def test_a_script_with_unknown_functions_runs_without_layers(tmp_path: Path) -> None:
    network = Unusual().eval()
    save(scripted(network), tmp_path / "net.pt")
    model = cs.load(tmp_path / "net.pt")
    x = images(1)
    assert torch.equal(model.run(x), network(x))
    assert "prim::fork ×1" in str(model.caveats)
    value = cs.integrated_gradients(model, x)
    expected = cs.integrated_gradients(network, x)
    assert torch.allclose(torch.as_tensor(value.values), torch.as_tensor(expected.values), atol=1e-6)
    with pytest.raises(LayerError, match="scripted or traced"):
        cs.grad_cam(model, x, layer="head")


def test_a_script_that_switches_gradients_off_leaves_them_on_behind_it(tmp_path: Path) -> None:
    class Frozen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            with torch.no_grad():
                y = self.body(x)
            return self.head(y.mean(-1).mean(-1))

    network = Frozen().eval()
    save(scripted(network), tmp_path / "net.pt")
    script = read_script(tmp_path / "net.pt", trust=False)
    scores = script.network(images(1).requires_grad_())
    assert torch.allclose(scores, network(images(1)))
    handle = script.network.body.register_forward_hook(lambda *_: 1 / 0)  # type: ignore[union-attr, operator]
    with pytest.raises(ZeroDivisionError):
        script.network(images(1))
    handle.remove()
    assert torch.is_grad_enabled()


def changed_code(old: str, new: str) -> Callable[[str, bytes], bytes]:
    return lambda name, content: content.replace(old.encode(), new.encode()) if name.endswith(".py") else content


HOSTILE = {
    "writes a file": (changed_code("torch.leaky_relu(", "torch.save("), "its script calls 'torch.save'"),
    "nests deeply": (changed_code("return ", f"return {'(' * 500}0{')' * 500}\n    return "), "nests deeper"),
    "loops while it is opened": (
        changed_code("  def forward", "  def __setstate__(self, state: int) -> None:\n    while True:\n      pass\n"
                     "  def forward"),
        "opening it would run a loop",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_code_is_refused(folder: Path, tmp_path: Path, name: str) -> None:
    change, message = HOSTILE[name]
    with pytest.raises(LoadError, match=message):
        cs.load(rewritten(folder / "scripted.pt", tmp_path / "hostile.pt", change))


def test_tensors_beyond_their_record_are_refused(folder: Path, tmp_path: Path) -> None:
    pickled = b"K\x06K\x03K\x03K\x03t"  # the sizes (6, 3, 3, 3) of the first weight
    enlarged = b"J\xff\xff\xff\x7fK\x03K\x03K\x03t"

    def enlarge(name: str, content: bytes) -> bytes:
        return content.replace(pickled, enlarged) if name.endswith("/data.pkl") else content

    with pytest.raises(LoadError, match=r"reaches beyond the 162 of its record"):
        cs.load(rewritten(folder / "scripted.pt", tmp_path / "large.pt", enlarge))


def test_the_input_that_a_trace_claims_is_not_allocated_unless_it_is_small(folder: Path, tmp_path: Path) -> None:
    sizes, strides = b"K\x02K\x03K\x10K\x10t", b"M\x00\x03M\x00\x01K\x10K\x01t"  # of two images of 16 × 16
    huge, zeros = b"K\x02K\x03J\x00\x00\x01\x00J\x00\x00\x01\x00t", b"K\x00K\x00K\x00K\x00t"

    def enlarge(name: str, content: bytes) -> bytes:
        return content.replace(sizes, huge).replace(strides, zeros) if name.endswith("traced_inputs.pkl") else content

    with pytest.raises(LoadError, match="is refused: its operation 'randn' would create 25,769,803,776 numbers"):
        cs.load(rewritten(folder / "traced.pt", tmp_path / "large.pt", enlarge))


def test_a_pickle_that_numbers_its_objects_far_apart_is_refused(folder: Path, tmp_path: Path) -> None:
    def renumber(name: str, content: bytes) -> bytes:
        return content[:2] + b"K\x01r\xff\xff\xff\x7f0" + content[2:] if name.endswith("/data.pkl") else content

    with pytest.raises(LoadError, match="numbers an object 2,147,483,647"):
        cs.load(rewritten(folder / "scripted.pt", tmp_path / "memo.pt", renumber))


def test_a_pickled_network_needs_trust(tmp_path: Path) -> None:
    network = saved_net()
    torch.save(network, tmp_path / "whole.pt")
    torch.save({"model": network, "epoch": 3}, tmp_path / "checkpoint.pt")
    for name in ("whole.pt", "checkpoint.pt"):
        with pytest.raises(LoadError, match="opening this pickle would run code that is stored in it"):
            cs.load(tmp_path / name)
        model = cs.load(tmp_path / name, trust=True)
        assert torch.equal(model.module(images()), network(images()))


def test_weights_without_a_network_say_how_to_use_them(tmp_path: Path) -> None:
    torch.save(saved_net().state_dict(), tmp_path / "weights.pt")
    for trust in (False, True):
        with pytest.raises(LoadError, match=r"holds weights without the network .* as in torchvision:\w+\?weights="):
            cs.load(tmp_path / "weights.pt", trust=trust)
    (tmp_path / "weights.pt").rename(tmp_path / "weights.onnx")
    with pytest.raises(LoadError, match=r"rename it to weights\.pt, and give .*\?weights=.*weights\.pt$"):
        cs.load(tmp_path / "weights.onnx")


def test_the_given_files_are_opened_exactly(assets: Path) -> None:
    digits = cs.load(f"{assets}/loaders/mnist_cnn_scripted.pt?size=28&mean=0.1307&std=0.3081")
    assert digits.layers() == ["conv1", "conv2", "pool", "fc1", "fc2"]
    assert isinstance(digits.module.conv1, nn.Conv2d)
    x = torch.randn(2, 1, 28, 28)
    original = silently(lambda: torch.jit.load(assets / "loaders/mnist_cnn_scripted.pt", map_location="cpu").eval())
    assert torch.equal(digits.run(x), original(x))
    assert not digits.module.training
    speech = cs.load(f"{assets}/trained/silero_vad.jit?arguments=16000")
    assert isinstance(speech.module.get_submodule("_model.encoder.0.reparam_conv"), nn.Conv1d)
    sound = torch.randn(1, 512)
    original = silently(lambda: torch.jit.load(assets / "trained/silero_vad.jit"))
    assert torch.equal(speech.module(sound), original(sound, 16000))
    for name in ("cifar_torchvision.pt", "mtcnn_rnet.pt"):
        with pytest.raises(LoadError, match="holds weights without the network"):
            cs.load(assets / "loaders" / name)


def test_damaged_archives_are_refused(folder: Path, tmp_path: Path) -> None:
    whole = (folder / "scripted.pt").read_bytes()
    for length in (10, 3000, len(whole) - 30):
        (tmp_path / "cut.pt").write_bytes(whole[:length])
        with pytest.raises(LoadError):
            cs.load(tmp_path / "cut.pt")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("net/constants.pkl", b"\x80\x02).")
    (tmp_path / "empty.pt").write_bytes(buffer.getvalue())
    with pytest.raises(LoadError, match="cannot be read as TorchScript"):
        cs.load(tmp_path / "empty.pt")


def test_a_quantised_script_has_no_gradients_and_says_so(tmp_path: Path) -> None:
    from torch.ao import quantization

    def build() -> Any:
        net = nn.Sequential(quantization.QuantStub(), nn.Conv2d(3, 4, 3), nn.ReLU(), quantization.DeQuantStub())
        net = nn.Sequential(net, nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
        net.qconfig = quantization.get_default_qconfig("fbgemm")
        prepared = quantization.prepare(net)
        prepared(images(4))
        return quantization.convert(prepared)

    network = silently(build)
    save(scripted(network), tmp_path / "net.pt")
    model = cs.load(tmp_path / "net.pt")
    assert torch.equal(model.run(images(2)), network(images(2)))
    assert model.quantized_part() is not None
    with pytest.raises(cs.ConvScopeError, match="is quantised"):
        cs.saliency(model, images(1))
    value, expected = (cs.occlusion(m, images(1), target=1) for m in (model, network))
    assert torch.allclose(torch.as_tensor(value.values), torch.as_tensor(expected.values), atol=1e-6)


def test_an_exported_program_is_no_script(tmp_path: Path) -> None:
    save(exported(saved_net()), tmp_path / "net.pt")
    assert cs.load(tmp_path / "net.pt").conversion.engine.startswith("torch.export")  # type: ignore[union-attr]
