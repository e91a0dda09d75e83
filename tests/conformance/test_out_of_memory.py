"""Running out of memory costs time, but does not change the values."""

import numpy as np
import torch

import convscope as cs
from convscope.spec import LensSpec
from tests.conformance.selections import WRAPPED, for_each_in_turn
from tests.lens_calls import call_lens_as_list, collect_tensors
from tests.nets import OutOfMemoryNet


@for_each_in_turn(WRAPPED, "allowed_calls", [0, 1, 3])
def test_running_out_of_memory_does_not_change_the_values(
    spec: LensSpec, allowed_calls: int, model: cs.Model, pictures: list[np.ndarray]
) -> None:
    """Chunks are halved and run anew; nothing of a chunk that failed midway is counted."""
    # A format that need not be timed; torch declares the argument for tensors only.
    model.module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    plain_values = call_lens_as_list(spec, model, pictures, layer="relu")
    limited = cs.Model(OutOfMemoryNet(model.module, allowed_calls), input=model.input, labels=model.labels)
    limited_values = call_lens_as_list(spec, limited, pictures, layer="net.relu")
    for value, expected in zip(limited_values, plain_values, strict=True):
        tensors = {name.replace("/net.", "/"): tensor for name, tensor in collect_tensors(value).items()}
        for name, tensor in collect_tensors(expected).items():
            allowed = 1e-4 * float(tensor.nan_to_num().abs().max()) + 1e-6
            torch.testing.assert_close(tensors[name], tensor, rtol=0, atol=allowed, equal_nan=True)
