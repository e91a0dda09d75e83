"""The multipliers of DeepLIFT on chains of dense matrices."""

import torch
from torch import Tensor

from tests.twins.chains import Chain, Dense, Maxima, Residual, values
from tests.twins.subjects import Subject


def multipliers(
    chain: Chain, activations: list[Tensor], reference_activations: list[Tensor], m: Tensor, reveal_cancel: bool
) -> Tensor:
    number = len(chain)
    while number:
        number -= 1
        step, x, x0 = chain[number], activations[number], reference_activations[number]
        if isinstance(step, Dense):
            m = step.weight.T @ m
        elif isinstance(step, Residual):
            inner = multipliers(step.branch, values(step.branch, x), values(step.branch, x0), m, reveal_cancel)
            m = m + inner
        elif isinstance(step, Maxima):
            input_multipliers = torch.zeros_like(x)
            for k, window in enumerate(step.windows):
                change = x[window].max() - x0[window].max()
                position = window[x[window].argmax()] if change >= 0 else window[x0[window].argmax()]
                input_multipliers[position] += m[k] * (change / (x - x0)[position] if change else 0)
            m = input_multipliers
        elif reveal_cancel and isinstance(chain[number - 1], Dense):
            number -= 1
            layer, layer_input, reference_input = chain[number], activations[number], reference_activations[number]
            terms = layer.weight * (layer_input - reference_input)
            positive, negative = terms.clamp(min=0).sum(1), terms.clamp(max=0).sum(1)
            y = [step(x0 + up * positive + down * negative) for up, down in ((0, 0), (1, 0), (0, 1), (1, 1))]
            up = (y[1] - y[0] + y[3] - y[2]) / 2 / torch.where(positive == 0, torch.inf, positive)
            down = (y[2] - y[0] + y[3] - y[1]) / 2 / torch.where(negative == 0, torch.inf, negative)
            term_multipliers = torch.where(terms > 0, up[:, None], down[:, None])
            term_multipliers = (
                torch.where(layer_input == reference_input, ((up + down) / 2)[:, None], term_multipliers) * layer.weight
            )
            m = (m[:, None] * term_multipliers).sum(0)
        else:
            m = m * torch.where(x == x0, (x > 0).double(), (step(x) - step(x0)) / torch.where(x == x0, 1, x - x0))
    return m


def black(subject: Subject, x: Tensor) -> Tensor:
    return subject.model.input.level(0.0).double().expand(x[None].shape)[0]
