"""Two jobs on one network: each has its own replica, so that a map does not wait for a drawing."""

import threading

import torch
from torch import nn

import convscope as cs
from convscope.engine.context.metering import reporting
from convscope.web.jobs.workers import JobManager
from convscope.web.requests.models_and_images import Library, replicas
from convscope.web.requests.run_request import run_lens
from convscope.web.requests.url_state import View
from tests.waiting import TIMEOUT


def test_replicas_share_weights_only() -> None:
    model = cs.load("bundled:digits")
    twin = replicas(model)[0]
    for own, other in zip(model.module.parameters(), twin.module.parameters(), strict=True):
        assert own is not other
        assert own.data_ptr() == other.data_ptr()
    assert not set(map(id, model.module.modules())) & set(map(id, twin.module.modules()))
    a, b = (cs.saliency(copy, "sample:digits/3").values for copy in (model, twin))
    assert torch.equal(a, b)


def test_uncopyable_network_has_no_replicas() -> None:
    class Stubborn(nn.Linear):
        def __deepcopy__(self, memo: object) -> "Stubborn":
            raise TypeError("no")

    assert replicas(cs.Model(Stubborn(2, 2))) == []


def test_map_does_not_wait_for_a_drawing() -> None:
    library, jobs = Library(["bundled:shapes"], samples=["sample:shapes/7"]), JobManager()
    view = View(lens="feature-maps", image="sample:shapes/7", layer=("layer3.1",))
    run_lens(library, view)
    drawing = View(lens="activation-maximization", unit=("layer3.1[5]",), parameters={"steps": 4})
    begun, ended = threading.Event(), threading.Event()

    def held(done: int, _total: int) -> None:
        if done:
            begun.set()
            assert ended.wait(TIMEOUT)

    def draw() -> cs.Value:
        with reporting(held):
            return run_lens(library, drawing)

    job = jobs.submit("drawing", draw, long=True)
    assert begun.wait(TIMEOUT)
    run_lens(library, view.replace(layer=("layer2.1",)))  # while the drawing holds its network in the middle of a step
    assert not job.is_finished
    ended.set()
    assert job.finished.wait(TIMEOUT)
    jobs.close()
