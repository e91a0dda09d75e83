"""A request is one value: equal on every surface, with a key, and run with what stands at its addresses."""

import io
import pickle

import numpy as np
import pytest
import torch
from PIL import Image

import convscope as cs
from convscope.catalogue import find
from convscope.cli.lens_command import lens_request
from convscope.engine.inputs.raw_input import RawInput
from convscope.errors import InputError, ParameterError, UnknownName
from convscope.reporting.reproduce import request_of
from convscope.request import Request
from convscope.spec import INPUT_KINDS
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


def test_an_upload_in_place_of_a_data_set_is_read_as_the_network_takes_it() -> None:
    library = Library([MODEL])
    file = io.BytesIO()
    Image.fromarray(np.zeros((8, 9, 3), np.uint8)).save(file, "PNG")
    key = library.upload("a.png", file.getvalue())
    opener, bands = run_request.LibraryOpener(library), cs.BandsInput(shape=(3, 8, 9))
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(216, 2, device="cpu", dtype=torch.float32))
    for model, kind in ((cs.Model(network, input=bands), RawInput), (cs.load(MODEL), Image.Image)):
        assert isinstance(opener.image(INPUT_KINDS["image"], key, model), kind)
        assert isinstance(opener.data(INPUT_KINDS["images"], (key,), model), kind)
