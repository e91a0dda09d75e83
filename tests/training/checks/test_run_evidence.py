"""Which folders and which losses belong to one training."""

from pathlib import Path

from convscope.training.checks.run_evidence import evidence_of
from convscope.training.run import open_log
from tests.training.logs import write_scalars


def write(folder: Path, tag: str, level: float, count: int = 3) -> None:
    write_scalars(folder, [(step, level) for step in range(count)], tag=tag)


def levels_of(folder: Path) -> dict[str, tuple[float | None, float | None, int]]:
    """Training → its level on training and on validation data, and of how many folders it is."""
    return {
        run.name: (
            None if run.training is None else float(run.training.values[-1]),
            None if run.validation is None else float(run.validation.values[-1]),
            len(run.runs),
        )
        for run in evidence_of(open_log(folder))
    }


def test_runs_within_a_run_and_beside_parts_of_one_are_trainings_of_their_own(tmp_path: Path) -> None:
    write(tmp_path / "first", "train/loss", 1)
    write(tmp_path / "first/tuned", "train/loss", 2)
    write(tmp_path / "first/validation", "loss", 3)
    write(tmp_path / "train", "loss", 4)
    write(tmp_path / "val", "loss", 5)
    write(tmp_path / "other", "gradient_norm/conv", 6)
    assert levels_of(tmp_path) == {
        "first": (1, 3, 2), "first/tuned": (2, None, 1), tmp_path.name: (4, 5, 2), "other": (None, None, 1),
    }  # fmt: skip


def test_both_roles_are_of_one_metric(tmp_path: Path) -> None:
    """The loss comes before its parts; of several parts, one that has both roles."""
    for tag, level in (("train/box_loss", 1), ("train/loss", 2), ("val/a_loss", 3), ("val/loss", 4)):
        write(tmp_path / "whole", tag, level)
    for tag, level in (("train/a_loss", 1), ("train/box_loss", 2), ("val/box_loss", 3), ("val/cls_loss", 4)):
        write(tmp_path / "parts", tag, level)
    for tag, level, count in (("train_loss_epoch", 1, 2), ("train_loss_step", 2, 9), ("val_loss", 3, 2)):
        write(tmp_path / "lightning", tag, level, count)
    assert levels_of(tmp_path) == {"whole": (2, 4, 1), "parts": (2, 3, 1), "lightning": (2, 3, 1)}
