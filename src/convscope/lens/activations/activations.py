from typing import Annotated

import torch
from torch import Tensor

from convscope.engine.data.data_set import Dataset
from convscope.engine.layers.addresses import EVERY_LAYER, Layers
from convscope.engine.network.model import Model
from convscope.engine.statistics.activation_statistics import MEAN_POSITIONS, collect_statistics, list_reasons
from convscope.engine.statistics.channel_statistics import StatisticsAccumulator
from convscope.engine.statistics.correlation import correlated_channels
from convscope.lens.activations._quantiles import NAMES, SHARES
from convscope.runtime.declaration import lens
from convscope.spec import Param
from convscope.values import Distribution, LayerStatistics
from convscope.values.facts import Fact

COLUMNS = ("mean", "spread", "min", *NAMES, "max", "zeros", "not above zero", "at limit")
SATURATED_SHARE, DUPLICATE_CORRELATION = 0.95, 0.99


@lens(
    family="activations",
    title="Activation statistics",
    cite="glorot2010understanding",
    asks="How are each layer's activations distributed, and how many units are dead or redundant?",
    reads="Each curve is the histogram of one layer's outputs, from the input at the top to the output at the bottom; "
    "units reported as dead are dead on these images only.",
    claims={"deterministic"},
)
def activations(
    model: Model,
    images: Dataset,
    *,
    layer: Layers = EVERY_LAYER,
    samples: Annotated[
        int, Param(help="number of values per channel for quantiles, standard deviation and shares", min=1, max=65536)
    ] = 1024,
) -> Distribution:
    """Compute statistics of the activations of every layer and channel, in one pass over any number of images.

    Means and standard deviations ("spread") of chunks a and b are combined by

        n = n_a + n_b,  μ = μ_a + (μ_b − μ_a) n_b / n,  M = M_a + M_b + (μ_b − μ_a)² n_a n_b / n,  spread = √(M / n)

    and quantiles are computed from a histogram whose bin width is proportional to the value (32 bins per factor of two
    for a layer, 8 for a channel): a channel's quantile is accurate to one part in eight or to a thousandth of its
    layer's largest value, a layer's quantile to one part in 32. Memory does not grow with the number of images.

    Args:
        model: the network.
        images: one image, a folder, a list, a torch data set.
        layer: the layers; by default every layer without sublayers. Activation functions called as functions are not
            layers; their outputs can be read as the input of the next layer.
        samples: how many values of each channel are used for quantiles, spread and shares: at least four positions per
            image, or all values if there are fewer.

    Returns:
        Per layer and channel: mean, standard deviation, range, quantiles, and the shares of zeros, of values not above
        zero and of values at the limit of the activation function (sigmoid, tanh and softsign within 0.05, piecewise
        linear ones exactly). Per layer the number of channels that are dead (the output of an activation function that
        is never above zero, or a channel that is constant), saturated (at a limit 95 % of the time), or duplicates
        (their means over the first 128 images correlate by more than 0.99 with another's); a histogram; and for
        labelled data the mean of each channel over each class. Maxima are of all values, means of at most 1024
        positions per image.

    Raises:
        NotFinite: a layer's output is NaN or infinite; the message names the first such layer.
        InputError: there is no image, or none can be read.

    Example:
        >>> import convscope as cs
        >>> d = cs.activations(cs.load("bundled:digits"), "sample:digits/0-31")
        >>> d.images, 0 <= d.layers[0].zeros <= 1
        (32, True)

    Source: :cite:`glorot2010understanding`; sums over chunks after :cite:`chan1983algorithms`.
    """
    observation = collect_statistics(model, images, layer, samples=samples)
    accounts = observation.layers
    count = max((account.images for account in accounts.values()), default=0)
    classes = list(dict.fromkeys(label for account in accounts.values() for label in account.classes))
    twins = {
        name: correlated_channels(torch.cat(account.first_means).cpu(), DUPLICATE_CORRELATION)
        for name, account in accounts.items()
    }
    tables = {name: account.table(SHARES) for name, account in accounts.items()}
    return Distribution(
        of="activations",
        layers=tuple(_spread(account, tables[name], twins[name]) for name, account in accounts.items()),
        images=count,
        histograms={name: account.layer_counts.cpu() for name, account in accounts.items()},
        edges={name: account.layer_grid.edges() for name, account in accounts.items()},
        columns=COLUMNS,
        channels={name: table.float() for name, table in tables.items()},
        classes=tuple(model.label(label) if isinstance(label, int) else str(label) for label in classes),
        class_means={name: _class_means(account, classes) for name, account in accounts.items()} if classes else {},
        twins={name: tuple(pairs) for name, pairs in twins.items() if pairs},
        notes={**images.notes(), **_notes(accounts, observation.per_image, observation.unreadable, count)},
    )


def _spread(account: StatisticsAccumulator, table: Tensor, twins: list[tuple[int, int, float]]) -> LayerStatistics:
    """The statistics of a whole layer; all channels have the same number of values, so they are averaged."""
    mean, spread, low, high = table[:, 0], table[:, 1], table[:, 2], table[:, 3 + len(SHARES)]
    zeros, below, at_limit = table[:, -3:].unbind(1)
    return LayerStatistics(
        layer=account.address,
        kind=account.kind,
        shape=account.shape,
        count=int(account.layer_counts.sum()),
        mean=float(mean.mean()),
        spread=float((spread.square().mean() + mean.var(correction=0)).sqrt()),
        low=float(low.min()),
        high=float(high.max()),
        quantiles=dict(zip(NAMES, account.quantiles(SHARES), strict=True)),
        zeros=float(zeros.mean()),
        not_positive=float(below.mean()),
        channels=len(table),
        dead=_dead(account, low, high),
        saturated=None if account.limits is None else int((at_limit >= SATURATED_SHARE).sum()),
        duplicates=len({b for _, b, _ in twins}) if account.images >= 8 else None,
    )


def _dead(account: StatisticsAccumulator, low: Tensor, high: Tensor) -> int | None:
    """How many channels are constant, or are never above zero after a rectifying activation function."""
    constant = low == high if account.count > 1 else torch.zeros_like(low, dtype=torch.bool)
    never_active = (high <= 0) & account.rectifies
    return None if account.count == 1 and not account.rectifies else int((constant | never_active).sum())


def _class_means(account: StatisticsAccumulator, classes: list[object]) -> Tensor:
    """The mean of each channel over the images of each class; NaN for classes beyond the largest number kept."""
    missing = (0, torch.full_like(account.mean, torch.nan))
    rows = [account.classes.get(label, missing) for label in classes]
    return torch.stack([total / max(1, images) for images, total in rows]).float().cpu()


def _notes(
    accounts: dict[str, StatisticsAccumulator], per_image: int, odd: dict[str, str], images: int
) -> dict[str, object]:
    """Remarks on how the statistics were computed."""
    notes: dict[str, object] = {}
    largest = max((account.positions for account in accounts.values()), default=0)
    if largest > per_image:
        notes["sampled"] = Fact(
            "quantiles, spread, minimum and shares are of {positions} positions an image where a layer has more, "
            "means of {mean_positions}; maxima are of all",
            positions=per_image,
            mean_positions=MEAN_POSITIONS,
        )
    if without := set().union(*(account.classes_left_out for account in accounts.values())):
        kept = max(len(account.classes) for account in accounts.values())
        notes["classes"] = Fact(
            "means are kept of {kept} of {classes} classes, those met first", kept=kept, classes=kept + len(without)
        )
    if odd:
        notes["left out"] = list_reasons(odd)
    if images < 8:
        notes["few images"] = Fact(
            "a unit that is inactive on {images} may be active on others; duplicates need eight", images=images
        )
    return notes
