"""Pictures of a few fixed images while the network learns: predictions, kernels, feature maps and Grad-CAM; embeddings.

They run between two steps, through lenses, which restore the network, its gradients and the random generators.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from convscope.catalogue import call
from convscope.engine.inputs.specs import Images
from convscope.engine.network.model import Model, as_model
from convscope.errors import InputError
from convscope.render.kernels import filter_images
from convscope.render.palette import Pixels
from convscope.render.raster import enlarge, map_pixels, overlay_pixels, photo_at_map_size, png
from convscope.render.scale import scale_of
from convscope.render.tile_grid import colour_pixels, image_grid, scale_for
from convscope.training.checks.features import features_of_batch
from convscope.training.store import tags
from convscope.training.store.arrays import save_arrays
from convscope.training.store.event_writer import EventWriter
from convscope.values import Attribution, FeatureMaps, Kernels, Prediction

MOST_IMAGES, MOST_TILES, SIDE = 8, 16, 192
"""The largest number of probe images and of channels or filters in a picture, and the side of pictures in pixels."""

_LINE = (200, 200, 200)


class ProbePictures:
    """The probe images of a run, prepared once.

    Args:
        model: the network.
        images: what it prepares, or a prepared tensor.
    """

    def __init__(self, model: Any, images: Any) -> None:
        self.model: Model = as_model(model)
        self.images: Images = replace(self.model.prepare(images), single=False)
        if len(self.images) > MOST_IMAGES:
            raise InputError(f"at most {MOST_IMAGES} probe images are recorded, got {len(self.images)}: choose a few")

    def record(self, writer: EventWriter, folder: Path, step: int) -> None:
        """Add pictures of the network as it is now to the log, and its scores, maps and embedding to the arrays."""
        predictions: list[Prediction] = call("predict", self.model, self.images)
        maps: list[Attribution] = call("grad-cam", self.model, self.images)
        layers: list[FeatureMaps] = call("feature-maps", self.model, self.images, channels=0)
        kernels: Kernels = call("kernels", self.model, most=0)
        for name, attribution, feature_maps in zip(self.images.names, maps, layers, strict=True):
            _add_picture(writer, f"{tags.PROBES}/{name}/grad_cam", _cam_pixels(attribution))
            for layer, pixels in _feature_map_pixels(feature_maps):
                _add_picture(writer, f"{tags.PROBES}/{name}/feature_maps/{layer}", pixels)
        for layer in kernels.layers:
            tiles = [pixels for _, pixels in filter_images(kernels, layer, 24)[: 4 * MOST_TILES]]
            _add_picture(writer, tags.layer_tag(tags.KERNELS, layer), image_grid(tiles, _LINE, 8, 2 * SIDE))
        lines = [
            f"{name}: {p.labels[0]} {p.formatted_scores()[0]}"
            for name, p in zip(self.images.names, predictions, strict=True)
        ]
        writer.text(f"{tags.PROBES}/predictions", "\n\n".join(lines))
        writer.write(step, time.time())
        arrays = _arrays(self.images.names, predictions, maps)
        features = features_of_batch(self.model, self.images.tensor)
        if features is not None:  # a network without a linear layer at its end has no embedding of this kind
            arrays["embedding"] = features.numpy()
        save_arrays(folder, tags.PROBES, step, arrays, writer=writer.name)


def _arrays(
    names: Sequence[str], predictions: list[Prediction], maps: list[Attribution]
) -> dict[str, "np.ndarray[Any, Any]"]:
    arrays: dict[str, np.ndarray[Any, Any]] = {
        "names": np.array(names).astype(str),
        "answers": np.array([p.labels[0] for p in predictions]).astype(str),
        "classes": np.array([p.indices[0] for p in predictions]),
        "scores": np.array([p.scores[0] for p in predictions], np.float32),
        "confidence": np.array([p.confidences[0] if p.confidences else np.nan for p in predictions], np.float32),
    }
    for number, attribution in enumerate(maps):
        for layer, values in attribution.layer_values.items():
            arrays[f"grad_cam/{number}/{layer}"] = np.asarray(values, np.float32)
    return arrays


def _cam_pixels(attribution: Attribution) -> Pixels:
    """The map over its image; alone where the input is no picture."""
    values = np.asarray(attribution.values, np.float32)
    values = values if values.ndim == 2 else values.reshape(1, -1)
    scale, photo = scale_of([attribution], None), photo_at_map_size(attribution)
    pixels = map_pixels(values, scale) if photo is None else overlay_pixels(values, photo, scale)
    return enlarge(pixels, SIDE)


def _feature_map_pixels(feature_maps: FeatureMaps) -> list[tuple[str, Pixels]]:
    """The maps of the first channels of each layer: the same channels at every step."""
    pictures = []
    for layer, maps in feature_maps.maps.items():
        order = np.argsort(feature_maps.channels[layer])[:MOST_TILES]
        values = np.asarray(maps, np.float32)[order]
        if values.ndim == 3:
            scale = scale_for(values, ("", ""))
            pictures.append((layer, image_grid([colour_pixels(tile, scale) for tile in values], _LINE, 4, 2 * SIDE)))
    return pictures


def _add_picture(writer: EventWriter, tag: str, pixels: Pixels) -> None:
    height, width = pixels.shape[:2]
    writer.picture(tag, png(pixels), width, height, pixels.shape[2])
