"""What learned masks share: the image blended by a mask, its score between that of the baseline and its own, and how
both change with the mask."""

from collections.abc import Callable

import torch
from torch import Tensor

from convscope.engine.context.chunking import in_chunks, rows_of
from convscope.engine.context.metering import report_progress
from convscope.engine.inputs.specs import Images
from convscope.engine.masking.masks import Ends
from convscope.engine.network.batchnorm_folding import fused
from convscope.engine.network.model import Model
from convscope.engine.run.gradients import gradient_at, score
from convscope.engine.targets.target import Aim

Learn = Callable[[Tensor, "Pull"], Tensor]
"""``(rows, pull) -> masks``: learn the masks (n, …) of these images."""
Pull = Callable[[Tensor], Tensor]
"""``masks -> gradient`` of the shares of the score that are left, each counted from 0 (baseline) to 1 (image)."""


def learned_masks(
    model: Model, images: Images, aim: Aim, start: Tensor, ends: Ends, steps: int, learn: Learn
) -> Tensor:
    """Masks (N, …) learned for a chunk of images at a time, by a forward and a backward of all of them a step."""
    masks = torch.zeros(len(images), *images.extent, dtype=torch.float32, device="cpu")
    rises = (ends.here - ends.there).abs().clamp_min(1e-6 * ends.here.abs().clamp_min(1e-30))

    def step(rows: Tensor) -> None:
        image, begin = images.tensor[rows], start[rows]
        done = 0

        def pull(mask: Tensor) -> Tensor:
            nonlocal done
            inputs = torch.lerp(begin, image, mask[:, None].to(image))
            slope = gradient_at(model, inputs, aim, rows, clean=False)
            done += 1
            report_progress(done, steps)
            each = (slope * (image - begin).float()).sum(1)
            return each / rises[rows].to(each).view(-1, *[1] * (each.ndim - 1))

        masks[rows] = learn(rows, pull).detach().float().cpu()

    with fused(model, images.tensor[:1], 0 if aim.layer else steps * len(images)):
        in_chunks(len(images), images.tensor[0], step, quiet=True)
    return masks


def shares_left(model: Model, images: Images, aim: Aim, start: Tensor, masks: Tensor, ends: Ends) -> list[float]:
    """The score of each image under its mask, counted from 0 at the baseline to 1 at the image."""
    blend = torch.lerp(start, images.tensor, masks[:, None].to(images.tensor))
    found = torch.zeros(len(images), dtype=torch.float64, device="cpu")

    def step(rows: Tensor) -> None:
        with torch.no_grad():
            found[rows] = score(model, model.laid_out(rows_of(blend, rows)), aim, rows, clean=False).cpu().double()

    in_chunks(len(images), images.tensor[0], step, light=True, quiet=True)
    rises = ends.here - ends.there
    shares: list[float] = torch.where(rises != 0, (found - ends.there) / rises, 0.0).tolist()
    return shares
