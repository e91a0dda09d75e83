from typing import Annotated

import torch

from convscope.engine.context.chunking import in_chunks, rows_of
from convscope.engine.inputs.specs import Images
from convscope.engine.network.model import Model
from convscope.engine.network.output_meaning import class_confidences
from convscope.engine.targets.classes import class_scores
from convscope.errors import OutputError
from convscope.runtime.declaration import lens
from convscope.spec import Param
from convscope.values import Prediction


@lens(
    family="prediction",
    title="Prediction",
    cite="bridle1990softmax",
    asks="What does the model predict, and with what confidence?",
    reads="Longer bars are classes with higher scores; the softmax output is the model's confidence, not the "
    "probability that the answer is correct.",
    claims={"deterministic"},
)
def predict(
    model: Model,
    image: Images,
    *,
    top: Annotated[int, Param(help="number of classes to list", min=1, max=1000)] = 5,
) -> list[Prediction]:
    """List the classes with the highest scores, with confidences if the network's output can be read as such.

        p_c = exp(f_c) / Σ_j exp(f_j)

    The meaning of the output is inferred from the operation that computes it. Scores are converted by softmax;
    probabilities (softmax or sigmoid inside the network) and log-probabilities are used as they are, for multi-label
    outputs independently per label; one score with two labels is converted by sigmoid, where positive scores mean the
    second label. A single number without two labels, and the output of a tanh, are values and have no confidence.
    ``cs.Model(…, meaning=…)`` overrides this.

    Args:
        model: the network.
        image: one image or several.
        top: number of classes to list; fewer if the network has fewer.

    Returns:
        Labels, indices, confidences and raw scores, in decreasing order. If the output has no confidences, they are
        empty. ``notes["output"]`` says how the output was interpreted.

    Raises:
        OutputError: the output is not one row of scores per image, or the number of labels differs from the number of
            outputs.

    Example:
        >>> import convscope as cs
        >>> p = cs.predict(cs.load("bundled:shapes"), "sample:shapes/7")
        >>> len(p.labels), p.confidences[0] > p.confidences[1]
        (5, True)

    Source: :cite:`bridle1990softmax`.
    """
    predictions: list[Prediction] = []

    def step(rows: torch.Tensor) -> None:
        with torch.no_grad():
            output = model.run(model.input_copy(rows_of(image.tensor, rows))).float().cpu()
        if output.ndim > 2 and max(output.shape[2:]) == 1:
            output = output.flatten(1)
        if output.ndim != 2:
            raise OutputError(f"a prediction needs one row of scores per image, got output shape {tuple(output.shape)}")
        if not bool(torch.isfinite(output).all()):
            raise OutputError("the scores are NaN or infinite: the network overflows on this input")
        confidences = class_confidences(output, model.meaning, len(model.labels or ()))
        scores = class_scores(output, model)
        for index, row in enumerate(rows.tolist()):
            confidence = None if confidences is None else confidences[index]
            predictions.append(_prediction(model, image, row, scores[index], confidence, top))

    in_chunks(len(image), image.tensor[0], step, light=True)
    return predictions


def _prediction(
    model: Model, images: Images, row: int, scores: torch.Tensor, confidences: torch.Tensor | None, top: int
) -> Prediction:
    best = (scores if confidences is None else confidences).topk(min(top, len(scores))).indices
    return Prediction(
        labels=tuple(model.label(i) for i in best.tolist()),
        indices=tuple(best.tolist()),
        confidences=() if confidences is None else tuple(confidences[best].tolist()),
        scores=tuple(scores[best].tolist()),
        photo=images.photo(row),  # type: ignore[arg-type]
        notes={"output": model.meaning.describe()},
    )
