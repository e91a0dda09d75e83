"""Networks that are not straightforward to explain, and functions that observe them."""

from collections import namedtuple
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

import convscope as cs
from tests.narrowing import tensor_in

SIDE = 16

Network = TypeVar("Network", bound=nn.Module)


Pair = namedtuple("Pair", ["logits", "hidden"])


@dataclass
class Answer:
    logits: Tensor
    hidden: Tensor


def seeded(build: Callable[[], Network], seed: int = 0) -> Network:
    """The network with the weights of that seed, in eval mode; the global generator is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build().eval()


def small(channels: int = 3, classes: int = 4, *, inplace: bool = True) -> nn.Sequential:
    """conv 0, ReLU 1, conv 2, ReLU 3, pooling 4, flatten 5, linear 6: a VGG in small."""
    return nn.Sequential(
        nn.Conv2d(channels, 5, 3, padding=1),
        nn.ReLU(inplace=inplace),
        nn.Conv2d(5, 6, 3, stride=2, padding=1),
        nn.ReLU(inplace=inplace),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, classes),
    )


def small_network(seed: int = 0, **options: Any) -> nn.Sequential:
    """`small` with the weights of that seed."""
    return seeded(lambda: small(**options), seed)


def tensor(*shape: int, seed: int = 0) -> Tensor:
    """A prepared batch with the numbers of that seed."""
    return torch.randn(*(shape or (1, 3, SIDE, SIDE)), generator=torch.Generator().manual_seed(seed))


def pictured(net: nn.Module | None = None, *, channels: int = 3, **options: Any) -> cs.Model:
    """A model that takes pictures."""
    net = small_network(channels=channels) if net is None else net
    return cs.Model(net, input=cs.ImageInput(size=SIDE, channels=channels), **options)


class Wraps(nn.Module):
    """A network around another whose answer is turned into something else."""

    def __init__(self, turn: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.net, self.turn = small_network(), turn

    def forward(self, x: Tensor) -> Any:
        return self.turn(self.net(x))


class Stages(nn.Module):
    """Two convolutions and a linear layer, between which subclasses do what people do."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 5, 3, padding=1)
        self.second = nn.Conv2d(5, 5, 3, padding=1)
        self.act = nn.ReLU()
        self.head = nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.answer(self.second(self.act(self.first(x))))

    def answer(self, maps: Tensor) -> Tensor:
        return self.head(maps.mean((2, 3)))


class ReusedLayer(Stages):
    """One ReLU that is called twice, as in torchvision's residual blocks."""

    def forward(self, x: Tensor) -> Tensor:
        return self.answer(self.act(self.second(self.act(self.first(x)))))


class Branches(Stages):
    """A layer that this forward never reaches."""

    def forward(self, x: Tensor) -> Tensor:
        return self.answer(self.act(self.first(x)))


class FrozenBackbone(Stages):
    """A first half that always runs under ``torch.no_grad``."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            x = self.act(self.first(x))
        return self.answer(self.second(x))


class Counts(Stages):
    """A buffer that every forward adds to, and one that every forward replaces."""

    calls: Tensor
    last: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(1))
        self.register_buffer("last", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.last = x.mean()[None]
        return super().forward(x)


class InsistsOnView(Stages):
    """``view`` between convolution and head, which no channels-last tensor survives."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(5 * SIDE * SIDE, 4)

    def answer(self, maps: Tensor) -> Tensor:
        return self.head(maps.view(len(maps), -1))


class Raises(Stages):
    """A forward that stops midway with an exception of one's choice."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def forward(self, x: Tensor) -> Tensor:
        self.act(self.first(x))
        raise self.error


class Hungry(Stages):
    """Memory runs out when more than ``most`` images come at once; ``note`` is told of the batches that go through.

    What it is told lies outside the network: what a forward writes to attributes is put back.
    """

    def __init__(self, most: int = 2, note: Callable[[int], object] = int) -> None:
        super().__init__()
        self.most, self.note = most, note

    def forward(self, x: Tensor) -> Tensor:
        if len(x) > self.most:
            raise torch.OutOfMemoryError("simulated: out of memory")
        self.note(len(x))
        return super().forward(x)


class Functional(nn.Module):
    """No parameters and no buffers: a fixed blur, and the means of its halves as two classes."""

    def forward(self, x: Tensor) -> Tensor:
        maps = torch.nn.functional.avg_pool2d(x.square(), 2)
        left, right = maps.mean(1).chunk(2, dim=2)
        return torch.stack([left.mean((1, 2)), right.mean((1, 2))], dim=1)


class Dense(nn.Module):
    """A segmentation network: four classes at half the resolution."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.ReLU())
        self.decoder = nn.Sequential(nn.Conv2d(6, 6, 3, padding=1), nn.ReLU())
        self.classifier = nn.Conv2d(6, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.decoder(self.encoder(x)))


def axes_net(axes: int, channels: int = 2) -> nn.Module:
    """A network of one, two or three spatial axes."""
    convolution = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[axes - 1]
    pooling = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)[axes - 1]

    def build() -> nn.Module:
        first = convolution(channels, 4, 3, padding=1)
        return nn.Sequential(first, nn.ReLU(inplace=True), pooling(1), nn.Flatten(), nn.Linear(4, 3))

    return seeded(build)


def condition(module: nn.Module) -> dict[str, Any]:
    """Everything of a network that a run could disturb, in a form that ``==`` compares."""
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return {
        "modules": [(a, type(m), m.training, getattr(m, "inplace", None)) for a, m in module.named_modules()],
        "requires_grad": [(a, p.requires_grad) for a, p in module.named_parameters()],
        "grad": [(a, id(p.grad), None if p.grad is None else p.grad.tolist()) for a, p in module.named_parameters()],
        "parameters": [(a, id(p), p.tolist()) for a, p in module.named_parameters()],
        "buffers": [(a, id(b), b.tolist()) for a, b in module.named_buffers()],
        "hooks": [(a, name, list(m.__dict__[name].items())) for a, m in module.named_modules() for name in hooks],
        "attributes": [(a, sorted(vars(m))) for a, m in module.named_modules()],
        "generator": torch.get_rng_state().tolist(),
    }


@contextmanager
def watched(module: nn.Module) -> Iterator[dict[str, int]]:
    """Count, from outside, the images that go through every submodule ("" is the whole) and the backwards taken."""
    calls: dict[str, int] = {}

    def count(address: str) -> Callable[..., None]:
        def hook(_module: nn.Module, inputs: Any, _output: Any) -> None:
            calls[address] = calls.get(address, 0) + len(inputs[0])

        return hook

    handles = [m.register_forward_hook(count(a)) for a, m in module.named_modules()]
    engine: Any = torch.autograd  # whose function of that name is not for export
    plain = engine._engine_run_backward

    def run_backward(*args: Any, **named: Any) -> Any:
        calls["backward calls"] = calls.get("backward calls", 0) + 1
        return plain(*args, **named)

    engine._engine_run_backward = run_backward
    try:
        yield calls
    finally:
        engine._engine_run_backward = plain
        for handle in handles:
            handle.remove()


def mixed() -> nn.Module:
    """Modules in both modes, frozen and trainable parameters, in-place and other ReLUs, a gradient and hooks."""
    net = seeded(lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), *small(4)))
    net.train()
    net[1].eval()
    net[3].weight.requires_grad_(False)
    net[0].bias.requires_grad_(False)
    net[0].weight.grad = torch.ones_like(tensor_in(net[0].weight))
    relu = net[4]
    assert isinstance(relu, nn.ReLU)
    relu.inplace = False
    net[0].register_forward_hook(lambda *_: None)
    net[3].register_forward_pre_hook(lambda *_: None)
    net[9].register_full_backward_pre_hook(lambda *_: None)
    return net
