"""Networks that map a function over their images (``torch.vmap``): a tensor shows itself as that of one image."""

import torch

UNDER_VMAP = (
    "runs under torch.vmap, where its numbers can be neither read nor changed: have the network take the whole batch; "
    "lenses that need its output and its input's gradient alone work as it is"
)


def under_vmap() -> bool:
    """Whether torch maps or transforms a function at the moment (torch.vmap, torch.func)."""
    return torch._C._functorch.maybe_current_level() is not None
