"""A request is one value: equal on every surface, with a key, and run with what stands at its addresses."""

import pickle

import pytest
import torch

import convscope as cs
from convscope.catalogue import find
from convscope.cli.lens_command import lens_request
from convscope.errors import InputError, ParameterError, UnknownName
from convscope.reporting.reproduce import request_of
from convscope.request import Request
from convscope.web.requests import run_request
from convscope.web.requests.models_and_images import Library
from convscope.web.requests.url_state import View

MODEL, IMAGE = "bundled:digits", "sample:digits/3"


def saliency(**changes: object) -> Request:
    return Request("saliency", {"model": MODEL, "image": IMAGE, **changes})


def test_a_request_gives_what_the_call_gives() -> None:
    value = Request("grad-cam", {"model": MODEL, "image": IMAGE, "layer": ("features",)}, {"relu": True}).run()
    expected = cs.grad_cam(cs.load(MODEL), IMAGE, layer="features", relu=True)
    assert torch.equal(value.values, expected.values)
    assert value.layers == ("features",)


def test_equal_requests_have_equal_keys_and_hashes() -> None:
    first = Request("grad-cam", {"model": MODEL, "layer": ["features"]}, {"relu": True, "smooth": 8})
    second = Request("grad_cam", {"layer": ("features",), "model": MODEL}, {"smooth": 8.0, "relu": True})
    assert first == second
    assert hash(first) == hash(second)
    assert pickle.loads(pickle.dumps(first)) == first
    others = [saliency(image="sample:digits/4"), saliency(target="4"), Request("saliency", model_options={"size": 8})]
    assert len({request.key for request in (saliency(), *others)}) == 4
    assert first != first.with_inputs(layer=("classifier",))


def test_the_command_line_and_a_page_make_the_same_request() -> None:
    library = Library([MODEL], samples=[IMAGE])
    view = View(lens="grad-cam", image=IMAGE, target="4", layer=("features",), parameters={"relu": "true"})
    arguments = {"model": MODEL, "image": IMAGE, "target": "4", "layer": ["features"], "relu": True, "smooth": None}
    command_line = lens_request(find("grad-cam"), {**arguments, "device": None, "trust": False})
    assert run_request.request_of(library, view) == command_line
    assert View.parse(view.query()) == view
    value = command_line.run()
    assert request_of(value.record) == command_line.with_inputs(target=4)


def test_what_cannot_be_run_is_refused() -> None:
    with pytest.raises(ParameterError, match=r"^saliency needs image: name one$"):
        Request("saliency", {"model": MODEL}).run()
    with pytest.raises(ParameterError, match=r"^saliency needs model and image: name them$"):
        Request("saliency").run()
    with pytest.raises(InputError, match=r"^image was an object in memory, which has no address"):
        saliency(image=None).run()
    with pytest.raises(UnknownName, match="no lens 'salience'; did you mean 'saliency'"):
        Request("salience").run()


def test_a_view_refuses_what_is_no_input() -> None:
    with pytest.raises(TypeError, match="a view has no input colour"):
        View(colour="red")
