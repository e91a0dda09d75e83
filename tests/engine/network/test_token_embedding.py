"""The embedding that reads tokens, and what stands in place of its output."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import convscope as cs
from convscope.errors import InputError, InputNotAccepted


class TwoEmbeddings(nn.Module):
    """Positions have an embedding too, which does not read the tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.positions = nn.Embedding(9, 4)
        self.words = nn.Embedding(5, 4)

    def forward(self, tokens: Tensor) -> Tensor:
        place = torch.arange(tokens.shape[1], device=tokens.device).expand_as(tokens)
        return (self.positions(place) + self.words(tokens)).mean(1)


def test_the_embedding_that_reads_the_tokens_is_found_or_named() -> None:
    model = cs.Model(TwoEmbeddings(), input=cs.TokenInput(vocabulary=5))
    value: Any = cs.gradient_x_input(model, [3, 1, 4], target=0)
    network: Any = model.module
    torch.testing.assert_close(value.values, network.words.weight[[3, 1, 4], 0].detach() / 3)
    for embedding, message in (("positions", "the layer 'positions' does not read the tokens"), ("x", "does not read")):
        with pytest.raises(InputError, match=message):
            cs.saliency(cs.Model(TwoEmbeddings(), input=cs.TokenInput(vocabulary=5, embedding=embedding)), [3, 1, 4])
    with pytest.raises(InputError, match=r"no torch\.nn\.Embedding reads the tokens"):
        cs.saliency(cs.Model(Plain(), input=cs.TokenInput(vocabulary=5)), [3, 1, 4])


def test_what_the_network_raises_at_its_embedding_is_one_sentence() -> None:
    larger = cs.Model(TwoEmbeddings(), input=cs.TokenInput(vocabulary=50))
    with pytest.raises(InputNotAccepted, match="an embedding has no vector of this number, pass the vocabulary"):
        cs.saliency(larger, [3, 40])
    network = nn.Sequential(nn.Embedding(5, 4), nn.Conv1d(3, 2, 9))
    with pytest.raises(
        InputNotAccepted, match="an input of 3 tokens is too short for Sequential: nothing remains of it at layer '1'"
    ):
        cs.saliency(cs.Model(network, input=cs.TokenInput(vocabulary=5)), [3, 1, 4])


class Plain(nn.Module):
    def forward(self, tokens: Tensor) -> Tensor:
        return tokens.float()


class TwoTexts(nn.Module):
    """Two sequences that share an embedding; the second counts three times."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(5, 4)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        return (self.words(first) + 3 * self.words(second)).sum((1, 2))[:, None]


@pytest.mark.parametrize("second", [[2, 0, 2], [3, 1, 4]], ids=["another sequence", "the same sequence"])
def test_inputs_that_share_an_embedding_have_a_call_of_it_each(second: list[int]) -> None:
    network = TwoTexts()
    model = cs.Model(network, inputs={name: cs.TokenInput(vocabulary=5) for name in ("first", "second")})
    value: Any = cs.gradient_x_input(model, {"first": [3, 1, 4], "second": second}, target=0)
    for name, tokens, factor in (("first", [3, 1, 4], 1), ("second", second, 3)):
        torch.testing.assert_close(value[name].values, factor * network.words.weight[tokens].detach().sum(1))


def test_the_embedding_is_a_layer_between_the_tokens_and_the_rest() -> None:
    model = cs.Model(TwoEmbeddings(), input=cs.TokenInput(vocabulary=5))
    at_the_input: Any = cs.gradient_x_input(model, [3, 1, 4], target=0)
    at_the_layer: Any = cs.hires_cam(model, [3, 1, 4], target=0, layer="words")
    torch.testing.assert_close(at_the_layer.values, at_the_input.values)
    structure: Any = cs.structure(model, torch.tensor([3, 1, 4]))
    by_module = {operation.module: operation for operation in structure.operations if -1 in operation.parents}
    assert list(by_module) == ["words"]
    assert structure.operations[-1].parents, "the output is computed from the input"


class NamedArgument(nn.Module):
    """An embedding that is called by the name of its argument, with a largest length to which it cuts its vectors."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(5, 4, max_norm=0.5)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.words(input=tokens).mean(1)


def test_an_embedding_may_be_called_by_the_name_of_its_argument_and_keeps_its_weight() -> None:
    network = NamedArgument()
    before = network.words.weight.detach().clone()
    model = cs.Model(network, input=cs.TokenInput(vocabulary=5, padding=0))
    value: Any = cs.integrated_gradients(model, [3, 1, 4], target=0, steps=2)
    assert torch.equal(network.words.weight, before)
    cut = torch.nn.functional.normalize(before, dim=1) * before.norm(dim=1, keepdim=True).clamp(max=0.5)
    torch.testing.assert_close(value.values, (cut[[3, 1, 4], 0] - cut[0, 0]) / 3)
