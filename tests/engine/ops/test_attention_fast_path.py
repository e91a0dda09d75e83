"""The setting of the fused kernel is off within the context, and afterwards what it was."""

import pytest
import torch

from convscope.engine.ops.attention_fast_path import without_attention_fast_path


@pytest.mark.parametrize("fast", [True, False])
def test_the_setting_is_restored_after_an_error(fast: bool) -> None:
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(fast)
    try:
        with pytest.raises(ValueError, match=r"^False$"), without_attention_fast_path():
            raise ValueError(torch.backends.mha.get_fastpath_enabled())
        assert torch.backends.mha.get_fastpath_enabled() is fast
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
