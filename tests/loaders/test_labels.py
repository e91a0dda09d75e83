"""Files with the names of classes."""

import json
from pathlib import Path
from typing import Any

import pytest

from convscope.engine.network.labels import label_names
from convscope.errors import LoadError
from convscope.loaders.labels import read_labels


@pytest.mark.parametrize(
    "content",
    [
        ["cat", "dog"],
        {"0": "cat", "1": "dog"},
        {"cat": 0, "dog": 1},
        {"0": ["n01", "cat"], "1": ["n02", "dog"]},
        [["n01", "cat"], ["n02", "dog"]],
        [{"wnid": "n01", "name": "cat"}, {"wnid": "n02", "name": "dog"}],
        {"1": {"name": "dog"}, "0": {"name": "cat"}},
    ],
)
def test_names_are_found_in_the_usual_forms_of_json(content: Any, tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    path.write_text(json.dumps(content))
    assert label_names(read_labels(path)) == ("cat", "dog")


def test_json_nested_beyond_all_measure_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    path.write_text("[" * 100_000)
    with pytest.raises(LoadError, match="is not JSON: maximum recursion depth exceeded"):
        read_labels(path)
