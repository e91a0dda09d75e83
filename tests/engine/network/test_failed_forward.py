"""Where a network's own forward raises: the layer is named, and an input that is too small is one sentence."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import convscope as cs
from convscope.engine.network.failed_forward import forward_failure
from convscope.errors import InputNotAccepted, ModelFailed
from convscope.loaders.onnx.operators.shapes import shape_for_batch
from tests.nets import seeded


def narrowing(axes: int, last: nn.Module) -> nn.Sequential:
    """A convolution and a pooling that leave a quarter of each axis, and a last layer for which it is too little."""
    conv, pool = (getattr(nn, f"{kind}{axes}d") for kind in ("Conv", "MaxPool"))
    return nn.Sequential(conv(1, 2, 3, padding=1, stride=2), pool(2), nn.Sequential(last), nn.Flatten())


TOO_SMALL: dict[str, tuple[nn.Module, Any, str]] = {
    "signal": (
        narrowing(1, nn.Conv1d(2, 2, 5)),
        cs.SignalInput(shape=(1, 12)),
        "an input of 12 (time) is too short for Sequential: nothing remains of it at layer '2.0', where 3 is left and "
        "the kernel covers 5; pass a longer one (its input specification says shape=(1, 12))",
    ),
    "pooled signal": (
        narrowing(1, nn.MaxPool1d(5)),
        cs.TensorInput(),
        "an input of 12 (time) is too short for Sequential: nothing remains of it at layer '2.0'; pass a longer one",
    ),
    "averaged signal": (
        narrowing(1, nn.AvgPool1d(5)),
        cs.TensorInput(),
        "an input of 12 (time) is too short for Sequential: nothing remains of it at layer '2.0', where 1 × 3 is left; "
        "pass a longer one",
    ),
    "image": (
        narrowing(2, nn.AvgPool2d(4)),
        cs.ImageInput(size=12, channels=1),
        "an input of 12 × 12 (height × width) is too small for Sequential: nothing remains of it at layer '2.0', where "
        "3 × 3 is left; pass a larger one (its input specification says size=(12, 12))",
    ),
    "padded image": (
        narrowing(2, nn.ReflectionPad2d(3)),
        cs.TensorInput(),
        "an input of 12 × 12 (height × width) is too small for Sequential: nothing remains of it at layer '2.0'; "
        "pass a larger one",
    ),
    "volume": (
        narrowing(3, nn.Conv3d(2, 2, 4)),
        cs.VolumeInput(shape=(1, 12, 12, 12)),
        "an input of 12 × 12 × 12 (depth × height × width) is too small for Sequential: nothing remains of it at layer "
        "'2.0', where 3 × 3 × 3 is left and the kernel covers 4 × 4 × 4; pass a larger one (its input specification "
        "says shape=(1, 12, 12, 12))",
    ),
    "clip": (
        narrowing(3, nn.AvgPool3d(4)),
        cs.VideoInput(shape=(1, 12, 12, 12)),
        "an input of 12 × 12 × 12 (time × height × width) is too small for Sequential: nothing remains of it at layer "
        "'2.0', where 3 × 3 × 3 is left and the kernel covers 4 × 4 × 4; pass a larger one (its input specification "
        "says shape=(1, 12, 12, 12))",
    ),
}


@pytest.mark.parametrize("case", TOO_SMALL)
def test_an_input_that_is_too_small_is_one_sentence(case: str) -> None:
    network, spec, sentence = TOO_SMALL[case]
    axes = network[0].weight.ndim - 2
    with pytest.raises(InputNotAccepted) as refused:
        cs.saliency(cs.Model(network.eval(), input=spec), torch.zeros(1, 1, *[12] * axes))
    assert str(refused.value) == sentence


class Pooled(nn.Module):
    """Pools by a function, in its own forward."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(1, 2, 3), nn.Linear(8, 2)

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(F.max_pool2d(self.conv(images), 4).flatten(1))


def test_a_function_in_the_networks_own_forward_has_no_layer() -> None:
    model = cs.Model(seeded(Pooled), input=cs.TensorInput())
    assert cs.saliency(model, torch.zeros(1, 1, 10, 10)).values.shape == (10, 10)
    with pytest.raises(InputNotAccepted, match="nothing remains of it at a step of its own forward, where 3 × 3 is"):
        cs.saliency(model, torch.zeros(1, 1, 5, 5))
    with pytest.raises(ModelFailed, match=r"in layer 'fc': mat1 and mat2 .*takes inputs of one size") as failed:
        cs.saliency(model, torch.zeros(1, 1, 20, 20))
    assert not isinstance(failed.value, InputNotAccepted)


class OneSize(nn.Module):
    """A network whose file holds a shape for inputs of one size, as those that Keras writes to ONNX."""

    def forward(self, images: Tensor) -> Tensor:
        return images.reshape(shape_for_batch(images.shape, (1, 1, 8, 8), (1, 64)))


def test_a_file_for_inputs_of_one_size_refuses_others() -> None:
    model = cs.Model(OneSize(), input=cs.TensorInput())
    assert cs.saliency(model, torch.zeros(2, 1, 8, 8))[0].values.shape == (8, 8)
    with pytest.raises(
        InputNotAccepted, match=r"differs in more than the batch: .* pass the size that it was made for"
    ):
        cs.saliency(model, torch.zeros(1, 1, 10, 10))


@pytest.mark.parametrize(
    "message",
    [
        "Input image size (60*60) doesn't match model (64*64).",
        "Input height (60) doesn't match model (224).",
        "Wrong image height! Expected 224 but got 60!",
    ],
)
def test_vision_transformers_refuse_other_sizes(message: str) -> None:
    failed = forward_failure(cs.Model(OneSize()), (1, 3, 60, 60), ValueError(message))
    assert isinstance(failed, InputNotAccepted)
    assert str(failed).endswith(f"{message[:-1]}: it takes inputs of one size: pass the size that it was made for")


def test_a_program_exported_for_one_size_refuses_others() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    model = cs.Model(torch.export.export(network, (torch.zeros(2, 1, 8, 8),)), input=cs.TensorInput())
    with pytest.raises(InputNotAccepted, match=r"exported .* for inputs of that size alone: export it with dynamic"):
        cs.saliency(model, torch.zeros(2, 1, 10, 10))
