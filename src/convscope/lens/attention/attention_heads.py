from convscope.engine.attention.head_statistics import HeadStatistics
from convscope.engine.attention.reading import read_weights
from convscope.engine.attention.sites import find_attention
from convscope.engine.data.data_set import Chunk, Dataset
from convscope.engine.network.model import Model
from convscope.lens.attention._token_maps import attention_notes
from convscope.runtime.declaration import lens
from convscope.values import AttentionHeads


@lens(
    family="attention",
    title="Attention heads",
    cite="raghu2021vision",
    asks="Which heads attend locally, which globally, and which do nothing of their own?",
    reads="A head with a small distance attends to neighbors, one with an entropy near 1 to everything alike. The "
    "numbers are averages over images and tokens, and do not tell what a head is good for.",
    needs={"attention"},
    claims={"deterministic"},
)
def attention_heads(model: Model, images: Dataset) -> AttentionHeads:
    """Measure every head: the entropy of its weights, and the mean distance of what it attends to.

        entropy  = mean over images and queries of  -Σ_k A(q, k) ln A(q, k) / ln K
        distance = mean over images and queries of  Σ_k A(q, k) |p_q - p_k| / Σ_k A(q, k),  over tokens with a place

    A head is called ``uniform`` where its entropy is above 0.99, ``beside`` where more than 90 % of its weight lies on
    tokens without a place, a copy where the cosine between its weights and those of an earlier head of the layer is
    above 0.99; else ``local`` or ``global``, where the distance is below or above half of that under equal weights.

    Args:
        model: the network.
        images: the images to average over.

    Returns:
        Per layer one number per head: entropy, distance in pixels, the distance as a share of that under equal weights,
        the weight on tokens without a place, and the similarity of heads.

    Raises:
        CapabilityError: the network has no attention.
        TooMuchAttention: the weights of a layer do not fit into memory.

    Differs from the paper: entropy and copies are measured as well; the paper has the distance alone.

    Example:
        >>> import convscope as cs
        >>> h = cs.attention_heads(cs.load("bundled:pairs"), "sample:pairs/0-3")
        >>> h.images, len(h.roles["blocks.0.attn"])
        (4, 4)

    Source: :cite:`raghu2021vision`, section 3.
    """
    attentions = find_attention(model, images.first().tensor)
    statistics = {site.name: HeadStatistics(site, tuple(images.first().tensor.shape[2:])) for site in attentions.sites}

    def step(chunk: Chunk) -> None:
        sums = read_weights(
            model, chunk, attentions.sites, lambda site, weights, rows: statistics[site.name].sums(weights), copies=4
        )
        for site, of_chunks in sums.items():
            for each in of_chunks:
                statistics[site.name].add(each)

    images.for_each_chunk(step)
    means = {name: each.means() for name, each in statistics.items()}
    return AttentionHeads(
        entropy={name: mean.entropy for name, mean in means.items()},
        distance={name: mean.distance for name, mean in means.items()},
        reach={name: mean.reach for name, mean in means.items()},
        beside={name: mean.beside for name, mean in means.items()},
        similarity={name: mean.similarity for name, mean in means.items()},
        roles={name: mean.roles() for name, mean in means.items()},
        images=next(iter(statistics.values())).images,
        notes={**images.notes(), **attention_notes(attentions)},
    )
