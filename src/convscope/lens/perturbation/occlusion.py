from typing import Annotated, Literal

import torch
from torch import Tensor

from convscope.engine.incremental import (
    Content,
    Extent,
    Places,
    covered,
    grid,
    mean_over_windows,
    seen_in,
    window_scores,
)
from convscope.engine.inputs import noise
from convscope.engine.inputs.specs import Images
from convscope.engine.network.model import Model
from convscope.engine.paths.baselines import baseline_of
from convscope.engine.run.perturbed_samples import Seed
from convscope.engine.targets.target import TOP1, Aim
from convscope.errors import InputError, ParameterError
from convscope.runtime.declaration import attributions, lens
from convscope.spec import Param
from convscope.values import Attribution

FillName = Literal["value", "mean", "blur", "inpaint", "noise"]


@lens(
    family="perturbation",
    title="Occlusion",
    cite="zeiler2014visualizing",
    asks="Which regions does the score miss when they are covered?",
    reads="Warm regions lower the score when covered, cool ones raise it; what only counts together with something "
    "outside the patch stays unseen.",
    needs={"scores"},
    claims={"class-sensitive", "deterministic", "contrasting"},
    fails={"completeness": "patches interact: what two of them change together is not the sum of what each changes"},
)
def occlusion(
    model: Model,
    image: Images,
    *,
    target: Aim = TOP1,
    patch: Annotated[
        int, Param(help="side of the patch; 0: a fourteenth of the longer side", min=0, max=65536, unit="pixels")
    ] = 0,
    stride: Annotated[
        int, Param(help="from one patch to the next; 0: half a patch", min=0, max=65536, unit="pixels")
    ] = 0,
    sides: Annotated[
        str,
        Param(
            help="the patch's side along each axis, as in '16x8', instead of patch",
            min=1,
            max=65536,
            unit="pixels",
            joined="x",
        ),
    ] = "",
    strides: Annotated[
        str,
        Param(
            help="the stride along each axis, as in '8x4', instead of stride",
            min=1,
            max=65536,
            unit="pixels",
            joined="x",
        ),
    ] = "",
    channels: Annotated[
        Literal["together", "apart"], Param(help="cover all channels of a patch, or one after the other")
    ] = "together",
    shape: Annotated[Literal["square", "disc"], Param(help="what is covered of the patch")] = "square",
    fill: Annotated[FillName, Param(help="what the patch is filled with")] = "value",
    value: Annotated[float | Tensor, Param(help="the number to fill with, in units of the preprocessed input")] = 0.0,
    samples: Annotated[int, Param(help="fillings with noise to average", min=1, max=4096)] = 8,
    seed: Seed = 0,
) -> list[Attribution]:
    """Slide a patch over the image and see how far the score falls where it lies.

        S(p) = mean over the patches P that cover p of  f_c(x) - f_c(x with P filled)

    Only what a patch can reach is recomputed, layer by layer; the scores are those of whole forwards.

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        patch: its side in pixels, along every axis; by default a fourteenth of the longer side (16 of 224), at least 2.
        stride: by default half the patch. Where the patches do not reach the border, one more lies flush with it. A
            stride beyond the patch leaves gaps, which are zero in the map and named in ``notes["gaps"]``.
        sides: of a patch that is no square: ``"16x8"`` is 16 high and 8 wide, in the order of the input's axes.
        strides: where they differ from axis to axis.
        channels: ``apart`` covers one channel at a time; the map is then the sum of the channels' own maps, which are
            in ``channels``. For standardised spectra, modalities or colours that mean something by themselves.
        shape: ``square``, or ``disc``: the ball that fits into the patch.
        fill: ``value`` the number ``value``; ``mean`` the image's mean colour; ``blur`` the blurred image; ``inpaint``
            the nearest pixels around the patch along each axis, weighed by the inverse of their distance; ``noise``
            uniform over the image's range.
        value: what ``fill="value"`` puts there, after standardising: 0 is the mean colour of the training images where
            the network's input is standardised by it. A tensor gives one number per channel, or a whole image.
        samples: how many fillings with noise are averaged; the other fillings need one.
        seed: of the noise.

    Returns:
        A signed map in score units, constant over squares of one stride. ``notes["recomputed"]`` says how much of the
        work of whole forwards was needed, ``notes["whole maps"]`` from where on and why windows were given up.

    Raises:
        UnknownName: no such class or label.
        ParameterError: the patch is larger than the image.
        InputError: the input has no spatial axes, or ``value`` does not fit it.

    Differs from the paper: the drop of the score before softmax is shown where the paper shows the probability of the
    class, and every pixel gets the mean over all patches that cover it.

    Example:
        >>> import convscope as cs
        >>> a = cs.occlusion(cs.load("bundled:shapes"), "sample:shapes/7", patch=16, stride=8)
        >>> tuple(a.values.shape), a.notes["recomputed"].endswith("of what 121 forwards multiply")
        ((96, 96), True)

    Source: :cite:`zeiler2014visualizing`, section 4.2; the incremental forward is that of
    :cite:`nakandala2019incremental`.
    """

    places = _places(
        image.extent, _sides(sides, "sides", patch, image.extent), _sides(strides, "strides", stride, image.extent),
        "sides" if sides else "patch",
    )  # fmt: skip
    mask = _mask(places.size, shape).to(image.tensor)
    covering: list[int | None] = list(range(image.tensor.shape[1])) if channels == "apart" else [None]
    total = torch.zeros(len(covering), len(image), len(places.starts), dtype=torch.float64, device="cpu")
    draws = samples if fill == "noise" else 1
    for draw in range(draws):
        content = _content(image, places, mask, fill, value, seed, draw)
        for row, channel in enumerate(covering):
            covered_only = content if channel is None else _of_channel(content, image, places, channel)
            found = window_scores(model, image, target, places, covered_only)
            total[row] += found.clean[:, None] - found.changed
    maps = torch.stack([mean_over_windows(drops / draws, places, mask.cpu()) for drops in total], 1)
    notes = [dict(facts) for facts in found.notes]
    gaps = 1 - float(covered(places, mask.cpu()).mean())
    if gaps > 0:
        notes = [
            {**facts, "gaps": f"{gaps:.1%} of the pixels are under no patch: the map is zero there"} for facts in notes
        ]
    return attributions(
        model, image, target, maps.sum(1), channels=maps if channels == "apart" else None, notes=notes,
        why_blank="covering any patch leaves the score exactly as it is",
    )  # fmt: skip


def _sides(written: str, name: str, alike: int, extent: Extent) -> Extent:
    """One number for each axis: as written, or the same for all."""
    if not extent:
        raise InputError("occlusion covers regions, and this input has no spatial axes: use gradient-x-input")
    if not written:
        return (alike,) * len(extent)
    numbers = written.lower().replace("×", "x").split("x")
    if len(numbers) != len(extent) or not all(n.strip().isdecimal() for n in numbers):
        example = "x".join(["16", "8", "8"][: len(extent)])
        axes = f"{len(extent)} axis" if len(extent) == 1 else f"{len(extent)} axes"
        raise ParameterError(f"{name} is one number for each of the input's {axes}, as in '{example}', got {written!r}")
    return tuple(int(n) for n in numbers)


def _of_channel(content: Content, images: Images, places: Places, channel: int) -> Content:
    """The content with all channels but one as they are."""

    def covered_only(row: int, windows: Tensor) -> Tensor:
        kept = seen_in(images.tensor[row : row + 1], places.chosen(windows.numpy())).clone()
        kept[:, channel] = content(row, windows)[:, channel]
        return kept

    return covered_only


def _places(extent: Extent, patch: Extent, stride: Extent, named: str) -> Places:
    """Where the patches lie, their sides and strides along each axis; 0 is the usual one; ``named`` is who says so."""
    for side, length in zip(patch, extent, strict=True):
        if side > length:
            sides = " × ".join(map(str, extent))
            if len(set(patch)) == 1:
                limit, what = min(extent), "the image's shorter side"
            else:
                limit, what = length, "the image's side"
            raise ParameterError(f"{named} must be at most {limit}, {what} ({sides}), got {side}")
    usual = max(2, round(max(extent) / 14))
    size = tuple(min(side or usual, length) for side, length in zip(patch, extent, strict=True))
    steps = tuple(step or max(1, (side or usual) // 2) for step, side in zip(stride, patch, strict=True))
    return Places(grid(extent, size, steps), size, extent)


def _mask(size: Extent, shape: str) -> Tensor:
    """One where the patch covers, zero in the corners that a disc leaves free."""
    if shape == "square":
        return torch.ones(size, dtype=torch.float32, device="cpu")
    axes = [(torch.arange(n, dtype=torch.float32, device="cpu") + 0.5) / n * 2 - 1 for n in size]
    return (sum(a.square() for a in torch.meshgrid(*axes, indexing="ij")) <= 1).float()  # type: ignore[union-attr]


def _content(
    images: Images, places: Places, mask: Tensor, fill: str, value: float | Tensor, seed: int, draw: int
) -> Content:
    """A function that gives what lies in the windows of an image once they are covered."""
    instead = None if fill == "inpaint" else _instead(images, fill, value, seed, draw)

    def content(row: int, windows: Tensor) -> Tensor:
        chosen, clean = places.chosen(windows.numpy()), images.tensor[row : row + 1]
        put = _inpainted(clean, chosen) if instead is None else seen_in(instead[row : row + 1], chosen)
        return put if bool(mask.all()) else torch.where(mask.bool(), put, seen_in(clean, chosen))

    return content


def _instead(images: Images, fill: str, value: float | Tensor, seed: int, draw: int) -> Tensor:
    """The images (N, C, …) that shine through the patches."""
    x = images.tensor
    if fill == "noise":
        low = x.flatten(1).amin(1).view(-1, *[1] * (x.ndim - 1))
        return low + noise.value_range(x) * noise.uniform(
            x.shape[1:], seed=seed, copies=torch.tensor([draw], device="cpu"), like=x
        )
    if fill != "value":
        return baseline_of(fill, images)
    if isinstance(value, Tensor):
        per_channel = value.shape == (x.shape[1],)
        return baseline_of(value.view(-1, *[1] * (x.ndim - 2)).expand(x.shape[1:]) if per_channel else value, images)
    return torch.full_like(x, value)


def _inpainted(clean: Tensor, places: Places) -> Tensor:
    """Each window filled from the pixels just outside of it along each axis, those near counting more."""
    around = seen_in(clean, Places(places.starts - 1, tuple(n + 2 for n in places.size), places.extent))
    starts = torch.from_numpy(places.starts).to(clean.device)
    total = weights = clean.new_zeros([1] * clean.ndim)
    for axis, (side, length) in enumerate(zip(places.size, places.extent, strict=True)):
        shape = [1, 1, *[side if a == axis else 1 for a in range(len(places.size))]]
        per_window = (-1, *[1] * (clean.ndim - 1))
        for end, there in ((0, starts[:, axis] > 0), (side + 1, starts[:, axis] + side < length)):
            face = around.narrow(2 + axis, end, 1)
            for other in range(len(places.size)):
                face = face if other == axis else face.narrow(2 + other, 1, places.size[other])
            near = (
                1
                / (torch.arange(1, side + 1, device="cpu") - end).abs().to(clean).view(shape)
                * there.to(clean).view(per_window)
            )
            total, weights = total + near * face, weights + near
    alone = weights == 0  # a patch as large as the image has nothing around it
    mean = clean.flatten(2).mean(2).view(1, -1, *[1] * len(places.size))
    return torch.where(alone, mean, total / torch.where(alone, torch.ones_like(weights), weights))
