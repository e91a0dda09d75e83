"""What a network really does with an input: every operation of one forward, and what each of them sees.

`recorder` writes operations down below autograd, `kinds` names them, `flops` counts them; `reach` is the arithmetic of
windows along one axis, `seen` which positions of the input stand behind each number of a tensor, `seeing` how every
operation changes that; `record` runs a model and puts it together, module by module.
"""

from convscope.engine.graph.record import Graph, Visit, recorded
from convscope.engine.graph.recorder import INPUT, Step
from convscope.engine.graph.seen import Seen
from convscope.engine.graph.summary import structure_of

__all__ = ["INPUT", "Graph", "Seen", "Step", "Visit", "recorded", "structure_of"]
