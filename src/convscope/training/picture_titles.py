"""What the pictures of a run show, in words in place of their tags."""

import re

from convscope.training.store import tags
from convscope.values.facts import Fact, as_fact


def picture_title(tag: str) -> Fact:
    """The title of a picture that the recorder wrote; of others their tag.

    Example:
        >>> picture_title("probes/tensor[0]/grad_cam")
        'Grad-CAM of probe image 1'
    """
    kind, _, rest = tag.partition("/")
    if kind == tags.KERNELS and rest:
        return Fact("kernels of {layer}", layer=rest)
    match = re.fullmatch(r"(.+)/(grad_cam|feature_maps/(.+))", rest) if kind == tags.PROBES else None
    if match is None:
        return as_fact(tag)
    image, layer = probe_name(match[1]), match[3]
    if layer:
        return Fact("feature maps of {layer} for {image}", layer=layer, image=image)
    return Fact("Grad-CAM of {image}", image=image)


def probe_name(name: str) -> Fact:
    """The name of an image; those of a tensor, ``tensor[0]``, are counted."""
    row = re.fullmatch(r"tensor\[(\d+)\]", name)
    return Fact("probe image {number}", number=int(row[1]) + 1) if row else as_fact(name)
