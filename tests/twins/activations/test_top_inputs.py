"""Top inputs computed a second time, step by step, and compared with the lens."""

import copy
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import convscope as cs
from convscope.engine.graph import record_graph
from convscope.engine.layers.layer_trace import layout_of
from convscope.engine.layers.receptive_fields import receptive_boxes
from convscope.errors import InputError, LayerError, NotFinite, ParameterError, UnknownName
from tests.nets import SIDE, PlainNet, ResidualNet, seeded
from tests.twins.binding import twin_of


@twin_of(cs.top_inputs)
def top_inputs(net: nn.Module, layer: str, x: Tensor, k: int, by: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values, input indices and flat positions (k, channels), in float64, by a stable sort of all inputs."""
    activations: list[Tensor] = []
    net = copy.deepcopy(net).double()
    net.get_submodule(layer).register_forward_hook(lambda _m, _i, output: activations.append(output.detach().clone()))
    with torch.no_grad():
        net(x.double())
    maps = activations[-1].reshape(*activations[-1].shape[:2], -1).numpy()
    scores = maps.max(2) if by == "max" else maps.mean(2)
    order = np.argsort(-scores, axis=0, kind="stable")[:k]
    positions = maps.argmax(2)
    return np.take_along_axis(scores, order, 0), order, np.take_along_axis(positions, order, 0)


def inputs(count: int = 150, axes: int = 2) -> Tensor:
    shape = {1: (3, 40), 2: (3, SIDE, SIDE), 3: (3, 6, 8, 10)}[axes]
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("by", ["max", "mean"])
@pytest.mark.parametrize("layer", ["features.0", "features.2", "head"])
@pytest.mark.parametrize("axes", [1, 2, 3])
def test_the_top_inputs_equal_those_of_a_full_sort(layer: str, by: Literal["max", "mean"], axes: int) -> None:
    net, x = seeded(PlainNet, axes), inputs(axes=axes)
    values, places, positions = top_inputs(net, layer, x, 4, by)
    exemplars = cs.top_inputs(net, x, unit=layer, k=4, by=by, show=100)
    np.testing.assert_allclose(exemplars.values[layer], values, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(exemplars.places[layer], places)
    grid = {"features.0": x.shape[2:], "features.2": tuple(-(-side // 2) for side in x.shape[2:]), "head": (1,)}[layer]
    for excited in exemplars.units:
        unit = int(excited.unit.rpartition("[")[2][:-1])
        assert [e.place for e in excited.exemplars] == places[:, unit].tolist()
        if by == "max":
            assert [np.ravel_multi_index(e.position, grid) for e in excited.exemplars] == positions[:, unit].tolist()
        else:
            assert {(e.position, e.box) for e in excited.exemplars} == {((), ())}


def test_a_stream_of_small_batches_gives_the_same_result(model: cs.Model) -> None:
    at_once = cs.top_inputs(model, inputs(), unit="features.2[3]", k=5)
    streamed = cs.top_inputs(model, iter(inputs().split(4)), unit="features.2[3]", k=5)
    assert [(e.place, e.position, e.box) for e in streamed["features.2[3]"]] == [
        (e.place, e.position, e.box) for e in at_once["features.2[3]"]
    ]
    for index, photo in at_once.photos.items():
        np.testing.assert_array_equal(streamed.photos[index], photo)


@pytest.mark.parametrize("layer", ["features.0", "features.1", "features.2", "features.3"])
def test_a_box_is_the_receptive_field_of_kernels_and_strides(layer: str, model: cs.Model) -> None:
    """3×3 after 3×3 with stride 2: position p depends on 2p − 2 … 2p + 2, clipped at the borders of the input."""
    stride, radius = (1, 1) if layer in ("features.0", "features.1") else (2, 2)
    side = SIDE // stride
    positions = [0, 3, side + 1, side * side - 1, side * (side // 2) + 5]
    with model.preserve_state():
        boxes = receptive_boxes(record_graph(model, inputs(1)), layer, layout_of(model, layer, inputs(1)), positions)
    for position, box in zip(positions, boxes, strict=True):
        for coordinate, interval in zip(divmod(position, side), box, strict=True):
            assert interval == (max(0, stride * coordinate - radius), min(SIDE, stride * coordinate + radius + 1))


def test_the_activation_depends_on_the_border_of_its_box_and_on_nothing_outside() -> None:
    net = seeded(ResidualNet)
    x = inputs()
    exemplars = cs.top_inputs(net, x, unit="relu", k=3, show=6)
    for excited in exemplars.units:
        unit = int(excited.unit.rpartition("[")[2][:-1])
        for exemplar in excited.exemplars:
            noise = inputs(151)[150]
            rows, columns = (slice(*interval) for interval in exemplar.box)
            outside = noise.clone()
            outside[:, rows, columns] = x[exemplar.place][:, rows, columns]
            assert activation_of(net, outside)[(unit, *exemplar.position)] == pytest.approx(exemplar.value, rel=1e-5)
            inside = x[exemplar.place].clone()
            inside[:, rows, columns][:, [0, -1]] = noise[:, rows, columns][:, [0, -1]]
            before, after = (
                activation_of(net, image)[(slice(None), *exemplar.position)] for image in (x[exemplar.place], inside)
            )
            assert not torch.equal(before, after)


def activation_of(net: nn.Module, x: Tensor) -> Tensor:
    """The output of the last ReLU."""
    calls: list[Tensor] = []
    handle = net.relu.register_forward_hook(lambda m, i, o: calls.append(o.detach().clone()))
    with torch.no_grad():
        net(x[None])
    handle.remove()
    return calls[-1][0]


def test_a_unit_of_the_head_has_the_whole_input_as_its_box(model: cs.Model) -> None:
    exemplars = cs.top_inputs(model, inputs(), unit="head[1]", k=2)
    assert {e.box for e in exemplars["head[1]"]} == {((0, SIDE), (0, SIDE))}


def test_crops_are_taken_from_the_displayed_image(model: cs.Model, pictures: list[np.ndarray]) -> None:
    exemplars = cs.top_inputs(model, pictures, unit="features.2[0]", k=3)
    for exemplar in exemplars["features.2[0]"]:
        (top, bottom), (left, right) = exemplar.box
        np.testing.assert_array_equal(exemplars.crop(exemplar), pictures[exemplar.place][top:bottom, left:right])


def test_for_a_whole_layer_the_units_with_the_largest_values_are_shown(model: cs.Model) -> None:
    exemplars = cs.top_inputs(model, inputs(), unit="features.2", k=2, show=3)
    best = exemplars.values["features.2"][0]
    assert [excited.unit for excited in exemplars.units] == [
        f"features.2[{u}]" for u in best.argsort(descending=True)[:3].tolist()
    ]
    assert "3 of 8 units" in exemplars.notes["shown of features.2"]


def test_several_layers_share_one_pass(model: cs.Model) -> None:
    exemplars = cs.top_inputs(model, inputs(), unit=["features.2[1]", "features.0[2]", cs.Unit("features.0", 3)], k=2)
    assert [excited.unit for excited in exemplars.units] == ["features.2[1]", "features.0[2]", "features.0[3]"]
    extra = exemplars.record.cost.forwards - 150
    assert extra <= 2 + 3  # one for the trace, one for receptive fields, three for the independence of images


def test_layers_after_the_last_requested_one_are_not_computed(model: cs.Model) -> None:
    calls: list[int] = []
    model.module.head.register_forward_hook(lambda *_: calls.append(1))
    with model.preserve_state():
        pass
    cs.top_inputs(model, inputs(), unit="features.0[1]", k=2)
    assert len(calls) == 3  # for the trace, for an image alone, and for receptive fields


def test_fewer_inputs_than_requested_are_noted(model: cs.Model) -> None:
    exemplars = cs.top_inputs(model, inputs(3), unit="features.0[1]", k=9)
    assert len(exemplars["features.0[1]"]) == 3
    assert exemplars.values["features.0"].shape == (3, 6)
    assert "there are only 3" in exemplars.notes["few images"]


def test_an_inactive_unit_is_noted(model: cs.Model) -> None:
    with torch.no_grad():
        model.module.features[2].bias[5] = -1e3
    exemplars = cs.top_inputs(model, inputs(), unit="features.3", k=2, show=8)
    assert exemplars.notes["never above zero"] == "features.3[5]"


@pytest.mark.parametrize(
    ("unit", "error", "message"),
    [
        ("features.2[8]", UnknownName, r"no unit features\.2\[8\]: 'features\.2' has units 0 to 7"),
        ("feature.2[1]", UnknownName, r"no layer 'feature\.2'.*did you mean 'features\.2'"),
        ("features.2[1, 0, 0]", ParameterError, "not a position of it"),
        ([], UnknownName, "no unit was named"),
        (7, UnknownName, "a unit is named as in"),
    ],
)
def test_units_that_do_not_exist_are_refused(
    unit: object, error: type[Exception], message: str, model: cs.Model
) -> None:
    with pytest.raises(error, match=message):
        cs.top_inputs(model, inputs(4), unit=unit)


def test_a_unit_out_of_range_is_refused_before_the_data_are_read(model: cs.Model) -> None:
    consumed: list[int] = []

    def stream() -> object:
        for image in inputs(200):
            consumed.append(1)
            yield image

    with pytest.raises(UnknownName, match="no unit"):
        cs.top_inputs(model, stream(), unit="features.2[99]")
    assert len(consumed) < 80


def test_an_unreached_layer_and_one_that_is_not_finite_are_refused(model: cs.Model) -> None:
    model.module.unused = nn.Linear(2, 2)
    with pytest.raises(LayerError, match="'unused' was never reached"):
        cs.top_inputs(model, inputs(2), unit="unused")
    with torch.no_grad():
        model.module.features[0].bias[0] = float("nan")
    with pytest.raises(NotFinite, match=r"layer 'features\.2' gives NaN"):
        cs.top_inputs(model, inputs(2), unit="features.2")


def test_a_folder_is_read_and_broken_files_are_noted(tmp_path: Path, model: cs.Model, pictures) -> None:
    with pytest.raises(InputError, match="there is no picture in the folder"):
        cs.top_inputs(model, tmp_path, unit="features.0")
    for number, image in enumerate(pictures):
        (tmp_path / "bee").mkdir(exist_ok=True)
        Image.fromarray(image).save(tmp_path / f"bee/{number}.png")
    (tmp_path / "a.jpg").write_bytes(b"broken")
    exemplars = cs.top_inputs(model, tmp_path, unit="features.2[1]", k=2)
    assert {(e.label, e.name.partition("/")[0]) for e in exemplars["features.2[1]"]} == {("bee", "bee")}
    assert "a.jpg" in exemplars.notes["skipped files"]
    assert exemplars.images == 3


def test_exemplars_can_be_saved_loaded_and_drawn(tmp_path: Path, model: cs.Model, pictures) -> None:
    exemplars = cs.top_inputs(model, pictures, unit="features.2", k=2, show=2)
    loaded = cs.Value.load(exemplars.save(tmp_path / "e.npz"))
    assert isinstance(loaded, cs.Exemplars)
    assert loaded.units == exemplars.units
    assert torch.equal(loaded.places["features.2"], exemplars.places["features.2"])
    np.testing.assert_array_equal(
        loaded.crop(loaded.units[0].exemplars[0]), exemplars.crop(exemplars.units[0].exemplars[0])
    )
    for theme in ("light", "dark"):
        assert loaded.picture(theme=theme).pixels.shape[0] > 400
    assert exemplars.units[0].unit in exemplars.picture().alt


@pytest.mark.parametrize("axes", [1, 3])
def test_signals_and_volumes_are_drawn(axes: int) -> None:
    exemplars = cs.top_inputs(seeded(PlainNet, axes), inputs(axes=axes), unit="features.2", k=2, show=2)
    assert exemplars.picture().pixels.shape[0] > 300
    box = exemplars.units[0].exemplars[0].box
    assert exemplars.crop(exemplars.units[0].exemplars[0]).shape[1:] == tuple(end - start for start, end in box)


@pytest.mark.slow
def test_class_units_of_a_trained_network_are_most_active_for_their_class() -> None:
    """At least nine in ten of the top five images for a class score belong to that class."""
    model = cs.load("bundled:shapes")
    exemplars = cs.top_inputs(model, "sample:shapes/0-99", unit="fc", k=5, show=10)
    correct = [
        e.label == model.label(int(excited.unit[3:-1])) for excited in exemplars.units for e in excited.exemplars
    ]
    assert len(correct) == 50
    assert np.mean(correct) > 0.9
