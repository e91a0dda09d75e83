"""The inputs that excite a unit most, a second time: every activation kept and sorted; what a position sees, tried."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import convscope as cs
from convscope.engine.graph import recorded
from convscope.engine.layers.receptive_fields import fields_of
from convscope.engine.layers.trace import layout_of
from convscope.errors import InputError, LayerError, NotFinite, ParameterError, UnknownName
from tests.nets import SIDE, PlainNet, ResidualNet, seeded


def top_inputs(net: nn.Module, layer: str, x: Tensor, k: int, by: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values, places and flat positions (k, channels), in float64, from a stable sort of everything."""
    seen: list[Tensor] = []
    net = copy.deepcopy(net).double()
    net.get_submodule(layer).register_forward_hook(lambda m, i, o: seen.append(o.detach().clone()))
    with torch.no_grad():
        net(x.double())
    maps = seen[-1].reshape(*seen[-1].shape[:2], -1).numpy()
    scores = maps.max(2) if by == "max" else maps.mean(2)
    order = np.argsort(-scores, axis=0, kind="stable")[:k]
    at = maps.argmax(2)
    return np.take_along_axis(scores, order, 0), order, np.take_along_axis(at, order, 0)


def inputs(count: int = 150, axes: int = 2) -> Tensor:
    shape = {1: (3, 40), 2: (3, SIDE, SIDE), 3: (3, 6, 8, 10)}[axes]
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("by", ["max", "mean"])
@pytest.mark.parametrize("layer", ["features.0", "features.2", "head"])
@pytest.mark.parametrize("axes", [1, 2, 3])
def test_the_best_inputs_are_those_of_a_sort_of_everything(layer: str, by: str, axes: int) -> None:
    net, x = seeded(PlainNet, axes), inputs(axes=axes)
    values, places, positions = top_inputs(net, layer, x, 4, by)
    found = cs.top_inputs(net, x, unit=layer, k=4, by=by, show=100)
    np.testing.assert_allclose(found.values[layer], values, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(found.places[layer], places)
    grid = {"features.0": x.shape[2:], "features.2": tuple(-(-side // 2) for side in x.shape[2:]), "head": (1,)}[layer]
    for one in found.units:
        unit = int(one.unit.rpartition("[")[2][:-1])
        assert [e.place for e in one.exemplars] == places[:, unit].tolist()
        if by == "max":
            assert [np.ravel_multi_index(e.position, grid) for e in one.exemplars] == positions[:, unit].tolist()
        else:
            assert {(e.position, e.box) for e in one.exemplars} == {((), ())}


def test_a_stream_in_small_parts_gives_the_same(model: cs.Model) -> None:
    whole = cs.top_inputs(model, inputs(), unit="features.2[3]", k=5)
    parts = cs.top_inputs(model, iter(inputs().split(4)), unit="features.2[3]", k=5)
    assert [(e.place, e.position, e.box) for e in parts["features.2[3]"]] == [
        (e.place, e.position, e.box) for e in whole["features.2[3]"]
    ]
    for place, photo in whole.photos.items():
        np.testing.assert_array_equal(parts.photos[place], photo)


@pytest.mark.parametrize("layer", ["features.0", "features.1", "features.2", "features.3"])
def test_a_box_is_what_kernels_and_strides_say(layer: str, model: cs.Model) -> None:
    """3×3 behind 3×3 with a stride of two: position p sees 2p − 2 … 2p + 2; cut at the borders of the input."""
    step, reach = (1, 1) if layer in ("features.0", "features.1") else (2, 2)
    side = SIDE // step
    positions = [0, 3, side + 1, side * side - 1, side * (side // 2) + 5]
    with model.untouched():
        found = fields_of(recorded(model, inputs(1)), layer, layout_of(model, layer, inputs(1)), positions)
    for position, box in zip(positions, found, strict=True):
        for place, ends in zip(divmod(position, side), box, strict=True):
            assert ends == (max(0, step * place - reach), min(SIDE, step * place + reach + 1))


def test_nothing_outside_the_box_matters_and_its_border_does() -> None:
    net = seeded(ResidualNet)
    x = inputs()
    found = cs.top_inputs(net, x, unit="relu", k=3, show=6)
    for one in found.units:
        unit = int(one.unit.rpartition("[")[2][:-1])
        for exemplar in one.exemplars:
            noise = inputs(151)[150]
            rows, columns = (slice(*ends) for ends in exemplar.box)
            outside = noise.clone()
            outside[:, rows, columns] = x[exemplar.place][:, rows, columns]
            assert at(net, outside)[(unit, *exemplar.position)] == pytest.approx(exemplar.value, rel=1e-5)
            inside = x[exemplar.place].clone()
            inside[:, rows, columns][:, [0, -1]] = noise[:, rows, columns][:, [0, -1]]
            before, after = (at(net, one)[(slice(None), *exemplar.position)] for one in (x[exemplar.place], inside))
            assert not torch.equal(before, after)


def at(net: nn.Module, x: Tensor) -> Tensor:
    """What the last ReLU gives."""
    seen: list[Tensor] = []
    handle = net.relu.register_forward_hook(lambda m, i, o: seen.append(o.detach().clone()))
    with torch.no_grad():
        net(x[None])
    handle.remove()
    return seen[-1][0]


def test_what_sees_everything_has_the_whole_input_for_its_box(model: cs.Model) -> None:
    found = cs.top_inputs(model, inputs(), unit="head[1]", k=2)
    assert {e.box for e in found["head[1]"]} == {((0, SIDE), (0, SIDE))}


def test_crops_are_cut_from_the_picture_as_people_see_it(model: cs.Model, pictures: list[np.ndarray]) -> None:
    found = cs.top_inputs(model, pictures, unit="features.2[0]", k=3)
    for exemplar in found["features.2[0]"]:
        (top, bottom), (left, right) = exemplar.box
        np.testing.assert_array_equal(found.crop(exemplar), pictures[exemplar.place][top:bottom, left:right])


def test_of_a_whole_layer_the_units_with_the_largest_values_are_shown(model: cs.Model) -> None:
    found = cs.top_inputs(model, inputs(), unit="features.2", k=2, show=3)
    best = found.values["features.2"][0]
    assert [one.unit for one in found.units] == [f"features.2[{u}]" for u in best.argsort(descending=True)[:3].tolist()]
    assert "3 of 8 units" in found.notes["shown of features.2"]


def test_several_layers_share_one_pass(model: cs.Model) -> None:
    found = cs.top_inputs(model, inputs(), unit=["features.2[1]", "features.0[2]", cs.Unit("features.0", 3)], k=2)
    assert [one.unit for one in found.units] == ["features.2[1]", "features.0[2]", "features.0[3]"]
    extra = found.record.cost.forwards - 150
    assert extra <= 2 + 3  # one to see what runs, one to see what positions see, three for an image in company


def test_nothing_above_the_last_layer_asked_for_is_computed(model: cs.Model) -> None:
    ran: list[int] = []
    model.module.head.register_forward_hook(lambda *_: ran.append(1))
    with model.untouched():
        pass
    cs.top_inputs(model, inputs(), unit="features.0[1]", k=2)
    assert len(ran) == 3  # what runs, an image alone, and what positions see


def test_fewer_inputs_than_asked_for_is_said(model: cs.Model) -> None:
    found = cs.top_inputs(model, inputs(3), unit="features.0[1]", k=9)
    assert len(found["features.0[1]"]) == 3
    assert found.values["features.0"].shape == (3, 6)
    assert "there are 3" in found.notes["few images"]


def test_a_unit_that_is_silent_is_named(model: cs.Model) -> None:
    with torch.no_grad():
        model.module.features[2].bias[5] = -1e3
    found = cs.top_inputs(model, inputs(), unit="features.3", k=2, show=8)
    assert found.notes["never above zero"] == "features.3[5]"


@pytest.mark.parametrize(
    ("unit", "error", "said"),
    [
        ("features.2[8]", UnknownName, r"no unit features\.2\[8\]: 'features\.2' has units 0 to 7"),
        ("feature.2[1]", UnknownName, r"no layer 'feature\.2'.*did you mean 'features\.2'"),
        ("features.2[1, 0, 0]", ParameterError, "not a position of it"),
        ([], UnknownName, "no unit was named"),
        (7, UnknownName, "a unit is named as in"),
    ],
)
def test_units_that_do_not_exist_are_refused(unit: object, error: type[Exception], said: str, model: cs.Model) -> None:
    with pytest.raises(error, match=said):
        cs.top_inputs(model, inputs(4), unit=unit)


def test_a_unit_out_of_range_is_refused_before_the_data_are_walked_through(model: cs.Model) -> None:
    drawn: list[int] = []

    def pouring() -> object:
        for one in inputs(200):
            drawn.append(1)
            yield one

    with pytest.raises(UnknownName, match="no unit"):
        cs.top_inputs(model, pouring(), unit="features.2[99]")
    assert len(drawn) < 80


def test_a_layer_that_is_never_reached_or_has_no_finite_numbers_is_refused(model: cs.Model) -> None:
    model.module.unused = nn.Linear(2, 2)
    with pytest.raises(LayerError, match="'unused' was never reached"):
        cs.top_inputs(model, inputs(2), unit="unused")
    with torch.no_grad():
        model.module.features[0].bias[0] = float("nan")
    with pytest.raises(NotFinite, match=r"layer 'features\.2' gives NaN"):
        cs.top_inputs(model, inputs(2), unit="features.2")


def test_a_folder_is_searched_and_what_is_broken_is_told(tmp_path: Path, model: cs.Model, pictures) -> None:
    with pytest.raises(InputError, match="there is no picture in the folder"):
        cs.top_inputs(model, tmp_path, unit="features.0")
    for place, one in enumerate(pictures):
        (tmp_path / "bee").mkdir(exist_ok=True)
        Image.fromarray(one).save(tmp_path / f"bee/{place}.png")
    (tmp_path / "a.jpg").write_bytes(b"broken")
    found = cs.top_inputs(model, tmp_path, unit="features.2[1]", k=2)
    assert {(e.label, e.name.partition("/")[0]) for e in found["features.2[1]"]} == {("bee", "bee")}
    assert "a.jpg" in found.notes["skipped files"]
    assert found.images == 3


def test_saved_exemplars_come_back_and_are_drawn(tmp_path: Path, model: cs.Model, pictures) -> None:
    found = cs.top_inputs(model, pictures, unit="features.2", k=2, show=2)
    again = cs.Value.load(found.save(tmp_path / "e.npz"))
    assert again.units == found.units
    assert torch.equal(again.places["features.2"], found.places["features.2"])
    np.testing.assert_array_equal(again.crop(again.units[0].exemplars[0]), found.crop(found.units[0].exemplars[0]))
    for theme in ("light", "dark"):
        assert again.picture(theme=theme).pixels.shape[0] > 400
    assert found.units[0].unit in found.picture().alt


@pytest.mark.parametrize("axes", [1, 3])
def test_signals_and_volumes_are_drawn(axes: int) -> None:
    found = cs.top_inputs(seeded(PlainNet, axes), inputs(axes=axes), unit="features.2", k=2, show=2)
    assert found.picture().pixels.shape[0] > 300
    box = found.units[0].exemplars[0].box
    assert found.crop(found.units[0].exemplars[0]).shape[1:] == tuple(end - start for start, end in box)


def test_units_of_a_trained_network_are_excited_most_by_the_class_they_stand_for() -> None:
    """The score of a class is highest for pictures of that class: nine in ten of the best five."""
    model = cs.load("bundled:shapes")
    found = cs.top_inputs(model, "sample:shapes/0-99", unit="fc", k=5, show=10)
    right = [e.label == model.label(int(one.unit[3:-1])) for one in found.units for e in one.exemplars]
    assert len(right) == 50
    assert np.mean(right) > 0.9
