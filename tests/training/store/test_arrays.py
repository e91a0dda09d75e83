"""Arrays beside the events: two writers of one folder at a time keep their own, and nothing is overwritten."""

from pathlib import Path

import numpy as np
import torch

import convscope as cs
from convscope.training.predictions import stored_predictions


def test_two_recorders_in_one_folder_do_not_mix_their_arrays(tmp_path: Path) -> None:
    labels = torch.tensor([0, 1, 0, 1])
    nets = [torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)]
    with cs.record(nets[0], tmp_path) as first, cs.record(nets[1], tmp_path) as second:
        for step in range(2):
            for recorder, answers in ((first, labels), (second, 1 - labels)):
                recorder.step(loss=1.0 / (1 + step))
                recorder.predictions(torch.eye(2)[answers], labels)
                recorder.validation(loss=0.5)
    log = cs.open_log(tmp_path)
    assert len(log) == 2
    right = {tuple(float(p.right.mean()) for p in stored_predictions(run)) for run in log}
    assert right == {(1.0, 1.0), (0.0, 0.0)}
    assert len([*(tmp_path / "arrays").glob("*.npz")]) == 4
    assert [str(problem) for problem in log.problems()] == [
        f"2 programs wrote to {tmp_path.name} at the same time; each is a run of its own"
    ]


def test_arrays_of_no_writer_belong_to_the_run_of_the_folder(tmp_path: Path) -> None:
    from convscope.training.store.arrays import save_arrays

    with cs.record(torch.nn.Linear(2, 2), tmp_path) as recorder:
        recorder.step(loss=1.0)
    save_arrays(tmp_path, "landscape", 3, {"losses": np.ones(2)})
    (run,) = cs.open_log(tmp_path)
    assert [stored.step for stored in run.arrays("landscape")] == [3]
