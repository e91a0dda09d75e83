"""The HTTP API: the same numbers and error messages as in Python, and conformance to its schema."""

import io
import json

import jsonschema_rs
import numpy as np
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image
from schemathesis import GenerationMode
from schemathesis.specs.openapi import checks

import convscope as cs
from convscope.catalogue import call, lenses
from convscope.errors import ConvScopeError
from convscope.values import Value
from convscope.web.api import API_PREFIX
from convscope.web.requests.models_and_images import Library
from convscope.web.requests.run_request import batch_spec
from convscope.web.requests.services import Services
from convscope.web.requests.url_state import View
from convscope.web.server.app import MODELS, SAMPLES, build
from tests.waiting import TIMEOUT, wait_for_progress
from tests.web.image_files import png


def run(client, *, wait=30, **body):
    return client.post(f"{API_PREFIX}/run", params={"wait": wait}, json=body)


SAME = [
    {"lens": "grad-cam", "image": "sample:shapes/7"},
    {"lens": "grad-cam", "image": "sample:shapes/7", "target": "star", "layer": ["layer2"]},
    {"lens": "integrated-gradients", "image": "sample:shapes/3", "parameters": {"steps": 8}},
    {"lens": "predict", "image": "sample:digits/3", "model": "bundled:digits"},
    {"lens": "structure", "model": "bundled:digits"},
]


@pytest.mark.parametrize("body", SAME, ids=[body["lens"] for body in SAME])
def test_api_gives_the_same_numbers_as_python(client, tmp_path, body):
    job = run(client, **body).json()
    assert job["state"] == "done"
    path = tmp_path / "value.npz"
    path.write_bytes(client.get(job["results"]["npz"]).content)
    values = Value.load(path)
    arguments = {"model": cs.load(body.get("model", "bundled:shapes")), **body.get("parameters", {})}
    arguments |= {name: body[name] for name in ("image", "target", "layer") if name in body}
    expected = call(body["lens"], **arguments)
    assert type(values) is type(expected)
    for name in expected.arrays:
        ours, theirs = getattr(expected, name), getattr(values, name)
        if isinstance(ours, dict):
            assert ours.keys() == theirs.keys()
            assert all(np.array_equal(np.asarray(ours[key]), theirs[key]) for key in ours)
        elif ours is not None:
            np.testing.assert_array_equal(np.asarray(ours), theirs)
    manifest = client.get(job["results"]["json"]).json()
    assert manifest["record"]["parameters"] == json.loads(json.dumps(expected.manifest()["record"]["parameters"]))
    picture = client.get(job["results"]["png"], params={"theme": "dark"})
    assert picture.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(picture.content)).width > 100


def test_result_in_one_request(client, tmp_path):
    body = {"lens": "grad-cam", "image": "sample:shapes/7"}
    npz = client.post(f"{API_PREFIX}/run", params={"wait": 30, "give": "npz"}, json=body)
    assert npz.status_code == 200
    (tmp_path / "value.npz").write_bytes(npz.content)
    expected = cs.grad_cam(cs.load("bundled:shapes"), "sample:shapes/7")
    value = Value.load(tmp_path / "value.npz")
    assert isinstance(value, cs.Attribution)
    np.testing.assert_array_equal(value.values, expected.values)
    png = client.post(f"{API_PREFIX}/run", params={"wait": 30, "give": "png"}, json=body)
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


@pytest.mark.parametrize("body", REFUSED, ids=range(len(REFUSED)))
def test_api_error_is_the_message_of_python(client, body):
    arguments = {"model": cs.load("bundled:shapes"), "image": body["image"], **body.get("parameters", {})}
    arguments |= {name: body[name] for name in ("target", "layer") if name in body}
    with pytest.raises(ConvScopeError) as python_error:
        call(body["lens"], **arguments)
    refused = run(client, **body)
    assert 400 <= refused.status_code < 500
    assert refused.json() == {"error": str(python_error.value)}


@pytest.mark.parametrize("name", ["image", "model", "images", "layer", "guide", "differentiable", "rows"])
def test_inputs_cannot_be_passed_as_parameters(client, name):
    refused = run(client, lens="grad-cam", image="sample:shapes/7", parameters={name: "/etc/passwd"})
    assert refused.status_code == 422
    assert f"no parameter {name!r}" in refused.json()["error"]


@pytest.mark.parametrize("key", ["/etc/passwd", "folder:0/../../etc/passwd", "folder:0/link.png", "net.py", "upload:x"])
def test_files_outside_the_library_cannot_be_named(client, key):
    for field in ("image", "guide", "style"):
        lens = {"image": "grad-cam", "guide": "deep-dream", "style": "style"}[field]
        assert run(client, lens=lens, **{"image": "sample:shapes/7", field: key}).status_code in (404, 422)
    assert client.get(f"{API_PREFIX}/images/{key}").status_code == 404
    assert client.get(f"{API_PREFIX}/images/{key.replace('/', '%2F').replace('.', '%2E')}").status_code == 404


def test_batched_images_give_the_same_numbers(services):
    views = [View(lens="grad-cam", image=f"sample:shapes/{n}", target="star") for n in range(4)]
    values = batch_spec(services.library, views[0]).run_batch(views)
    for view, value in zip(views, values, strict=True):
        alone = cs.grad_cam(cs.load("bundled:shapes"), view.image, target="star")
        assert value.record.input == alone.record.input
        np.testing.assert_allclose(value.values, alone.values, rtol=1e-4, atol=1e-6)
    assert batch_spec(services.library, View(lens="structure")) is None
    assert batch_spec(services.library, View(lens="deep-dream", image="sample:shapes/0")) is None


def test_missing_input_is_named(client):
    assert run(client, lens="grad-cam").json() == {"error": "grad-cam needs image: name one"}


def test_listing_routes(client):
    assert client.get(f"{API_PREFIX}/models").json() == [{"model": entry} for entry in MODELS]
    layers = client.get(f"{API_PREFIX}/layers", params={"model": "bundled:digits"}).json()
    assert [entry["layer"] for entry in layers] == [
        name for name, _ in cs.load("bundled:digits").module.named_modules()
    ][1:]
    assert client.get(f"{API_PREFIX}/layers", params={"model": "torchvision:resnet18"}).status_code == 404
    described = {entry["command"]: entry for entry in client.get(f"{API_PREFIX}/lenses").json()}
    assert list(described) == [spec.command for spec in lenses()]
    steps = described["integrated-gradients"]["parameters"]["properties"]["steps"]
    assert steps["type"] == "integer"
    assert steps["minimum"] >= 1
    assert set(SAMPLES) < {entry["image"] for entry in client.get(f"{API_PREFIX}/images").json()["images"]}


def test_every_default_matches_its_schema(client):
    for spec in client.get(f"{API_PREFIX}/lenses").json():
        for name, schema in spec["parameters"]["properties"].items():
            fits = jsonschema_rs.validator_for(schema)
            if "default" in schema:
                assert fits.is_valid(schema["default"]), f"{spec['name']}.{name}"


def test_uploaded_image_can_be_used(client):
    sent = client.post(f"{API_PREFIX}/images", params={"name": "mine.png"}, content=png())
    assert sent.status_code == 201
    key = sent.json()["image"]
    assert client.get(f"{API_PREFIX}/images").json()["images"][0] == {"image": key, "name": "mine.png"}
    assert Image.open(io.BytesIO(client.get(f"{API_PREFIX}/images/{key}").content)).size == (40, 40)
    job = run(client, lens="grad-cam", image=key).json()
    assert job["state"] == "done"
    assert client.get(job["results"]["json"]).json()["record"]["input"] == "mine.png"
    assert client.post(f"{API_PREFIX}/images", content=b"no image").status_code == 422
    assert client.post(f"{API_PREFIX}/images").status_code == 422


def test_long_job_is_started_queried_and_cancelled(client, services):
    response = run(client, wait=0, lens="activation-maximization", unit=["3"], parameters={"steps": 2000})
    assert response.status_code == 202
    url = f"{API_PREFIX}/jobs/{response.json()['id']}"
    job = services.jobs.get(response.json()["id"])
    wait_for_progress(job, lambda job: job.progress[0] >= 3)
    assert client.get(url).json()["done"] >= 3
    early = client.get(f"{url}/result.npz")
    assert early.status_code == 409
    assert "of 2000 steps" in early.json()["error"]
    assert client.delete(url).status_code == 200
    assert job.finished.wait(TIMEOUT)
    assert client.get(url).json()["state"] == "done", "the best so far"
    assert client.get(f"{url}/result.png").status_code == 200


def test_cancelling_by_the_api_leaves_a_watched_job_running(client, services):
    body = {"lens": "activation-maximization", "unit": ["3"], "parameters": {"steps": 2000}}
    id = run(client, wait=0, **body).json()["id"]
    job = services.jobs.get(id)
    services.jobs.watch(job)
    assert run(client, wait=0, **body).json()["id"] == id
    client.delete(f"{API_PREFIX}/jobs/{id}")
    client.delete(f"{API_PREFIX}/jobs/{id}")
    assert not job.stop_requested
    services.jobs.unwatch(job)
    assert job.stop_requested


def test_unknown_job_gives_404(client):
    for method, tail in (("GET", ""), ("DELETE", ""), ("GET", "/result.png")):
        assert client.request(method, f"{API_PREFIX}/jobs/77{tail}").status_code == 404


def test_unexpected_error_gives_500(client, services, monkeypatch):
    monkeypatch.setattr("convscope.web.requests.services.run_lens", lambda *_: 1 / 0)
    broken = run(client, lens="grad-cam", image="sample:shapes/7")
    assert broken.status_code == 500
    assert broken.json() == {"error": "unexpected ZeroDivisionError: division by zero"}


HOST = {"host": "127.0.0.1"}
BEYOND = [
    checks.positive_data_acceptance,  # a schema cannot say which images and lenses there are
    checks.allow_header_conformance,  # the framework names one method url a place has two
]


OPERATIONS = [
    f"{method.upper()} {path}"
    for path, methods in build(Services(Library(MODELS, (), SAMPLES)), with_pages=False).openapi()["paths"].items()
    for method in methods
]


@pytest.fixture(scope="module")
def schema():
    app = build(Services(Library(MODELS, (), SAMPLES)), with_pages=False)
    return schemathesis.openapi.from_asgi(f"{API_PREFIX}/openapi.json", app, headers=HOST)


@pytest.mark.slow
@pytest.mark.parametrize("operation", OPERATIONS)
def test_responses_match_the_schema(schema, operation):
    """No 5xx, and no status or body that the schema does not declare: at the limits of its values, and random ones.

    The requests are generated here, and not by a decorator when each worker collects the tests, which takes long.
    """
    operation = schema.find_operation_by_label(operation)
    modes = list(GenerationMode)
    config = schema.config.generation_for(operation=operation)
    for case in schema.iter_coverage_cases(operation, generation_modes=modes, generation_config=config):
        case.call_and_validate(headers=HOST, excluded_checks=BEYOND)

    @given(st.one_of([operation.as_strategy(mode) for mode in modes]))
    @settings(
        max_examples=20,
        deadline=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def check(case):
        case.call_and_validate(headers=HOST, excluded_checks=BEYOND)

    check()
