"""Values beyond a parameter's limit are refused before any work, for every numeric parameter of every lens.

Some hold several numbers in a text: ``sides="16x8"``.
"""

import re

import pytest
from fastapi.testclient import TestClient

from convscope.catalogue import lenses
from convscope.web.api import API_PREFIX
from convscope.web.requests.services import Services

NUMERIC = [
    (spec.command, name, parameter.about.max)
    for spec in lenses()
    for name, parameter in spec.options.items()
    if parameter.kind in (int, float) and parameter.about.max is not None
]

JOINED = [
    (spec.command, name, parameter.about)
    for spec in lenses()
    for name, parameter in spec.options.items()
    if parameter.about.joined
]
NUMBERS = re.compile(r"\d+(\s*[x×,;:/ ]\s*\d+)+")
"""Several integers in a row."""
ROWS = {("convolve", "matrix"), ("convolve", "kernel")}
"""Matrices with numbers of any size, of which the lens only adds up a few."""


def test_values_beyond_limits_are_refused_before_a_job_starts(
    client: TestClient, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    def started(*_: object, **__: object) -> None:
        raise AssertionError("a job was started")

    monkeypatch.setattr(services.jobs, "submit", started)
    assert len(NUMERIC) > 100
    for lens, name, limit in NUMERIC:
        body = {"lens": lens, "image": "sample:shapes/7", "parameters": {name: 10**8 + int(limit)}}
        answer = client.post(f"{API_PREFIX}/run", json=body)
        assert answer.status_code == 422, (lens, name, answer.text)
        assert name in answer.json()["error"], (lens, name)


def test_every_integer_parameter_has_a_limit() -> None:
    boundless = [
        (spec.command, name)
        for spec in lenses()
        for name, parameter in spec.options.items()
        if parameter.kind is int and parameter.about.max is None
    ]
    assert not boundless


def test_numbers_in_texts_beyond_limits_are_refused_before_a_job_starts(
    client: TestClient, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    def started(*_: object, **__: object) -> None:
        raise AssertionError("a job was started")

    monkeypatch.setattr(services.jobs, "submit", started)
    assert len(JOINED) >= 4
    for lens, name, about in JOINED:
        for text in (
            f"100000000{about.joined}8",
            f"8{about.joined}100000000",
            f"8{about.joined}-1",
            "9" * 5000,
            "many",
        ):
            body = {"lens": lens, "image": "sample:shapes/7", "parameters": {name: text}}
            answer = client.post(f"{API_PREFIX}/run", json=body)
            assert answer.status_code == 422, (lens, name, text, answer.text)
            assert f"{name} must be whole numbers, each {about.range()}" in answer.json()["error"]


def test_texts_of_numbers_are_declared_as_such() -> None:
    """Whether a default, or an example in the help text, contains several numbers."""
    silent = [
        (spec.command, name)
        for spec in lenses()
        for name, parameter in spec.options.items()
        if parameter.kind is str and not parameter.about.joined and (spec.command, name) not in ROWS
        if NUMBERS.search(f"{parameter.default} {parameter.about.help}")
    ]
    assert not silent
