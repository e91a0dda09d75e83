"""The output of a network that is explained, as a tensor (N, …), and the meaning of its values."""

import math
from typing import TYPE_CHECKING, Any

from torch import Tensor

from convscope.engine.network.cache import CacheEntry
from convscope.engine.network.output_meaning import MEANING_WORDS, Meaning, parse_meaning
from convscope.engine.network.output_provenance import ProvenanceMode
from convscope.engine.network.output_selection import select_output
from convscope.engine.network.task_recognition import LAST_RUN, encode_output
from convscope.errors import ModelFailed, OutputError

if TYPE_CHECKING:
    from convscope.engine.network.model import Model

MEANINGS: CacheEntry[dict[tuple[int, ...], Meaning]] = CacheEntry("meanings", dict)
"""By the shape of an input, the meaning of the output."""


def run_observed(model: "Model", tensor: Tensor) -> tuple[Tensor, Meaning]:
    """One forward and the meaning of its output; unknown for a network that fails under a dispatch mode."""
    provenance, version = ProvenanceMode(model.module), -1 if tensor.is_inference() else tensor._version
    try:
        with provenance:
            output = selected_output(model, model.run_module(tensor), len(tensor), check=False)
    except ModelFailed:
        if version < 0 or tensor._version != version:  # it overwrote its input, so it cannot be run again
            raise
        return selected_output(model, model.run_module(tensor), len(tensor), check=False), Meaning("unknown")
    return output, provenance.meaning_of(output)


def selected_output(model: "Model", output: Any, batch: int, *, check: bool = True) -> Tensor:
    """The selected part of a module's output as a tensor (N, …)."""
    model.returns_tensor = isinstance(output, Tensor)
    if model.output is not None and not (model.returns_tensor and meaning_word(model)):
        output = select_output(output, model.output, model.name)
    output = encode_output(output, model, batch)
    if output.ndim == 0 or len(output) != batch or 0 in output.shape:
        raise OutputError(
            f"{model.name} gave an output of shape {tuple(output.shape)} for {batch} images: "
            "its first axis must be the batch, and no axis empty"
        )
    selected: Tensor = output[:, None] if output.ndim == 1 else output
    model.cache[LAST_RUN].output = tuple(selected.shape)
    if check:
        check_labels_of(model, selected)
    return selected


def meaning_word(model: "Model") -> str:
    """The value of ``output`` if it is a word for a meaning."""
    return model.output if isinstance(model.output, str) and model.output in MEANING_WORDS else ""


def meaning_of_values(model: "Model", given: Meaning | None) -> Meaning:
    """The meaning of the output as specified for the model or as observed in a forward, whatever its task is.

    Args:
        given: what the user specified.
    """
    observed = next(reversed(model.cache[MEANINGS].values()), Meaning())
    word = meaning_word(model) if model.returns_tensor else ""
    given = given or (parse_meaning(word) if word else None)
    if given is None or (given.kind == "multilabel" and observed.kind in ("sigmoid", "log-sigmoid")):
        return observed
    return given


def check_labels_of(model: "Model", output: Tensor) -> None:
    """Check the number of labels and of units if there is one row of numbers per image."""
    if math.prod(output.shape[2:]) != 1:
        return
    if model.labels is not None:
        check_labels(model, output.shape[1])
    if len(model.units) > 1:
        _check_units(model, output.shape[1])


def _check_units(model: "Model", outputs: int) -> None:
    """Refuse more units than outputs; one is that of all.

    Raises:
        OutputError: there are more.
    """
    if len(model.units) > outputs:
        raise OutputError(
            f"units={','.join(model.units)} has {len(model.units)} units for the {outputs} "
            f"output{'s' * (outputs != 1)} of {model.name}: give one for all, or one per output, in their order"
        )


def _remedy_for_one_more(names: int, outputs: int) -> str:
    """What one name too many may be about."""
    if outputs == 1:
        return ", or two for an output that tells two classes apart"
    return ", or task='ordinal' if the outputs are cumulative scores of ranks" if names == outputs + 1 else ""


def check_labels(model: "Model", outputs: int) -> None:
    """Check that there are as many labels as outputs.

    Raises:
        OutputError: the number of labels does not fit the number of outputs.
    """
    names = len(model.labels or ())
    two_classes = outputs == 1 and names == 2 and model.meaning.kind != "value"
    expected = outputs if model.task is None else model.task.labels_for(outputs)
    if names and names != expected and not two_classes:
        if expected != outputs:
            raise OutputError(
                f"{model.name} was given {names} label{'s' * (names != 1)} for {outputs} cumulative scores: these tell "
                f"{expected} ranks apart, give one name for each"
            )
        plural = "s" if outputs != 1 else ""
        if model.labels_from:
            raise OutputError(
                f"labels={model.labels_from!r} has {names} name{'s' * (names != 1)} for the {outputs} "
                f"output{plural} of {model.name}: give one name per output, in their order"
            )
        raise OutputError(
            f"{model.name} was given {names} label{'s' * (names != 1)} for {outputs} output{plural}: give one name "
            "per output" + _remedy_for_one_more(names, outputs)
        )
