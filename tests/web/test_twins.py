"""Two jobs on one network: each has a twin of it, so that a map does not wait for a drawing."""

import threading

import torch
from torch import nn

import convscope as cs
from convscope.engine.context.metering import reporting
from convscope.web.assets import Library, twins
from convscope.web.jobs.workers import Jobs
from convscope.web.run_request import look
from convscope.web.url_state import View
from tests.patience import PATIENCE


def test_twins_share_weights_and_nothing_else() -> None:
    model = cs.load("bundled:digits")
    twin = twins(model)[0]
    for own, other in zip(model.module.parameters(), twin.module.parameters(), strict=True):
        assert own is not other
        assert own.data_ptr() == other.data_ptr()
    assert not set(map(id, model.module.modules())) & set(map(id, twin.module.modules()))
    a, b = (cs.saliency(one, "sample:digits/3").values for one in (model, twin))
    assert torch.equal(a, b)


def test_what_cannot_be_copied_is_shared() -> None:
    class Stubborn(nn.Linear):
        def __deepcopy__(self, memo: object) -> "Stubborn":
            raise TypeError("no")

    assert twins(cs.Model(Stubborn(2, 2))) == []


def test_a_map_does_not_wait_for_a_drawing() -> None:
    library, jobs = Library(["bundled:shapes"], samples=["sample:shapes/7"]), Jobs()
    view = View(lens="feature-maps", image="sample:shapes/7", layer=("layer3.1",))
    look(library, view)
    drawing = View(lens="activation-maximization", unit=("layer3.1[5]",), parameters={"steps": 4})
    begun, ended = threading.Event(), threading.Event()

    def held(done: int, _total: int) -> None:
        if done:
            begun.set()
            assert ended.wait(PATIENCE)

    def draw() -> cs.Value:
        with reporting(held):
            return look(library, drawing)

    job = jobs.submit("drawing", draw, long=True)
    assert begun.wait(PATIENCE)
    look(library, view.but(layer=("layer2.1",)))  # while the drawing holds its network in the middle of a step
    assert not job.over
    ended.set()
    assert job.finished.wait(PATIENCE)
    jobs.close()
