"""Many variants of every image (noisy copies, points of a path) as one stream of chunks, and sums over them.

Only the sums are kept, so that memory does not grow with the number of copies.
"""

from collections.abc import Callable, Sequence
from typing import Annotated

import torch
from torch import Tensor

from convscope.engine.context.chunking import in_chunks
from convscope.engine.inputs import noise
from convscope.engine.inputs.named_inputs import of_each_input
from convscope.engine.inputs.specs import Images
from convscope.engine.network.accumulation_dtype import accumulator_like
from convscope.engine.network.batchnorm_folding import folded_batchnorms
from convscope.engine.network.model import Model
from convscope.engine.run.gradients import evidence_at, gradient_at
from convscope.engine.targets.target import Target
from convscope.spec import Param

Samples = Annotated[int, Param(help="noisy copies to average", min=1, max=4096)]
Sigma = Annotated[float, Param(help="spread of the noise", min=0, max=2, unit="fraction of the image's range")]
Seed = Annotated[int, Param(help="seed of the random numbers", min=0, max=2**31 - 1)]

Draw = Callable[[Tensor, Tensor], Tensor]
"""``(rows, copies) -> inputs``: the prepared input for copy ``copies[i]`` of image ``rows[i]``."""


def each_copy(
    model: Model,
    images: Images,
    target: Target,
    copies: int,
    visit: Callable[[Tensor, Tensor], None],
    *,
    whole: bool = True,
) -> None:
    """Call ``visit(rows, copies)`` for ``copies`` variants of every image, a chunk at a time.

    Args:
        whole: only the network's output is used, so that its batch norms may be folded.
    """

    def step(flat: Tensor) -> None:
        visit(flat // copies, flat % copies)

    passes = len(images) * copies if whole and target.layer is None else 0
    with folded_batchnorms(model, images.tensor[:1], passes):
        in_chunks(len(images) * copies, images.tensor[0], step)


def noisy(images: Images, *, sigma: float, seed: int) -> Draw:
    """Draw x + ε with ε ~ N(0, (sigma · range(x))²); copy ``k`` of every image has the same ε up to its range.

    Packed inputs have each its own range.
    """
    spread = sigma * of_each_input(images, lambda part: noise.value_range(part.tensor))

    def draw(rows: Tensor, copies: Tensor) -> Tensor:
        clean = images.tensor[rows]
        return clean + spread[rows] * noise.normal(clean.shape[1:], seed=seed, copies=copies, like=clean)

    return draw


def gradient_moments(
    model: Model, images: Images, target: Target, draw: Draw, copies: int, *, powers: Sequence[int] = (1,)
) -> list[Tensor]:
    """The mean over copies of the input gradient to each of ``powers``, (N, C, …) each."""
    sums = [accumulator_like(images.tensor) for _ in powers]

    def visit(rows: Tensor, numbers: Tensor) -> None:
        gradient = gradient_at(model, draw(rows, numbers), target, rows, clean=False)
        for total, power in zip(sums, powers, strict=True):
            total.index_add_(0, rows.to(total.device), gradient.pow(power))

    each_copy(model, images, target, copies, visit)
    return [total.div_(copies) for total in sums]


def gradient_variance(model: Model, images: Images, target: Target, draw: Draw, copies: int) -> Tensor:
    """The variance over copies of the input gradient, (N, C, …).

    Deviations are taken from each image's first gradient: the sums of squares stay small where gradients hardly vary.
    """
    first = accumulator_like(images.tensor)
    total, squares = torch.zeros_like(first), torch.zeros_like(first)

    def visit(rows: Tensor, numbers: Tensor) -> None:
        gradient = gradient_at(model, draw(rows, numbers), target, rows, clean=False)
        first_copies = numbers == 0
        first[rows[first_copies]] = gradient[first_copies]
        deviation = gradient - first[rows]
        total.index_add_(0, rows.to(total.device), deviation)
        squares.index_add_(0, rows.to(total.device), deviation.square())

    each_copy(model, images, target, copies, visit)
    return (squares / copies - (total / copies).square()).clamp_min(0)


def layer_gradient_moments(
    model: Model,
    images: Images,
    target: Target,
    layers: Sequence[str],
    draw: Draw,
    copies: int,
    *,
    powers: Sequence[int],
) -> dict[str, list[Tensor]]:
    """The mean over copies of the gradient at each layer to each of ``powers``, (N, C, …) each."""
    sums: dict[str, list[Tensor]] = {}

    def visit(rows: Tensor, numbers: Tensor) -> None:
        inputs = model.input_copy(draw(rows, numbers))
        for address, evidence in evidence_at(model, inputs, target, rows, layers, clean=False).items():
            empty = evidence.gradient.new_zeros(len(images), *evidence.gradient.shape[1:])
            totals = sums.setdefault(address, [empty.clone() for _ in powers])
            for total, power in zip(totals, powers, strict=True):
                total.index_add_(0, rows.to(total.device), evidence.gradient.pow(power))

    each_copy(model, images, target, copies, visit, whole=False)
    return {address: [total / copies for total in totals] for address, totals in sums.items()}
