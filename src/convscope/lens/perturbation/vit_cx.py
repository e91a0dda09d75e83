from collections.abc import Mapping
from typing import Annotated

import torch
from torch import Tensor

from convscope.engine.inputs import noise
from convscope.engine.inputs.specs import Images
from convscope.engine.layers.addresses import LAST_SPATIAL, Layers
from convscope.engine.masking.masks import SAME_SCORE, image_scores, score_perturbations
from convscope.engine.network.model import Model
from convscope.engine.run.gradients import layer_evidence
from convscope.engine.run.perturbed_samples import Seed
from convscope.engine.targets.target import TOP1, Target
from convscope.lens.perturbation._channel_clusters import (
    cluster_sums,
    maps_at_a_time,
    require_memory_of_clusters,
    scaled_channels,
)
from convscope.lens.perturbation._channel_weights import min_max_masks
from convscope.runtime.declaration import attributions, lens
from convscope.runtime.layer_maps import over_input
from convscope.spec import Param
from convscope.values import Attribution
from convscope.values.facts import Fact

NO_MASK = Fact("every channel of this layer is constant, so that none gives a mask")
ONE_MASK = Fact("all channels of this layer are alike and give a single mask: choose a smaller distance")


@lens(
    family="perturbation",
    title="ViT-CX",
    cite="xie2023vitcx",
    asks="Which regions that the features of a layer mark keep the score up when the rest is hidden?",
    reads="Warm regions lie in masks that keep the score higher than masks do on average, cool ones in masks that keep "
    "it lower; only regions that the features of the layer tell apart can differ.",
    needs={"scores"},
    claims={"class-sensitive", "deterministic", "contrasting"},
)
def vit_cx(
    model: Model,
    image: Images,
    *,
    target: Target = TOP1,
    layer: Layers = LAST_SPATIAL,
    distance: Annotated[
        float,
        Param(help="up to which cosine distance the maps of channels are joined to one mask", min=0, max=1),
    ] = 0.1,
    sigma: Annotated[
        float,
        Param(help="standard deviation of the noise in what is hidden, in units of the input", min=0, max=10),
    ] = 0.1,
    centred: Annotated[bool, Param(help="subtract the mean score over the masks")] = True,
    seed: Seed = 0,
) -> list[Attribution]:
    """Turn the features of a layer into masks, and average these, each weighted by the score that the image keeps.

        s_i = f_c(x ⊙ M_i + ε_i ⊙ (1 - M_i)) - f_c(x + ε_i ⊙ (1 - M_i)) + f_c(x)
        S(λ) = Σ_i (s_i - s̄) · M_i(λ) / Σ_i M_i(λ)

    Every channel of the layer, of tokens or of a convolution, is a map; enlarged to the image and scaled to 0 … 1 it
    shows what the channel marks.
    Channels whose maps are alike are joined, by agglomerative clustering with complete linkage of the cosine distances,
    and the sum of their maps, scaled to 0 … 1, is the mask M_i. The noise ε_i ~ N(0, sigma²) replaces what is hidden;
    the second term takes away what the noise alone does to the score. The division by how much the masks show of
    each pixel keeps pixels that many masks show from standing out for that alone.

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        layer: the layer whose channels are used, or several, whose channels are clustered together; by default the last
            layer with spatial extent.
        distance: channels are joined while no two of them are further apart than this; larger gives fewer masks.
        sigma: the standard deviation of the noise, in units of the prepared input.
        centred: subtract the mean s̄ of the s_i, which is the same for all pixels; otherwise s̄ is 0.
        seed: for the noise.

    Returns:
        A signed map in score units. ``notes["masks"]`` is the number of masks, ``notes["mean score"]`` the mean s̄.

    Raises:
        UnknownName: no such layer, class or label.
        LayerError: the layer is never reached or has no spatial extent.
        OutputError: the features of the layer are not finite.
        TooLittleMemory: the layers have so many channels that the distances between them do not fit into memory.

    Differs from the paper: the mean score is subtracted, which subtracts a constant from the map; scores are taken
    before softmax instead of probabilities; each channel is scaled to 0 … 1 on its grid and then enlarged, not the
    other way round; constant channels are left out. The default layer is the last one whose patches the
    answer depends on, which in most networks is the input of the last block; the paper takes the output of that
    block's first normalization, which ``layer="blocks.11.norm1"`` and the like choose. The authors' code divides
    the map by the number of masks too.

    Example:
        >>> import convscope as cs
        >>> a = cs.vit_cx(cs.load("bundled:pairs"), "sample:pairs/1")
        >>> 2 <= a.notes["masks"] <= 48
        True

    Source: :cite:`xie2023vitcx`, section 4.
    """
    evidence = layer_evidence(model, image, None, layer)
    of_images, notes = image_scores(model, image, target)
    require_memory_of_clusters(sum(of_layer.activation.shape[1] for of_layer in evidence.values()))
    sums = []
    for row in range(len(image)):
        scaled = {address: scaled_channels(of_layer.activation[row]) for address, of_layer in evidence.items()}
        sums.append(cluster_sums(model, image, scaled, distance))
    counts = [len(next(iter(of_layers.values()))) for of_layers in sums]
    pairs = [torch.zeros(count, 2, dtype=torch.float64, device="cpu") for count in counts]

    def draw(row: int, numbers: Tensor) -> tuple[Tensor, Tensor]:
        mask_numbers, is_whole = numbers // 2, numbers % 2 == 1
        masks = _masks(model, image, sums[row], mask_numbers).to(image.tensor)
        drawn = noise.normal(image.tensor.shape[1:], seed=seed, copies=mask_numbers, like=image.tensor)
        shown = torch.where(is_whole.to(masks.device).view(-1, *[1] * (masks.ndim - 1)), 1.0, masks)
        return image.tensor[row] * shown + sigma * drawn * (1 - masks), numbers

    def visit(row: int, numbers: Tensor, _numbers: Tensor, chunk_scores: Tensor) -> None:
        pairs[row].view(-1)[numbers] = chunk_scores

    if any(counts):
        score_perturbations(model, image, target, [2 * count for count in counts], draw, visit)
    maps, all_notes = [], []
    for row, (count, scores) in enumerate(zip(counts, pairs, strict=True)):
        kept = scores[:, 0] - scores[:, 1] + of_images[row]
        mean = kept.mean() if count else of_images[row]
        maps.append(_mean_by_coverage(model, image, sums[row], kept - mean if centred else kept))
        all_notes.append({"masks": count, "mean score": float(mean), **notes[row]})
    reasons = [NO_MASK if count == 0 else ONE_MASK if count == 1 else SAME_SCORE for count in counts]
    return attributions(model, image, target, torch.stack(maps), notes=all_notes, why_blank=reasons)


def _masks(model: Model, images: Images, sums: Mapping[str, Tensor], numbers: Tensor) -> Tensor:
    """The masks ``numbers`` of one image (n, 1, …), from 0 to 1."""
    parts = [over_input(model, images, address, maps[numbers.to(maps.device)]) for address, maps in sums.items()]
    total = parts[0] if len(parts) == 1 else torch.stack(parts).sum(0)
    return min_max_masks(total)


def _mean_by_coverage(model: Model, images: Images, sums: Mapping[str, Tensor], numbers: Tensor) -> Tensor:
    """At each pixel the mean of ``numbers`` (K,), weighted by the K masks; zero where no mask shows it."""
    total, coverage = torch.zeros(2, *images.extent, dtype=torch.float32, device=images.tensor.device)
    for some in torch.split(torch.arange(len(numbers), device="cpu"), maps_at_a_time(images)):
        masks = _masks(model, images, sums, some)[:, 0]
        coverage += masks.sum(0)
        total += torch.tensordot(numbers[some].to(masks), masks, 1)
    return torch.where(coverage > 0, total / coverage.clamp_min(torch.finfo(total.dtype).tiny), 0.0)
