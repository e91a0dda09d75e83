"""The HTTP API: the same numbers and the same refusals as Python, and what its schema says."""

import io
import json

import jsonschema_rs
import numpy as np
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from PIL import Image
from schemathesis.specs.openapi import checks

import convscope as cs
from convscope.catalogue import call, lenses
from convscope.errors import ConvScopeError
from convscope.values import Value
from convscope.web.api import AT
from convscope.web.app import MODELS, SAMPLES, build
from convscope.web.assets import Library
from convscope.web.run_request import together
from convscope.web.services import Bench
from convscope.web.url_state import View
from tests.patience import wait_until
from tests.web.library import png


def run(client, *, wait=30, **asked):
    return client.post(f"{AT}/run", params={"wait": wait}, json=asked)


SAME = [
    {"lens": "grad-cam", "image": "sample:shapes/7"},
    {"lens": "grad-cam", "image": "sample:shapes/7", "target": "star", "layer": ["layer2"]},
    {"lens": "integrated-gradients", "image": "sample:shapes/3", "parameters": {"steps": 8}},
    {"lens": "predict", "image": "sample:digits/3", "model": "bundled:digits"},
    {"lens": "structure", "model": "bundled:digits"},
]


@pytest.mark.parametrize("asked", SAME, ids=[one["lens"] for one in SAME])
def test_the_numbers_are_those_of_python(client, tmp_path, asked):
    told = run(client, **asked).json()
    assert told["state"] == "done"
    path = tmp_path / "value.npz"
    path.write_bytes(client.get(told["results"]["npz"]).content)
    found = Value.load(path)
    given = {"model": cs.load(asked.get("model", "bundled:shapes")), **asked.get("parameters", {})}
    given |= {name: asked[name] for name in ("image", "target", "layer") if name in asked}
    expected = call(asked["lens"], **given)
    assert type(found) is type(expected)
    for name in expected.arrays:
        ours, theirs = getattr(expected, name), getattr(found, name)
        if isinstance(ours, dict):
            assert ours.keys() == theirs.keys()
            assert all(np.array_equal(np.asarray(ours[key]), theirs[key]) for key in ours)
        elif ours is not None:
            np.testing.assert_array_equal(np.asarray(ours), theirs)
    manifest = client.get(told["results"]["json"]).json()
    assert manifest["record"]["parameters"] == json.loads(json.dumps(expected.manifest()["record"]["parameters"]))
    picture = client.get(told["results"]["png"], params={"theme": "dark"})
    assert picture.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(picture.content)).width > 100


def test_a_result_is_had_in_one_request(client, tmp_path):
    asked = {"lens": "grad-cam", "image": "sample:shapes/7"}
    npz = client.post(f"{AT}/run", params={"wait": 30, "give": "npz"}, json=asked)
    assert npz.status_code == 200
    (tmp_path / "value.npz").write_bytes(npz.content)
    expected = cs.grad_cam(cs.load("bundled:shapes"), "sample:shapes/7")
    np.testing.assert_array_equal(Value.load(tmp_path / "value.npz").values, expected.values)
    png = client.post(f"{AT}/run", params={"wait": 30, "give": "png"}, json=asked)
    assert png.headers["content-type"] == "image/png"


REFUSED = [
    {"lens": "grad-cm", "image": "sample:shapes/7"},
    {"lens": "grad-cam", "image": "sample:shapes/7", "target": "nothing"},
    {"lens": "grad-cam", "image": "sample:shapes/7", "target": "99"},
    {"lens": "grad-cam", "image": "sample:shapes/7", "layer": ["layer9"]},
    {"lens": "grad-cam", "image": "sample:shapes/7", "parameters": {"nothing": 1}},
    {"lens": "smooth-grad", "image": "sample:shapes/7", "parameters": {"samples": 0}},
    {"lens": "smooth-grad", "image": "sample:shapes/7", "parameters": {"samples": "many"}},
    {"lens": "lrp", "image": "sample:shapes/7", "parameters": {"rule": "none"}},
]


@pytest.mark.parametrize("asked", REFUSED, ids=range(len(REFUSED)))
def test_a_refusal_is_the_sentence_of_python(client, asked):
    given = {"model": cs.load("bundled:shapes"), "image": asked["image"], **asked.get("parameters", {})}
    given |= {name: asked[name] for name in ("target", "layer") if name in asked}
    with pytest.raises(ConvScopeError) as said:
        call(asked["lens"], **given)
    refused = run(client, **asked)
    assert 400 <= refused.status_code < 500
    assert refused.json() == {"error": str(said.value)}


@pytest.mark.parametrize("name", ["image", "model", "images", "layer", "guide", "differentiable", "rows"])
def test_no_input_comes_in_as_a_parameter(client, name):
    refused = run(client, lens="grad-cam", image="sample:shapes/7", parameters={name: "/etc/passwd"})
    assert refused.status_code == 422
    assert f"no parameter {name!r}" in refused.json()["error"]


@pytest.mark.parametrize("key", ["/etc/passwd", "folder:0/../../etc/passwd", "folder:0/link.png", "net.py", "upload:x"])
def test_no_file_outside_can_be_named(client, key):
    for field in ("image", "guide", "style"):
        lens = {"image": "grad-cam", "guide": "deep-dream", "style": "style"}[field]
        assert run(client, lens=lens, **{"image": "sample:shapes/7", field: key}).status_code in (404, 422)
    assert client.get(f"{AT}/images/{key}").status_code == 404
    assert client.get(f"{AT}/images/{key.replace('/', '%2F').replace('.', '%2E')}").status_code == 404


def test_images_looked_at_in_one_go_give_the_numbers_of_each(bench):
    views = [View(lens="grad-cam", image=f"sample:shapes/{n}", target="star") for n in range(4)]
    found = together(bench.library, views[0]).many(views)
    for view, value in zip(views, found, strict=True):
        alone = cs.grad_cam(cs.load("bundled:shapes"), view.image, target="star")
        assert value.record.input == alone.record.input
        np.testing.assert_allclose(value.values, alone.values, rtol=1e-4, atol=1e-6)
    assert together(bench.library, View(lens="structure")) is None
    assert together(bench.library, View(lens="deep-dream", image="sample:shapes/0")) is None


def test_what_is_missing_is_said(client):
    assert run(client, lens="grad-cam").json() == {"error": "grad-cam needs image: name one"}


def test_what_there_is(client):
    assert client.get(f"{AT}/models").json() == [{"model": one} for one in MODELS]
    layers = client.get(f"{AT}/layers", params={"model": "bundled:digits"}).json()
    assert [one["layer"] for one in layers] == [name for name, _ in cs.load("bundled:digits").module.named_modules()][
        1:
    ]
    assert client.get(f"{AT}/layers", params={"model": "torchvision:resnet18"}).status_code == 404
    told = {one["command"]: one for one in client.get(f"{AT}/lenses").json()}
    assert list(told) == [spec.command for spec in lenses()]
    steps = told["integrated-gradients"]["parameters"]["properties"]["steps"]
    assert steps["type"] == "integer"
    assert steps["minimum"] >= 1
    assert set(SAMPLES) < {one["image"] for one in client.get(f"{AT}/images").json()["images"]}


def test_every_default_fits_its_schema(client):
    for spec in client.get(f"{AT}/lenses").json():
        for name, schema in spec["parameters"]["properties"].items():
            fits = jsonschema_rs.validator_for(schema)
            if "default" in schema:
                assert fits.is_valid(schema["default"]), f"{spec['name']}.{name}"


def test_an_upload_can_be_looked_at(client):
    sent = client.post(f"{AT}/images", params={"name": "mine.png"}, content=png())
    assert sent.status_code == 201
    key = sent.json()["image"]
    assert client.get(f"{AT}/images").json()["images"][0] == {"image": key, "name": "mine.png"}
    assert Image.open(io.BytesIO(client.get(f"{AT}/images/{key}").content)).size == (40, 40)
    told = run(client, lens="grad-cam", image=key).json()
    assert told["state"] == "done"
    assert client.get(told["results"]["json"]).json()["record"]["input"] == "mine.png"
    assert client.post(f"{AT}/images", content=b"no image").status_code == 422
    assert client.post(f"{AT}/images").status_code == 422


def test_a_drawing_is_started_asked_after_and_stopped(client):
    told = run(client, wait=0, lens="activation-maximization", unit=["3"], parameters={"steps": 2000})
    assert told.status_code == 202
    where = f"{AT}/jobs/{told.json()['id']}"
    wait_until(lambda: client.get(where).json()["done"] >= 3)
    early = client.get(f"{where}/result.npz")
    assert early.status_code == 409
    assert "of 2000 steps" in early.json()["error"]
    assert client.delete(where).status_code == 200
    wait_until(lambda: client.get(where).json()["state"] != "running")
    assert client.get(where).json()["state"] == "done", "the best so far"
    assert client.get(f"{where}/result.png").status_code == 200


def test_stopping_by_the_api_leaves_a_page_its_picture(client, bench):
    asked = {"lens": "activation-maximization", "unit": ["3"], "parameters": {"steps": 2000}}
    id = run(client, wait=0, **asked).json()["id"]
    job = bench.jobs.get(id)
    bench.jobs.watch(job)
    assert run(client, wait=0, **asked).json()["id"] == id
    client.delete(f"{AT}/jobs/{id}")
    client.delete(f"{AT}/jobs/{id}")
    assert not job.stopping
    bench.jobs.leave(job)
    assert job.stopping


def test_a_job_of_nobody_is_not_known(client):
    for method, tail in (("GET", ""), ("DELETE", ""), ("GET", "/result.png")):
        assert client.request(method, f"{AT}/jobs/77{tail}").status_code == 404


def test_what_breaks_midway_is_said_as_500(client, bench, monkeypatch):
    monkeypatch.setattr("convscope.web.services.look", lambda *_: 1 / 0)
    broken = run(client, lens="grad-cam", image="sample:shapes/7")
    assert broken.status_code == 500
    assert broken.json() == {"error": "unexpected ZeroDivisionError: division by zero"}


HOST = {"host": "127.0.0.1"}
schema = schemathesis.openapi.from_asgi(
    f"{AT}/openapi.json", build(Bench(Library(MODELS, (), SAMPLES)), with_pages=False), headers=HOST
)


BEYOND = [
    checks.positive_data_acceptance,  # a schema cannot say which images and lenses there are
    checks.allow_header_conformance,  # the framework names one method where a place has two
]


@schema.parametrize()
@settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_whatever_is_sent_is_answered_as_the_schema_says(case):
    """No 5xx, no status and no shape that the schema does not tell."""
    case.call_and_validate(headers=HOST, excluded_checks=BEYOND)
