"""What a network really does with an input: every operation of one forward, and what each of them sees.

`recorder` writes operations down below autograd, `kinds` names them, `flops` counts them; `reach` is the arithmetic of
windows along one axis, `seen` which positions of the input stand behind each number of a tensor, `seeing` how every
operation changes that, by the rules of `moves`, `windows` and `mixing`; `record` runs a model and puts it together,
module by module. `field` is the box of the input that a position sees, `effective` how much of it really counts.
"""

from convscope.engine.graph.build import Graph, Visit, recorded
from convscope.engine.graph.dependence import Dependence
from convscope.engine.graph.recorder import INPUT, Step
from convscope.engine.graph.to_structure import structure_of

__all__ = ["INPUT", "Graph", "Dependence", "Step", "Visit", "recorded", "structure_of"]
