"""Networks that map a function over their images (``torch.vmap``), inside which each tensor appears as one image's."""

import torch

UNDER_VMAP = (
    "runs under torch.vmap, where its values can be neither read nor changed: make the network process the whole "
    "batch; lenses that use only the output and the gradient of the input work without that"
)


def under_vmap() -> bool:
    """Whether a function transform is active (torch.vmap, torch.func)."""
    return torch._C._functorch.maybe_current_level() is not None
