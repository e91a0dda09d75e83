"""What a network does with an input: every operation of one forward pass, and the dependence of each on the input.

`recorder` records operations below autograd, `aten_operations` names them, `flops` counts their arithmetic.
`interval_map` describes which positions an operation reads along one axis, and `dependence` the input positions that
each value of a tensor depends on; `dependence_rules` derives an operation's outputs from its inputs by the rules of
`rearranging_rules`, `window_rules` and `reduction_rules`. `forward_graph` runs a model and collects the results by
module, `to_structure` and `receptive_field_spans` turn them into values.
"""

from convscope.engine.graph.dependence import Dependence
from convscope.engine.graph.forward_graph import ForwardGraph, LayerCall, record_graph
from convscope.engine.graph.recorder import INPUT, OperationRecord
from convscope.engine.graph.to_structure import structure_of

__all__ = ["INPUT", "Dependence", "ForwardGraph", "LayerCall", "OperationRecord", "record_graph", "structure_of"]
