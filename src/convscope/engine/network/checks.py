"""What is believed of every network and checked once of each: that the images of a batch do not influence each other,
and that its backward pass is the derivative of its forward.

Both findings are kept on the model (`CHECKS`) as what a value must say, and are forgotten with everything else
that was found by running the network.

*Independence*: one image is run alone and behind another one. Where the outputs differ by more than rounding, the
image is run behind a third one: rounding hangs on how many images there are, influence on what they are.

*Backward pass*: the gradient g of a fixed sum of the outputs is compared with the difference of that sum between two
inputs a small step along g apart. Where they differ, other steps decide: a network with kinks, rounding or saturation
gives differences that disagree among each other, or agree with g at larger steps, and nothing is said of it.
"""

from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from convscope.engine.context.chunking import is_out_of_memory, runs_one_at_a_time
from convscope.engine.context.metering import count_passes
from convscope.engine.network.cache import Entry
from convscope.engine.network.model import Model
from convscope.errors import ModelFailed, OutputError

BATCH, BACKWARD = "batch", "backward"
"""The keys under which results of the checks are kept and written in the notes of values."""

CHECKS: Entry[dict[str, str]] = Entry("checks", dict, depends_on_backward_hooks=True)
"""What a value must say of the network, by those keys."""

_ALONE = "each is therefore run alone here, and in a batch the network answers otherwise"
_INFLUENCE = f"the images of a batch influence each other in this network: {_ALONE}"
_ONE_ONLY = "the network takes no batch of two images: each is run alone"

_SAME = 1e-5
"""How far the outputs of one image may be apart, relative to the largest: rounding of float32, and nothing more."""
_ANOTHER_NETWORK = 0.05
"""How far they may be apart where they hang on the number of images and not on what these are: other kernels run."""

_AGREE = 0.1
"""How far the difference may be from the slope, or differences from each other, relative to the larger."""
_JITTER = 0.02
"""How far the gradient's place is moved off the image, as a share of its range: even surfaces lie on kinks."""
_LONGEST = 0.2
"""The longest step to either side, as a share of the input's length."""

_STAIRS = ("round", "floor", "ceil", "trunc", "sign", "heaviside")
"""Operations whose floating-point results change in steps, beside all that quantise or give whole numbers."""


# Independence


def independence(model: Model, image: Tensor, in_company: Tensor | None = None, *, differentiate: bool = False) -> str:
    """What a value must say of how images of one batch influence each other; empty where they do not.

    Costs a forward of a single image where its output behind another one is known, and one of two images where not.

    Args:
        image: one prepared input (1, C, …), beside the person's own as `next_to` gives it.
        in_company: what the network gives for it behind another image, where that is known.
        differentiate: whether the lens forms gradients, so that the backward pass is checked with the same forward.
    """
    if BATCH in model.cache[CHECKS]:
        return model.cache[CHECKS][BATCH]
    slope = _slope(model, image) if differentiate and BACKWARD not in model.cache[CHECKS] else None
    try:
        by_itself = _run(model, image) if slope is None else slope.output
    except (ModelFailed, OutputError):
        return ""  # the lens will say so, if it needs the output at all
    if bool(by_itself.isfinite().all()):
        model.cache[CHECKS][BATCH] = _influence(model, image, by_itself, in_company)
    if slope is not None:
        model.cache[CHECKS][BACKWARD] = _doubt(slope)
    return model.cache[CHECKS].get(BATCH, "")


def _influence(model: Model, image: Tensor, by_itself: Tensor, in_company: Tensor | None) -> str:
    """Compare the image's output by itself with the one it has behind others."""
    allowed = max(_SAME, 4 * _rounding(by_itself))
    if in_company is not None and _apart(by_itself, in_company) <= allowed:
        return ""
    behind: list[Tensor] = []
    for other in (company(image, bold=True), company(image), image):
        try:
            behind.append(_behind(model, image, other))
        except (ModelFailed, OutputError) as error:  # perhaps the other was no image to it: then the next one is
            if is_out_of_memory(error):
                return ""
            continue
        if len(behind) == 1 and _apart(by_itself, behind[0]) <= allowed:
            return ""
        if len(behind) == 2:
            break
    if not behind:
        return _ONE_ONLY
    if _apart(by_itself, _run(model, image)) > allowed:
        return ""  # it answers at random, which is another thing (engine/run/determinism.py)
    influenced = _apart(behind[0], behind[-1]) > allowed or _apart(by_itself, behind[0]) > _ANOTHER_NETWORK
    return _INFLUENCE if influenced else ""


def company(image: Tensor, *, bold: bool = False) -> Tensor:
    """Another input like this one (1, C, …): its own numbers at other places, the small ones more often.

    So it has a mean and a spread of its own.

    Args:
        bold: twice as far from their mean, so that its maxima are other ones too, where they are no whole numbers;
            otherwise it stays within the values that the network knows.
    """
    drawn = torch.rand(
        image.numel(), generator=torch.Generator(device="cpu").manual_seed(int(bold)), device="cpu", dtype=torch.float32
    )
    places = (drawn.square() * image.numel()).long().clamp_max(image.numel() - 1)
    other = image.flatten().sort().values[places.to(image.device)].view_as(image)
    if bool((image == image.flatten()[0]).all()):  # an even image has no other numbers
        return other + 1 + drawn.to(image).view_as(image)
    whole = bool((image == image.round()).all())
    return other + (other - other.mean()) if bold and not whole else other


def _behind(model: Model, image: Tensor, other: Tensor) -> Tensor:
    return _run(model, torch.cat([other, image]))[1:]


def _run(model: Model, tensor: Tensor) -> Tensor:
    with torch.no_grad():
        return model.run(model.laid_out(tensor)).detach()


def _apart(first: Tensor, second: Tensor) -> float:
    """The largest difference relative to the largest number; infinite where shapes differ or numbers are missing."""
    if first.shape != second.shape:
        return float("inf")
    largest, apart = float(first.abs().max()), float((first - second).abs().max()) if first.numel() else 0.0
    return 0.0 if apart == 0 else apart / largest if largest and apart == apart else float("inf")


# The backward pass


def backward_pass(model: Model, image: Tensor) -> str:
    """What a value must say of a backward pass that is not the derivative of the forward; empty where it is.

    Costs a forward and backward of one image and a forward of two; a few forwards more where these disagree.

    Args:
        image: one prepared input (1, C, …), beside the person's own as `next_to` gives it.
    """
    if BACKWARD not in model.cache[CHECKS]:
        slope = _slope(model, image)
        model.cache[CHECKS][BACKWARD] = "" if slope is None else _doubt(slope)
    return model.cache[CHECKS][BACKWARD]


def _slope(model: Model, image: Tensor) -> "_Slope | None":
    """The slope at an image; None where there is none, or no way back to the input: a layer further up may have one."""
    try:
        return _Slope.at(model, image)
    except (ModelFailed, OutputError):
        return None


def _doubt(slope: "_Slope") -> str:
    """Compare slope and difference at one step, and at others where they do not agree."""
    step = slope.shortest()
    if step is None or abs(slope.rise(step) - 1) <= _AGREE:
        return ""
    if not slope.look_closer() or (step := slope.shortest()) is None:
        return ""
    rises = [slope.rise(each) for each in slope.longer(step)]
    middle, apart = median(rises), max(rises) - min(rises)
    agree = apart <= (_AGREE if slope.fine else 5 * _AGREE) * max(1.0, abs(middle))
    far = min(abs(rise - 1) for rise in rises) > max(3 * apart, _AGREE if slope.fine else 8 * _AGREE)
    if slope.steps and (least := slope.least(step)) and slope.still(least) and slope.still(least / 2):
        return _said("a slope where the network's answer changes in steps and has none")
    if not (agree and far):
        return ""
    if abs(middle) <= 0.01:
        return _said("a slope where the network's answer hardly changes")
    times = 1 / middle
    return _said(f"{times:{'.2f' if abs(times) >= 0.01 else '.1g'}} times the real slope")


def _said(what: str) -> str:
    return (
        f"the network's backward pass is not the derivative of its forward: along one direction it gives {what} "
        "(gradient reversal, straight-through or another backward of its own); maps that use gradients show the former"
    )


class _Slope:
    """The gradient of a fixed sum of a network's outputs at one place, and differences along it."""

    def __init__(self, model: Model, place: Tensor, output: Tensor, weights: Tensor, gradient: Tensor) -> None:
        self.model, self.place, self.output, self.weights = model, place, output.detach(), weights
        self.gradient = gradient.cpu().double()
        self.length = float(self.gradient.norm())
        self.size = float((_double(self.output) * weights).norm())
        own = (p.dtype for p in model.module.parameters() if p.is_floating_point())
        self.rounding = max(torch.finfo(dtype).eps for dtype in {*own, place.dtype, output.dtype})
        self.steps = False

    @classmethod
    def at(cls, model: Model, image: Tensor) -> "_Slope | None":
        """The slope at an image; None where there is none."""
        leaf = model.laid_out(image).requires_grad_(True)
        with torch.enable_grad():
            output = model.run(leaf.clone())
        if not output.requires_grad or not output.is_floating_point() or not bool(output.isfinite().all()):
            return None
        weights = torch.randn(
            output.shape, generator=torch.Generator(device="cpu").manual_seed(0), device="cpu", dtype=torch.float32
        )
        weights = (weights / weights.norm()).double()
        count_passes(backwards=1)
        with model.on_the_way_back():
            (gradient,) = torch.autograd.grad(output, leaf, weights.to(output), allow_unused=True)
        if gradient is None or not bool(gradient.isfinite().all()) or not bool(gradient.any()):
            return None
        return cls(model, image, output, weights, gradient)

    @property
    def fine(self) -> bool:
        """Whether small steps show above the rounding."""
        return self.rounding < 1e-4

    def shortest(self) -> float | None:
        """The shortest step whose rise stands out of the rounding; None where none does that is small for the input."""
        rise = max(2000 * self.rounding, 1e-6) if self.fine else 16 * self.rounding
        step, most = rise * self.size / (2 * self.length), self.longest / 4
        if step > most > 0:  # too small a gradient for that, or too small a gradient for the network
            times = abs(self.rise(most))
            step = step / times if times > step / most else step
        return step if 0 < step <= most else None

    @property
    def longest(self) -> float:
        """The longest step to either side that is still small for the input."""
        return _LONGEST * float(_double(self.place).norm())

    def longer(self, step: float) -> list[float]:
        """That step and two longer ones."""
        return [step, 4 * step, 16 * step] if 16 * step <= self.longest else [step, 2 * step, 4 * step]

    def rise(self, step: float) -> float:
        """The rise between a step to either side, as a share of what the gradient says it is."""
        low, high = self._ends(step)
        expected = float(((high.cpu().double() - low.cpu().double()) * self.gradient).sum())
        below, above = self._answers(low, high)
        found = float(((_double(above) - _double(below)) * self.weights).sum())
        return found / expected if expected and found == found else float("nan")

    def still(self, step: float) -> bool:
        """Whether the output changes by no more than its rounding between a step to either side."""
        return _apart(*self._answers(*self._ends(step))) <= 4 * self.rounding

    def least(self, step: float) -> float | None:
        """The step from which some output must change by many times its rounding; None where that is no shorter one."""
        certain = 32 * self.rounding * float(_double(self.output).abs().max() * self.weights.abs().sum())
        return certain / (2 * self.length) if certain / (2 * self.length) < step else None

    def look_closer(self) -> bool:
        """Run the place once more and learn what it is computed with; False where the network answers at random."""
        with torch.no_grad(), _Watch() as watch:
            again = self.model.run(self.model.laid_out(self.place)).detach()
        self.rounding, self.steps = max(self.rounding, watch.rounding), watch.steps
        step, noise = self.shortest(), abs(float(((_double(again) - _double(self.output)) * self.weights).sum()))
        return step is not None and noise <= _AGREE * 2 * step * self.length

    def _ends(self, step: float) -> tuple[Tensor, Tensor]:
        along = (self.gradient * (step / self.length)).to(self.place.device, self.place.dtype)
        return self.place - along, self.place + along

    def _answers(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        if runs_one_at_a_time() or self.model.cache[CHECKS].get(BATCH):
            return _run(self.model, low), _run(self.model, high)
        both = _run(self.model, torch.cat([low, high]))
        return both[:1], both[1:]


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the coarsest precision that a forward computes in, and whether something in it changes in steps."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.rounding, self.steps = 0.0, False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func._schema.name.partition("::")[2].rstrip("_")
        floating = [t for t in tree_leaves(out) if isinstance(t, Tensor) and t.is_floating_point()]
        whole = not floating and any(isinstance(t, Tensor) and t.is_floating_point() for t in tree_leaves(args))
        self.steps |= whole or name in _STAIRS or "quantize" in name
        self.rounding = max([self.rounding, *(torch.finfo(t.dtype).eps for t in floating)])
        return out


def next_to(image: Tensor) -> Tensor:
    """A place beside the image where no number is lower: black surfaces stay above zero, whole numbers keep theirs."""
    width = float(image.max() - image.min()) or 1.0
    drawn = torch.rand(
        image.shape, generator=torch.Generator(device="cpu").manual_seed(0), device="cpu", dtype=torch.float32
    )
    return image.detach() + (_JITTER * width * drawn).to(image)


def _rounding(tensor: Tensor) -> float:
    return torch.finfo(tensor.dtype).eps if tensor.is_floating_point() else 0.0


def _double(tensor: Tensor) -> Tensor:
    return tensor.cpu().double()
