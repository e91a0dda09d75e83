"""Exported programs in files: opened with names and shapes, checked against PyTorch, refused where they are hostile."""

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import convscope as cs
from convscope.errors import LoadError, ModelFailed
from convscope.loaders.torch_files.exported import read_program
from tests.loaders.torch_files.networks import SHAPE, exported, images, save, saved_net, silently


@pytest.fixture(scope="module")
def pt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "net.pt2"
    save(exported(saved_net()), path)
    return path


def rewritten(path: Path, target: Path, change: Callable[[str, bytes], bytes | None]) -> Path:
    """A copy of an archive in which ``change(name, content)`` replaces each record; None leaves it out."""
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(target, "w") as copy:
        for name in source.namelist():
            content = change(name, source.read(name))
            if content is not None:
                copy.writestr(name, content)
    return target


def with_program(path: Path, target: Path, change: Callable[[Any], None]) -> Path:
    """A copy of an exported program whose description was changed."""

    def changed(name: str, content: bytes) -> bytes:
        if not name.endswith("models/model.json"):
            return content
        program = json.loads(content)
        change(program)
        return json.dumps(program).encode()

    return rewritten(path, target, changed)


def test_a_file_is_opened_with_its_shape_and_checked(pt2: Path) -> None:
    model = cs.load(pt2)
    assert (model.name, model.source) == ("net", str(pt2))
    assert isinstance(model.input, cs.ImageInput)
    assert (model.input.channels, model.input.size) == (3, (16, 16))
    assert "which is assumed" in str(model.caveats[0])
    assert model.conversion is not None
    assert model.conversion.difference < 1e-5
    assert "torch.export" in model.conversion.engine
    assert not model.module.training
    assert model.layers()[:3] == ["stem", "stem.0", "stem.1"]


def test_what_the_address_says_of_the_input_is_not_assumed(pt2: Path) -> None:
    model = cs.load(f"{pt2}?size=16&mean=0.5,0.5,0.5&std=0.5,0.5,0.5")
    assert not model.caveats
    assert cs.load(model.source).input == model.input


def test_weights_of_another_file_are_loaded(pt2: Path, tmp_path: Path) -> None:
    other = saved_net()
    nn.init.zeros_(other.head.weight)
    torch.save(other.state_dict(), tmp_path / "other.pt")
    model = cs.load(pt2, weights=tmp_path / "other.pt")
    assert torch.allclose(model.module(images()), other(images()), atol=1e-6)


class Outputs(nn.Module):
    """Scores beside features, in a dict; a fixed number of images; a learned constant."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)
        self.scale = nn.Parameter(torch.full((1, 4, 1, 1), 2.0))

    def forward(self, x: Tensor) -> dict[str, Any]:
        features = self.conv(x) * self.scale + torch.tensor([0.5])
        return {"scores": self.head(features.view(x.shape[0], 4, -1).mean(2)), "features": (features,)}


def test_a_dict_of_outputs_and_a_fixed_number_of_images(tmp_path: Path) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = Outputs().eval()
    save(silently(lambda: torch.export.export(network, (images(1),))), tmp_path / "net.pt2")
    model = cs.load(f"{tmp_path / 'net.pt2'}?output=scores")
    x = images(3)
    assert torch.allclose(model.run(x), network(x)["scores"], atol=1e-6)
    assert "exported for 1 images at once" in str(model.caveats)
    assert torch.equal(model.module(x)["features"][0], network(x)["features"][0])


class Mixing(nn.Module):
    """A network that mixes its images, so that their number cannot be changed."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(12, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x[:, :, 0, :4].reshape(2, 12) + x.flatten(1).mean(0, keepdim=True)[:, :12].sum())


def test_sizes_that_are_fixed_are_refused(tmp_path: Path, pt2: Path) -> None:
    save(silently(lambda: torch.export.export(Mixing().eval(), (torch.zeros(2, *SHAPE),))), tmp_path / "mixing.pt2")
    model = cs.Model(read_program(tmp_path / "mixing.pt2"))
    reason = r"for inputs of that size alone: export it with dynamic_shapes$"
    with pytest.raises(ModelFailed, match=reason):
        model.run(images(3))
    with pytest.raises(ModelFailed, match=r"inputs of the sizes \(any, 3, 16, 16\); .*" + reason):
        cs.predict(cs.load(pt2), torch.randn(1, 3, 20, 20))


class Suffixes(nn.Module):
    """Adds to each image those after it: the last images of a batch do not depend on the others."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flip(0).cumsum(0).flip(0)


def test_a_program_whose_first_images_depend_on_later_ones_takes_no_other_number_of_them(tmp_path: Path) -> None:
    save(silently(lambda: torch.export.export(Suffixes(), (images(1),))), tmp_path / "suffixes.pt2")
    model = cs.load(tmp_path / "suffixes.pt2")
    assert getattr(model.module, "batch", None) == 1
    assert "run with other numbers" not in str(model.caveats)


def test_a_program_with_several_inputs_is_refused(tmp_path: Path) -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return x + y

    save(silently(lambda: torch.export.export(Two(), (images(1), images(1)))), tmp_path / "two.pt2")
    with pytest.raises(LoadError, match="takes 2 tensors: a network must take one, the images"):
        cs.load(tmp_path / "two.pt2")


class RunsCode:
    """An object whose pickle writes a file when it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_pickles_in_a_file_do_not_run_code(pt2: Path, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    buffer = io.BytesIO()
    torch.save((RunsCode(ran),), buffer)

    def hostile(name: str, content: bytes) -> bytes:
        return buffer.getvalue() if name.endswith("sample_inputs/model.pt") else content

    path = rewritten(pt2, tmp_path / "hostile.pt2", hostile)
    with pytest.raises(LoadError, match="is refused: opening this pickle may run code"):
        cs.load(path)
    assert not ran.exists()
    torch.load(io.BytesIO(buffer.getvalue()), weights_only=False)
    assert ran.exists()  # the pickle would have run it


def test_pickled_weights_and_objects_do_not_run_code(pt2: Path, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    weights = io.BytesIO()
    torch.save(RunsCode(ran), weights)
    contents = {"weight_0": weights.getvalue(), "opaque_obj_0": pickle.dumps(RunsCode(ran))}

    def hostile(name: str, content: bytes) -> bytes:
        if name.endswith("model_weights_config.json"):
            config = json.loads(content)
            next(iter(config["config"].values()))["use_pickle"] = True
            return json.dumps(config).encode()
        if name.endswith("model_constants_config.json"):
            entry = {"path_name": "opaque_obj_0", "is_param": False, "use_pickle": True, "tensor_meta": None}
            return json.dumps({"config": {"constant": entry}}).encode()
        return contents.get(name.rpartition("/")[2], content)

    path = rewritten(pt2, tmp_path / "hostile.pt2", hostile)
    with pytest.raises(LoadError):
        cs.load(path)
    assert not ran.exists()


HOSTILE: dict[str, tuple[Callable[[Any], None], str]] = {
    "a function of Python": (
        lambda program: program["graph_module"]["graph"]["nodes"][0].update(target="torch.os.system"),
        "calls 'torch.os.system', which is no operator",
    ),
    "an operator on files": (
        lambda program: program["graph_module"]["graph"]["nodes"][0].update(target="torch.ops.aten.from_file.default"),
        "from_file.default', which is no operator on tensors",
    ),
    "an expression that runs code": (
        lambda program: set_expressions(program, "__import__('os').system('true')"),
        "is no expression of sizes",
    ),
    "an expression that is huge": (
        lambda program: set_expressions(program, "Pow(Integer(9), Integer(999999999))"),
        "is no expression of sizes",
    ),
    "a container that imports": (
        lambda program: set_containers(program, '[1, {"type": "collections.defaultdict", "context": "", '
                                       '"children_spec": []}]'),
        "are of the type 'collections.defaultdict'",
    ),
}  # fmt: skip


def set_expressions(part: Any, text: str) -> None:
    for value in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        set_expressions(value, text)
    if isinstance(part, dict) and "expr_str" in part:
        part["expr_str"] = text


def set_containers(program: Any, text: str) -> None:
    program["graph_module"]["module_call_graph"][0]["signature"]["out_spec"] = text


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_programs_are_refused(pt2: Path, tmp_path: Path, name: str) -> None:
    change, message = HOSTILE[name]
    with pytest.raises(LoadError, match=message):
        cs.load(with_program(pt2, tmp_path / "hostile.pt2", change))


class Padded(nn.Module):
    """A network of a few bytes that asks for 400 GB."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.pad(x, (0, 2**31)).mean((1, 2, 3))


def test_sizes_are_bounded_when_a_program_first_runs(tmp_path: Path) -> None:
    save(silently(lambda: torch.export.export(Padded(), (images(1),))), tmp_path / "padded.pt2")
    refusal = (
        r"padded.pt2' is refused: its operation '\w*pad\w*' would create [0-9,]+ numbers for an input of 768 numbers"
    )
    with pytest.raises(LoadError, match=refusal):
        cs.load(tmp_path / "padded.pt2")


def test_an_expanded_example_explains_no_more_than_it_stores(tmp_path: Path) -> None:
    example = torch.zeros(1, 3, 1, 1).expand(1, 3, 2**16, 2**16)
    save(silently(lambda: torch.export.export(nn.ReLU(), (example,))), tmp_path / "expanded.pt2")
    with pytest.raises(LoadError, match="'randn' would create 12,884,901,888 numbers for an input of 3 numbers"):
        cs.load(tmp_path / "expanded.pt2")


def test_guards_are_not_evaluated(pt2: Path, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    code = f"__import__('pathlib').Path({str(ran)!r}).touch() is None"
    cs.load(with_program(pt2, tmp_path / "hostile.pt2", lambda program: program.update(guards_code=[code])))
    assert not ran.exists()


def test_a_tensor_beyond_its_record_is_refused(pt2: Path, tmp_path: Path) -> None:
    def enlarge(name: str, content: bytes) -> bytes:
        if not name.endswith("model_weights_config.json"):
            return content
        config = json.loads(content)
        next(iter(config["config"].values()))["tensor_meta"]["sizes"][0]["as_int"] = 10**9
        return json.dumps(config).encode()

    with pytest.raises(LoadError, match="too few for a tensor of"):
        cs.load(rewritten(pt2, tmp_path / "large.pt2", enlarge))


def test_an_archive_that_unpacks_to_far_more_is_refused(pt2: Path, tmp_path: Path) -> None:
    path = rewritten(pt2, tmp_path / "bomb.pt2", lambda _, content: content)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("net/extra/zeros", bytes(100 * 2**20))
    with pytest.raises(LoadError, match="bytes would unpack to"):
        cs.load(path)


def test_incomplete_files_are_refused(pt2: Path, tmp_path: Path) -> None:
    missing = rewritten(
        pt2, tmp_path / "missing.pt2", lambda name, content: None if name.endswith("weight_3") else content
    )
    with pytest.raises(LoadError, match=r"is incomplete: it has no record 'data/weights/weight_3'"):
        cs.load(missing)
    cut = tmp_path / "cut.pt2"
    cut.write_bytes(pt2.read_bytes()[:5000])
    with pytest.raises(LoadError, match="is not a complete file of the format that its name says"):
        cs.load(cut)


def test_a_file_of_another_name_is_recognized_by_its_content(pt2: Path, tmp_path: Path) -> None:
    renamed = tmp_path / "net.pt"
    renamed.write_bytes(pt2.read_bytes())
    assert cs.load(renamed).input.size == SHAPE[1:]  # type: ignore[union-attr]
