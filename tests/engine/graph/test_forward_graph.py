"""Building the graph of a model: refusals, unusual outputs, and a model that is left unchanged."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import convscope as cs
from convscope.errors import ConvScopeError, InputError, ModelFailed
from tests.nets import FailingNet, PlainNet, seeded


class Two(nn.Module):
    def forward(self, image: Tensor, prompt: Tensor) -> Tensor:
        return image + prompt


def test_a_network_with_several_inputs_is_refused() -> None:
    with pytest.raises(
        InputError, match=r"^Two takes 2 inputs \(image, prompt\) and is given one: describe them with cs.Model\("
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
