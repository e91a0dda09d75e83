"""An image cut into parts that are taken away as a whole: superpixels, grids, or a map of one's own."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import torch
from torch import Tensor

from convscope.engine.inputs.specs import Images
from convscope.errors import InputError, ParameterError
from convscope.spec import Param

SegmenterName = Literal["slic", "quickshift", "grid"]
Segmenter = Annotated[
    SegmenterName, Param(help="how the image is cut: slic and quickshift follow its colours, grid does not")
]
Segments = Annotated[
    int | Tensor,
    Param(help="parts the image is cut into, about; from Python also a map of part numbers", min=2, max=4096),
]

_SMOOTHED = 1.0
"""Pixels of blur before superpixels are sought, so that they do not follow noise."""


_SCALES = (50, 100, 150, 250, 500, 1200)
_LEAST = 150 / 224**2
"""The smallest region at any scale, as a share of the image."""


@dataclass(frozen=True)
class Cut:
    """One image's parts: ``labels`` (…) in the input's extent, numbered from 0 to ``count`` - 1."""

    labels: Tensor
    count: int

    @property
    def sizes(self) -> Tensor:
        """Pixels of each part."""
        return torch.bincount(self.labels.flatten(), minlength=self.count)

    def painted(self, parts: Tensor) -> Tensor:
        """Numbers of parts (…, count) spread evenly over their pixels, so that the map adds up to what they do."""
        share = parts / self.sizes.to(parts)
        return share[..., self.labels]


def segmented(images: Images, segments: int | Tensor, segmenter: str, *, seed: int = 0) -> list[Cut]:
    """The parts of each image.

    Superpixels are sought in the picture as the network sees it. A signal has none, and quickshift is for pictures:
    what cannot be cut so is cut into a grid.

    Raises:
        ParameterError: a map that does not fit the images, or an image in which fewer than two parts are found.
        InputError: the images have one place only.
    """
    if images.tensor[0, 0].numel() < 2:
        raise InputError(
            f"the input of shape {tuple(images.tensor.shape)} is a single place and cannot be cut into segments: "
            "use gradient-x-input"
        )
    if isinstance(segments, Tensor):
        return _given(segments, images)
    cuts = [_cut(images, row, segments, segmenter, seed) for row in range(len(images))]
    for cut in cuts:
        if cut.count < 2:
            raise ParameterError(
                f"segments must be 2 or more, but {segmenter} found one part in this image: "
                "ask for more, or for segmenter='grid'"
            )
    return cuts


def scales(images: Images, row: int) -> list[Tensor]:
    """A picture's parts at six scales, by Felzenszwalb and Huttenlocher; grids of six sizes for what is no picture."""
    extent = images.extent
    if len(extent) != 2:
        return [_numbered(grid(extent, parts), torch.device("cpu")).labels for parts in (128, 64, 32, 16, 8, 4)]
    from skimage.segmentation import felzenszwalb

    picture, _ = _picture(images, row)
    least = max(2, round(_LEAST * picture.shape[0] * picture.shape[1]))
    cuts = [felzenszwalb(picture, scale=scale, sigma=0.8, min_size=least, channel_axis=-1) for scale in _SCALES]
    return [_numbered(torch.from_numpy(cut.astype(np.int64)), torch.device("cpu")).labels for cut in cuts]


def grid(extent: Sequence[int], parts: int) -> Tensor:
    """Part numbers of about ``parts`` boxes as even as they can be, over any number of axes."""
    side = (float(np.prod(extent)) / parts) ** (1 / len(extent))
    counts = [min(length, max(1, round(length / side))) for length in extent]
    if max(counts) == 1:
        counts[int(np.argmax(extent))] = min(2, max(extent))
    return boxes(extent, counts)


def boxes(extent: Sequence[int], counts: Sequence[int]) -> Tensor:
    """Part numbers of ``counts`` boxes along each axis."""
    labels = torch.zeros(*extent, dtype=torch.long, device="cpu")
    for axis, (length, count) in enumerate(zip(extent, counts, strict=True)):
        along = torch.arange(length, device="cpu") * count // length
        labels = labels * count + along.view(-1, *[1] * (len(extent) - axis - 1))
    return labels


def _cut(images: Images, row: int, segments: int, segmenter: str, seed: int) -> Cut:
    axes = len(images.extent)
    if segmenter == "grid" or axes == 1 or (segmenter == "quickshift" and axes != 2) or axes > 3:
        return _numbered(grid(images.extent, segments), images.tensor.device)
    picture, colour = _picture(images, row)
    labels = _slic(picture, segments, colour) if segmenter == "slic" else _quickshift(picture, segments, colour, seed)
    return _numbered(torch.from_numpy(labels.astype(np.int64)), images.tensor.device)


def _picture(images: Images, row: int) -> tuple[np.ndarray[Any, Any], bool]:
    """One image channels last, from 0 to 1, and whether it is in colour as people see it."""
    tensor = images.tensor[row].detach().float().cpu()
    if hasattr(images.spec, "mean") and len(tensor) == 3:
        shown = images.spec.picture(tensor)
        assert shown is not None
        return shown / np.float32(255), True
    low, high = float(tensor.min()), float(tensor.max())
    unit = (tensor - low) / ((high - low) or 1.0)
    return unit.movedim(0, -1).numpy(), False


def _slic(picture: np.ndarray[Any, Any], segments: int, colour: bool) -> np.ndarray[Any, Any]:
    from skimage.segmentation import slic

    found: np.ndarray[Any, Any] = slic(
        picture,
        n_segments=segments,
        compactness=10 if colour else 0.1,  # Lab runs to 100, the rest to 1
        sigma=_SMOOTHED,
        convert2lab=colour,
        start_label=0,
        channel_axis=-1,
    )
    return found


def _quickshift(picture: np.ndarray[Any, Any], segments: int, colour: bool, seed: int) -> np.ndarray[Any, Any]:
    """Cut quickshift's tree at its longest links until there are as many parts as asked for."""
    from skimage.segmentation import quickshift

    if picture.shape[-1] != 3:
        picture = picture.mean(-1, keepdims=True).repeat(3, -1)
    _, parent, distance = quickshift(
        picture,
        ratio=0.5,
        kernel_size=4,
        max_dist=np.inf,
        sigma=_SMOOTHED,
        convert2lab=colour,
        return_tree=True,
        rng=seed,
    )
    places = np.arange(picture.shape[0] * picture.shape[1])
    parent, distance = np.array(parent, np.int64).ravel(), np.asarray(distance).ravel()
    roots = int((parent == places).sum())
    longest = np.argsort(np.where(parent == places, np.inf, distance), kind="stable")[::-1]
    cut = longest[: max(segments, roots)]
    parent[cut] = cut
    while not np.array_equal(parent, parent[parent]):
        parent = parent[parent]
    labels: np.ndarray[Any, Any] = np.unique(parent, return_inverse=True)[1].reshape(picture.shape[:2])
    return labels


def _given(labels: Tensor, images: Images) -> list[Cut]:
    if labels.shape not in (images.extent, (len(images), *images.extent)):
        raise ParameterError(
            f"segments must be a number or a map of shape {images.extent}, got shape {tuple(labels.shape)}"
        )
    if labels.is_floating_point() and not bool((labels == labels.round()).all()):
        raise ParameterError("segments must be whole numbers, one per part, got a map with fractions")
    each = labels.expand(len(images), *images.extent)
    cuts = [_numbered(one, images.tensor.device) for one in each]
    if any(cut.count < 2 for cut in cuts):
        raise ParameterError("segments must be two parts or more, got a map with one number only")
    return cuts


def _numbered(labels: Tensor, device: torch.device) -> Cut:
    known, numbers = torch.unique(labels, return_inverse=True)
    return Cut(numbers.to(device), len(known))
