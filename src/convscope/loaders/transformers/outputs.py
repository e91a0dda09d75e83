"""The part of an output of transformers that is explained, as a tensor (N, classes, …)."""

from typing import Any

import torch
from torch import Tensor


def class_map_of_queries(output: Any) -> Tensor:
    """The score of every class at every position, (N, classes, height, width).

    It is the sum of all masks, each times its probability of the class, as in transformers'
    ``post_process_semantic_segmentation``.
    """
    probabilities = output.class_queries_logits.softmax(-1)[..., :-1]  # the last class is "no object"
    return torch.einsum("nqc,nqhw->nchw", probabilities, output.masks_queries_logits.sigmoid())


def depth_map(output: Any) -> Tensor:
    """The depth at every position, (N, 1, height, width)."""
    depth: Tensor = output.predicted_depth
    return depth[:, None]


def image_embedding(output: Any) -> Tensor:
    """The embedding that is compared with texts where there is a projection, otherwise the pooled output."""
    projected: Tensor | None = getattr(output, "image_embeds", None)
    embedding: Tensor = output.pooler_output if projected is None else projected
    return embedding
