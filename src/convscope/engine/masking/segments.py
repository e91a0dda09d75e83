"""Segmentations of an image whose segments are perturbed as a whole: superpixels, grids, or a given map."""

import warnings
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
    SegmenterName, Param(help="how the image is divided: slic and quickshift follow its colours, grid does not")
]
Segments = Annotated[
    int | Tensor,
    Param(help="approximate number of segments; in Python also a map of segment numbers", min=2, max=4096),
]

_SIGMA = 1.0
"""Blur in pixels before superpixels are computed, so that they do not follow noise."""

_SCALES = (50, 100, 150, 250, 500, 1200)
_MIN_AREA = 150 / 224**2
"""The smallest region at any scale, as a fraction of the image's area."""


@dataclass(frozen=True)
class Segmentation:
    """The segments of one image: ``labels`` (…) in the input's extent, numbered from 0 to ``count`` - 1."""

    labels: Tensor
    count: int

    @property
    def sizes(self) -> Tensor:
        """The number of pixels of each segment."""
        return torch.bincount(self.labels.flatten(), minlength=self.count)

    def to_map(self, values: Tensor) -> Tensor:
        """Values of segments (…, count) spread evenly over their pixels, so that the map has the same sum."""
        per_pixel = values / self.sizes.to(values)
        return per_pixel[..., self.labels]


def segment_images(images: Images, segments: int | Tensor, segmenter: str, *, seed: int = 0) -> list[Segmentation]:
    """The segmentation of each image.

    Superpixels are computed from the image as the network receives it. Signals have no superpixels, and quickshift is
    for two-dimensional images: other inputs are divided into a grid.

    Raises:
        ParameterError: a map does not fit the images, or an image has fewer than two segments.
        InputError: the images have a single position.
    """
    if images.tensor[0, 0].numel() < 2:
        raise InputError(
            f"the input of shape {tuple(images.tensor.shape)} has a single position and cannot be divided into "
            "segments: use gradient-x-input"
        )
    if isinstance(segments, Tensor):
        return _given_segmentations(segments, images)
    segmentations = [_segment_image(images, row, segments, segmenter, seed) for row in range(len(images))]
    for segmentation in segmentations:
        if segmentation.count < 2:
            raise ParameterError(
                f"segments must be 2 or more, but {segmenter} found one segment in this image: "
                "increase segments, or use segmenter='grid'"
            )
    return segmentations


def multiscale_segments(images: Images, row: int) -> list[Tensor]:
    """Segment labels of an image at six scales (Felzenszwalb and Huttenlocher); of other inputs, grids of six sizes."""
    extent = images.extent
    if len(extent) != 2:
        return [_relabelled(grid(extent, parts), torch.device("cpu")).labels for parts in (128, 64, 32, 16, 8, 4)]
    from skimage.segmentation import felzenszwalb

    array, _ = _to_array(images, row)
    min_size = max(2, round(_MIN_AREA * array.shape[0] * array.shape[1]))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Got image with third dimension")  # more bands than three are meant
        labels_at_scales = [
            felzenszwalb(array, scale=scale, sigma=0.8, min_size=min_size, channel_axis=-1) for scale in _SCALES
        ]
    return [
        _relabelled(torch.from_numpy(labels.astype(np.int64)), torch.device("cpu")).labels
        for labels in labels_at_scales
    ]


def grid(extent: Sequence[int], parts: int) -> Tensor:
    """Labels of about ``parts`` boxes of nearly equal size, over any number of axes."""
    side = (float(np.prod(extent)) / parts) ** (1 / len(extent))
    counts = [min(length, max(1, round(length / side))) for length in extent]
    if max(counts) == 1:
        counts[int(np.argmax(extent))] = min(2, max(extent))
    return boxes(extent, counts)


def boxes(extent: Sequence[int], counts: Sequence[int]) -> Tensor:
    """Labels of a grid with ``counts`` boxes along each axis."""
    labels = torch.zeros(*extent, dtype=torch.long, device="cpu")
    for axis, (length, count) in enumerate(zip(extent, counts, strict=True)):
        index = torch.arange(length, device="cpu") * count // length
        labels = labels * count + index.view(-1, *[1] * (len(extent) - axis - 1))
    return labels


def _segment_image(images: Images, row: int, segments: int, segmenter: str, seed: int) -> Segmentation:
    axes = len(images.extent)
    if segmenter == "grid" or axes == 1 or (segmenter == "quickshift" and axes != 2) or axes > 3:
        return _relabelled(grid(images.extent, segments), images.tensor.device)
    array, is_rgb = _to_array(images, row)
    labels = _slic(array, segments, is_rgb) if segmenter == "slic" else _quickshift(array, segments, is_rgb, seed)
    return _relabelled(torch.from_numpy(labels.astype(np.int64)), images.tensor.device)


def _to_array(images: Images, row: int) -> tuple[np.ndarray[Any, Any], bool]:
    """One image as an array from 0 to 1 with its channels last, and whether it is an RGB image."""
    tensor = images.tensor[row].detach().float().cpu()
    if hasattr(images.spec, "mean") and len(tensor) == 3:
        picture = images.spec.picture(tensor)
        assert picture is not None
        return picture / np.float32(255), True
    low, high = float(tensor.min()), float(tensor.max())
    normalized = (tensor - low) / ((high - low) or 1.0)
    return normalized.movedim(0, -1).numpy(), False


def _slic(array: np.ndarray[Any, Any], segments: int, is_rgb: bool) -> np.ndarray[Any, Any]:
    from skimage.segmentation import slic

    labels: np.ndarray[Any, Any] = slic(
        array,
        n_segments=segments,
        compactness=10 if is_rgb else 0.1,  # Lab values range to 100, others to 1
        sigma=_SIGMA,
        convert2lab=is_rgb,
        start_label=0,
        channel_axis=-1,
    )
    return labels


def _quickshift(array: np.ndarray[Any, Any], segments: int, is_rgb: bool, seed: int) -> np.ndarray[Any, Any]:
    """Cut the tree of quickshift at its longest edges until it has as many parts as requested."""
    from skimage.segmentation import quickshift

    if array.shape[-1] != 3:
        array = array.mean(-1, keepdims=True).repeat(3, -1)
    _, parent, distance = quickshift(
        array,
        ratio=0.5,
        kernel_size=4,
        max_dist=np.inf,
        sigma=_SIGMA,
        convert2lab=is_rgb,
        return_tree=True,
        rng=seed,
    )
    nodes = np.arange(array.shape[0] * array.shape[1])
    parent, distance = np.array(parent, np.int64).ravel(), np.asarray(distance).ravel()
    roots = int((parent == nodes).sum())
    longest = np.argsort(np.where(parent == nodes, np.inf, distance), kind="stable")[::-1]
    new_roots = longest[: max(segments, roots)]
    parent[new_roots] = new_roots
    while not np.array_equal(parent, parent[parent]):
        parent = parent[parent]
    labels: np.ndarray[Any, Any] = np.unique(parent, return_inverse=True)[1].reshape(array.shape[:2])
    return labels


def _given_segmentations(labels: Tensor, images: Images) -> list[Segmentation]:
    """Segmentations from a map of labels, one for all images or one for each."""
    if labels.shape not in (images.extent, (len(images), *images.extent)):
        raise ParameterError(
            f"segments must be a number or a map of shape {images.extent}, got shape {tuple(labels.shape)}"
        )
    if labels.is_floating_point() and not bool((labels == labels.round()).all()):
        raise ParameterError("segments must be whole numbers, one per segment, got a map with fractions")
    labels_of_images = labels.expand(len(images), *images.extent)
    segmentations = [_relabelled(image_labels, images.tensor.device) for image_labels in labels_of_images]
    if any(segmentation.count < 2 for segmentation in segmentations):
        raise ParameterError("segments must be two parts or more, got a map with one number only")
    return segmentations


def _relabelled(labels: Tensor, device: torch.device) -> Segmentation:
    """A segmentation with labels numbered from 0 without gaps."""
    known, numbers = torch.unique(labels, return_inverse=True)
    return Segmentation(numbers.to(device), len(known))
