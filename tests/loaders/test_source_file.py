"""Networks from a Python file of the user."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import save_file

import convscope as cs
from convscope.errors import ConvScopeError, LoadError, UnknownName
from tests.loaders.state_dicts import same_state

SOURCE = """
from torch import nn
import convscope as cs

def make():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))

def whole():
    return cs.Model(make(), input=cs.ImageInput(size=8), labels=["no", "yes"])

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(2, 2)

ready = make()

def raises():
    raise ValueError("no data")

def gives_words():
    return "a network"

def wants(number):
    return make()

number = 3
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "my_net.py").write_text(SOURCE)
    return tmp_path / "my_net.py"


@pytest.mark.parametrize("name", ["make", "Net", "ready"])
def test_a_function_a_class_or_a_module_in_a_file_is_opened_as_a_model(name: str, source: Path) -> None:
    model = cs.load(f"{source}:{name}")
    assert isinstance(model, cs.Model)
    assert (model.source, model.name) == (f"{source}:{name}", name)
    assert cs.load(Path(f"{source}:{name}")).name == name


def test_a_model_returned_by_a_function_keeps_its_settings(source: Path) -> None:
    model = cs.load(f"{source}:whole")
    assert (model.labels, model.input.size, model.source) == (("no", "yes"), (8, 8), f"{source}:whole")
    assert cs.predict(model, np.zeros((8, 8, 3), np.uint8)).labels


def test_weights_are_loaded_into_a_network_from_a_file(source: Path, tmp_path: Path) -> None:
    state = cs.load(f"{source}:make").module.state_dict()
    save_file(state, tmp_path / "w.safetensors")
    model = cs.load(f"{source}:make", weights=tmp_path / "w.safetensors")
    assert same_state(model, state)
    assert model.source == f"{source}:make with {tmp_path / 'w.safetensors'}"


@pytest.mark.parametrize(
    ("name", "kind", "sentence"),
    [
        ("maek", UnknownName, r"^my_net\.py has no 'maek'; did you mean 'make'\?$"),
        ("", UnknownName, r"^my_net\.py has no ''"),
        ("raises", LoadError, r"^my_net\.py:raises raised ValueError: no data$"),
        (
            "gives_words",
            LoadError,
            r"my_net\.py:gives_words gives str, not a torch\.nn\.Module, a function of arrays or a convscope\.Model$",
        ),
        (
            "wants",
            LoadError,
            r"^my_net\.py:wants raised TypeError: wants\(\) missing 1 required positional argument: 'number'$",
        ),
        ("number", LoadError, r"my_net\.py:number gives int, not a torch\.nn\.Module"),
    ],
)
def test_a_name_that_returns_no_network_is_refused(
    name: str, kind: type[ConvScopeError], sentence: str, source: Path
) -> None:
    with pytest.raises(kind, match=sentence) as caught:
        cs.load(f"{source}:{name}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("def make(:\n", r"bad\.py:make raised SyntaxError: "),
        ("import no_such_package\n", r"bad\.py:make raised ModuleNotFoundError: No module named 'no_such_package'"),
        ("1 / 0\n", r"bad\.py:make raised ZeroDivisionError: division by zero"),
        ("import sys; sys.path.clear(); sys.path.append('/')\nmake = 3\n", r"bad\.py:make gives int"),
        ("raise SystemExit(3)\n", r"bad\.py:make (raised|stopped) .*3"),
    ],
)
def test_a_file_that_cannot_be_run_is_refused(
    text: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "bad.py").write_text(text)
    with pytest.raises(LoadError, match=sentence) as caught:
        cs.load(f"{tmp_path}/bad.py:make")
    assert "\n" not in str(caught.value)


def test_the_weights_option_is_not_silently_ignored(source: Path) -> None:
    with pytest.raises(LoadError, match="weights"):
        cs.load(f"{source}:make?weights=IMAGENET1K_V1")


def test_a_file_may_import_its_neighbours_and_the_search_path_is_restored(tmp_path: Path) -> None:
    import sys

    (tmp_path / "neighbour_of_net.py").write_text("from torch import nn\nparts = [nn.Flatten(), nn.Linear(4, 2)]\n")
    (tmp_path / "net_with_neighbour.py").write_text(
        "from neighbour_of_net import parts\nfrom torch import nn\nmake = lambda: nn.Sequential(*parts)\n"
    )
    before = list(sys.path)
    assert len([*cs.load(f"{tmp_path}/net_with_neighbour.py:make").module.children()]) == 2
    assert sys.path == before


def test_files_with_the_same_name_in_two_folders_are_distinct(tmp_path: Path) -> None:
    for folder, width in (("a", 2), ("b", 5)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "twin_net.py").write_text(f"from torch import nn\nmake = lambda: nn.Linear(1, {width})\n")
    widths = [cs.load(f"{tmp_path}/{folder}/twin_net.py:make").module.out_features for folder in "aba"]
    assert widths == [2, 5, 2]
