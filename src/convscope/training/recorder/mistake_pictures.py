"""The worst mistakes as pictures: what the network received, and Grad-CAM for its answer and for the label.

They are drawn between two steps through a lens, which restores the network and the random generators.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from convscope.catalogue import call
from convscope.engine.network.model import as_model
from convscope.errors import ConvScopeError
from convscope.render.palette import Pixels
from convscope.render.raster import enlarge, overlay_pixels, photo_at_map_size
from convscope.render.scale import scale_of
from convscope.training.recorder.answers import Arrays, Mistake
from convscope.values import Attribution

SIDE = 128
"""The longer side of the pictures, in pixels; larger ones are reduced."""


def mistake_arrays(model: Any, mistakes: Sequence[Mistake]) -> Arrays:
    """The numbers of the mistakes, their images, and both maps where the network has a layer for them.

    Returns:
        ``photos``, ``answer_maps`` and ``label_maps`` are uint8 (N, height, width, 3); all are left out if the images
        are no pictures. Where Grad-CAM cannot be computed, ``without_maps`` says why in place of the maps.
    """
    arrays: Arrays = {
        "samples": np.array([m.sample for m in mistakes]),
        "labels": np.array([m.label for m in mistakes]),
        "answers": np.array([m.answer for m in mistakes]),
        "confidence": np.array([m.confidence for m in mistakes], np.float32),
        "label_probability": np.array([m.label_probability for m in mistakes], np.float32),
    }
    opened = as_model(model)
    photos = [opened.input.picture(m.image) for m in mistakes]
    if any(photo is None or photo.ndim != 3 for photo in photos):
        return arrays
    arrays["photos"] = np.stack([enlarge(np.asarray(photo), SIDE) for photo in photos])
    try:
        batch = replace(opened.prepare(torch.stack([m.image for m in mistakes])), single=False)
        for name, targets in (
            ("answer_maps", [m.answer for m in mistakes]),
            ("label_maps", [m.label for m in mistakes]),
        ):
            maps: list[Attribution] = call("grad-cam", opened, batch, target=targets)
            arrays[name] = np.stack([_overlay(attribution) for attribution in maps])
    except ConvScopeError as error:  # a network without a layer of positions, for one
        arrays["without_maps"] = np.array(str(error))
    return arrays


def _overlay(attribution: Attribution) -> Pixels:
    photo = photo_at_map_size(attribution)
    assert photo is not None, "the input has a picture"
    values = np.asarray(attribution.values, np.float32)
    return enlarge(overlay_pixels(values, photo, scale_of([attribution], None)), SIDE)
