"""Whether a network has what a lens needs: layers and gradients, or only scores; attention between tokens; gates."""

from torch import Tensor

from convscope.engine.attention.gates import why_no_gates
from convscope.engine.attention.sites import why_no_attention
from convscope.engine.network.model import Model
from convscope.engine.network.scores_only import ScoresOnly
from convscope.errors import CapabilityError, LayerError, NoGradient, NoRule, OutputError
from convscope.spec import LENSES, LensSpec

NOT_APPLICABLE = (CapabilityError, LayerError, NoGradient, NoRule, OutputError)
"""Errors that mean that a lens does not work on a network; any other is a mistake in the request."""

_FLEXIBLE = "flex_attention"
"""An operation that other function modes do not run through, and that has no gradient on a CPU."""
_ONLY_RISE = "rise works with it, since it needs only scores"


def require_capabilities(declaration: LensSpec, model: Model) -> None:
    """Refuse a lens that needs more of a network than its scores where nothing else is known.

    Raises:
        CapabilityError: the network is a function of arrays; the message names the lenses that work.
    """
    reason = missing_capability(declaration, model)
    if reason:
        raise CapabilityError(f"{reason}; these need only its scores: {', '.join(_need_only_scores())}")


def missing_capability(declaration: LensSpec, model: Model) -> str:
    """What the network lacks for a lens; empty where it has everything."""
    network = model.module
    if not isinstance(network, ScoresOnly) or declaration.needs_only_scores:
        return ""
    lacking = "gradients" if "gradients" in declaration.needs else "layers"
    return f"{declaration.command} needs the {lacking} of {model.name}, which cannot be had: {network.reason}"


def require_attention(declaration: LensSpec, model: Model, tensor: Tensor) -> None:
    """Refuse a lens that needs attention where the network has none for inputs like ``tensor`` (N, C, …).

    Raises:
        CapabilityError: the message says what looked like attention, and names lenses that work.
    """
    reason = why_no_attention(model, tensor) if "attention" in declaration.needs else ""
    if reason:
        raise CapabilityError(
            f"{declaration.command} needs attention between tokens, and {model.name} {reason}: "
            + (_ONLY_RISE if _FLEXIBLE in reason else "grad-cam, integrated-gradients and occlusion work without it")
        )


def require_gates(declaration: LensSpec, model: Model, tensor: Tensor) -> None:
    """Refuse a lens that needs gates where the network has none for inputs like ``tensor`` (N, C, …).

    Raises:
        CapabilityError: the message says what is missing, and names lenses that work.
    """
    reason = why_no_gates(model, tensor) if "gates" in declaration.needs else ""
    if reason:
        raise CapabilityError(
            f"{declaration.command} needs gates that are multiplied onto features (squeeze-excite, CBAM, ECA), and "
            f"{model.name} {reason}: feature-maps and attention show what its layers compute"
        )


def _need_only_scores() -> list[str]:
    LENSES.fill()
    return sorted(spec.command for spec in LENSES.values() if spec.needs_only_scores)
