"""Checks of the target that the user wants explained, and the scores of classes that are not among the best."""

from dataclasses import replace

from convscope import render
from convscope.engine.targets.target import resolve_target
from convscope.errors import ConvScopeError, OutputError
from convscope.values import Detections, Prediction, Segmentation
from convscope.web.frame.page_context import PageContext
from convscope.web.jobs.async_wait import run_in_thread
from convscope.web.requests.models_and_images import Library
from convscope.web.requests.target_files import refuse_files
from convscope.web.requests.url_state import View

ALL_CLASSES = 1000
"""The number of classes to request, the maximum of the lens, to find one that is not among the best."""


def target_class_index(library: Library, view: View) -> int | None:
    """The class index of a view's target; None if it has no target, or a difference or unit as target.

    Raises:
        ConvScopeError: the network has no such class, layer or unit, or cannot be loaded.
    """
    if not view.target:
        return None
    refuse_files(view.target)
    index = resolve_target(view.target, library.model(view.model), 1).index_of(0)
    return None if index is None or index < 0 else index


async def target_error(context: PageContext, view: View) -> str:
    """Why a view's target cannot be explained, checked before any lens runs; empty if it can."""
    library = context.services.library
    try:
        index = await run_in_thread(target_class_index, library, view)
        if index is not None and (await run_in_thread(library.model, view.model)).labels is None:
            prediction = await predict_all_classes(context, view)  # the number of classes is only known from a run
            if prediction is not None and len(prediction.indices) < ALL_CLASSES and index not in prediction.indices:
                raise OutputError(f"class {index} is out of range: the output has {len(prediction.indices)} classes")
    except ConvScopeError as error:
        return str(error)
    return ""


async def with_target_class(
    context: PageContext, prediction: render.Answer, view: View
) -> tuple[render.Answer, int | None]:
    """The prediction with the view's target class added if it is not among the best, and the key of its row."""
    if isinstance(prediction, Detections):  # a box is no class, and a label may look like the index of another class
        row = next((row for row in render.answers(prediction) if row.target == view.target), None)
        if row is not None:
            return prediction, row.key
    try:
        index = await run_in_thread(target_class_index, context.services.library, view)
    except ConvScopeError:
        return prediction, None  # the error is shown at the target field
    if isinstance(prediction, Detections):
        return prediction, None if index not in prediction.indices else prediction.indices.index(index)
    if index is None or index in prediction.indices or isinstance(prediction, Segmentation):
        return prediction, index
    full = await predict_all_classes(context, view)
    if full is None or index not in full.indices:
        return prediction, index  # the network has more classes than the lens lists
    position = full.indices.index(index)
    extended = replace(
        prediction,
        labels=(*prediction.labels, full.labels[position]),
        indices=(*prediction.indices, index),
        confidences=(*prediction.confidences, *full.confidences[position : position + 1]),
        scores=(*prediction.scores, full.scores[position]),
    )
    return extended, index


async def predict_all_classes(context: PageContext, view: View) -> Prediction | None:
    """The prediction with all classes; None if it fails."""
    prediction = await context.run(
        View(lens="predict", model=view.model, image=view.image, parameters={"top": ALL_CLASSES})
    )
    return prediction if isinstance(prediction, Prediction) else None
