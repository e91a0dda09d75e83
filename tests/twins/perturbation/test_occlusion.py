"""Occlusion computed a second time, step by step, and compared with the lens; peers: Captum."""

import itertools
import math
from types import ModuleType
from typing import Any, Literal

import pytest
import torch
from torch import Tensor

import convscope as cs
from convscope.errors import InputError, ParameterError
from tests.conftest import picture_model
from tests.marks import all_but
from tests.nets import PlainNet, ResidualNet, seeded
from tests.twins.binding import twin_of
from tests.twins.modular_network import modular_subject
from tests.twins.results import list_of_values
from tests.twins.slow import TOLERANCE, Slow, inputs_seen, relative_error
from tests.twins.subjects import Subject

SMALL = ["plain", "residual", "flatten", "signal", "volume"]


PATCHES = {"digits": (3, 2), "shapes": (24, 12), "resnet18": (24, 24), "squeezenet1_1": (16, 16)}


@twin_of(cs.occlusion)
def occlusion(slow: Slow, fill_image: Tensor, patch: int, stride: int, *, disc: bool = False) -> Tensor:
    """The mean drop over the patches that cover each position, one whole forward for each patch."""
    total, counts = torch.zeros(slow.x.shape[1:]).double(), torch.zeros(slow.x.shape[1:]).double()
    clean = slow.score(slow.x)
    for corner in itertools.product(*(_starts(length, patch, stride) for length in slow.x.shape[1:])):
        covered = torch.zeros(slow.x.shape[1:], dtype=torch.bool)
        for step in itertools.product(range(patch), repeat=len(corner)):
            radius = math.hypot(*((s + 0.5) - patch / 2 for s in step))
            covered[tuple(c + s for c, s in zip(corner, step, strict=True))] = not disc or radius <= patch / 2
        total[covered] += clean - slow.score(torch.where(covered, fill_image.double(), slow.x))
        counts[covered] += 1
    return total / counts.clamp_min(1)


def _starts(length: int, patch: int, stride: int) -> list[int]:
    regular = [start for start in range(0, length, stride) if start + patch <= length]
    return regular if regular[-1] + patch == length else [*regular, length - patch]


@pytest.mark.parametrize("subject", all_but(("shapes", "resnet18"), (*SMALL, *PATCHES)), indirect=True)
def test_occlusion_is_its_formula(subject: Subject, request: pytest.FixtureRequest) -> None:
    patch, stride = PATCHES.get(request.node.callspec.params["subject"], (4, 3))
    for attribution, slow in zip(subject.explained("occlusion", patch=patch, stride=stride), subject.slow, strict=True):
        assert (
            relative_error(attribution.values, occlusion(slow, torch.zeros_like(slow.x), patch, stride))
            < 10 * TOLERANCE
        )
        assert "nondeterministic" not in attribution.notes


@pytest.mark.parametrize("subject", ["plain", "signal", "flatten"], indirect=True)
@pytest.mark.parametrize("shape", ["square", "disc"])
@pytest.mark.parametrize("fill", ["mean", "blur", "noise", "a number", "a colour", "an image"])
def test_each_filling_and_shape_is_its_formula(fill: str, shape: Literal["square", "disc"], subject: Subject) -> None:
    """What noise is drawn and how a blurred image looks, is read from what the network is given."""
    for row, slow in enumerate(subject.slow):
        per_channel = (-1, *[1] * (slow.x.ndim - 1))
        colour, picture = torch.linspace(-1, 1, len(slow.x)), torch.randn(slow.x.shape)
        value = {"a number": 0.7, "a colour": colour, "an image": picture}.get(fill, 0.0)
        named_fill = fill if fill in ("mean", "blur", "noise") else "value"
        options: dict[str, Any] = {"fill": named_fill, "value": value, "samples": 1}
        if fill in ("blur", "noise"):
            fill_image = _whole_filling(subject, row, options)
        elif fill == "mean":
            fill_image = slow.x.flatten(1).mean(1).view(per_channel)
        else:
            fill_image = picture if fill == "an image" else torch.as_tensor(value).view(per_channel)
        (attribution,) = cs.occlusion(
            subject.model, [subject.images[row]], target=slow.target, patch=4, stride=2, shape=shape, **options
        )
        true = occlusion(slow, fill_image, 4, 2, disc=shape == "disc")
        assert relative_error(attribution.values, true) < 10 * TOLERANCE


def _whole_filling(subject: Subject, row: int, options: dict[str, Any]) -> Tensor:
    """The image that shines through the patches: one patch covers everything, of a network that is given all of it."""
    traced = cs.Model(torch.jit.trace(subject.model.module, subject.images), input=subject.model.input)
    side = min(subject.images.shape[2:])
    with inputs_seen(traced.module, with_gradient=False) as network_inputs:
        cs.occlusion(traced, [subject.images[row]], patch=side, stride=side, **options)
    return network_inputs[-1]


@pytest.mark.parametrize("subject", all_but(("digits",), (*SMALL, "digits")), indirect=True)
def test_occlusion_is_that_of_captum_where_the_grid_ends_at_the_border(subject: Subject, peers: ModuleType) -> None:
    """Both average the drops over the patches that cover a pixel."""
    window = (subject.images.shape[1], *[2] * (subject.images.ndim - 2))
    strides = (subject.images.shape[1], *[1] * (subject.images.ndim - 2))
    captum_maps = peers.captum.attr.Occlusion(subject.model.module).attribute(
        subject.images, window, strides=strides, target=list(subject.targets), baselines=0
    )
    for attribution, captum_map in zip(subject.explained("occlusion", patch=2, stride=1), captum_maps, strict=True):
        assert relative_error(attribution.values, captum_map[0]) < 10 * TOLERANCE


@pytest.mark.parametrize("subject", ["flatten"], indirect=True)
def test_at_a_border_that_the_grid_does_not_reach_captum_cuts_the_last_patch_and_we_move_it(subject, peers) -> None:
    """16 pixels, patches of 5 every 4: Captum's last patch covers 4 pixels, ours lies one pixel further in."""
    captum_maps = peers.captum.attr.Occlusion(subject.model.module).attribute(
        subject.images, (3, 5, 5), strides=(3, 4, 4), target=list(subject.targets), baselines=0
    )
    for attribution, other in zip(subject.explained("occlusion", patch=5, stride=4), captum_maps, strict=True):
        assert relative_error(attribution.values[:11, :11], other[0][:11, :11]) < 10 * TOLERANCE
        assert relative_error(attribution.values, other[0]) > 0.01


def test_inpainting_continues_what_surrounds_the_patch() -> None:
    """A linear ramp is continued without a trace in the direction in which it rises; an even image entirely."""
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(2 * 12, 2)).eval()
    model = cs.Model(net, input=cs.TensorInput((2, 12)))
    ramp = torch.stack([torch.arange(12.0), 3 - 2 * torch.arange(12.0)])[None]
    value = cs.occlusion(model, ramp, patch=3, stride=1, fill="inpaint", target=0)
    inside = value.values[3:-3].abs().max() / (net[1].weight.detach().abs().max() * 20)
    assert float(inside) < 1e-6
    even = cs.occlusion(picture_model(seeded(ResidualNet)), torch.full((1, 3, 16, 16), 0.4), patch=4, fill="inpaint")
    assert float(even.values.abs().max()) < 1e-5


def test_a_stride_beyond_the_patch_leaves_gaps_that_are_zero_and_named() -> None:
    value = cs.occlusion(picture_model(seeded(ResidualNet)), torch.randn(1, 3, 16, 16), patch=2, stride=7)
    under = [0, 1, 7, 8, 14, 15]
    rest = [i for i in range(16) if i not in under]
    assert not value.values[rest].any()
    assert not value.values[:, rest].any()
    assert bool(value.values[0, 0])
    assert value.notes["gaps"].startswith(f"{1 - 36 / 256:.1%} of the pixels")


def test_by_default_a_patch_is_a_fourteenth_of_the_longer_side_and_strides_half_of_it() -> None:
    net = torch.nn.Sequential(torch.nn.Conv2d(1, 1, 1), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()).eval()
    image = torch.randn(1, 1, 140, 224)
    by_default = cs.occlusion(cs.Model(net), image, target=0)
    assert torch.equal(by_default.values, cs.occlusion(cs.Model(net), image, target=0, patch=16, stride=8).values)


def test_a_patch_larger_than_the_image_and_an_input_without_extent_are_refused() -> None:
    model = picture_model(seeded(ResidualNet))
    with pytest.raises(ParameterError, match=r"patch must be at most 16, the image's shorter side \(16 × 16\), got 17"):
        cs.occlusion(model, torch.zeros(1, 3, 16, 16), patch=17)
    with pytest.raises(InputError, match="no spatial axes"):
        cs.occlusion(cs.Model(torch.nn.Linear(4, 2)), torch.randn(1, 4))


@pytest.mark.parametrize("channels", ["together", "apart"])
def test_windows_of_any_sides_are_those_of_captum(channels: Literal["together", "apart"], peers: ModuleType) -> None:
    model, images = modular_subject()
    depth = 1 if channels == "apart" else 3
    captum_maps = peers.captum.attr.Occlusion(model.module).attribute(
        images, (depth, 5, 3), strides=(depth, 3, 2), target=torch.tensor([2, 1])
    )
    attributions = cs.occlusion(model, images, target=[2, 1], sides="5x3", strides="3x2", channels=channels)
    for value, true in zip(list_of_values(attributions), captum_maps.detach(), strict=True):
        assert relative_error(value.values, true.sum(0) if channels == "apart" else true[0]) < TOLERANCE
        if channels == "apart":
            assert relative_error(value.channels, true) < TOLERANCE


@pytest.mark.parametrize(
    ("option", "given"), [("sides", "5"), ("sides", "5xx4"), ("strides", "2x2x2"), ("sides", "5 5")]
)
def test_sides_that_fit_no_axes_are_refused(option: str, given: str) -> None:
    model, images = modular_subject()
    options: dict[str, Any] = {option: given}
    with pytest.raises(ParameterError, match=f"{option} is one number for each of the input's 2 axes, as in '16x8'"):
        cs.occlusion(model, images, **options)


@pytest.mark.parametrize("given", ["5x0", "axb", "100000000x8", "5x-1", "1.5x2"])
@pytest.mark.parametrize("option", ["sides", "strides"])
def test_sides_beyond_their_limits_are_refused(option: str, given: str) -> None:
    model, images = modular_subject()
    options: dict[str, Any] = {option: given}
    with pytest.raises(ParameterError) as refused:
        cs.occlusion(model, images, **options)
    message = f"{option} must be whole numbers, each 1 to 65536 (pixels), joined by 'x', got {given!r}"
    assert str(refused.value) == message


def test_a_side_larger_than_the_image_is_refused_by_its_own_name() -> None:
    model, images = modular_subject()
    with pytest.raises(ParameterError, match=r"^sides must be at most"):
        cs.occlusion(model, images, sides="500x2")


def test_windows_of_a_signal_and_of_a_volume_have_their_own_sides() -> None:
    for axes, sides in ((1, "6"), (3, "2x3x4")):
        shape = (2, *[8, 9, 10][:axes])
        model = cs.Model(seeded(PlainNet, axes, 2), input=cs.TensorInput(shape))
        value = cs.occlusion(model, torch.randn(shape), target=1, sides=sides)
        assert value.values.shape == shape[1:]
        assert bool(value.values.any())
