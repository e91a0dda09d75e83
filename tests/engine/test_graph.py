"""A recorded forward pass: operations and their edges, FLOPs and memory, and the dependence of each on the input."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

import convscope as cs
from convscope.engine.graph import INPUT, ForwardGraph, dependence_rules, record_graph
from convscope.errors import ConvScopeError, InputError, ModelFailed
from tests.nets import FailingNet, FlattenNet, PlainNet, ResidualNet, seeded


def positive(net: nn.Module, seed: int = 0) -> nn.Module:
    """The network in float64 with weights above zero, so that nothing cancels and every rectifier is active."""
    numbers = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.rand(parameter.shape, generator=numbers) * 0.9 + 0.1)
    return net.double().eval().requires_grad_(False)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.1


def record(net: nn.Module, *shape: int) -> ForwardGraph:
    return record_graph(cs.Model(net.double().eval()), drawn(1, *shape))


# Dependence on input positions, compared with the support of the gradient


class Branches(nn.Module):
    """Two branches of different length that are added, two that are stacked, and grouped convolutions after them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, stride=2)
        self.long = nn.Sequential(nn.Conv2d(4, 4, 5, padding=2), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=2, dilation=2))
        self.short = nn.Conv2d(4, 4, 1)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.grouped = nn.Conv2d(8, 4, (2, 4), stride=(1, 2), groups=2)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        x = self.short(x) + self.long(x)
        beside = torch.stack([x, self.long[0](x)], 1).flatten(1, 2)
        return self.grouped(self.depthwise(beside))


class Hourglass(nn.Module):
    """Downsampling and upsampling in four modes, concatenated with a crop of the input."""

    def __init__(self, mode: str) -> None:
        super().__init__()
        self.mode = mode
        self.down = nn.Conv2d(1, 3, 4, stride=3)
        self.deep = nn.Conv2d(3, 3, 3, padding=1)
        self.up = nn.ConvTranspose2d(3, 2, 4, stride=3, padding=1, output_padding=1)
        self.mix = nn.Conv2d(5, 2, 3)
        self.shuffle = nn.PixelShuffle(2)
        self.wide = nn.Conv2d(3, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        down = self.down(x)
        deep = self.deep(F.relu(down))
        if self.mode == "transposed":
            up = self.up(deep)
        elif self.mode == "shuffled":
            up = self.shuffle(self.wide(deep))
        else:
            up = F.interpolate(deep[:, :2], size=(17, 19), mode=self.mode)
        beside = F.pad(x[:, :, 1:, 2:-1], (0, 1, 2, 0)).expand(-1, 3, -1, -1)
        height, width = (min(a, b) for a, b in zip(up.shape[2:], beside.shape[2:], strict=True))
        return self.mix(torch.cat([up[:, :2, :height, :width], beside[..., :height, :width]], 1))


class Pools(nn.Module):
    """Overlapping windows, windows of unequal size, reflection padding."""

    def __init__(self) -> None:
        super().__init__()
        self.pad = nn.ReflectionPad2d((2, 1, 1, 2))
        self.average = nn.AvgPool2d(3, stride=2, padding=1, ceil_mode=True)
        self.to_size = nn.AdaptiveAvgPool2d((3, 4))
        self.conv = nn.Conv2d(2, 3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.to_size(self.average(self.pad(x))))


class Tokens(nn.Module):
    """Patches become tokens beside a constant one; windows of rolled tokens; then attention among all."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, 6, 3, stride=3)
        self.extra = nn.Parameter(torch.rand(1, 1, 6))
        self.norm = nn.LayerNorm(6)
        self.inner = nn.Linear(6, 6)
        self.windowed = nn.Linear(6, 6)
        self.attend = nn.MultiheadAttention(6, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        maps = torch.roll(self.patches(x).permute(0, 2, 3, 1), (-1, -1), (1, 2))
        windows = maps.view(1, 2, 2, 2, 2, 6).permute(0, 1, 3, 2, 4, 5).reshape(4, 4, 6)
        windows = self.windowed(windows + windows.mean(1, keepdim=True))
        maps = windows.view(1, 2, 2, 2, 2, 6).permute(0, 1, 3, 2, 4, 5).reshape(1, 16, 6)
        tokens = self.inner(self.norm(torch.cat([self.extra, maps], 1)))
        return self.attend(tokens, tokens, tokens)[0][:, 0]


class Gated(nn.Module):
    """A gate computed from the whole map, and a norm that takes its statistics from it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 4, 1), nn.Sigmoid())
        self.norm = nn.GroupNorm(2, 4)
        self.last = nn.Conv2d(4, 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return self.last(self.norm(x * self.gate(x)))


def plain_net(axes: int) -> nn.Module:
    return PlainNet(axes, 2, inplace=True)


NETS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "plain": (lambda: PlainNet(2, 2), (2, 13, 10)),
    "signal": (lambda: plain_net(1), (2, 24)),
    "volume": (lambda: plain_net(3), (2, 5, 6, 7)),
    "residual": (ResidualNet, (3, 16, 16)),
    "flatten": (FlattenNet, (3, 16, 16)),
    "branches": (Branches, (2, 20, 23)),
    "transposed": (lambda: Hourglass("transposed"), (1, 16, 19)),
    "nearest": (lambda: Hourglass("nearest"), (1, 16, 19)),
    "bilinear": (lambda: Hourglass("bilinear"), (1, 16, 19)),
    "shuffled": (lambda: Hourglass("shuffled"), (1, 16, 19)),
    "pools": (Pools, (2, 16, 19)),
    "tokens": (Tokens, (1, 12, 12)),
    "gated": (Gated, (1, 9, 9)),
}


@pytest.mark.parametrize("name", NETS)
def test_the_dependence_of_a_value_is_the_support_of_its_gradient(name: str) -> None:
    """For random values of every module's output; maxima have a gradient at one position: many inputs are tried."""
    build, shape = NETS[name]
    net = positive(seeded(build))
    graph = record_graph(cs.Model(net), drawn(1, *shape))
    random = np.random.default_rng(0)
    compared = 0
    for address, call in graph.layer_calls.items():
        for _ in range(4):
            index = (0, *(int(random.integers(side)) for side in call.shape[1:]))
            if call.shape[0] > 1:
                index = (int(random.integers(call.shape[0])), *index[1:])
            bounds = [axis.bounds(lambda part: part.expand(call.shape)[index]) for axis in call.dependence]  # noqa: B023
            expected = support(net, shape, address, index, tries=24 if name == "flatten" else 1)
            assert (bounds or [None] * len(expected)) == expected, (address, index)
            compared += 1
    assert compared >= 4 * 4


def support(net: nn.Module, shape: tuple[int, ...], address: str, index: tuple[int, ...], tries: int) -> list[Any]:
    """Along each axis the first and last input position with a gradient to one value of a module's last output."""
    has_gradient = torch.zeros(shape, dtype=torch.bool)
    for seed in range(tries):
        x = drawn(1, *shape, seed=seed).requires_grad_(True)
        outputs: list[Tensor] = []
        hook = net.get_submodule(address).register_forward_hook(
            lambda _m, _i, out: outputs.append(first(out).clone())  # noqa: B023
        )
        net(x.clone())
        hook.remove()
        if not outputs[-1].requires_grad:
            return [None] * (len(shape) - 1)
        has_gradient |= torch.autograd.grad(outputs[-1][index], x)[0][0] != 0
    bounds = []
    for axis in range(1, len(shape)):
        along = has_gradient.movedim(axis, 0).flatten(1).any(1).nonzero().flatten().tolist()
        bounds.append((along[0], along[-1]) if along else None)
    return bounds


def first(out: Any) -> Tensor:
    return out[0] if isinstance(out, tuple) else out


@pytest.mark.parametrize("name", ["plain", "signal", "volume", "branches", "transposed", "nearest", "shuffled"])
def test_the_receptive_field_pattern_is_exact_far_from_the_borders(name: str) -> None:
    """On a large input: the size is that of the largest receptive field, and the pattern gives that of position i."""
    build, shape = NETS[name]
    side = 40 if len(shape) == 4 else 120
    graph = record(seeded(build), shape[0], *(side for _ in shape[1:]))
    compared = 0
    for call in graph.layer_calls.values():
        for number, axis in enumerate(call.dependence):
            pattern = axis.pattern
            if pattern is None or axis.mixes_positions or len(call.shape) != len(shape) + 1:
                continue
            other_dims = [d for d in range(axis.low.ndim) if d != number + 2]
            low, high = -(-axis.low).amax(other_dims), axis.high.amax(other_dims)
            margin = pattern.size
            inside = [i for i in range(len(high)) if low[i] >= margin and high[i] < side - margin]
            if len(inside) < len(pattern.low):
                continue
            assert pattern.size == max(int(high[i] - low[i]) + 1 for i in inside)
            for i in inside:
                assert (pattern.end_at(pattern.low, i), pattern.end_at(pattern.high, i)) == (low[i], high[i])
            compared += 1
    assert compared >= 4


def test_the_field_after_a_mean_over_space_is_the_whole_input_and_keeps_its_local_part() -> None:
    s = cs.structure(cs.Model(seeded(Gated), input=cs.TensorInput((1, 9, 9))))
    assert s.module("conv").field == (3, 3)
    assert s.module("gate").field == (None, None)
    assert s.module("gate").local == (None, None)
    assert s.module("last").field == (None, None)
    assert s.module("last").local == (5, 5)


def test_an_operation_without_a_rule_may_depend_on_everything_and_is_named_in_the_notes() -> None:
    class Sampled(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            grid = x.mean().expand(len(x), 2, 2, 2)  # the coordinates depend on the input
            return F.grid_sample(x, grid, align_corners=False)

    s = cs.structure(cs.Model(Sampled(), input=cs.TensorInput((1, 6, 6))))
    assert s.module("").field == (None, None)
    assert s.notes["operations taken to see all they read"] == {"grid sampler 2d": 1}
    assert s.notes["operations without a count of FLOPs"] == {"grid sampler 2d": 1}


def test_a_rule_that_fails_gives_way_to_an_upper_bound_and_is_named_in_the_notes(monkeypatch) -> None:
    def failing_rule(_call: Any) -> None:
        raise RuntimeError("called with unexpected arguments")

    monkeypatch.setitem(dependence_rules._RULES, "convolution", failing_rule)
    s = cs.structure(cs.Model(nn.Conv2d(1, 1, 3), input=cs.TensorInput((1, 6, 6))))
    assert s.module("").field == (None, None)
    assert s.notes["operations taken to see all they read"] == {"convolution": 1}


# Operations and their edges


def kinds_of(graph: ForwardGraph) -> list[str]:
    return [record.kind for record in graph.operations if not record.moves]


def parents_of(graph: ForwardGraph, kind: str, which: int = 0) -> set[str]:
    """The kinds of the operations that computed what an operation reads."""
    operations = graph.operations
    numbers = [number for number, record in enumerate(operations) if record.kind == kind]
    pending, kinds = list(operations[numbers[which]].parents), set()
    while pending:
        number = pending.pop()
        if number != INPUT and operations[number].moves:
            pending += operations[number].parents
        else:
            kinds.add("input" if number == INPUT else operations[number].kind)
    return kinds


def test_functions_modules_and_operators_are_recorded_alike_with_their_module() -> None:
    graph = record(seeded(ResidualNet), 3, 16, 16)
    records = [record for record in graph.operations if not record.moves]
    assert [record.kind for record in records] == [
        "convolution", "batch norm", "relu", "convolution", "batch norm", "sum", "relu", "mean", "linear",
    ]  # fmt: skip
    assert [record.module for record in records] == ["stem", "bn1", "", "conv", "bn2", "", "relu", "", "fc"]
    assert parents_of(graph, "sum") == {"relu", "batch norm"}


class Written(nn.Module):
    """Parts of a tensor are written to, through views and in place."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.conv(x)
        out = torch.zeros_like(maps)
        out[:, :2] = maps[:, 2:].sigmoid()
        half = out[:, 2:]
        half += maps[:, :2].tanh()
        return out.flatten(1).cos()


def test_a_write_through_a_view_is_a_parent_of_operations_that_read_the_tensor() -> None:
    graph = record(seeded(Written), 1, 6, 6)
    cosine = next(record for record in graph.operations if record.kind == "cos")
    ancestors, pending = set(), list(cosine.parents)
    while pending:
        number = pending.pop()
        ancestors.add(graph.operations[number].kind) if number != INPUT else None
        pending += graph.operations[number].parents if number != INPUT else ()
    assert {"sigmoid", "tanh", "sum", "convolution"} <= ancestors
    assert graph.layer_calls[""].dependence[0].bounds() == (0, 5)


class Reused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.Conv2d(2, 2, 3, padding=1), nn.ReLU())
        self.never = nn.Linear(3, 3)
        self.tied = nn.Conv2d(2, 2, 3)
        self.tied.weight = self.block[0].weight

    def forward(self, x: Tensor) -> Tensor:
        return self.tied(self.block(self.block(x)))


def test_a_reused_module_shows_every_call_and_shared_parameters_count_once() -> None:
    s = cs.structure(cs.Model(seeded(Reused), input=cs.TensorInput((2, 8, 8))))
    assert [operation.calls for operation in s.operations] == [(1, 1), (1, 1), (2, 2), (2, 2), (1,)]
    assert s.module("block.0").calls == 2
    assert s.module("never").calls == 0
    assert s.parameters == 2 * 2 * 9 + 2 + 2 + 12
    assert [operation.parameters for operation in s.operations] == [38, 0, 0, 0, 2]
    assert s.module("tied").parameters == 38
    names = [node.name for node in s.folded(1).nodes]
    assert names == ["input", "block (1 of 2)", "block (2 of 2)", "tied"]
    assert any("not run" in line for line in s.lines() if "never" in line)
    assert any("×2" in line for line in s.lines() if "block" in line)


def test_attention_is_recorded_as_products_and_the_fast_path_setting_is_restored() -> None:
    for fast in (True, False):
        torch.backends.mha.set_fastpath_enabled(fast)
        try:
            graph = record(seeded(Tokens), 1, 12, 12)
            assert torch.backends.mha.get_fastpath_enabled() is fast
        finally:
            torch.backends.mha.set_fastpath_enabled(True)
        assert sum(record.flops for record in graph.operations if record.module == "attend") > 0
        assert not graph.without_rule


def test_composite_operations_under_inference_mode_are_recorded_as_their_parts() -> None:
    class Inference(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(36, 2)

        @torch.inference_mode()
        def forward(self, x: Tensor) -> Tensor:
            return self.fc(x.flatten(1))

    graph = record(seeded(Inference), 1, 6, 6)
    assert kinds_of(graph) == ["linear"]
    assert graph.operations[-1].flops == 2 * 36 * 2


def test_a_graph_folds_by_module_and_keeps_the_shortcuts() -> None:
    s = cs.structure(cs.load("bundled:shapes"))
    full = s.folded(9)
    names = [node.name for node in full.nodes]
    sums = [number for number, name in enumerate(names) if name == "sum"]
    assert len(sums) == 6
    assert all(sum(b == number for _, b in full.edges) == 2 for number in sums)
    folded = s.folded(1, chains=True)
    assert [node.name for node in folded.nodes] == ["input", "conv1", "layer1", "layer2", "layer3", "avgpool", "fc"]
    assert folded.edges == tuple((n, n + 1) for n in range(6))
    assert folded.nodes[1].kinds == ("Conv2d 5×5 /2", "BatchNorm2d", "ReLU")
    for graph in (full, folded):
        assert sum(node.flops for node in graph.nodes) == s.flops
        assert sum(node.parameters for node in graph.nodes) == s.parameters


# Arithmetic and memory


@pytest.mark.parametrize("name", NETS)
def test_flops_are_those_of_torchs_own_counter(name: str) -> None:
    build, shape = NETS[name]
    net = seeded(build)
    graph = record_graph(cs.Model(net), drawn(1, *shape).float())
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        math_only = torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH)
        with torch.no_grad(), FlopCounterMode(display=False) as counter, math_only:
            net(drawn(1, *shape).float())
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    assert sum(record.flops for record in graph.operations) == counter.get_total_flops() > 0


def test_memory_counts_new_results_but_no_views_and_no_in_place_writes() -> None:
    s = cs.structure(cs.Model(seeded(PlainNet, 2, 3), input=cs.TensorInput((3, 16, 16))))
    assert s.module("features.0").bytes == 6 * 16 * 16 * 4
    assert s.module("features.1").bytes == 0  # an in-place ReLU
    assert s.activation_bytes == 4 * (6 * 16 * 16 + 8 * 8 * 8 + 8 + 4)
    assert s.parameter_bytes == 4 * s.parameters


# Refusals, and the model is left unchanged


class Two(nn.Module):
    def forward(self, image: Tensor, prompt: Tensor) -> Tensor:
        return image + prompt


def test_a_network_with_several_inputs_is_refused() -> None:
    with pytest.raises(
        InputError, match=r"^Two takes 2 inputs \(image, prompt\) and is given one: wrap it in a module"
    ):
        cs.structure(cs.Model(Two(), input=cs.TensorInput((1, 4, 4))))


def test_a_model_without_an_input_size_is_refused() -> None:
    with pytest.raises(InputError, match=r"^the input shape of PlainNet is unknown"):
        cs.structure(seeded(PlainNet))


def test_a_network_that_returns_a_dict_has_a_structure() -> None:
    class Parts(PlainNet):
        def forward(self, x: Tensor) -> Any:
            return {"aux": None, "out": super().forward(x)}

    s = cs.structure(cs.Model(seeded(Parts), input=cs.TensorInput((3, 16, 16))))
    plain = cs.structure(cs.Model(seeded(PlainNet), input=cs.TensorInput((3, 16, 16))))
    assert (s.flops, s.module("").field) == (plain.flops, (None, None))


def test_a_network_without_parameters_has_a_structure() -> None:
    s = cs.structure(cs.Model(nn.Sequential(nn.AvgPool2d(2), nn.ReLU()), input=cs.TensorInput((1, 4, 4))))
    assert (s.parameters, s.flops, s.module("").field) == (0, 0, (2, 2))
    assert s.picture().png()


def test_a_scripted_network_shows_its_operations_and_the_notes_say_what_is_hidden() -> None:
    net = torch.jit.trace(seeded(PlainNet), torch.rand(1, 3, 16, 16), check_trace=False)
    s = cs.structure(cs.Model(net, input=cs.TensorInput((3, 16, 16))))
    plain = cs.structure(cs.Model(seeded(PlainNet), input=cs.TensorInput((3, 16, 16))))
    assert s.flops == plain.flops
    assert s.parameters == plain.parameters
    assert [module.address for module in s.modules] == [""]
    assert s.notes["scripted, so that only its operations show and not its modules"] == "the network itself"


def test_a_network_that_raises_is_named_and_keeps_no_hook() -> None:
    net = seeded(FailingNet)
    fast = torch.backends.mha.get_fastpath_enabled()
    with pytest.raises(ModelFailed, match=r"FailingNet raised ZeroDivisionError") as caught:
        cs.structure(cs.Model(net, input=cs.TensorInput((3, 16, 16))))
    assert isinstance(caught.value, ConvScopeError)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())
    assert torch.backends.mha.get_fastpath_enabled() is fast
    assert torch.utils._python_dispatch._get_current_dispatch_mode() is None
