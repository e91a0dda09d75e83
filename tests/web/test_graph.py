"""The graph of a network: fold states, layout, facts of layers."""

import xml.etree.ElementTree as ET

import pytest

import convscope as cs
from convscope.values import Structure
from convscope.web.pages.inside.network_graph import FoldState, GraphView, initial_depth, layer_facts, max_depth


@pytest.fixture(scope="module")
def structure() -> Structure:
    return cs.structure(cs.load("bundled:shapes"))


def names(graph: GraphView) -> list[str]:
    return [node.name for node in graph.graph.nodes]


def test_unfolding_one_module_leaves_the_others_folded(structure: Structure) -> None:
    folds = FoldState(1).open("layer2").open("layer2.1")
    inside = ["layer2.0", "layer2.1.conv1", "layer2.1.conv2", "sum"]
    assert names(GraphView(structure, folds)) == ["input", "conv1", "layer1", *inside, "layer3", "avgpool", "fc"]
    assert names(GraphView(structure, folds.fold("layer2"))) == names(GraphView(structure, FoldState(1)))


def test_folding_one_module_leaves_the_others_unfolded(structure: Structure) -> None:
    graph = GraphView(structure, FoldState(2).fold("layer2"))
    assert names(graph)[1:6] == ["conv1", "layer1.0", "layer1.1", "layer2", "layer3.0"]
    assert structure.folded(2, closed=["layer2"]).nodes != structure.folded(2).nodes


def test_reveal_unfolds_the_ancestors(structure: Structure) -> None:
    graph = GraphView(structure, FoldState(1).reveal("layer2.0.bn1"))
    number = graph.node_of("layer2.0.bn1")
    assert number is not None
    assert graph.members(number) == ["layer2.0.conv1", "layer2.0.bn1", "layer2.0.relu"]
    assert graph.node_of("layer2") is None  # an open module is no node


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_nodes_do_not_overlap_and_svg_is_valid(structure: Structure, depth: int) -> None:
    graph = GraphView(structure, FoldState(depth))
    svg = ET.fromstring(graph.svg("conv1", str))
    rectangles = [element.attrib for element in svg.iter("rect") if element.get("class") in ("body", "pill")]
    boxes = [tuple(float(box[side]) for side in ("x", "y", "width", "height")) for box in rectangles]
    assert len(boxes) == len(graph.graph.nodes)
    for n, (x, y, width, height) in enumerate(boxes):
        assert 0 <= x <= graph.width - width
        assert 0 <= y <= graph.height - height
        for left, top, *_ in boxes[n + 1 :]:
            assert abs(left - x) >= min(width, 200) or abs(top - y) >= height
    assert [element.get("aria-pressed") for element in svg.iter("g")].count("true") == 1


def test_names_are_escaped() -> None:
    import torch

    net = torch.nn.Sequential()
    net.add_module('a"<b>&', torch.nn.Conv2d(1, 2, 3))
    svg = GraphView(cs.structure(cs.Model(net, input=cs.ImageInput(size=8, channels=1))), FoldState(1)).svg("", str)
    assert any('a"<b>&' in (element.text or "") for element in ET.fromstring(svg).iter("title"))


def test_initial_depth(structure: Structure) -> None:
    assert max_depth(structure) == 4
    assert initial_depth(structure) == 2


def test_layer_facts(structure: Structure) -> None:
    facts = {name: value for name, value, _ in layer_facts(structure, "layer2")}
    assert facts["Output"] == "48×24×24"
    assert facts["Receptive field"] == "49×49"
    assert facts["Stride"] == "4"


@pytest.mark.parametrize("unit", ["layer2[5, 3, 3]", "conv1[5, 20, 0]", "layer3.1.conv2[2, 11, 11]"])
def test_receptive_field_matches_the_measured_one(structure: Structure, unit: str) -> None:
    field = cs.receptive_field(cs.load("bundled:shapes"), "sample:shapes/7", unit=unit)
    layer = unit.partition("[")[0]
    assert structure.module(layer).box(field.position, (96, 96)) == field.box
