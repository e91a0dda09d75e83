"""Which operation produced a network's output: a softmax, a sigmoid, a tanh, or none of these.

One forward is observed below autograd, where all spellings of an operation are the same (`nn.Softmax`, `F.softmax`,
``x.exp() / x.exp().sum(1)``, ``1 / (1 + exp(-x))``, also in scripts). The result of such an operation gets a tag, which
slices, reshapes, casts, means over positions and multiplications by a number pass on and all other operations drop. A
tag belongs to a region of memory and is valid until that memory is freed or overwritten. Operations without a rule,
which are most of a network's, are run without further inspection.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import _get_current_function_mode_stack
from torch.utils._python_dispatch import _get_current_dispatch_mode

from convscope.engine.network.output_meaning import Meaning
from convscope.engine.network.provenance_rules import rule_for
from convscope.engine.network.provenance_tags import OUTPUT_KINDS, PROBABILITY_KINDS, Tag, TagStore, is_close
from convscope.engine.network.scores_only import scores_only_part
from convscope.engine.ops.dispatch_mode import DispatchMode

_SUM_TOLERANCE = 0.1
"""By how much the sum of probabilities may exceed one: bfloat16 over many classes."""


def can_trace_provenance() -> bool:
    """Whether the operations of a forward can be observed at present.

    They cannot under another dispatch mode, under functorch transforms, or where rules decompose operations.
    """
    if _get_current_dispatch_mode() is not None or torch._C._functorch.peek_interpreter_stack() is not None:
        return False
    return not any(getattr(mode, "decomposes_operations", False) for mode in _get_current_function_mode_stack())  # type: ignore[no-untyped-call]


class ProvenanceMode(DispatchMode):
    """Tags the results of the operations of one forward, from which the meaning of its output is derived.

    Args:
        module: the network.
    """

    supports_higher_order_operators = True

    def __init__(self, module: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._tags = TagStore(module)
        self._hides_operations = scores_only_part(module) is not None

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        rule, writes = rule_for(func)
        tag = None if rule is None else rule(self._tags, *args, **kwargs)
        if tag is not None or writes:
            self._tags.assign(output, tag, overwrite=writes)
        return output

    def meaning_of(self, output: Tensor) -> Meaning:
        """The meaning of the output of the observed forward."""
        tag = self._tags.find(output) or self._tags.find_overlapping(output)
        if self._hides_operations and (tag is None or tag.kind == "constant"):
            return Meaning("unknown")
        if tag is None or not output.is_floating_point():
            return Meaning()
        if tag.kind in ("exp", "sum", "logsumexp", "softplus"):
            return Meaning("value")
        if tag.kind in ("log-softmax", "log-sigmoid", "tanh"):
            return Meaning(tag.kind if tag.is_identity else "value")
        if tag.kind in PROBABILITY_KINDS:
            return _probability_meaning(tag, output.detach().float())
        return Meaning(tag.kind if tag.kind in OUTPUT_KINDS else "logits")


def _probability_meaning(tag: Tag, output: Tensor) -> Meaning:
    """Probabilities p, 100 · p or 1 - p; where their sum exceeds one, the softmax ran along another axis."""
    if tag.kind in ("sigmoid", "softmax") and is_close(tag.scale, -1) and is_close(tag.shift, 1):
        return Meaning("sigmoid" if tag.kind == "sigmoid" else "probabilities")
    scale = next((factor for factor in (1.0, 100.0) if is_close(tag.scale, factor)), None)
    if scale is None or not is_close(tag.shift, 0):
        return Meaning("value")
    along_classes = output.ndim < 2 or bool((output.sum(1) <= scale * (1 + _SUM_TOLERANCE)).all())
    if tag.kind == "softmax" and not along_classes:
        return Meaning("value")
    return Meaning(tag.kind, scale)
