import math
from typing import Annotated, Literal

import torch
from torch import Tensor

from convscope.engine.context.free_memory import require_memory
from convscope.engine.incremental import (
    Extent,
    PatchContent,
    WindowPositions,
    coverage_mask,
    crop,
    mean_over_windows,
    window_scores,
    window_starts,
)
from convscope.engine.inputs import noise
from convscope.engine.inputs.specs import Images
from convscope.engine.network.model import Model
from convscope.engine.paths.baselines import make_baseline
from convscope.engine.run.perturbed_samples import Seed
from convscope.engine.targets.target import TOP1, Target
from convscope.errors import InputError, ParameterError
from convscope.lens.perturbation._token_masks import Hide, refuse_pixel_options, token_occlusion
from convscope.runtime.declaration import attributions, lens
from convscope.spec import Param
from convscope.values import Attribution
from convscope.values.facts import Fact

FillName = Literal["value", "mean", "blur", "inpaint", "noise"]


@lens(
    family="perturbation",
    title="Occlusion",
    cite="zeiler2014visualizing",
    asks="Which regions lower the score when they are covered?",
    reads="Warm regions lower the score when they are covered, cool ones raise it; what matters only together with "
    "something outside the patch remains invisible.",
    needs={"scores"},
    claims={"class-sensitive", "deterministic", "contrasting"},
    fails={
        "completeness": "patches interact: covering two of them does not have the sum of the effects of covering each"
    },
)
def occlusion(
    model: Model,
    image: Images,
    *,
    target: Target = TOP1,
    patch: Annotated[
        int, Param(help="side of the patch; 0: a fourteenth of the longer side", min=0, max=65536, unit="pixels")
    ] = 0,
    stride: Annotated[
        int, Param(help="distance between neighbouring patches; 0: half a patch", min=0, max=65536, unit="pixels")
    ] = 0,
    sides: Annotated[
        str,
        Param(
            help="side of the patch along each axis, such as '16x8', instead of patch",
            min=1,
            max=65536,
            unit="pixels",
            joined="x",
        ),
    ] = "",
    strides: Annotated[
        str,
        Param(
            help="stride along each axis, such as '8x4', instead of stride",
            min=1,
            max=65536,
            unit="pixels",
            joined="x",
        ),
    ] = "",
    channels: Annotated[
        Literal["together", "apart"], Param(help="cover all channels of a patch together, or one channel at a time")
    ] = "together",
    shape: Annotated[Literal["square", "disc"], Param(help="shape of the covered area")] = "square",
    fill: Annotated[FillName, Param(help="what the patch is filled with")] = "value",
    value: Annotated[float | Tensor, Param(help="the number to fill with, in units of the preprocessed input")] = 0.0,
    samples: Annotated[int, Param(help="number of noise fills to average", min=1, max=4096)] = 8,
    seed: Seed = 0,
    hide: Hide = "pixels",
) -> list[Attribution]:
    """Slide a patch over the image and measure the drop of the score at every position.

        S(p) = mean over the patches P that cover p of  f_c(x) - f_c(x with P filled)

    In every layer only the region that the patch can affect is recomputed; the scores equal those of full forward
    passes.

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        patch: side of the patch in pixels along every axis; by default a fourteenth of the longer side (16 of 224), at
            least 2.
        stride: distance between neighbouring patches; by default half the patch. If the patches do not reach the
            border, another one is placed at the border. A stride larger than the patch leaves gaps, which are zero in
            the map and reported in ``notes["gaps"]``.
        sides: sides of a patch that is not square: ``"16x8"`` is 16 high and 8 wide, in the order of the input's axes.
        strides: strides that differ between axes.
        channels: ``apart`` covers one channel at a time, for channels with a meaning of their own, such as spectral
            bands or modalities. The map is then the sum of the maps of the channels, which are in ``channels``.
        shape: ``square``, or ``disc``, the ball inscribed in the patch.
        fill: ``value``, the number ``value``; ``mean``, the image's mean colour; ``blur``, the blurred image;
            ``inpaint``, the nearest pixels around the patch along each axis, weighted by their inverse distance;
            ``noise``, uniform over the image's range.
        value: the value of ``fill="value"``, after normalization: 0 is the mean colour of the training images if the
            input of the network is normalized with it. A tensor has one number per channel, or is a whole image.
        samples: the number of noise fills to average; other fills need only one.
        seed: for the noise.
        hide: ``tokens`` leaves tokens of a vision transformer out of the sequence that its first block receives, after
            their positions were added: exactly as if they were masked in every layer, and cheaper. ``patch`` and
            ``stride`` are rounded to whole tokens, one by default.

    Returns:
        A signed map in score units, constant over squares of one stride. ``notes["recomputed"]`` says which share of
        the work of full forward passes was needed, ``notes["whole maps"]`` from which layer on and why complete maps
        were computed.

    Raises:
        UnknownName: no such class or label.
        ParameterError: the patch is larger than the image.
        CapabilityError: tokens are to be hidden, and the network is no plain sequence of tokens (windows, merging).
        TooLittleMemory: there are more patches than fit into memory.
        InputError: the input has no spatial axes, or ``value`` has the wrong shape.

    Differs from the paper: the map shows the drop of the score before softmax instead of the probability of the class,
    and every pixel has the mean over all patches that cover it.

    Example:
        >>> import convscope as cs
        >>> a = cs.occlusion(cs.load("bundled:shapes"), "sample:shapes/7", patch=16, stride=8)
        >>> tuple(a.values.shape), a.notes["recomputed"].endswith("of what 121 forwards multiply")
        ((96, 96), True)

    Source: :cite:`zeiler2014visualizing`, section 4.2; the incremental forward is that of
    :cite:`nakandala2019incremental`.
    """
    if hide == "tokens":
        refuse_pixel_options({"sides": (sides, ""), "strides": (strides, ""), "channels": (channels, "together")})
        refuse_pixel_options({"shape": (shape, "square"), "fill": (fill, "value"), "value": (value, 0.0)})
        return token_occlusion(model, image, target, patch, stride)
    patch_sides = _per_axis(sides, "sides", patch, image.extent)
    steps = _per_axis(strides, "strides", stride, image.extent)
    patches = _patch_grid(image.extent, patch_sides, steps, "sides" if sides else "patch")
    mask = _patch_mask(patches.size, shape).to(image.tensor)
    channel_groups: list[int | None] = list(range(image.tensor.shape[1])) if channels == "apart" else [None]
    total = torch.zeros(len(channel_groups), len(image), len(patches.starts), dtype=torch.float64, device="cpu")
    draw_count = samples if fill == "noise" else 1
    for draw in range(draw_count):
        content = _patch_content(image, patches, mask, fill, value, seed, draw)
        for row, channel in enumerate(channel_groups):
            cover_channel = content if channel is None else _one_channel(content, image, patches, channel)
            scores = window_scores(model, image, target, patches, cover_channel)
            total[row] += scores.clean[:, None] - scores.changed
    maps = torch.stack([mean_over_windows(drops / draw_count, patches, mask.cpu()) for drops in total], 1)
    notes = [dict(facts) for facts in scores.notes]
    gaps = 1 - float(coverage_mask(patches, mask.cpu()).mean())
    if gaps > 0:
        gaps_note = Fact(
            "{share} of the pixels are not covered by any patch: the map is zero there", share=f"{gaps:.1%}"
        )
        notes = [{**facts, "gaps": gaps_note} for facts in notes]
    return attributions(
        model, image, target, maps.sum(1), channels=maps if channels == "apart" else None, notes=notes,
        why_blank=Fact("covering any patch leaves the score unchanged"),
    )  # fmt: skip


_BYTES_PER_PATCH = 80
"""At least, for its position as a tuple and as a row of an array."""


def _per_axis(text: str, name: str, default: int, extent: Extent) -> Extent:
    """Parse one number per axis, or use the same default for all axes."""
    if not extent:
        raise InputError("occlusion covers regions, and this input has no spatial axes: use gradient-x-input")
    if not text:
        return (default,) * len(extent)
    parts = text.lower().replace("×", "x").split("x")
    if len(parts) != len(extent) or not all(n.strip().isdecimal() for n in parts):
        example = "x".join(["16", "8", "8"][: len(extent)])
        axes = f"{len(extent)} axis" if len(extent) == 1 else f"{len(extent)} axes"
        raise ParameterError(f"{name} is one number for each of the input's {axes}, as in '{example}', got {text!r}")
    return tuple(int(n) for n in parts)


def _one_channel(content: PatchContent, images: Images, patches: WindowPositions, channel: int) -> PatchContent:
    """The content of covered windows with all channels but one unchanged."""

    def cover_channel(row: int, windows: Tensor) -> Tensor:
        pixels = crop(images.tensor[row : row + 1], patches.select(windows.numpy())).clone()
        pixels[:, channel] = content(row, windows)[:, channel]
        return pixels

    return cover_channel


def _patch_grid(extent: Extent, patch: Extent, stride: Extent, parameter: str) -> WindowPositions:
    """The grid of patches, from sides and strides along each axis (0 for the default).

    Args:
        parameter: the name of the parameter that is too large, for the message.
    """
    for side, length in zip(patch, extent, strict=True):
        if side > length:
            sides = " × ".join(map(str, extent))
            if len(set(patch)) == 1:
                limit, limit_text = min(extent), "the image's shorter side"
            else:
                limit, limit_text = length, "the image's side"
            raise ParameterError(f"{parameter} must be at most {limit}, {limit_text} ({sides}), got {side}")
    default_side = max(2, round(max(extent) / 14))
    size = tuple(min(side or default_side, length) for side, length in zip(patch, extent, strict=True))
    steps = tuple(step or max(1, (side or default_side) // 2) for step, side in zip(stride, patch, strict=True))
    counts = [-(-(length - side) // step) + 1 for length, side, step in zip(extent, size, steps, strict=True)]
    sides = " × ".join(map(str, extent))
    subject = f"occlusion at {math.prod(counts):,} places of {sides} with a stride of {' × '.join(map(str, steps))}"
    require_memory(
        _BYTES_PER_PATCH * math.prod(counts), torch.device("cpu"), subject, "use a larger stride= or smaller inputs"
    )
    return WindowPositions(window_starts(extent, size, steps), size, extent)


def _patch_mask(size: Extent, shape: str) -> Tensor:
    """A mask of the patch: 1 where it covers, 0 in the corners outside of a disc."""
    if shape == "square":
        return torch.ones(size, dtype=torch.float32, device="cpu")
    axes = [(torch.arange(n, dtype=torch.float32, device="cpu") + 0.5) / n * 2 - 1 for n in size]
    return (sum(a.square() for a in torch.meshgrid(*axes, indexing="ij")) <= 1).float()  # type: ignore[union-attr]


def _patch_content(
    images: Images, patches: WindowPositions, mask: Tensor, fill: str, value: float | Tensor, seed: int, draw: int
) -> PatchContent:
    """A function that returns the pixels of windows of an image after they are covered."""
    replacements = None if fill == "inpaint" else _fill_images(images, fill, value, seed, draw)

    def content(row: int, windows: Tensor) -> Tensor:
        chosen, clean = patches.select(windows.numpy()), images.tensor[row : row + 1]
        filled = _inpainted(clean, chosen) if replacements is None else crop(replacements[row : row + 1], chosen)
        return filled if bool(mask.all()) else torch.where(mask.bool(), filled, crop(clean, chosen))

    return content


def _fill_images(images: Images, fill: str, value: float | Tensor, seed: int, draw: int) -> Tensor:
    """The images (N, C, …) whose pixels replace those under the patches."""
    x = images.tensor
    if fill == "noise":
        low = noise.smallest(x)
        return low + noise.value_range(x) * noise.uniform(
            x.shape[1:], seed=seed, copies=torch.tensor([draw], device="cpu"), like=x
        )
    if fill != "value":
        return make_baseline(fill, images)
    if isinstance(value, Tensor):
        per_channel = value.shape == (x.shape[1],)
        return make_baseline(value.view(-1, *[1] * (x.ndim - 2)).expand(x.shape[1:]) if per_channel else value, images)
    return torch.full_like(x, value)


def _inpainted(clean: Tensor, patches: WindowPositions) -> Tensor:
    """Fill each window from the pixels just outside of it along each axis, weighted by inverse distance."""
    surroundings = crop(clean, WindowPositions(patches.starts - 1, tuple(n + 2 for n in patches.size), patches.extent))
    starts = torch.from_numpy(patches.starts).to(clean.device)
    total = weights = clean.new_zeros([1] * clean.ndim)
    for axis, (side, length) in enumerate(zip(patches.size, patches.extent, strict=True)):
        shape = [1, 1, *[side if a == axis else 1 for a in range(len(patches.size))]]
        per_window = (-1, *[1] * (clean.ndim - 1))
        for end, exists in ((0, starts[:, axis] > 0), (side + 1, starts[:, axis] + side < length)):
            border = surroundings.narrow(2 + axis, end, 1)
            for other in range(len(patches.size)):
                border = border if other == axis else border.narrow(2 + other, 1, patches.size[other])
            weight = (
                1
                / (torch.arange(1, side + 1, device="cpu") - end).abs().to(clean).view(shape)
                * exists.to(clean).view(per_window)
            )
            total, weights = total + weight * border, weights + weight
    no_border = weights == 0  # a patch as large as the image has no surroundings
    mean = clean.flatten(2).mean(2).view(1, -1, *[1] * len(patches.size))
    return torch.where(no_border, mean, total / torch.where(no_border, torch.ones_like(weights), weights))
