from collections.abc import Mapping

import torch
from torch import Tensor, nn

from convscope.engine.data.data_set import Dataset
from convscope.engine.network.model import Model
from convscope.engine.statistics.log_histogram import LogGrid
from convscope.engine.statistics.parameter_gradients import OWN_PARAMETERS, loss_gradients, parameters_by_layer
from convscope.lens.activations._quantiles import NAMES, SHARES
from convscope.runtime.declaration import lens
from convscope.values import Distribution, LayerStatistics
from convscope.values.facts import Fact

GRID = {"octaves": 24, "bits": 5}


@lens(
    family="activations",
    title="Parameter gradients",
    cite="glorot2010understanding",
    asks="Does the gradient of the loss reach every layer, or does it vanish or explode on the way?",
    reads="Each curve is the histogram of the loss gradient over one layer's parameters; small values mean that the "
    "layer would hardly change in training, not that it is useless.",
    needs={"layers"},
    claims={"deterministic"},
)
def parameter_gradients(model: Model, images: Dataset) -> Distribution:
    """Compute the distribution of the loss gradient over the parameters of every layer.

        g = ∂/∂w (1/N) Σ_i −log softmax(f(x_i))[y_i],   ratio = |g| / |w|

    The gradient is that of the mean loss over all images, as in one step of full-batch gradient descent. It is
    accumulated over chunks of images and takes the memory of one copy of the parameters.

    Args:
        model: the network; nothing is trained, and no ``.grad`` is written.
        images: one image, a folder with a subfolder per class, a torch data set of (input, class) pairs.

    Returns:
        Per layer with parameters of its own: the histogram of the gradient, mean, standard deviation, range, quantiles,
        the share of exact zeros, the norm and its ratio to the norm of the parameters. For an image without a label
        that the model knows, the model's top class is used; the notes say for how many.

    Raises:
        LayerError: the network has no parameters.
        NotFinite: the gradient of a layer is NaN or infinite; the message names the layer.

    Example:
        >>> import convscope as cs
        >>> g = cs.parameter_gradients(cs.load("bundled:digits"), "sample:digits/0-15")
        >>> g.of, all(one.norm > 0 for one in g.layers)
        ('gradients', True)

    Source: :cite:`glorot2010understanding`.
    """
    parameters = parameters_by_layer(model)
    left_out = [name for name, parameter in model.module.named_parameters() if parameter.is_complex()]
    gradients, loss, images_used, labeled = loss_gradients(model, images, parameters)
    grids = {name: LogGrid.reaching(float(flat.abs().max()), **GRID) for name, flat in gradients.items()}
    counts = {name: _histogram(flat, grids[name]) for name, flat in gradients.items()}
    unlabeled = Fact(
        "{unlabeled} of {images} images have no class that the model knows: their top class is used instead",
        unlabeled=images_used - labeled,
        images=images_used,
    )
    return Distribution(
        of="gradients",
        layers=tuple(
            _spread(model, name, flat, parameters[name], grids[name], counts[name]) for name, flat in gradients.items()
        ),
        images=images_used,
        histograms={name: histogram.cpu() for name, histogram in counts.items()},
        edges={name: grid.edges() for name, grid in grids.items()},
        notes={
            **images.notes(),
            "mean loss": loss,
            **({"loss": unlabeled} if labeled < images_used else {}),
            **({"left out": Fact("complex parameters: {names}", names=left_out)} if left_out else {}),
        },
    )


def _histogram(flat: Tensor, grid: LogGrid) -> Tensor:
    return torch.bincount(grid.bin_indices(flat), minlength=grid.size)


def _spread(
    model: Model, name: str, flat: Tensor, parameters: Mapping[str, nn.Parameter], grid: LogGrid, counts: Tensor
) -> LayerStatistics:
    weights = torch.cat([parameter.detach().float().reshape(-1) for parameter in parameters.values()])
    low, high = flat.min(), flat.max()
    shares = torch.tensor(SHARES, dtype=torch.float64, device=flat.device)
    norm, weight_norm = float(flat.norm()), float(weights.norm())
    largest = max(parameters.values(), key=lambda parameter: parameter.numel())
    module = model.module if name == OWN_PARAMETERS else dict(model.module.named_modules())[name]
    return LayerStatistics(
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
        ratio=norm / weight_norm if weight_norm else None,
    )
