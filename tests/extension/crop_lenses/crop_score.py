"""A lens: the score of the part of an image inside a rectangle."""

from typing import Annotated, Any

import torch

from convscope.engine.inputs.specs import Images
from convscope.engine.network.model import Model
from convscope.runtime.declaration import lens
from convscope.spec import Param
from crop_lenses.value import CropScore


@lens(
    family="perturbation",
    title="Crop score",
    cite="zeiler2014visualizing",
    asks="How high is the score if only a rectangle of the image is kept?",
    reads="A part that scores as high as the whole image contains what the network needs.",
    claims={"deterministic"},
)
def crop_score(
    model: Model,
    image: Images,
    *,
    area: Any = None,
    background: Annotated[float, Param(help="brightness of what is removed", min=0, max=1)] = 0.0,
) -> list[CropScore]:
    """Score the image and the part inside a rectangle."""
    top, left, bottom, right = area or (0, 0, *image.extent)
    cropped = torch.zeros_like(image.tensor) + model.input.level(background)
    cropped[..., top:bottom, left:right] = image.tensor[..., top:bottom, left:right]
    with torch.no_grad():
        whole, part = (model.run(model.input_copy(batch)).float().cpu() for batch in (image.tensor, cropped))
    classes = whole.argmax(1)
    rows = torch.arange(len(classes))
    scores = torch.stack([whole[rows, classes], part[rows, classes]], 1).numpy()
    area_kept = (top, left, bottom, right)
    return [
        CropScore(scores=score, label=model.label(index), area=area_kept)
        for score, index in zip(scores, classes.tolist(), strict=True)
    ]
