"""Wrappers for training are taken off: layers have the addresses of the network, and lenses work on it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune
from torch.nn.utils.parametrizations import weight_norm

import convscope as cs
from convscope.errors import InputError
from tests.nets import PlainNet, ResidualNet, seeded

ADDRESSES = [address for address, _ in PlainNet().named_modules() if address]


def image() -> Tensor:
    return torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))


class LowRankLayer(nn.Module):
    """A layer with adapters, as the library peft builds it."""

    def __init__(self, base: Any, *names: str, rank: int = 2) -> None:
        super().__init__()
        self.base_layer = base
        rows, columns = base.weight.shape[0], base.weight[0].numel()
        self.lora_A = nn.ModuleDict({name: nn.Linear(columns, rank, bias=False) for name in names})
        self.lora_B = nn.ModuleDict({name: nn.Linear(rank, rows, bias=False) for name in names})
        self.lora_dropout = nn.ModuleDict({name: nn.Identity() for name in names})
        self.scaling = dict.fromkeys(names, 0.5)
        self.active_adapters = list(names)

    def forward(self, x: Tensor) -> Tensor:
        y = self.base_layer(x)
        for name in self.active_adapters:
            y = y + self.scaling[name] * self.lora_B[name](self.lora_A[name](x))
        return y


class PeftModel(nn.Module):
    """The two wrappers that peft puts around a network."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.peft_config = {"default": "a configuration"}
        self.base_model = nn.Module()
        self.base_model.model = network

    def forward(self, x: Tensor) -> Tensor:
        return self.base_model.model(x)


class Wrapper(nn.Module):
    """A wrapper that holds the network under a given name, as FSDP and activation checkpointing do."""

    def __init__(self, name: str, network: nn.Module) -> None:
        super().__init__()
        self.inner = name
        self.add_module(name, network)

    def forward(self, x: Tensor) -> Tensor:
        return self.get_submodule(self.inner)(x)


def compiled(network: nn.Module) -> nn.Module:
    return torch.compile(network, backend="eager")  # type: ignore[return-value]


WRAPPERS: dict[str, Any] = {
    "data parallel": nn.DataParallel,
    "compiled": compiled,
    "compiled data parallel": lambda network: compiled(nn.DataParallel(network)),
    "fsdp": lambda network: Wrapper("_fsdp_wrapped_module", network),
    "checkpointed": lambda network: Wrapper("_checkpoint_wrapped_module", network),
    "peft": PeftModel,
}


@pytest.mark.parametrize("name", WRAPPERS)
def test_the_outermost_wrapper_is_taken_off(name: str) -> None:
    network = seeded(PlainNet)
    model = cs.Model(WRAPPERS[name](network))
    assert model.module is network
    assert model.layers() == ADDRESSES
    assert model.name == "PlainNet"


@pytest.mark.parametrize("name", WRAPPERS)
def test_wrappers_within_a_network_are_taken_off_and_the_network_is_left_alone(name: str) -> None:
    network, plain = seeded(PlainNet), seeded(PlainNet)
    network.features = WRAPPERS[name](network.features)
    before = [address for address, _ in network.named_modules()]
    model = cs.Model(network)
    assert model.layers() == ADDRESSES
    assert [address for address, _ in network.named_modules()] == before
    assert model.module.features[0] is dict(network.named_modules())[before[-5]]  # the layers themselves, not copies
    for lens in ("grad_cam", "lrp", "guided_backprop"):
        value, expected = (getattr(cs, lens)(net, image()) for net in (model, plain))
        assert torch.equal(torch.as_tensor(value.values), torch.as_tensor(expected.values)), lens
    assert cs.structure(model, image()).flops == cs.structure(plain, image()).flops


def test_wrappers_within_wrappers_are_taken_off() -> None:
    network = seeded(ResidualNet)
    addresses = [address for address, _ in network.named_modules()]
    network.conv = nn.DataParallel(Wrapper("_fsdp_wrapped_module", network.conv))  # type: ignore[assignment]
    wrapped = nn.DataParallel(Wrapper("_fsdp_wrapped_module", network))
    assert [address for address, _ in cs.Model(wrapped).module.named_modules()] == addresses


@pytest.fixture
def process_group(tmp_path: Path) -> Iterator[None]:
    """A group of one process, which is what data-parallel training needs."""
    distributed = pytest.importorskip("torch.distributed")
    if not distributed.is_available():
        pytest.skip("this torch has no distributed training")
    distributed.init_process_group(
        "gloo", store=distributed.FileStore(str(tmp_path / "store"), 1), rank=0, world_size=1
    )
    yield
    distributed.destroy_process_group()


def test_distributed_data_parallel_is_taken_off(process_group: None) -> None:
    network = seeded(PlainNet)
    model = cs.Model(nn.parallel.DistributedDataParallel(network))
    assert model.module is network


def test_weights_that_are_spread_over_processes_are_refused() -> None:
    network = nn.Sequential(Wrapper("_fsdp_wrapped_module", nn.Linear(4, 4)))

    class FlatParameter(nn.Parameter):
        _unpadded_unsharded_size = torch.Size([64])

    network[0].get_submodule("_fsdp_wrapped_module").weight = FlatParameter(torch.zeros(8))
    with pytest.raises(InputError, match="spread over several processes: collect them first"):
        cs.Model(network)


def adapted(*names: str) -> Any:
    network: Any = seeded(PlainNet)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        network.head = LowRankLayer(network.head, *names)
    return network.eval()


@pytest.mark.parametrize("names", [("default",), ("first", "second")])
def test_low_rank_adapters_are_merged_into_their_layer(names: tuple[str, ...]) -> None:
    network = adapted(*names)
    model = cs.Model(PeftModel(network))
    assert model.layers() == ADDRESSES
    assert isinstance(model.module.head, nn.Linear)
    assert torch.allclose(model.module(image()), network(image()), atol=1e-6)
    expected = cs.integrated_gradients(network, image())
    actual = cs.integrated_gradients(model, image())
    assert torch.allclose(torch.as_tensor(actual.values), torch.as_tensor(expected.values), atol=1e-5)


def test_only_active_adapters_count() -> None:
    network = adapted("first", "second")
    network.head.active_adapters = ["second"]
    assert torch.allclose(cs.Model(network).module(image()), network(image()), atol=1e-6)
    network.head.disable_adapters = True
    merged: Any = cs.Model(network).module
    assert torch.equal(merged.head.weight, network.head.base_layer.weight)


def test_adapters_of_convolutions_are_merged() -> None:
    layer = nn.Conv2d(3, 4, 3)
    network = nn.Sequential(LowRankLayer(layer, "default"), nn.ReLU())
    merged = cs.Model(network).module[0]
    update = (network[0].lora_B["default"].weight @ network[0].lora_A["default"].weight).view_as(layer.weight)
    assert torch.allclose(merged.weight, layer.weight + 0.5 * update, atol=1e-6)
    assert isinstance(merged, nn.Conv2d)


def test_a_network_without_wrappers_is_used_itself() -> None:
    network = seeded(PlainNet)
    assert cs.Model(network).module is network


def pruned_and_normalized() -> Any:
    network = seeded(PlainNet)
    prune.l1_unstructured(network.features[0], "weight", amount=0.5)
    weight_norm(network.features[2])
    return network


def test_pruned_and_parametrized_layers_are_looked_through() -> None:
    network, plain = (pruned_and_normalized() for _ in range(2))
    model = cs.Model(nn.DataParallel(network))
    prune.remove(plain.features[0], "weight")
    nn.utils.parametrize.remove_parametrizations(plain.features[2], "weight")
    for lens in ("grad_cam", "lrp", "deep_lift"):
        value, expected = (getattr(cs, lens)(net, image()) for net in (model, plain))
        assert torch.allclose(torch.as_tensor(value.values), torch.as_tensor(expected.values), atol=1e-5), lens
        assert value.notes.get("rules") == expected.notes.get("rules"), lens
    kinds = {module.address: module.kind for module in cs.structure(model, image()).modules}
    assert kinds["features.0"] == kinds["features.2"] == "Conv2d"


def test_a_graph_of_torch_fx_keeps_the_names_of_its_layers() -> None:
    network = seeded(ResidualNet)
    graph = torch.fx.symbolic_trace(network)
    model = cs.Model(graph)
    assert model.name == "ResidualNet"
    assert {address for address, _ in network.named_modules()} == {"", *model.layers()}
    assert torch.equal(
        torch.as_tensor(cs.grad_cam(model, image(), layer="conv").values),
        torch.as_tensor(cs.grad_cam(network, image(), layer="conv").values),
    )


def test_a_network_of_distributed_tensors_is_refused() -> None:
    net: Any = nn.Sequential(nn.Linear(2, 2))
    net[0].weight.placements = ("Shard(0)",)  # as a DTensor has them
    with pytest.raises(InputError, match=r"parameter '0.weight' of Sequential is spread over several processes"):
        cs.Model(net)


@pytest.fixture
def one_process(tmp_path: Path) -> Iterator[None]:
    """A group of one process, which communicates with itself through a file."""
    distributed: Any = torch.distributed
    if not distributed.is_available() or not distributed.is_gloo_available():
        pytest.skip("this torch has no gloo")
    store = distributed.FileStore(str(tmp_path / "store"), 1)
    distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


def test_a_network_that_fully_shard_spreads_is_refused(one_process: None) -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    net = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Linear(2, 2))
    mesh = init_device_mesh("cpu", (1,))
    fully_shard(net[1], mesh=mesh)
    fully_shard(net, mesh=mesh)
    sentence = r"parameter '0.weight' of .* is spread over several processes \(a DTensor\): load its full state dict"
    with pytest.raises(InputError, match=sentence):
        cs.Model(net)
