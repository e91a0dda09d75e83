"""Settings of torch around a call: restored later, and at no cost where they are the usual ones."""

import torch
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack

from convscope.engine.network.torch_context import current_settings


def modes() -> list[TorchFunctionMode]:
    """What every operation passes through, such as a default device."""
    return list(_get_current_function_mode_stack())


def test_the_usual_device_is_restored_without_a_mode_that_slows_down_operations() -> None:
    restored = current_settings("cpu")
    with restored():
        assert modes() == []


def test_the_device_at_the_time_of_the_call_is_restored_within_another() -> None:
    on_cpu = current_settings("cpu")
    with torch.device("meta"):
        on_meta = current_settings("cpu")
        with on_cpu():
            assert torch.empty(1).device.type == "cpu"
        assert torch.empty(1).device.type == "meta"
    with on_meta():
        assert torch.empty(1).device.type == "meta"
    assert modes() == []
