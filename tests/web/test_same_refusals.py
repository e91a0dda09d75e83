"""What the command line refuses, the API refuses with 4xx and the same sentence, but for how parameters are written."""

from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from convscope.cli import app
from convscope.cli.wording import in_options
from convscope.web.api import AT

pytest.importorskip("nicegui")

BAD: list[tuple[str, dict[str, Any]]] = [
    ("grad-cam", {"layer": ["layer9"]}),
    ("grad-cam", {"layer": [""]}),
    ("grad-cam", {"target": "sta"}),
    ("grad-cam", {"target": "99"}),
    ("grad-cam", {"target": "-1"}),
    ("grad-cam", {"target": "star - nothing"}),
    ("smooth-grad", {"parameters": {"samples": 0}}),
    ("smooth-grad", {"parameters": {"samples": 5000}}),
    ("smooth-grad", {"parameters": {"sigma": -1.0}}),
    ("smooth-grad", {"parameters": {"sigma": "nan"}}),
    ("integrated-gradients", {"parameters": {"steps": 0}}),
    ("occlusion", {"parameters": {"patch": 5000}}),
    ("occlusion", {"parameters": {"sides": "100000000x8"}}),
    ("occlusion", {"parameters": {"strides": "8x100000000"}}),
    ("lrp", {"parameters": {"rules": "nonsense"}}),
    ("step-through", {"unit": ["layer2[999]"]}),
    ("step-through", {"unit": ["layer9[1]"]}),
    ("feature-maps", {"layer": ["layer2.9"]}),
    ("kernels", {"layer": ["fc.nothing"]}),
    ("activation-maximization", {"unit": ["nonsense[["]}),
    ("activation-maximization", {"unit": ["layer2[999]"]}),
    ("activation-maximization", {"parameters": {"steps": 0}}),
    ("deep-dream", {"parameters": {"octaves": 0}}),
]


def by_the_command_line(lens: str, asked: dict[str, Any], images: bool) -> tuple[int, str]:
    """Exit status and the sentence."""
    words = [lens, *(["sample:shapes/7"] if images else []), "--model", "bundled:shapes"]
    for name in ("layer", "unit"):
        words += [word for one in asked.get(name, []) for word in (f"--{name}", one)]
    words += ["--target", asked["target"]] if "target" in asked else []
    words += [w for n, v in asked.get("parameters", {}).items() for w in (f"--{n.replace('_', '-')}", str(v))]
    done = CliRunner().invoke(app(words), words, env={"COLUMNS": "400"})
    assert "Traceback" not in done.output
    return done.exit_code, done.stderr.strip().splitlines()[-1].removeprefix("convscope: ")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Should a request not be refused, its picture is not written here."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("lens", "asked"), BAD, ids=[f"{lens} {n}" for n, (lens, _) in enumerate(BAD)])
def test_a_wrong_request_is_refused_alike(client: TestClient, lens: str, asked: dict[str, Any]) -> None:
    alone = lens in ("kernels", "activation-maximization")
    status, sentence = by_the_command_line(lens, asked, images=not alone)
    body = {"lens": lens, "model": "bundled:shapes", **({} if alone else {"image": "sample:shapes/7"}), **asked}
    told = client.post(f"{AT}/run", params={"wait": 30}, json=body)
    assert status == 2, sentence
    assert 400 <= told.status_code < 500
    names = {name.replace("-", "_") for name in ("layer", "target", "unit", *asked.get("parameters", {}))}
    assert in_options(told.json()["error"], names) == sentence


@pytest.mark.parametrize(
    ("lens", "asked", "named"),
    [("grad-cm", {}, "grad-cm"), ("lrp", {"parameters": {"composite": "bogus"}}, "epsilon-plus-flat")],
)
def test_what_the_shell_itself_refuses_is_refused_too(
    client: TestClient, lens: str, asked: dict[str, Any], named: str
) -> None:
    """Commands and choices are known to the parser of the shell, which says it in a box of its own."""
    status, _ = by_the_command_line(lens, asked, images=True)
    told = client.post(f"{AT}/run", params={"wait": 30}, json={"lens": lens, "image": "sample:shapes/7", **asked})
    assert status == 2
    assert 400 <= told.status_code < 500
    assert named in told.json()["error"]
