"""Two jobs on one network: each has a twin of it, so that a map does not wait for a drawing."""

import time

import torch
from torch import nn

import convscope as cs
from convscope.web.jobs.workers import Jobs
from convscope.web.library import Library, twins
from convscope.web.looking import look
from convscope.web.view import View


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
    drawing = View(lens="activation-maximization", unit=("layer3.1[5]",), parameters={"steps": 2048})
    job = jobs.submit("drawing", lambda: look(library, drawing), long=True)
    while not job.scores and not job.over:
        time.sleep(0.01)
    look(library, view.but(layer=("layer2.1",)))
    assert not job.over
    job.cancel()
    assert job.finished.wait(20)
    jobs.close()
