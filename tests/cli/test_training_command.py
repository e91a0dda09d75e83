"""``convscope training``: a table of the runs, and the page."""

import json
from pathlib import Path

from tests.training.logs import write_scalars
from tests.warm_processes import run_command


def test_a_log_is_a_table_and_a_page(tmp_path: Path) -> None:
    write_scalars(tmp_path / "log" / "first", [(0, 2.0), (1, 1.0)], tag="train/loss")
    ended = run_command(["training", "log"], tmp_path)
    assert ended.status == 0, ended.output
    assert "loss    first · train" in ended.output
    assert (tmp_path / "training.html").exists()
    as_json = run_command(["training", "log", "--json"], tmp_path)
    numbers = json.loads(as_json.output)["runs"]["first"]["train/loss"]
    assert numbers == {"count": 2, "step": 1, "last": 1.0, "smallest": 1.0, "largest": 2.0}


def test_a_folder_without_a_log_is_one_sentence(tmp_path: Path) -> None:
    ended = run_command(["training", "."], tmp_path)
    assert ended.status == 2
    assert "there is no training log in" in ended.output
    assert len(ended.output.strip().splitlines()) == 1
