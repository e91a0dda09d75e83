from typing import Annotated

import torch

from convscope.engine.context.chunking import in_chunks, rows_of
from convscope.engine.inputs.specs import Images
from convscope.engine.network.model import Model
from convscope.engine.network.task_recognition import keeping_own_output
from convscope.runtime.declaration import lens
from convscope.spec import Param
from convscope.values import Prediction


@lens(
    family="prediction",
    title="Prediction",
    cite="bridle1990softmax",
    asks="What does the model predict, and with what confidence?",
    reads="Longer bars are classes with higher scores; a share in per cent is the model's own confidence, not the "
    "probability that the answer is correct.",
    claims={"deterministic"},
)
def predict(
    model: Model,
    image: Images,
    *,
    top: Annotated[int, Param(help="number of classes, or of boxes, to list", min=1, max=1000)] = 5,
) -> list[Prediction]:
    """List the classes with the highest scores, with confidences if the network's output can be read as such.

        p_c = exp(f_c) / Σ_j exp(f_j)

    The meaning of the output is inferred from the operation that computes it. Scores are converted by softmax;
    probabilities (softmax or sigmoid inside the network) and log-probabilities are used as they are. Labels that do not
    exclude each other are converted by a sigmoid each, and the cumulative scores of an ordinal network by differences
    of sigmoids. One score with two labels is converted by sigmoid, where positive scores mean the second label. A
    single number without two labels, and the output of a tanh, are values and have no confidence.
    ``cs.Model(…, meaning=…)`` overrides this.

    Args:
        model: the network.
        image: one image or several.
        top: number of classes to list; fewer if the network has fewer.

    Returns:
        Labels, indices, confidences and raw scores, in decreasing order. If the output has no confidences, they are
        empty. ``notes["output"]`` says how the output was interpreted. For a network that gives each position a class
        a `Segmentation`, for a detector `Detections`, with the boxes whose score is at least one half, or all boxes if
        there are none, and with their masks and keypoints where the network gives them.

    Raises:
        OutputError: the output is not one row of scores per image, no map of scores and no boxes, or the number of
            labels differs from the number of outputs.

    Example:
        >>> import convscope as cs
        >>> p = cs.predict(cs.load("bundled:shapes"), "sample:shapes/7")
        >>> len(p.labels), p.confidences[0] > p.confidences[1]
        (5, True)

    Source: :cite:`bridle1990softmax`.
    """
    predictions: list[Prediction] = []

    def step(rows: torch.Tensor) -> None:
        with torch.no_grad(), keeping_own_output(model):
            output = model.run(model.input_copy(rows_of(image.tensor, rows))).float().cpu()
            predictions.extend(model.task_for(image.tensor).predict(model, image, rows.tolist(), output, top))

    in_chunks(len(image), image.tensor[0], step, light=True)
    return predictions
