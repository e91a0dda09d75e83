"""Converted networks are compared with their original when they are opened."""

import numpy as np
import pytest
import torch

import convscope as cs
from convscope.errors import LoadError
from convscope.loaders.conversion_check import check_conversion
from tests.nets import PlainNet, seeded


def converted() -> tuple[cs.Model, torch.Tensor, np.ndarray, dict[str, np.ndarray]]:
    """A network, an input, its output, and the outputs of its layers."""
    model = cs.Model(seeded(PlainNet), input=cs.ImageInput(size=16))
    image, layers = torch.rand(2, 3, 16, 16), {}
    for address, module in model.module.named_children():
        module.register_forward_hook(
            lambda _m, _i, output, address=address: layers.update({address: output.detach().numpy().copy()})
        )
    with torch.no_grad():
        output = model.module(image).numpy()
    for module in model.module.children():
        module._forward_hooks.clear()
    return model, image, output, layers


def test_agreement_is_kept_in_the_model_and_in_the_record() -> None:
    model, image, output, _ = converted()
    check_conversion(model, image, output * (1 + 1e-5), engine="Original 1.0")
    assert model.conversion is not None
    assert model.conversion.difference == pytest.approx(1e-5, rel=0.1)
    record = cs.predict(model, image[:1]).record
    assert record.model["conversion"]["engine"] == "Original 1.0"


def test_wrong_conversion_is_refused_and_the_first_layer_that_differs_is_named() -> None:
    model, image, output, layers = converted()
    addresses = list(layers)
    layers[addresses[1]] = layers[addresses[1]] * 1.5
    layers["unknown to the converted network"] = np.ones(3)
    with pytest.raises(LoadError, match=f"Original 1.0 by .* first at layer '{addresses[1]}'"):
        check_conversion(model, image, output + 1, engine="Original 1.0", layers=lambda: layers.items())
    assert model.conversion is None


@pytest.mark.parametrize("expected", [np.full((2, 10), np.nan), np.ones((2, 3, 7))])
def test_outputs_that_cannot_be_compared_are_differences(expected: np.ndarray) -> None:
    model, image, _, layers = converted()
    with pytest.raises(LoadError, match="converted wrongly"):
        check_conversion(model, image, expected, engine="Original 1.0", layers=lambda: layers.items())
