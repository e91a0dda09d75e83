"""FLOPs and memory of recorded operations, compared with PyTorch's own counter."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import convscope as cs
from convscope.engine.graph import record_graph
from tests.engine.graph.networks import NETS, random_tensor
from tests.nets import PlainNet, seeded


@pytest.mark.parametrize("name", NETS)
def test_flops_are_those_of_torchs_own_counter(name: str) -> None:
    build, shape = NETS[name]
    net = seeded(build)
    graph = record_graph(cs.Model(net), random_tensor(1, *shape).float())
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        math_only = torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH)
        with torch.no_grad(), FlopCounterMode(display=False) as counter, math_only:
            net(random_tensor(1, *shape).float())
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    assert sum(record.flops for record in graph.operations) == counter.get_total_flops() > 0


def test_memory_counts_new_results_but_no_views_and_no_in_place_writes() -> None:
    s = cs.structure(cs.Model(seeded(PlainNet, 2, 3), input=cs.TensorInput((3, 16, 16))))
    assert s.module("features.0").bytes == 6 * 16 * 16 * 4
    assert s.module("features.1").bytes == 0  # an in-place ReLU
    assert s.activation_bytes == 4 * (6 * 16 * 16 + 8 * 8 * 8 + 8 + 4)
    assert s.parameter_bytes == 4 * s.parameters
