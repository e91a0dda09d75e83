from typing import Annotated

import torch

from convscope.engine.batches import in_chunks, of_chunk
from convscope.engine.inputs import Images
from convscope.engine.lens import lens
from convscope.engine.model import Model
from convscope.errors import OutputError
from convscope.spec import Param
from convscope.values import Prediction


@lens(
    family="prediction",
    title="Prediction",
    cite="bridle1990softmax",
    asks="What does the model answer, and how sure does it say it is?",
    reads="Longer bars are answers the model favours; a softmax share is confidence, not the probability of "
    "being right.",
    claims={"deterministic"},
)
def predict(
    model: Model,
    image: Images,
    *,
    top: Annotated[int, Param(help="how many classes to list", min=1, max=1000)] = 5,
) -> list[Prediction]:
    """List the best classes with their confidence.

        p_c = exp(f_c) / Σ_j exp(f_j)

    Args:
        model: the network.
        image: one image or several.
        top: how many classes to list; fewer when the network has fewer.

    Returns:
        Labels, indices, confidences (softmax; sigmoid for a single output) and raw scores, the best first. A network
        that already ends in a softmax is recognised and its output taken as it is.

    Raises:
        OutputError: the output is not one row of scores per image.

    Example:
        >>> import convscope as cs
        >>> p = cs.predict(cs.load("bundled:shapes"), "sample:shapes/7")
        >>> len(p.labels), p.confidences[0] > p.confidences[1]
        (5, True)

    Source: :cite:`bridle1990softmax`.
    """
    made: list[Prediction] = []

    def step(rows: torch.Tensor) -> None:
        with torch.no_grad():
            output = model.run(model.laid_out(of_chunk(image.tensor, rows))).float().cpu()
        if output.ndim > 2 and max(output.shape[2:]) == 1:
            output = output.flatten(1)
        if output.ndim != 2:
            raise OutputError(f"a prediction needs one row of scores per image, got output shape {tuple(output.shape)}")
        if not bool(torch.isfinite(output).all()):
            raise OutputError("the scores are NaN or infinite: the network overflows on this input")
        made.extend(_best(model, image, int(row), scores, top) for row, scores in zip(rows, output, strict=True))

    in_chunks(len(image), image.tensor[0], step, light=True)
    return made


def _best(model: Model, images: Images, row: int, scores: torch.Tensor, top: int) -> Prediction:
    shares = _confidences(scores)
    best = shares.topk(min(top, len(shares))).indices
    return Prediction(
        labels=tuple(model.label(i) for i in best.tolist()),
        indices=tuple(best.tolist()),
        confidences=tuple(shares[best].tolist()),
        scores=tuple(scores[best].tolist()),
        photo=images.photo(row),  # type: ignore[arg-type]
    )


def _confidences(scores: torch.Tensor) -> torch.Tensor:
    if bool((scores >= 0).all()) and abs(float(scores.sum()) - 1) < 1e-3 and len(scores) > 1:
        return scores
    return scores.softmax(0) if len(scores) > 1 else scores.sigmoid()
