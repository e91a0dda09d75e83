"""The API refuses what the command line refuses, with the same message except for the spelling of parameters."""

from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from convscope.cli import app
from convscope.cli.error_wording import to_shell_syntax
from convscope.web.api import API_PREFIX

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


def by_the_command_line(lens: str, arguments: dict[str, Any], images: bool) -> tuple[int, str]:
    """The exit status and the error message."""
    words = [lens, *(["sample:shapes/7"] if images else []), "--model", "bundled:shapes"]
    for name in ("layer", "unit"):
        words += [word for value in arguments.get(name, []) for word in (f"--{name}", value)]
    words += ["--target", arguments["target"]] if "target" in arguments else []
    words += [w for n, v in arguments.get("parameters", {}).items() for w in (f"--{n.replace('_', '-')}", str(v))]
    done = CliRunner().invoke(app(words), words, env={"COLUMNS": "400"})
    assert "Traceback" not in done.output
    return done.exit_code, done.stderr.strip().splitlines()[-1].removeprefix("convscope: ")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in a temporary folder, in case a request is not refused and writes its picture."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("lens", "arguments"), BAD, ids=[f"{lens} {n}" for n, (lens, _) in enumerate(BAD)])
def test_api_and_command_line_refuse_alike(client: TestClient, lens: str, arguments: dict[str, Any]) -> None:
    alone = lens in ("kernels", "activation-maximization")
    status, sentence = by_the_command_line(lens, arguments, images=not alone)
    body = {"lens": lens, "model": "bundled:shapes", **({} if alone else {"image": "sample:shapes/7"}), **arguments}
    response = client.post(f"{API_PREFIX}/run", params={"wait": 30}, json=body)
    assert status == 2, sentence
    assert 400 <= response.status_code < 500
    names = {name.replace("-", "_") for name in ("layer", "target", "unit", *arguments.get("parameters", {}))}
    assert to_shell_syntax(response.json()["error"], names) == sentence


@pytest.mark.parametrize(
    ("lens", "arguments", "name"),
    [("grad-cm", {}, "grad-cm"), ("lrp", {"parameters": {"composite": "bogus"}}, "epsilon-plus-flat")],
)
def test_api_refuses_what_the_option_parser_refuses(
    client: TestClient, lens: str, arguments: dict[str, Any], name: str
) -> None:
    """Unknown commands and choices are refused by the option parser, with its own message."""
    status, _ = by_the_command_line(lens, arguments, images=True)
    response = client.post(
        f"{API_PREFIX}/run", params={"wait": 30}, json={"lens": lens, "image": "sample:shapes/7", **arguments}
    )
    assert status == 2
    assert 400 <= response.status_code < 500
    assert name in response.json()["error"]
