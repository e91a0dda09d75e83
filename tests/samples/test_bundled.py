"""What is known of the bundled networks: every one has samples, and all surfaces offer it."""

import pytest

import convscope as cs
from convscope.cli.demo import INPUTS
from convscope.request import Request
from convscope.samples.bundled import NAMES, sample_of
from convscope.spec import SAMPLES


def test_every_network_has_samples_that_it_takes() -> None:
    assert sorted(name for spec in SAMPLES.values() for name in spec.networks) == sorted(NAMES)
    for name in NAMES:
        model, address = cs.load(f"bundled:{name}"), f"sample:{sample_of(name)}/1"
        assert len(Request("predict", {"model": model.source, "image": address}).run().record.input) > 0
        assert model.input.kind == SAMPLES.find(sample_of(name)).kind


def test_the_demo_and_the_workbench_offer_every_network_and_its_samples() -> None:
    app = pytest.importorskip("convscope.web.server.app")
    assert set(INPUTS) == set(NAMES)
    assert sorted(app.MODELS) == sorted(f"bundled:{name}" for name in NAMES)
    for name in NAMES:
        assert f"sample:{sample_of(name)}/1" in app.SAMPLES
        assert all(address.startswith(f"sample:{sample_of(name)}/") for address in INPUTS[name])
