"""Values beyond the limit of a parameter are refused at the door, for every numeric parameter of every lens."""

import pytest
from fastapi.testclient import TestClient

from convscope.catalogue import lenses
from convscope.web.api import AT
from convscope.web.bench import Bench

NUMERIC = [
    (spec.command, name, parameter.about.max)
    for spec in lenses()
    for name, parameter in spec.options.items()
    if parameter.kind in (int, float) and parameter.about.max is not None
]


def test_every_limit_is_refused_before_a_job_is_started(
    client: TestClient, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def started(*_: object, **__: object) -> None:
        raise AssertionError("a job was started")

    monkeypatch.setattr(bench.jobs, "submit", started)
    assert len(NUMERIC) > 100
    for lens, name, limit in NUMERIC:
        asked = {"lens": lens, "image": "sample:shapes/7", "parameters": {name: 10**8 + int(limit)}}
        answer = client.post(f"{AT}/run", json=asked)
        assert answer.status_code == 422, (lens, name, answer.text)
        assert name in answer.json()["error"], (lens, name)


def test_every_whole_number_has_a_limit() -> None:
    boundless = [
        (spec.command, name)
        for spec in lenses()
        for name, parameter in spec.options.items()
        if parameter.kind is int and parameter.about.max is None
    ]
    assert not boundless
