"""The graph that can be clicked: what is open, where nodes lie, what they can see."""

import xml.etree.ElementTree as ET

import pytest

import convscope as cs
from convscope.values import Structure
from convscope.web.graph import Folds, Graph, deepest, facts, first_depth


@pytest.fixture(scope="module")
def structure() -> Structure:
    return cs.structure(cs.load("bundled:shapes"))


def names(graph: Graph) -> list[str]:
    return [node.name for node in graph.graph.nodes]


def test_one_module_opens_and_the_others_stay_folded(structure: Structure) -> None:
    folds = Folds(1).open("layer2").open("layer2.1")
    inside = ["layer2.0", "layer2.1.conv1", "layer2.1.conv2", "sum"]
    assert names(Graph(structure, folds)) == ["input", "conv1", "layer1", *inside, "layer3", "avgpool", "fc"]
    assert names(Graph(structure, folds.fold("layer2"))) == names(Graph(structure, Folds(1)))


def test_one_module_folds_and_the_others_stay_open(structure: Structure) -> None:
    graph = Graph(structure, Folds(2).fold("layer2"))
    assert names(graph)[1:6] == ["conv1", "layer1.0", "layer1.1", "layer2", "layer3.0"]
    assert structure.folded(2, closed=["layer2"]).nodes != structure.folded(2).nodes


def test_an_address_is_brought_into_sight(structure: Structure) -> None:
    graph = Graph(structure, Folds(1).showing("layer2.0.bn1"))
    number = graph.node_of("layer2.0.bn1")
    assert number is not None
    assert graph.members(number) == ["layer2.0.conv1", "layer2.0.bn1", "layer2.0.relu"]
    assert graph.node_of("layer2") is None  # an open module is no node


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_nodes_do_not_overlap_and_the_drawing_is_sound(structure: Structure, depth: int) -> None:
    graph = Graph(structure, Folds(depth))
    drawn = ET.fromstring(graph.svg("conv1", str))
    boxes = [one.attrib for one in drawn.iter("rect") if one.get("class") in ("body", "pill")]
    places = [tuple(float(box[side]) for side in ("x", "y", "width", "height")) for box in boxes]
    assert len(places) == len(graph.graph.nodes)
    for n, (x, y, wide, tall) in enumerate(places):
        assert 0 <= x <= graph.width - wide
        assert 0 <= y <= graph.height - tall
        for left, top, *_ in places[n + 1 :]:
            assert abs(left - x) >= min(wide, 200) or abs(top - y) >= tall
    assert [one.get("aria-pressed") for one in drawn.iter("g")].count("true") == 1


def test_names_cannot_break_the_markup() -> None:
    import torch

    net = torch.nn.Sequential()
    net.add_module('a"<b>&', torch.nn.Conv2d(1, 2, 3))
    drawn = Graph(cs.structure(cs.Model(net, input=cs.ImageInput(size=8, channels=1))), Folds(1)).svg("", str)
    assert any('a"<b>&' in (one.text or "") for one in ET.fromstring(drawn).iter("title"))


def test_pages_begin_at_a_depth_that_is_readable(structure: Structure) -> None:
    assert deepest(structure) == 4
    assert first_depth(structure) == 2


def test_the_facts_of_a_module(structure: Structure) -> None:
    told = {name: what for name, what, _ in facts(structure, "layer2")}
    assert told["Output"] == "48×24×24"
    assert told["Sees"] == "49×49"
    assert told["Stride"] == "4"


@pytest.mark.parametrize("unit", ["layer2[5, 3, 3]", "conv1[5, 20, 0]", "layer3.1.conv2[2, 11, 11]"])
def test_what_a_place_can_see_is_what_moves_it(structure: Structure, unit: str) -> None:
    field = cs.receptive_field(cs.load("bundled:shapes"), "sample:shapes/7", unit=unit)
    layer = unit.partition("[")[0]
    assert structure.module(layer).box(field.position, (96, 96)) == field.box
