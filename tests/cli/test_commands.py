"""The command line: every lens is a command with the same results as in Python; errors are one sentence."""

import json
import signal
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import convscope as cs
from convscope.cli import app
from convscope.samples.bundled import NAMES
from convscope.spec import FAMILIES
from tests.gated_network import GATED
from tests.lens_calls import assert_same

QUICK = {"steps": "4", "samples": "4"}
"""Small values for parameters that multiply the number of passes."""

SPECS = {spec.command: spec for spec in cs.lenses()}


def convscope(*words: str) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(app(list(words)), list(words))


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("command", SPECS)
def test_every_lens_is_a_command_with_the_same_result_as_in_python(command: str) -> None:
    spec = SPECS[command]
    options = {name: value for name, value in QUICK.items() if name in spec.parameters}
    options |= {name: "sample:digits/4" for name in ("guide", "style") if name in spec.required}
    options |= {"unit": "features.0[1]"} if "unit" in spec.required else {}
    bundled = "pairs" if "attention" in spec.needs else "digits"
    model = GATED if "gates" in spec.needs else f"bundled:{bundled}"
    options |= {"model": model} if "model" in spec.inputs else {}
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    pictures = [f"sample:{bundled}/3"] if {"image", "images"} & {*spec.inputs} else []
    done = convscope(command, *pictures, *words, "--out", "it.npz", "--json")
    assert done.exit_code == 0, done.output
    manifest = json.loads(done.stdout)
    assert manifest["record"]["lens"] == command
    assert manifest["file"] == "it.npz"
    arguments: dict[str, Any] = {name: int(value) if value.isdecimal() else value for name, value in options.items()}
    arguments |= {"model": cs.load(model)} if "model" in arguments else {}
    arguments |= {name: pictures[0] for name in ("image", "images") if name in spec.inputs}
    assert_same(cs.Value.load("it.npz"), getattr(cs, spec.name)(**arguments), tolerance=1e-5)


HEAVY = {"torch", "torchvision", "timm", "matplotlib", "numpy", "PIL", "nicegui", "pydantic"}


def help_without_heavy_imports(*words: str) -> str:
    """What a help page prints, in a process of its own, which may import none of `HEAVY`."""
    script = f"import sys; sys.argv = {['convscope', *words, '--help']}\nfrom convscope.cli import main\n"
    script += "try: main()\nexcept SystemExit: pass\n"
    script += f"heavy = {HEAVY} & {{*sys.modules}}\nassert not heavy, heavy"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_help_lists_every_lens_by_family_and_imports_nothing_heavy() -> None:
    """The start-up time is measured by ``make bench``; here, only the imports are checked."""
    page = help_without_heavy_imports()
    assert all(command in page for command in SPECS)
    assert all(title.split(":")[0] in page for title in FAMILIES.values())


def test_the_help_of_a_lens_imports_nothing_heavy() -> None:
    assert "--target" in help_without_heavy_imports("grad-cam")


def test_a_lens_shows_ranges_choices_and_defaults_in_its_help() -> None:
    text = " ".join(convscope("integrated-gradients", "--help").stdout.replace("│", " ").split())
    assert "1 to 4096" in text
    assert "gauss-legendre" in text
    assert "[default: 50]" in text


def test_a_picture_named_after_image_and_lens_is_written_by_default() -> None:
    done = convscope("grad-cam", "sample:shapes/7", "-m", "bundled:shapes")
    assert done.exit_code == 0, done.output
    assert Path("shapes-7-grad-cam.png").stat().st_size > 1000
    assert "shapes-7-grad-cam.png" in done.stdout


def test_the_results_of_several_images_are_written_to_a_folder() -> None:
    done = convscope("saliency", "sample:shapes/1", "sample:shapes/2", "-m", "bundled:shapes", "--out", "maps")
    assert done.exit_code == 0, done.output
    assert sorted(p.name for p in Path("maps").iterdir()) == ["shapes-1-saliency.png", "shapes-2-saliency.png"]


def test_messages_go_to_standard_error_and_json_alone_to_standard_output() -> None:
    done = convscope("predict", "sample:digits/3", "-m", "bundled:digits", "--json")
    assert json.loads(done.stdout)["labels"][0] == "8"
    assert "opening bundled:digits" in done.stderr


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["grad-cam", "none.jpg", "-m", "bundled:shapes"], "no such file: 'none.jpg'"),
        (["grad-cam", "sample:shapes/7", "-m", "bundled:shapes", "-l", "layer9"], "did you mean 'layer"),
        (["grad-cam", "sample:shapes/7", "-m", "bundled:shapes", "-t", "sta"], "did you mean 'star'"),
        (["grad-cam", "sample:shapes/7", "-m", "bundled:shapes", "-t", "99"], "out of range"),
        (["smooth-grad", "sample:shapes/7", "-m", "bundled:shapes", "--samples", "0"], "samples must be 1 to 4096"),
        (["grad-cam", "sample:shapes/7", "-m", "bundled:shape"], "did you mean 'shapes'"),
        (["grad-cam", "sample:shapes/7", "-m", "bundled:shapes", "-o", "no/such/x.png"], "there is no folder"),
        (["grad-cam", "sample:shapes/7", "-m", "bundled:shapes", "-o", "x.gif"], "shows the frames of a clip"),
        (["grad-cam", "sample:shapes/7", "-m", "bundled:shapes", "-o", "x.mp9"], "cannot tell the file type"),
        (["compare", "sample:shapes/7", "-m", "bundled:shapes", "--lenses", "grad-cm"], "did you mean 'grad-cam'"),
    ],
)
def test_an_invalid_request_gives_one_sentence_and_status_2(words: list[str], sentence: str) -> None:
    done = convscope(*words)
    assert done.exit_code == 2, done.output
    assert sentence in done.stderr
    assert "Traceback" not in done.output
    assert done.stderr.strip().splitlines()[-1].startswith("convscope: ")


def test_an_unwritable_path_is_refused_before_the_model_is_opened() -> None:
    done = convscope("grad-cam", "sample:shapes/7", "-m", "bundled:shapes", "-o", "no/such/x.png")
    assert "opening" not in done.stderr


def test_an_unknown_choice_is_refused_with_the_choices() -> None:
    done = convscope("integrated-gradients", "sample:shapes/7", "-m", "bundled:shapes", "--baseline", "pink")
    assert done.exit_code == 2
    assert "black" in done.stderr


def test_an_error_in_the_network_gives_status_1_and_debug_shows_the_traceback(tmp_path: Path) -> None:
    Path("net.py").write_text(
        "import torch\nclass Net(torch.nn.Module):\n    def forward(self, x):\n        raise KeyError('inside')\n"
        "def make():\n    import convscope as cs\n    return cs.Model(Net(), input=cs.ImageInput(size=8))\n"
    )
    plain = convscope("saliency", "sample:shapes/7", "-m", "net.py:make")
    assert plain.exit_code == 1
    assert "KeyError" in plain.stderr
    assert "Traceback" not in plain.stderr
    assert "Traceback" in convscope("saliency", "sample:shapes/7", "-m", "net.py:make", "--debug").stderr


def test_a_network_is_opened_from_a_file() -> None:
    Path("net.py").write_text(
        "import torch, convscope as cs\ndef make():\n"
        "    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), "
        "torch.nn.Flatten(), torch.nn.Linear(4, 2))\n"
        "    return cs.Model(net, input=cs.ImageInput(size=32), labels=['no', 'yes'])\n"
    )
    done = convscope("grad-cam", "sample:shapes/7", "-m", "net.py:make", "-t", "yes", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["target"] == "yes"


def test_compare_and_report_write_files() -> None:
    names = "grad-cam,saliency"
    done = convscope("compare", "sample:shapes/7", "-m", "bundled:shapes", "--lenses", names)
    assert done.exit_code == 0
    assert done.stdout.startswith("1 image × ")
    assert Path("compare.png").stat().st_size > 1000
    done = convscope("report", "sample:shapes/7", "-m", "bundled:shapes", "--lenses", names, "-o", "r.html")
    assert done.exit_code == 0, done.output
    assert "<html" in Path("r.html").read_text("utf-8")


@pytest.mark.slow
def test_lenses_and_models_and_layers_are_listed_also_as_json() -> None:
    assert all(command in convscope("lenses").stdout for command in SPECS)
    listed = json.loads(convscope("lenses", "--json").stdout)
    assert {entry["command"] for entry in listed} == set(SPECS)
    models = {entry["scheme"]: entry["names"] for entry in json.loads(convscope("models", "--json").stdout)}
    assert models["bundled"] == NAMES
    assert "resnet50" in models["torchvision"]
    formats = {entry["format"] for entry in json.loads(convscope("models", "--json").stdout) if not entry["scheme"]}
    assert {"onnx", "keras", "exported", "scripted"} <= formats
    assert "layer3" in [e["layer"] for e in json.loads(convscope("layers", "-m", "bundled:shapes", "--json").stdout)]


def test_the_version_is_printed() -> None:
    assert convscope("--version").stdout.strip() == f"convscope {cs.__version__}"


def test_an_interrupt_gives_a_message_and_status_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("convscope.request.call", interrupted)
    done = convscope("saliency", "sample:shapes/7", "-m", "bundled:shapes")
    assert (done.exit_code, done.stderr.splitlines()[-1]) == (130, "convscope: stopped")


def test_ctrl_c_ends_an_optimization_with_the_best_result_so_far(monkeypatch) -> None:
    """The first interrupt takes effect at the next step, and the best picture so far is written."""
    steps: list[int] = []

    def interrupting(done: int, _total: int) -> None:
        steps.append(done)
        if len(steps) == 3:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("convscope.cli.console.progress_bar", lambda _title: nullcontext(interrupting))
    handler = signal.getsignal(signal.SIGINT)
    words = ["activation-maximization", "-m", "bundled:digits", "--unit", "8", "--steps", "500", "--out", "it.json"]
    done = convscope(*words)
    assert done.exit_code == 130, done.output
    assert steps == [1, 2, 3]
    assert "stopped after 3 of 500 steps" in json.loads(Path("it.json").read_text())["notes"]["stopped"]
    steps.clear()
    done = convscope("rise", "sample:digits/3", "-m", "bundled:digits", "--samples", "4000")
    assert done.exit_code == 130
    assert "stopping" in done.stderr
    assert signal.getsignal(signal.SIGINT) is handler
