from typing import Annotated

import torch
from torch import Tensor

from convscope.engine.data.data_set import Dataset
from convscope.engine.layers.addresses import EVERY_LAYER, Layers
from convscope.engine.network.model import Model
from convscope.engine.statistics.activation_statistics import MEAN_POSITIONS, Account, duplicates, observed, reasons
from convscope.lens.activations._shares import NAMES, SHARES
from convscope.runtime.declaration import lens
from convscope.spec import Param
from convscope.values import Distribution, Spread

COLUMNS = ("mean", "spread", "min", *NAMES, "max", "zeros", "not above zero", "at limit")
SATURATED, ALIKE = 0.95, 0.99


@lens(
    family="activations",
    title="Activation statistics",
    cite="glorot2010understanding",
    asks="What numbers does each layer give: how large, how sparse, how many units are dead or say the same?",
    reads="Each ridge is the histogram of one layer's outputs, from the input down to the answer; a unit called dead "
    "is so on these images only.",
    claims={"deterministic"},
)
def activations(
    model: Model,
    images: Dataset,
    *,
    layer: Layers = EVERY_LAYER,
    samples: Annotated[
        int, Param(help="numbers per channel for quantiles, spread and shares", min=1, max=65536)
    ] = 1024,
) -> Distribution:
    """Describe what every layer gives, by layer and by channel, in one pass over any number of images.

    Means and spreads add up over chunks a and b as

        n = n_a + n_b,  μ = μ_a + (μ_b − μ_a) n_b / n,  M = M_a + M_b + (μ_b − μ_a)² n_a n_b / n,  spread = √(M / n)

    and quantiles come from a histogram whose bins are a fixed share of the number wide (32 to each doubling of a
    layer's numbers, 8 of a channel's): a channel's quantile is right to one part in eight or to a thousandth of the
    largest number of its layer, a layer's to one part in 32. Memory does not grow with the number of images.

    Args:
        model: the network.
        images: one image, a folder, a list, a torch data set.
        layer: layers to describe; by default every layer without layers inside it. Activation functions that are
            called as functions have no layer of their own; their outputs are seen where the next layer gives its.
        samples: how many numbers of each channel are looked at for quantiles, spread and shares, at least four
            positions an image, and all of them where there are fewer.

    Returns:
        Per layer and channel: mean, spread, range, quantiles, shares of zeros, of numbers not above zero and at the
        limit of the activation (sigmoid, tanh and softsign within 0.05, hard ones exactly). Per layer how many channels
        are dead (an activation function that never gives more than zero, or a channel that never changes), saturated
        (at a limit 95 % of the time), or duplicates (their means over the first 128 images correlate by more than
        0.99 with another's); a histogram; and where the data have labels the mean of each channel over each class.
        Maxima are of every number, means of at most 1024 positions an image.

    Raises:
        NotFinite: a layer gives NaN or infinite numbers; the first that does is named.
        InputError: there is no image, or none that can be read.

    Example:
        >>> import convscope as cs
        >>> d = cs.activations(cs.load("bundled:digits"), "sample:digits/0-31")
        >>> d.images, 0 <= d.layers[0].zeros <= 1
        (32, True)

    Source: :cite:`glorot2010understanding`; sums over chunks after :cite:`chan1983algorithms`.
    """
    seen = observed(model, images, layer, samples=samples)
    accounts = seen.accounts
    count = max((one.images for one in accounts.values()), default=0)
    classes = list(dict.fromkeys(label for one in accounts.values() for label in one.classes))
    twins = {name: duplicates(torch.cat(one.kept).cpu(), ALIKE) for name, one in accounts.items()}
    tables = {name: one.table(SHARES) for name, one in accounts.items()}
    return Distribution(
        of="activations",
        layers=tuple(_spread(one, tables[name], twins[name]) for name, one in accounts.items()),
        images=count,
        histograms={name: one.fine.cpu() for name, one in accounts.items()},
        edges={name: one.fine_grid.edges() for name, one in accounts.items()},
        columns=COLUMNS,
        channels={name: table.float() for name, table in tables.items()},
        classes=tuple(model.label(label) if isinstance(label, int) else str(label) for label in classes),
        class_means={name: _class_means(one, classes) for name, one in accounts.items()} if classes else {},
        twins={name: tuple(pairs) for name, pairs in twins.items() if pairs},
        notes={**images.notes(), **_notes(accounts, seen.per_image, seen.odd, count)},
    )


def _spread(account: Account, table: Tensor, twins: list[tuple[int, int, float]]) -> Spread:
    """A layer as a whole: channels have the same number of positions each, so that their numbers pool by halves."""
    mean, spread, low, high = table[:, 0], table[:, 1], table[:, 2], table[:, 3 + len(SHARES)]
    zeros, below, at_limit = table[:, -3:].unbind(1)
    return Spread(
        layer=account.address,
        kind=account.kind,
        shape=account.shape,
        count=int(account.fine.sum()),
        mean=float(mean.mean()),
        spread=float((spread.square().mean() + mean.var(correction=0)).sqrt()),
        low=float(low.min()),
        high=float(high.max()),
        quantiles=dict(zip(NAMES, account.quantiles(SHARES), strict=True)),
        zeros=float(zeros.mean()),
        not_positive=float(below.mean()),
        channels=len(table),
        dead=_dead(account, low, high),
        saturated=None if account.limits is None else int((at_limit >= SATURATED).sum()),
        duplicates=len({b for _, b, _ in twins}) if account.images >= 8 else None,
    )


def _dead(account: Account, low: Tensor, high: Tensor) -> int | None:
    """How many channels never change, or come out of an activation function that they never get through."""
    constant = low == high if account.count > 1 else torch.zeros_like(low, dtype=torch.bool)
    stopped = (high <= 0) & account.rectifies
    return None if account.count == 1 and not account.rectifies else int((constant | stopped).sum())


def _class_means(account: Account, classes: list[object]) -> Tensor:
    """The mean of each channel over the images of each class; NaN for a class that was met too late to be kept."""
    nothing = (0, torch.full_like(account.mean, torch.nan))
    rows = [account.classes.get(label, nothing) for label in classes]
    return torch.stack([summed / max(1, images) for images, summed in rows]).float().cpu()


def _notes(accounts: dict[str, Account], per_image: int, odd: dict[str, str], images: int) -> dict[str, object]:
    """What must be known of how the numbers were gathered."""
    found: dict[str, object] = {}
    largest = max((one.positions for one in accounts.values()), default=0)
    if largest > per_image:
        found["sampled"] = (
            f"quantiles, spread, minimum and shares are of {per_image} positions an image where a layer has more, "
            f"means of {MEAN_POSITIONS}; maxima are of all"
        )
    if without := set().union(*(one.without for one in accounts.values())):
        kept = max(len(one.classes) for one in accounts.values())
        found["classes"] = f"means are kept of {kept} of {kept + len(without)} classes, those met first"
    if odd:
        found["left out"] = reasons(odd)
    if images < 8:
        found["few images"] = f"a unit that is silent on {images} may speak on others; duplicates need eight"
    return found
