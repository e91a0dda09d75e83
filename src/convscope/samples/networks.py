"""The small networks of the package, with layer names as in torchvision.

All but the recurrent one end in global average pooling and one linear layer, for which class activation mapping is
exact, so that other methods can be compared with it. Their last feature maps are fine enough for localization.
"""

from torch import Tensor, nn

DIGITS_SIZE = (32, 32)  # the 8 × 8 digit, upsampled bilinearly
DIGITS_MEAN, DIGITS_STD = (0.305,), (0.324,)
SHAPES_SIZE = (96, 96)
SHAPES_MEAN, SHAPES_STD = (0.42, 0.42, 0.42), (0.23, 0.23, 0.23)


class PooledNet(nn.Module):
    """Feature maps, their global average, and one linear layer, for which class activation mapping is exact."""

    features: nn.Sequential
    avgpool: nn.Module
    fc: nn.Linear

    def forward(self, x: Tensor) -> Tensor:
        """The scores of a prepared batch."""
        scores: Tensor = self.fc(self.avgpool(self.features(x)).flatten(1))
        return scores


class DigitsNet(PooledNet):
    """Four convolutions on a gray digit, simple enough to be checked by hand."""

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *_convolution(1, 16),
            *_convolution(16, 32),
            nn.MaxPool2d(2),
            *_convolution(32, 32),
            nn.MaxPool2d(2),
            *_convolution(32, 64),
        )
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(64, num_classes)


def _convolution(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(inplace=True)


class BasicBlock(nn.Module):
    """Two convolutions with a skip connection (He et al., 2016)."""

    def __init__(self, inplanes: int, planes: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inplanes, planes, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or inplanes != planes:
            shortcut = nn.Conv2d(inplanes, planes, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(planes))

    def forward(self, x: Tensor) -> Tensor:
        """The output maps of a batch of maps."""
        identity = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += identity
        activated: Tensor = self.relu(out)
        return activated


class ShapesNet(nn.Module):
    """A residual network for the generated scenes: a stem, three stages, and a final 12 × 12 feature map."""

    def __init__(self, num_classes: int = 10, widths: tuple[int, int, int] = (24, 48, 96)) -> None:
        super().__init__()
        first, second, third = widths
        self.conv1 = nn.Conv2d(3, first, 5, stride=2, padding=2, bias=False)
        self.bn1 = nn.BatchNorm2d(first)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = nn.Sequential(BasicBlock(first, first), BasicBlock(first, first))
        self.layer2 = nn.Sequential(BasicBlock(first, second, stride=2), BasicBlock(second, second))
        self.layer3 = nn.Sequential(BasicBlock(second, third, stride=2), BasicBlock(third, third))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(third, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """The scores of a prepared batch."""
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer1(x)
        x = self.layer2(x)
        x = self.layer3(x)
        scores: Tensor = self.fc(self.avgpool(x).flatten(1))
        return scores


BEATS_MEAN, BEATS_STD = 0.06, 0.25


class BeatsNet(PooledNet):
    """Four convolutions along time for the generated heartbeats; each of the last 180 positions sees 0.2 s."""

    def __init__(self, num_classes: int = 4) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *_convolution_1d(1, 16, 7),
            nn.MaxPool1d(2),
            *_convolution_1d(16, 32, 5),
            nn.MaxPool1d(2),
            *_convolution_1d(32, 48, 5),
            *_convolution_1d(48, 64, 1),
        )
        self.avgpool = nn.AdaptiveAvgPool1d(1)
        self.fc = nn.Linear(64, num_classes)


def _convolution_1d(inputs: int, outputs: int, size: int) -> tuple[nn.Module, ...]:
    convolution = nn.Conv1d(inputs, outputs, size, padding=size // 2, bias=False)
    return convolution, nn.BatchNorm1d(outputs), nn.ReLU(inplace=True)


NODULES_MEAN, NODULES_STD = 75.0, 35.0


class NodulesNet(PooledNet):
    """Four convolutions in three dimensions for the generated volumes; the last feature map is 6 × 8 × 8."""

    def __init__(self, num_classes: int = 3) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *_convolution_3d(1, 12, 5, stride=2),
            *_convolution_3d(12, 24, 3),
            nn.MaxPool3d(2),
            *_convolution_3d(24, 48, 3),
            *_convolution_3d(48, 48, 3),
        )
        self.avgpool = nn.AdaptiveAvgPool3d(1)
        self.fc = nn.Linear(48, num_classes)


def _convolution_3d(inputs: int, outputs: int, size: int, stride: int = 1) -> tuple[nn.Module, ...]:
    convolution = nn.Conv3d(inputs, outputs, size, stride, padding=size // 2, bias=False)
    return convolution, nn.BatchNorm3d(outputs), nn.ReLU(inplace=True)


class SequenceNet(nn.Module):
    """An embedding, a recurrent layer and a linear layer over its last state, for the generated messages."""

    def __init__(self, words: int, num_classes: int = 4) -> None:
        super().__init__()
        self.embed = nn.Embedding(words, 12)
        self.gru = nn.GRU(12, 32, batch_first=True)
        self.fc = nn.Linear(32, num_classes)

    def forward(self, tokens: Tensor) -> Tensor:
        """The scores of a batch of token numbers (N, tokens)."""
        states, _ = self.gru(self.embed(tokens))
        scores: Tensor = self.fc(states[:, -1])
        return scores
