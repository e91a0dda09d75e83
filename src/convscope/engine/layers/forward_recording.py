"""One recorded forward pass of an image, as the second of a batch of two where the network accepts that."""

from contextlib import suppress
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from convscope.engine.context.chunking import is_out_of_memory
from convscope.engine.graph.forward_graph import ForwardGraph, LayerCall, record_graph
from convscope.engine.network.assumption_checks import companion_image
from convscope.engine.network.memory_format import (
    MemoryFormatWatcher,
    is_channels_last_untested,
    remember_channels_last,
)
from convscope.errors import ModelFailed, OutputError

if TYPE_CHECKING:
    from convscope.engine.network.model import Model


def record_forward(model: "Model", image: Tensor) -> tuple[ForwardGraph, int, bool]:
    """Record one forward pass of an image as the second of a batch, or alone where the network accepts no batch of two.

    Returns:
        The record, the number of images in it, and whether layers run for one image of a batch after another.
    """
    for first in (companion_image(image, bold=True), image):
        try:
            graph = _record_pair(model, torch.cat([first, image]))
        except (ModelFailed, OutputError) as error:
            if is_out_of_memory(error):
                break
        else:
            if any(_ran_per_image(visit) for visit in graph.layer_calls.values()):
                # the network may insist on two images, which it separates itself
                with suppress(ModelFailed, OutputError):
                    return record_graph(model, image, find_output=True), 1, True
            return graph, 2, False
    return record_graph(model, image, find_output=True), 1, False


def _ran_per_image(visit: LayerCall) -> bool:
    """Whether a layer ran once for one image and once for another."""
    image_indices = {
        float(call.batch.position)
        for call in (*visit.earlier, visit)
        if call.batch is not None and call.batch.position.numel() == 1
    }
    return len(image_indices - {-1.0}) > 1


def _record_pair(model: "Model", pair: Tensor) -> ForwardGraph:
    """Record one forward pass, which also shows whether the network accepts channels-last inputs."""
    if not is_channels_last_untested(model.module, pair):
        return record_graph(model, pair, images=2, find_output=True)
    model.memory_format_watcher = watch = MemoryFormatWatcher(model.module)
    try:
        channels_last = pair.clone(memory_format=torch.channels_last)
        graph = record_graph(model, pair, images=2, find_output=True, network_input=channels_last)
    except (ModelFailed, OutputError):
        watch.depends_on_format = True
    finally:
        model.memory_format_watcher = None
    if not watch.depends_on_format:
        remember_channels_last(model.module, pair, takes=True)
        return graph
    graph = record_graph(
        model, pair, images=2, find_output=True, network_input=pair.clone(memory_format=torch.contiguous_format)
    )
    remember_channels_last(model.module, pair, takes=False)
    return graph
