"""Neural style transfer computed a second time, step by step, and compared with the lens."""

import torch
from torch import Tensor

import convscope as cs
from tests.twins.binding import twin_of
from tests.twins.learned.optimized_photographs import (
    BLACK,
    SIDE,
    STEPS,
    WHITE,
    assert_equal_pictures,
    gram,
    layer,
    logits,
    minimize,
    pixels,
    variation,
)


@twin_of(cs.style_transfer)
def style_transfer(model: cs.Model, photo: Tensor, style: Tensor, content: int, styles: list[int]) -> Tensor:
    """From the photograph to the style of another, with a content loss."""
    target = layer(model, photo, content).detach()
    grams = {last: gram(layer(model, style, last)).detach() for last in styles}

    def loss(x: Tensor) -> Tensor:
        content_loss = (layer(model, x, content) - target).square().sum() / target.square().sum()
        style_losses = [(gram(layer(model, x, k)) - g).square().sum() / g.square().sum() for k, g in grams.items()]
        return 2 * content_loss + 3 * sum(style_losses) / len(style_losses) + 0.1 * variation(x)

    return minimize(logits(photo), pixels, loss)


def test_style_transfer_matches_gram_matrices_of_another_image(float64_model, photo) -> None:
    style = BLACK + torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(8)).double() * (WHITE - BLACK)
    transfer = cs.style_transfer(
        float64_model,
        photo,
        style=style,
        content_layers="features.3",
        style_layers="features.1, features.3",
        content_weight=2,
        style_weight=3,
        total_variation=0.1,
        steps=STEPS,
    )
    assert_equal_pictures(transfer, style_transfer(float64_model, photo, style, 3, [1, 3]))
    for last in (1, 3):
        target = gram(layer(float64_model, style, last)).detach().float()
        torch.testing.assert_close(transfer.features[f"features.{last}"], target, rtol=1e-5, atol=1e-6)
