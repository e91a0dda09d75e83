"""Similarity of features computed a second time, place by place, and compared with the lens."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import convscope as cs
from convscope.errors import ParameterError
from tests.nets import SIDE, PlainNet, seeded
from tests.twins.attention import by_hand
from tests.twins.binding import twin_of

IMAGES = torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


@twin_of(cs.similarity)
def similarity(features: Tensor, place: Tensor) -> Tensor:
    """The cosines (h, w) between features (C, h, w) and those of one place (C,)."""
    rows = []
    for row in range(features.shape[1]):
        cosines = []
        for column in range(features.shape[2]):
            other = features[:, row, column]
            lengths = math.sqrt(float(place.square().sum()) * float(other.square().sum()))
            cosines.append(float((place * other).sum()) / lengths if lengths else 0.0)
        rows.append(cosines)
    return torch.tensor(rows, dtype=torch.float64)


def activation(net: Any, layer: str, images: Tensor) -> Tensor:
    outputs: list[Tensor] = []
    handle = net.get_submodule(layer).register_forward_hook(lambda *call: outputs.append(call[2].detach().clone()))
    with torch.no_grad():
        net(images)
    handle.remove()
    return outputs[0].double()


def test_similarity_is_that_of_its_twin() -> None:
    net = seeded(PlainNet)
    layer = cs.similarity(cs.Model(net), IMAGES)[0].layers[0]
    features = activation(net, layer, IMAGES)
    row, column = 1, features.shape[3] - 1
    place = f"{(2 * row + 1) * SIDE // (2 * features.shape[2])}x{SIDE - 1}"
    own = cs.similarity(cs.Model(net), IMAGES, place=place)
    matched = cs.similarity(cs.Model(net), IMAGES, guide=IMAGES[1:], place=place)
    for number in range(2):
        for value, source in ((own[number], number), (matched[number], 1)):
            expected = similarity(features[number], features[source, :, row, column])
            torch.testing.assert_close(value.layer_values[layer].double(), expected, rtol=1e-4, atol=1e-5)


def test_a_moved_image_is_matched_where_it_moved() -> None:
    """The pattern of a wrapped network moves with its image, so that every place is matched exactly."""
    net = torch.nn.Conv2d(3, 5, 3, padding=1, padding_mode="circular")
    model = cs.Model(torch.nn.Sequential(net, torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()))
    value = cs.similarity(model, IMAGES[:1].roll((3, 5), (2, 3)), guide=IMAGES[:1], layer="0", place="7x2")
    assert value.notes["match at 0"] == "10x7, cosine 1.00, which is matched back"
    assert divmod(int(value.values.argmax()), SIDE) == (10, 7)
    assert value.place == (7.5 / SIDE, 2.5 / SIDE)
    assert value.matches == {"0": (10.5 / SIDE, 7.5 / SIDE)}
    assert value.guide is not None
    assert np.asarray(value.guide).tolist() == np.asarray(model.prepare(IMAGES[:1]).photo(0)).tolist()


def test_tokens_are_compared_on_their_grid() -> None:
    value = cs.similarity(by_hand.model(), by_hand.names()[0], layer="blocks.1", place="20x44")
    tokens = activation(by_hand.model().module, "blocks.1", by_hand.model().prepare(by_hand.names()[0]).tensor)[0, 1:]
    features = tokens.T.reshape(-1, 8, 8)
    expected = similarity(features, features[:, 2, 5])
    torch.testing.assert_close(value.layer_values["blocks.1"].double(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("place", ["64x3", "3", "1x2x3"])
def test_a_place_outside_the_input_is_refused(place: str) -> None:
    with pytest.raises(ParameterError, match=rf"place must lie in the prepared input of 64×64.*got '{place}'"):
        cs.similarity(by_hand.model(), by_hand.names()[0], place=place)
