"""The base class of modes that observe or replace operations below autograd."""

from torch.utils._python_dispatch import TorchDispatchMode


class DispatchMode(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A dispatch mode that does not import ``torch._dynamo``, which takes as long as importing torch itself.

    torch imports it to keep its compiler from tracing the mode. The networks that run here are not compiled: `Model`
    unwraps them.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False
