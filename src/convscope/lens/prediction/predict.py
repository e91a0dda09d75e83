from typing import Annotated

import torch

from convscope.engine.context.chunking import in_chunks, rows_of
from convscope.engine.inputs.specs import Images
from convscope.engine.network.model import Model
from convscope.engine.network.output_meaning import shares
from convscope.engine.targets.target import classes_of
from convscope.errors import OutputError
from convscope.runtime.declaration import lens
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
    """List the best classes with their confidence, where the network's output is one.

        p_c = exp(f_c) / Σ_j exp(f_j)

    What the output is, is read from the operation that made it: scores become shares by softmax; probabilities (a
    softmax or sigmoid inside the network) and their logarithms are taken as they are, labels that do not exclude each
    other each on its own; one score with two labels by sigmoid, the second label on its positive side. A single number
    without two labels, and what ends in a tanh, are values and have no confidence. ``cs.Model(…, meaning=…)`` says it
    otherwise.

    Args:
        model: the network.
        image: one image or several.
        top: how many classes to list; fewer when the network has fewer.

    Returns:
        Labels, indices, confidences and raw scores, the best first; no confidences where none is known, the largest
        value first. ``notes["output"]`` says how the output was understood.

    Raises:
        OutputError: the output is not one row of scores per image, or the labels are not as many as the outputs.

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
            output = model.run(model.laid_out(rows_of(image.tensor, rows))).float().cpu()
        if output.ndim > 2 and max(output.shape[2:]) == 1:
            output = output.flatten(1)
        if output.ndim != 2:
            raise OutputError(f"a prediction needs one row of scores per image, got output shape {tuple(output.shape)}")
        if not bool(torch.isfinite(output).all()):
            raise OutputError("the scores are NaN or infinite: the network overflows on this input")
        found = shares(output, model.meaning, len(model.labels or ()))
        classes = classes_of(output, model)
        for place, row in enumerate(rows.tolist()):
            made.append(_best(model, image, row, classes[place], None if found is None else found[place], top))

    in_chunks(len(image), image.tensor[0], step, light=True)
    return made


def _best(
    model: Model, images: Images, row: int, scores: torch.Tensor, confidences: torch.Tensor | None, top: int
) -> Prediction:
    best = (scores if confidences is None else confidences).topk(min(top, len(scores))).indices
    return Prediction(
        labels=tuple(model.label(i) for i in best.tolist()),
        indices=tuple(best.tolist()),
        confidences=() if confidences is None else tuple(confidences[best].tolist()),
        scores=tuple(scores[best].tolist()),
        photo=images.photo(row),  # type: ignore[arg-type]
        notes={"output": model.meaning.words()},
    )
