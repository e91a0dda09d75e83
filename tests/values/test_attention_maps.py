"""What attention maps say of themselves in lines."""

import torch

from convscope.values import AttentionMaps


def test_lines_name_the_head_of_the_peak_or_how_heads_are_fused() -> None:
    maps = torch.zeros(3, 2, 2)
    maps[1, 0, 1] = 0.5
    each = AttentionMaps(maps={"attend": maps}, beside={"attend": torch.zeros(3)}, token="class token")
    assert each.lines() == ["attention from the class token", "attend: 3 heads of 2×2, peak 0.5 in head 1"]
    fused = AttentionMaps(maps={"attend": maps.mean(0, keepdim=True)}, beside=each.beside, token="it", heads="mean")
    assert fused.lines()[1] == "attend: the mean over heads of 2×2, peak 0.167"
