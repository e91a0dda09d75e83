"""Checks of two assumptions about a network, each run once.

They are that the images of a batch do not influence each other, and that the backward pass is the derivative of the
forward pass.

The results are kept on the model (`CHECKS`) as messages for the notes of values, and are dropped with everything else
that was learned by running the network.

*Independence*: one image is run alone and behind another one. If the outputs differ by more than rounding, the image is
run behind a third one: rounding depends on how many images there are, influence on what they contain.

*Backward pass*: the gradient g of a fixed weighted sum of the outputs is compared with the difference of that sum
between two inputs a small step along g apart. If they differ, other steps decide: for a network with kinks, rounding or
saturation, the differences disagree with each other, or agree with g at larger steps, and nothing is reported.
"""

from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from convscope.engine.context.chunking import is_out_of_memory, runs_one_at_a_time
from convscope.engine.context.metering import count_passes
from convscope.engine.network.cache import CacheEntry
from convscope.engine.network.model import Model
from convscope.engine.ops.dispatch_mode import DispatchMode
from convscope.errors import ModelFailed, OutputError
from convscope.values.facts import Fact

BATCH, BACKWARD = "batch", "backward"
"""The keys of the results in the cache and in the notes of values."""

CHECKS: CacheEntry[dict[str, str]] = CacheEntry("checks", dict, depends_on_backward_hooks=True)
"""The messages for the notes of values, by those keys; an empty message for a passed check."""

_INFLUENCE = Fact(
    "the images of a batch influence each other in this network: each is therefore run alone here, and in a batch the "
    "network's output is different"
)
_SINGLE_ONLY = Fact("the network takes no batch of two images: each is run alone")

_ROUNDING_TOLERANCE = 1e-5
"""How far the outputs of one image may be apart, relative to the largest: rounding of float32."""
_KERNEL_TOLERANCE = 0.05
"""How far they may be apart if they depend only on the number of images: PyTorch selects other kernels."""

_SLOPE_TOLERANCE = 0.1
"""How far the difference may be from the slope, or differences from each other, relative to the larger."""
_JITTER = 0.02
"""By how much the image is perturbed, as a share of its range: flat regions of an image lie exactly on kinks."""
_LONGEST_STEP = 0.2
"""The longest step to either side, as a share of the input's norm."""

_STEP_FUNCTIONS = ("round", "floor", "ceil", "trunc", "sign", "heaviside")
"""Piecewise constant operations with floating-point results, besides all that quantize or return integers."""


# Independence of images


def check_independence(
    model: Model, image: Tensor, batched_output: Tensor | None = None, *, differentiate: bool = False
) -> str:
    """The message for values if the images of a batch influence each other; empty if they do not.

    Costs a forward of one image if its output in a batch is known, and one more of two images if not.

    Args:
        image: one prepared input (1, C, …), perturbed by `jittered`.
        batched_output: the network's output for it behind another image, if known.
        differentiate: whether the lens computes gradients, so that the backward pass is checked with the same forward.
    """
    if BATCH in model.cache[CHECKS]:
        return model.cache[CHECKS][BATCH]
    slope = _slope(model, image) if differentiate and BACKWARD not in model.cache[CHECKS] else None
    try:
        single_output = _run(model, image) if slope is None else slope.output
    except (ModelFailed, OutputError):
        return ""  # the lens reports it, if it needs the output at all
    if bool(single_output.isfinite().all()):
        model.cache[CHECKS][BATCH] = _influence(model, image, single_output, batched_output)
    if slope is not None:
        model.cache[CHECKS][BACKWARD] = _compare_slope(slope)
    return model.cache[CHECKS].get(BATCH, "")


def _influence(model: Model, image: Tensor, single_output: Tensor, batched_output: Tensor | None) -> str:
    """Compare the image's output when run alone with its output behind others."""
    tolerance = max(_ROUNDING_TOLERANCE, 4 * _eps(single_output))
    if batched_output is not None and _relative_difference(single_output, batched_output) <= tolerance:
        return ""
    batched_outputs: list[Tensor] = []
    for other in (companion_image(image, bold=True), companion_image(image), image):
        try:
            batched_outputs.append(_run_behind(model, image, other))
        except (ModelFailed, OutputError) as error:  # the network may not accept this image: try the next one
            if is_out_of_memory(error):
                return ""
            continue
        if len(batched_outputs) == 1 and _relative_difference(single_output, batched_outputs[0]) <= tolerance:
            return ""
        if len(batched_outputs) == 2:
            break
    if not batched_outputs:
        return _SINGLE_ONLY
    if _relative_difference(single_output, _run(model, image)) > tolerance:
        return ""  # its output is random, which is reported elsewhere (engine/run/determinism.py)
    influenced = (
        _relative_difference(batched_outputs[0], batched_outputs[-1]) > tolerance
        or _relative_difference(single_output, batched_outputs[0]) > _KERNEL_TOLERANCE
    )
    return _INFLUENCE if influenced else ""


def companion_image(image: Tensor, *, bold: bool = False) -> Tensor:
    """Another input similar to this one (1, C, …): its own values at other positions, small values more often.

    It therefore has another mean and another standard deviation.

    Args:
        bold: double the distance to the mean, so that the maxima change too, unless the values are integers; otherwise
            the values stay within those of the image.
    """
    random = torch.rand(
        image.numel(), generator=torch.Generator(device="cpu").manual_seed(int(bold)), device="cpu", dtype=torch.float32
    )
    indices = (random.square() * image.numel()).long().clamp_max(image.numel() - 1)
    other = image.flatten().sort().values[indices.to(image.device)].view_as(image)
    if bool((image == image.flatten()[0]).all()):  # a constant image has no other values
        return other + 1 + random.to(image).view_as(image)
    integers = bool((image == image.round()).all())
    return other + (other - other.mean()) if bold and not integers else other


def _run_behind(model: Model, image: Tensor, other: Tensor) -> Tensor:
    return _run(model, torch.cat([other, image]))[1:]


def _run(model: Model, tensor: Tensor) -> Tensor:
    with torch.no_grad():
        return model.run(model.input_copy(tensor)).detach()


def _relative_difference(first: Tensor, second: Tensor) -> float:
    """The largest difference relative to the largest value of ``first``; infinite for other shapes, or with NaN."""
    if first.shape != second.shape:
        return float("inf")
    largest = float(first.abs().max())
    difference = float((first - second).abs().max()) if first.numel() else 0.0
    return 0.0 if difference == 0 else difference / largest if largest and difference == difference else float("inf")


# The backward pass


def check_backward_pass(model: Model, image: Tensor) -> str:
    """The message for values if the backward pass is not the derivative of the forward pass; empty if it is.

    Costs a forward and backward of one image and a forward of two; a few forwards more if these disagree.

    Args:
        image: one prepared input (1, C, …), perturbed by `jittered`.
    """
    if BACKWARD not in model.cache[CHECKS]:
        slope = _slope(model, image)
        model.cache[CHECKS][BACKWARD] = "" if slope is None else _compare_slope(slope)
    return model.cache[CHECKS][BACKWARD]


def _slope(model: Model, image: Tensor) -> "_Slope | None":
    """The slope at an image; None without a gradient to the input (there may still be one to a later layer)."""
    try:
        return _Slope.at(model, image)
    except (ModelFailed, OutputError):
        return None


def _compare_slope(slope: "_Slope") -> str:
    """Compare slope and difference at one step, and at other steps if they do not agree."""
    step = slope.shortest()
    if step is None or abs(slope.rise(step) - 1) <= _SLOPE_TOLERANCE:
        return ""
    if not slope.inspect_forward() or (step := slope.shortest()) is None:
        return ""
    rises = [slope.rise(length) for length in slope.longer(step)]
    middle, spread = median(rises), max(rises) - min(rises)
    agree = spread <= (_SLOPE_TOLERANCE if slope.fine else 5 * _SLOPE_TOLERANCE) * max(1.0, abs(middle))
    nearest = min(abs(rise - 1) for rise in rises)
    far = nearest > max(3 * spread, _SLOPE_TOLERANCE if slope.fine else 8 * _SLOPE_TOLERANCE)
    if slope.steps and (least := slope.least(step)) and slope.is_constant(least) and slope.is_constant(least / 2):
        return _backward_message(Fact("a slope where the network's output changes in steps and has none"))
    if not (agree and far):
        return ""
    if abs(middle) <= 0.01:
        return _backward_message(Fact("a slope where the network's output hardly changes"))
    factor = 1 / middle
    times = f"{factor:{'.2f' if abs(factor) >= 0.01 else '.1g'}}"
    return _backward_message(Fact("{times} times the true slope", times=times))


def _backward_message(finding: Fact) -> str:
    return Fact(
        "the network's backward pass is not the derivative of its forward: along one direction it gives {finding} "
        "(gradient reversal, straight-through or another backward of its own); maps that use gradients show the former",
        finding=finding,
    )


class _Slope:
    """The gradient of a fixed weighted sum of a network's outputs at one input, and differences along it."""

    def __init__(self, model: Model, image: Tensor, output: Tensor, weights: Tensor, gradient: Tensor) -> None:
        self.model, self.image, self.output, self.weights = model, image, output.detach(), weights
        self.gradient = gradient.cpu().double()
        self.gradient_norm = float(self.gradient.norm())
        self.output_norm = float((_double(self.output) * weights).norm())
        dtypes = (p.dtype for p in model.module.parameters() if p.is_floating_point())
        self.rounding = max(torch.finfo(dtype).eps for dtype in {*dtypes, image.dtype, output.dtype})
        self.steps = False
        """Whether the network contains operations that are constant but for jumps."""

    @classmethod
    def at(cls, model: Model, image: Tensor) -> "_Slope | None":
        """The slope at an image; None if there is none."""
        leaf = model.input_copy(image).requires_grad_(True)
        with torch.enable_grad():
            output = model.run(leaf.clone())
        if not output.requires_grad or not output.is_floating_point() or not bool(output.isfinite().all()):
            return None
        weights = torch.randn(
            output.shape, generator=torch.Generator(device="cpu").manual_seed(0), device="cpu", dtype=torch.float32
        )
        weights = (weights / weights.norm()).double()
        count_passes(backwards=1)
        with model.wrap_backward_errors(), torch.enable_grad():
            # As a sum and not as `grad_outputs`, for which torch imports its symbolic shapes and sympy.
            (gradient,) = torch.autograd.grad((output * weights.to(output)).sum(), leaf, allow_unused=True)
        if gradient is None or not bool(gradient.isfinite().all()) or not bool(gradient.any()):
            return None
        return cls(model, image, output, weights, gradient)

    @property
    def fine(self) -> bool:
        """Whether the effect of small steps exceeds the rounding."""
        return self.rounding < 1e-4

    def shortest(self) -> float | None:
        """The shortest step whose rise exceeds the rounding; None if that step is too large for the input."""
        rise = max(2000 * self.rounding, 1e-6) if self.fine else 16 * self.rounding
        step, largest = rise * self.output_norm / (2 * self.gradient_norm), self.longest / 4
        if step > largest > 0:  # the gradient is too small for this rise, or smaller than the true slope
            factor = abs(self.rise(largest))
            step = step / factor if factor > step / largest else step
        return step if 0 < step <= largest else None

    @property
    def longest(self) -> float:
        """The longest step to either side that is still small for the input."""
        return _LONGEST_STEP * float(_double(self.image).norm())

    def longer(self, step: float) -> list[float]:
        """That step and two longer ones."""
        return [step, 4 * step, 16 * step] if 16 * step <= self.longest else [step, 2 * step, 4 * step]

    def rise(self, step: float) -> float:
        """The rise between a step to either side, relative to the rise that the gradient predicts."""
        low, high = self._ends(step)
        predicted = float(((high.cpu().double() - low.cpu().double()) * self.gradient).sum())
        low_output, high_output = self._outputs(low, high)
        measured = float(((_double(high_output) - _double(low_output)) * self.weights).sum())
        return measured / predicted if predicted and measured == measured else float("nan")

    def is_constant(self, step: float) -> bool:
        """Whether the output changes by no more than its rounding between a step to either side."""
        return _relative_difference(*self._outputs(*self._ends(step))) <= 4 * self.rounding

    def least(self, step: float) -> float | None:
        """The step from which some output must change by many times its rounding; None if that is not shorter."""
        certain = 32 * self.rounding * float(_double(self.output).abs().max() * self.weights.abs().sum())
        return certain / (2 * self.gradient_norm) if certain / (2 * self.gradient_norm) < step else None

    def inspect_forward(self) -> bool:
        """Run the image again and record the precision of the computation; False if the output is random."""
        with torch.no_grad(), _PrecisionWatcher() as watcher:
            repeated = self.model.run(self.model.input_copy(self.image)).detach()
        self.rounding, self.steps = max(self.rounding, watcher.rounding), watcher.steps
        step, noise = self.shortest(), abs(float(((_double(repeated) - _double(self.output)) * self.weights).sum()))
        return step is not None and noise <= _SLOPE_TOLERANCE * 2 * step * self.gradient_norm

    def _ends(self, step: float) -> tuple[Tensor, Tensor]:
        offset = (self.gradient * (step / self.gradient_norm)).to(self.image.device, self.image.dtype)
        return self.image - offset, self.image + offset

    def _outputs(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        if runs_one_at_a_time() or self.model.cache[CHECKS].get(BATCH):
            return _run(self.model, low), _run(self.model, high)
        both = _run(self.model, torch.cat([low, high]))
        return both[:1], both[1:]


class _PrecisionWatcher(DispatchMode):
    """Records the lowest precision that a forward computes in, and whether it contains step functions."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.rounding, self.steps = 0.0, False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func._schema.name.partition("::")[2].rstrip("_")
        floating = [t for t in tree_leaves(out) if isinstance(t, Tensor) and t.is_floating_point()]
        to_integers = not floating and any(isinstance(t, Tensor) and t.is_floating_point() for t in tree_leaves(args))
        self.steps |= to_integers or name in _STEP_FUNCTIONS or "quantize" in name
        self.rounding = max([self.rounding, *(torch.finfo(t.dtype).eps for t in floating)])
        return out


def jittered(image: Tensor) -> Tensor:
    """The image plus small random values, none negative: black regions stay above zero, integers keep their floor."""
    width = float(image.max() - image.min()) or 1.0
    random = torch.rand(
        image.shape, generator=torch.Generator(device="cpu").manual_seed(0), device="cpu", dtype=torch.float32
    )
    return image.detach() + (_JITTER * width * random).to(image)


def _eps(tensor: Tensor) -> float:
    return torch.finfo(tensor.dtype).eps if tensor.is_floating_point() else 0.0


def _double(tensor: Tensor) -> Tensor:
    return tensor.cpu().double()
