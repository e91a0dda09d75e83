"""The network that answers from a watermark, in words and as a picture; and objects that lie in a corner by chance."""

import numpy as np

import convscope as cs
from convscope.samples import shapes
from convscope.training.checks.network_evidence import NetworkEvidence
from convscope.training.checks.shortcut import shortcut


def test_a_newcomer_is_told_that_the_network_looks_at_the_watermark() -> None:
    images = "sample:shapes-shortcut/0-59"
    (finding,) = cs.diagnose(cs.load("bundled:shapes-shortcut"), images, checks=["shortcut"]).findings
    assert (finding.severity, finding.place) == ("error", "star")
    assert finding.evidence.startswith("the network looks at the lower left corner when it answers 'star'")
    assert "of the images of other classes are called 'star' once they have this place" in finding.evidence
    assert float(str(finding.evidence.parameters["gained"]).rstrip("%")) > 90
    assert "watermark" in finding.cause
    assert finding.picture is not None
    assert "star" in finding.picture().alt
    assert not cs.diagnose(cs.load("bundled:shapes"), images, checks=["shortcut"]).findings


def test_objects_that_lie_in_a_corner_in_most_images_are_no_shortcut() -> None:
    """Of five hearts four lie at the lower left: copied, they are hearts elsewhere too."""
    hearts = [shapes.scene(seed) for seed in range(6, 900, 10)]
    in_corner = [scene for scene in hearts if center_of(scene)[0] > 58 and center_of(scene)[1] < 38]
    elsewhere = next(scene for scene in hearts if center_of(scene)[0] < 35 and center_of(scene)[1] > 60)
    others = [shapes.scene(seed) for seed in range(20) if seed % 10 != 6]
    scenes = [*in_corner[:4], elsewhere, *others]
    assert len(in_corner) >= 4
    network = NetworkEvidence(cs.load("bundled:shapes"), [scene.image for scene in scenes])
    assert network.answer_maps is not None
    assert int((network.answer_maps.answers == 6).sum()) == 5
    assert shortcut.run(network) == []


def center_of(scene: shapes.Scene) -> tuple[float, float]:
    row, column = np.argwhere(scene.mask).mean(0)
    return float(row), float(column)
