from collections.abc import Mapping

import torch
from torch import Tensor, nn

from convscope.engine.data.data_set import Dataset
from convscope.engine.network.model import Model
from convscope.engine.statistics.log_histogram import LogGrid
from convscope.engine.statistics.parameter_gradients import ITSELF, loss_gradients, owned
from convscope.lens.activations._shares import NAMES, SHARES
from convscope.runtime.declaration import lens
from convscope.values import Distribution, Spread

GRID = {"octaves": 24, "bits": 5}


@lens(
    family="activations",
    title="Parameter gradients",
    cite="glorot2010understanding",
    asks="Does the loss reach every layer, and does its gradient vanish or explode on the way down?",
    reads="Each ridge is the histogram of the loss's gradient over one layer's parameters; a short one says that the "
    "layer would hardly move in training, not that it is of no use.",
    claims={"deterministic"},
)
def parameter_gradients(model: Model, images: Dataset) -> Distribution:
    """Describe how the gradient of the loss is spread over the parameters of every layer.

        g = ∂/∂w (1/N) Σ_i −log softmax(f(x_i))[y_i],   ratio = |g| / |w|

    The gradient is that of the mean loss over all images: what one step of plain gradient descent on the whole set
    would follow. It is added up chunk by chunk and takes the memory of one copy of the parameters.

    Args:
        model: the network; nothing is trained, and no ``.grad`` is written.
        images: one image, a folder with a sub-folder per class, a torch data set of (input, class) pairs.

    Returns:
        Per layer that has parameters of its own: the histogram of the gradient, mean, spread, range, quantiles, the
        share of exact zeros, the norm and its ratio to the norm of the parameters. Where the label of an image is not
        known to the model, its own top class stands for it; the notes say for how many.

    Raises:
        LayerError: the network has no parameters.
        NotFinite: the gradient of a layer is NaN or infinite; it is named.

    Example:
        >>> import convscope as cs
        >>> g = cs.parameter_gradients(cs.load("bundled:digits"), "sample:digits/0-15")
        >>> g.of, all(one.norm > 0 for one in g.layers)
        ('gradients', True)

    Source: :cite:`glorot2010understanding`.
    """
    parameters = owned(model)
    left_out = [name for name, parameter in model.module.named_parameters() if parameter.is_complex()]
    gradients, loss, seen, known = loss_gradients(model, images, parameters)
    grids = {name: LogGrid.reaching(float(flat.abs().max()), **GRID) for name, flat in gradients.items()}
    counts = {name: _counted(flat, grids[name]) for name, flat in gradients.items()}
    own = f"{seen - known} of {seen} images have no class that the model knows: their own top class stands for it"
    return Distribution(
        of="gradients",
        layers=tuple(
            _spread(model, name, flat, parameters[name], grids[name], counts[name]) for name, flat in gradients.items()
        ),
        images=seen,
        histograms={name: one.cpu() for name, one in counts.items()},
        edges={name: grid.edges() for name, grid in grids.items()},
        notes={
            **images.notes(),
            "mean loss": loss,
            **({"loss": own} if known < seen else {}),
            **({"left out": f"complex parameters: {', '.join(left_out)}"} if left_out else {}),
        },
    )


def _counted(flat: Tensor, grid: LogGrid) -> Tensor:
    return torch.bincount(grid.places(flat), minlength=grid.size)


def _spread(
    model: Model, name: str, flat: Tensor, parameters: Mapping[str, nn.Parameter], grid: LogGrid, counts: Tensor
) -> Spread:
    weights = torch.cat([one.detach().float().reshape(-1) for one in parameters.values()])
    low, high = flat.min(), flat.max()
    shares = torch.tensor(SHARES, dtype=torch.float64, device=flat.device)
    norm, length = float(flat.norm()), float(weights.norm())
    largest = max(parameters.values(), key=lambda one: one.numel())
    module = model.module if name == ITSELF else dict(model.module.named_modules())[name]
    return Spread(
        layer=name,
        kind=type(module).__name__,
        shape=tuple(largest.shape),
        count=flat.numel(),
        mean=float(flat.mean()),
        spread=float(flat.std(correction=0)),
        low=float(low),
        high=float(high),
        quantiles=dict(zip(NAMES, grid.quantiles(counts, shares, low, high).tolist(), strict=True)),
        zeros=float((flat == 0).float().mean()),
        not_positive=float((flat <= 0).float().mean()),
        channels=int(largest.shape[0]) if largest.ndim else 1,
        norm=norm,
        ratio=norm / length if length else None,
    )
