"""Small networks by name, for images of any size from 28 pixels on."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from convscope.samples.networks import BasicBlock, PooledNet


class _LeNet(nn.Module):
    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *_block(channels, 16, 5), nn.MaxPool2d(2), *_block(16, 32, 5), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(7)
        )
        self.classifier = nn.Sequential(nn.Linear(32 * 7 * 7, 128), nn.ReLU(inplace=True), nn.Linear(128, classes))

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.classifier(self.features(x).flatten(1))
        return scores


def lenet(channels: int, classes: int) -> nn.Module:
    """Two convolutions and two linear layers, after LeCun et al. (1998), with batch norm and ReLU."""
    return _LeNet(channels, classes)


def vgg(channels: int, classes: int) -> nn.Module:
    """Pairs of 3 × 3 convolutions between poolings, after Simonyan and Zisserman (2015)."""
    layers: list[nn.Module] = []
    for inputs, outputs in ((channels, 24), (24, 48), (48, 96)):
        layers += [*_block(inputs, outputs), *_block(outputs, outputs), nn.MaxPool2d(2)]
    return _Pooled(layers[:-1], classes)


def resnet(channels: int, classes: int) -> nn.Module:
    """A stem and three stages of residual blocks, after He et al. (2016)."""
    blocks = [BasicBlock(16, 16), BasicBlock(16, 32, stride=2), BasicBlock(32, 64, stride=2)]
    return _Pooled([*_block(channels, 16), *blocks], classes)


ARCHITECTURES: dict[str, Callable[[int, int], nn.Module]] = {"lenet": lenet, "vgg": vgg, "resnet": resnet}


class _Pooled(PooledNet):
    def __init__(self, layers: Sequence[nn.Module], classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        last = [m for m in self.features.modules() if isinstance(m, nn.Conv2d) and m.kernel_size != (1, 1)][-1]
        self.fc = nn.Linear(last.out_channels, classes)


def _block(inputs: int, outputs: int, size: int = 3) -> tuple[nn.Module, ...]:
    return (
        nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def shift_and_mirror(images: Tensor, offsets: Tensor, mirrored: Tensor) -> Tensor:
    """Images moved by whole pixels, the border repeated, and mirrored where that is asked for.

    Args:
        offsets: (N, 2) from -2 to 2; ``mirrored`` (N,) is true where an image is mirrored.
    """
    padded = nn.functional.pad(images, (2, 2, 2, 2), mode="replicate")
    height, width = images.shape[-2:]
    moved = images.clone()
    for dy, dx in offsets.unique(dim=0).tolist():  # type: ignore[no-untyped-call]
        rows = (offsets == offsets.new_tensor([dy, dx])).all(1)
        moved[rows] = padded[rows][..., 2 + dy : 2 + dy + height, 2 + dx : 2 + dx + width]
    moved[mirrored] = moved[mirrored].flip(-1)
    return moved
