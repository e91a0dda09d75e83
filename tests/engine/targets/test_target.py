"""Every notation for a target gives the right number per image; unusable targets are refused."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import convscope as cs
from convscope.errors import ConvScopeError, NoGradient, OutputError, UnknownName
from tests.engine.networks import SIDE, Dense, condition, pictured, seeded, small_network, tensor
from tests.narrowing import listed, tensor_in, unchecked

LABELS = ("tabby cat", "Egyptian cat", "tench", "hen")


def gradient(score: Callable[[Any, Tensor], Tensor], x: Tensor, net: nn.Module | None = None) -> Tensor:
    """The reference: the gradient of the score with plain autograd."""
    net = small_network() if net is None else net
    x = x.clone().requires_grad_(True)
    return torch.autograd.grad(score(net, x).sum(), x)[0]


def until_second_convolution(net: nn.Sequential, x: Tensor) -> Tensor:
    return net[2](net[1](net[0](x)))


TARGETS: dict[str, tuple[Any, Callable[[nn.Sequential, Tensor], Tensor], str]] = {
    "an index": (2, lambda n, x: n(x)[:, 2], "tench"),
    "an index of NumPy": (np.int64(2), lambda n, x: n(x)[:, 2], "tench"),
    "an index of torch": (torch.tensor(2), lambda n, x: n(x)[:, 2], "tench"),
    "an index as a text": ("2", lambda n, x: n(x)[:, 2], "tench"),
    "a label": ("tench", lambda n, x: n(x)[:, 2], "tench"),
    "a label in other letters": ("Tabby_CAT", lambda n, x: n(x)[:, 0], "tabby cat"),
    "a difference": (cs.Difference("hen", 0), lambda n, x: n(x)[:, 3] - n(x)[:, 0], "hen - tabby cat"),
    "a difference as a text": ("hen - tabby cat", lambda n, x: n(x)[:, 3] - n(x)[:, 0], "hen - tabby cat"),
    "a difference of indices": ("3 - 0", lambda n, x: n(x)[:, 3] - n(x)[:, 0], "hen - tabby cat"),
    "a unit": (cs.Unit("2", 4), lambda n, x: until_second_convolution(n, x)[:, 4].mean((1, 2)), "2[4]"),
    "a unit as a text": ("2[4]", lambda n, x: until_second_convolution(n, x)[:, 4].mean((1, 2)), "2[4]"),
    "a position": (cs.Unit("2", 4, (1, 3)), lambda n, x: until_second_convolution(n, x)[:, 4, 1, 3], "2[4, 1, 3]"),
    "a position as a text": ("2[4, 1, 3]", lambda n, x: until_second_convolution(n, x)[:, 4, 1, 3], "2[4, 1, 3]"),
    "a unit of a linear layer": ("6[1]", lambda n, x: n(x)[:, 1], "6[1]"),
    "a function": (lambda output: output.square().sum(1), lambda n, x: n(x).square().sum(1), "<lambda>(output)"),
    "the top class": (cs.TOP1, lambda n, x: n(x).amax(1), ""),
}


@pytest.mark.parametrize(("target", "score", "description"), TARGETS.values(), ids=TARGETS)
def test_the_score_and_gradient_are_those_of_the_target(target: Any, score: Any, description: str) -> None:
    x = tensor(3, 3, SIDE, SIDE)
    attributions = cs.saliency(pictured(labels=LABELS), x, target=target)
    torch.testing.assert_close(
        torch.stack([tensor_in(attribution.channels) for attribution in attributions]), gradient(score, x)
    )
    expected = score(small_network(), x).tolist()
    assert [attribution.score for attribution in attributions] == pytest.approx(expected, abs=1e-6)
    if description:
        assert {attribution.target for attribution in attributions} == {description}


@pytest.mark.parametrize(
    "target", [[2, 0, 3], (2, "tabby cat", "hen"), torch.tensor([2, 0, 3]), np.array([2, 0, 3])], ids=str
)
def test_a_list_names_one_class_for_each_image(target: Any) -> None:
    x = tensor(3, 3, SIDE, SIDE)
    attributions = cs.saliency(pictured(labels=LABELS), x, target=target)
    expected = gradient(lambda n, x: n(x)[[0, 1, 2], [2, 0, 3]], x)
    torch.testing.assert_close(torch.stack([tensor_in(attribution.channels) for attribution in attributions]), expected)
    assert [attribution.target_index for attribution in attributions] == [2, 0, 3]


def test_every_image_of_a_batch_has_its_own_top_class() -> None:
    net, x = small_network(1), tensor(12, 3, SIDE, SIDE) * 20
    top = net(x).argmax(1).tolist()
    assert len(set(top)) > 1
    assert [attribution.target_index for attribution in cs.saliency(cs.Model(net), x)] == top


def test_labels_take_precedence_over_differences_and_indices() -> None:
    labels = ("7", "cat - dog", "cat", "dog")
    indices = {target: cs.saliency(pictured(labels=labels), tensor(), target=target).target_index for target in labels}
    assert indices == {"7": 0, "cat - dog": 1, "cat": 2, "dog": 3}


MASK = np.zeros((SIDE, SIDE), bool)


MASK[2:6, 8:12] = True


@pytest.mark.parametrize("mask", [MASK, MASK[::2, ::2], torch.from_numpy(MASK), MASK.astype(float), MASK.tolist()])
def test_a_region_is_a_class_under_a_mask_of_any_size(mask: Any) -> None:
    net, x = seeded(Dense), tensor()
    attribution = cs.saliency(pictured(net, labels=LABELS), x, target=cs.Region("tench", mask))
    expected = gradient(lambda n, x: n(x)[:, 2, 1:3, 4:6].mean((1, 2)), x, net)
    torch.testing.assert_close(attribution.channels, expected[0])
    assert attribution.target == "tench within the region"


def test_a_region_without_a_mask_is_everywhere() -> None:
    net, x = seeded(Dense), tensor()
    attribution = cs.saliency(cs.Model(net), x, target=cs.Region(1))
    torch.testing.assert_close(attribution.channels, gradient(lambda n, x: n(x)[:, 1].mean((1, 2)), x, net)[0])


class Flips(nn.Module):
    """The score of class 0 is the energy of the image, that of class 1 falls with it: faint images are of class 1."""

    def forward(self, x: Tensor) -> Tensor:
        energy = x.square().mean((1, 2, 3))
        return torch.stack([energy, 3 - 2 * energy], dim=1)


@pytest.mark.parametrize(
    ("lens", "options", "top"),
    [
        (cs.smooth_grad, {"samples": 8, "sigma": 2.0}, 1),
        (cs.smooth_grad_squared, {"samples": 8, "sigma": 2.0}, 1),
        (cs.integrated_gradients, {"steps": 8}, 0),
        (cs.guided_integrated_gradients, {"steps": 8}, 0),
        (cs.blur_integrated_gradients, {"steps": 8}, 0),
        (cs.expected_gradients, {"samples": 8}, 0),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_the_top_class_is_that_of_the_unmodified_image(lens: Any, options: Any, top: int) -> None:
    """For some perturbed samples the other class has the higher score: all passes explain the same class."""
    x = tensor() * (0.8 if top else 2)
    assert int(Flips()(x).argmax()) == top
    by_default, by_index = (lens(cs.Model(Flips()), x, target=target, **options) for target in (cs.TOP1, top))
    assert by_default.target_index == top
    assert torch.equal(by_default.values, by_index.values)
    for_other_class = lens(cs.Model(Flips()), x, target=1 - top, **options)
    assert not torch.allclose(by_default.values, for_other_class.values)


def test_all_lenses_of_a_comparison_explain_the_same_target() -> None:
    cells = list(
        cs.compare(cs.Model(small_network(3)), tensor(), ["smooth-grad", "grad-cam", "integrated-gradients"], samples=3)
    )
    assert len({(cell.target_index, cell.target) for cell in cells}) == 1


def test_a_unit_can_be_the_target_of_a_comparison() -> None:
    cells = list(cs.compare(cs.Model(small_network()), tensor(), ["grad-cam", "eigen-cam", "saliency"], target="2[1]"))
    assert [cell.method for cell in cells] == ["grad-cam", "eigen-cam", "saliency"]
    assert {cell.layers for cell in cells[:2]} == {
        cs.grad_cam(cs.Model(small_network()), tensor(), target="2[1]").layers
    }


REFUSED: dict[str, tuple[Any, type[ConvScopeError], str]] = {
    "an index beyond the labels": (4, UnknownName, r"class index 4 is out of range: Sequential has classes 0 to 3"),
    "a negative index": (-1, UnknownName, r"class index -1 is out of range"),
    "an index beyond the labels in a list": ([9], UnknownName, r"class index 9 is out of range"),
    "an index beyond the labels in a text": ("17", UnknownName, r"class index 17 is out of range"),
    "a misspelt label": ("tabby kat", UnknownName, r"no label 'tabby kat' in Sequential; did you mean 'tabby cat'"),
    "a label of nothing": ("zeppelin", UnknownName, r"no label 'zeppelin' in Sequential"),
    "an empty text": ("", UnknownName, r"no label ''"),
    "a misspelt difference": ("hen - tenhc", UnknownName, r"no label 'tenhc' in Sequential; did you mean 'tench'"),
    "True": (True, UnknownName, r"class index True is out of range"),
    "a fraction": (1.5, UnknownName, r"a class is an index or a label, got 1\.5"),
    "nothing": (None, UnknownName, r"a class is an index or a label, got None"),
    "a fraction of torch": (torch.tensor(1.5), UnknownName, r"a class is an index or a label, got tensor\(1\.5"),
    "a list of another length": ([1, 2], OutputError, r"2 targets for 1 images: give one each, or one for all"),
    "an array of another length": (np.array([1, 2]), OutputError, r"2 targets for 1 images"),
    "an empty list": ([], OutputError, r"0 targets for 1 images"),
    "a unit of no layer": ("seven[3]", UnknownName, r"no layer 'seven' in Sequential .*lists them"),
    "a unit too many": ("2[6]", UnknownName, r"no unit 2\[6\]: '2' has units 0 to 5"),
    "a unit by name": (unchecked.Unit("2", "a"), UnknownName, r"no unit 2\[a\]"),
    "a position outside": ("2[1, 99, 0]", UnknownName, r"no position 2\[1, 99, 0\]: the map of '2' is \(8, 8\)"),
    "a position of one number": ("2[1, 3]", UnknownName, r"no position 2\[1, 3\]"),
    "a negative position": (cs.Unit("2", 1, (-1, 0)), UnknownName, r"no position 2\[1, -1, 0\]"),
    "a function that gives a map": (
        lambda o: o,
        OutputError,
        r"gives one number per image, got shape \(1, 4\) for 1 images",
    ),
    "a function that gives one number": (lambda o: o.sum(), OutputError, r"got shape \(\) for 1 images"),
    "a function that gives a float": (lambda o: 3.0, OutputError, r"target .*gives? .*float"),
    "a function that raises": (lambda o: o[:, 99], OutputError, r"target .*raised IndexError: "),
    "a function without a gradient": (lambda o: o.detach()[:, 0], NoGradient, r"nothing can be explained: .*detach"),
    "a region of one row of scores": (
        cs.Region(0),
        OutputError,
        r"a region needs a dense output .* got shape \(1, 4\)",
    ),
    "an empty region": (cs.Region(0, MASK & False), OutputError, r"the region's mask is empty"),
}


@pytest.mark.parametrize(("target", "kind", "message"), REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("lens", [cs.saliency, cs.grad_cam])
def test_an_unusable_target_raises_a_one_line_error(
    lens: Any, target: Any, kind: type[ConvScopeError], message: str
) -> None:
    model = pictured(labels=LABELS)
    before = condition(model.module)
    options = {} if lens is cs.saliency else {"layer": "0"}
    with pytest.raises(kind, match=message) as error:
        lens(model, tensor(), target=target, **options)
    assert "\n" not in str(error.value)
    assert condition(model.module) == before


def test_an_index_out_of_range_is_refused_without_labels_too() -> None:
    for target in (9, "9", [9], cs.Difference(0, 9), "9 - 0"):
        with pytest.raises(OutputError, match="class 9 is out of range: the output has 4 classes"):
            cs.saliency(cs.Model(small_network()), tensor(), target=target)


def test_classes_without_labels_are_named_by_index() -> None:
    with pytest.raises(UnknownName, match="Sequential has no labels: name the class 'tench' by its index"):
        cs.saliency(cs.Model(small_network()), tensor(), target="tench")
    assert cs.saliency(cs.Model(small_network()), tensor(), target=1).target == "class 1"


def test_an_ambiguous_label_is_refused() -> None:
    model = pictured(labels=("crane", "hen", "Crane", "tench"))
    with pytest.raises(UnknownName, match="label 'crane' is ambiguous: classes 0 and 2; use the index"):
        cs.saliency(model, tensor(), target="crane")
    assert cs.saliency(model, tensor(), target=2).target_index == 2


def test_a_difference_of_classes_of_a_dense_output_is_refused() -> None:
    with pytest.raises(
        OutputError, match=r"the output has shape \(1, 4, 8, 8\): a class needs a region, use cs\.Region"
    ):
        cs.saliency(cs.Model(seeded(Dense)), tensor(), target="1 - 0")


@pytest.mark.parametrize(
    "mask", ["a text", np.ones((2, 4, 4)), np.ones(4), np.full((4, 4), np.nan), np.ones((0, 4))], ids=str
)
def test_an_invalid_mask_is_refused(mask: Any) -> None:
    with pytest.raises(OutputError, match="mask"):
        cs.saliency(cs.Model(seeded(Dense)), tensor(), target=cs.Region(0, mask))


def test_a_network_with_one_number_per_image_needs_no_target() -> None:
    net = seeded(lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(1)))
    net(tensor())
    attribution = cs.saliency(cs.Model(net), tensor())
    torch.testing.assert_close(attribution.channels, gradient(lambda n, x: n(x)[:, 0], tensor(), net)[0])


def test_a_list_holds_targets_of_any_kind() -> None:
    x, model = tensor(4, 3, SIDE, SIDE), pictured(labels=LABELS)
    targets = ["tench", 3, cs.Difference("hen", 0), cs.TOP1]
    attributions = cs.saliency(model, x, target=targets)
    top = int(small_network()(x)[3].argmax())
    assert [attribution.target for attribution in attributions] == ["tench", "hen", "hen - tabby cat", LABELS[top]]
    assert [attribution.target_index for attribution in attributions] == [2, 3, None, top]
    for row, target in enumerate(targets):
        torch.testing.assert_close(attributions[row].values, cs.saliency(model, x[row : row + 1], target=target).values)


def test_a_list_may_mix_classes_and_top_classes() -> None:
    x = tensor(3, 3, SIDE, SIDE)
    top = small_network()(x).argmax(1).tolist()
    other = (top[1] + 1) % 4
    assert [
        attribution.target_index for attribution in cs.saliency(small_network(), x, target=["top-1", other, "top-1"])
    ] == [
        top[0],
        other,
        top[2],
    ]


def test_targets_in_a_list_must_be_read_at_the_same_layer() -> None:
    x = tensor(2, 3, SIDE, SIDE)
    assert [
        attribution.target for attribution in cs.saliency(small_network(), x, target=["2[1]", cs.Unit("2", 4)])
    ] == [
        "2[1]",
        "2[4]",
    ]
    with pytest.raises(OutputError, match="read at one layer, these at layer '2' and the output"):
        cs.saliency(small_network(), x, target=["2[1]", 0])


class AnyDense(nn.Module):
    """A network with scores at every position of a signal, an image or a volume."""

    def __init__(self, axes: int) -> None:
        super().__init__()
        self.conv = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[axes - 1](3, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).tanh() * 3


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_regions_and_positions_may_differ_from_image_to_image(axes: int) -> None:
    net, x = seeded(lambda: AnyDense(axes)), tensor(3, 3, *[6] * axes)
    masks = tensor(3, *[6] * axes, seed=3) > 0
    model = cs.Model(net, labels=LABELS)
    single = [cs.saliency(model, x[i : i + 1], target=cs.Region("hen", masks[i])) for i in range(3)]
    for target in (cs.Region("hen", masks), [cs.Region("hen", mask) for mask in masks]):
        for attribution, expected_attribution in zip(listed(cs.saliency(model, x, target=target)), single, strict=True):
            torch.testing.assert_close(attribution.values, expected_attribution.values)
    positions = [("hen", *[i] * axes) for i in range(3)]
    attributions = cs.saliency(model, x, target=positions)
    expected = gradient(lambda n, t: torch.stack([n(t)[(i, 3, *[i] * axes)] for i in range(3)]), x, net)
    torch.testing.assert_close(torch.stack([tensor_in(attribution.channels) for attribution in attributions]), expected)
    assert attributions[1].target == f"hen at {', '.join(['1'] * axes)}"
    assert bool(cs.rise(model, x, target=cs.Region("hen", masks), samples=8)[2].values.any())
    for invalid in ([("hen", *[9] * axes)] * 3, [("hen", *[-1] * axes)] * 3, [()] * 3, cs.Region("hen", masks[:2])):
        with pytest.raises(ConvScopeError, match=r"no position|\(class, row, column, …\)|one for each of the 3 images"):
            cs.saliency(model, x, target=invalid)
