"""A program is parsed as PyTorch itself parses it."""

import json
import zipfile
from pathlib import Path

import torch
from torch._export.serde import schema
from torch._export.serde.serialize import _dict_to_dataclass

from convscope.loaders.torch_files.program_parsing import parse_program
from tests.loaders.torch_files.networks import exported, saved_net


def test_the_parts_of_a_program_are_those_that_pytorch_parses(tmp_path: Path) -> None:
    torch.export.save(exported(saved_net()), tmp_path / "net.pt2")
    with zipfile.ZipFile(tmp_path / "net.pt2") as archive:
        record = next(name for name in archive.namelist() if name.endswith("models/model.json"))
        stored = json.loads(archive.read(record))
    expected = _dict_to_dataclass(schema.ExportedProgram, stored)
    assert parse_program(stored | {"added later": 1}) == expected
    assert expected.graph_module.graph.nodes
