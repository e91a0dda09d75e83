"""The lines of pairs of probe images are cosine similarities of their embeddings."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convscope.render.line_plot import draw_lines
from convscope.training.run import open_log
from convscope.training.store.arrays import save_arrays
from convscope.training.store.event_writer import EventWriter
from convscope.training.views.probe_similarity import probe_similarity


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The lines that are drawn."""
    drawn: list[Any] = []

    def keep(given: list[Any], **options: Any) -> Any:
        drawn.extend(given)
        return draw_lines(given, **options)

    monkeypatch.setattr("convscope.training.views.probe_similarity.draw_lines", keep)
    return drawn


def write(folder: Path, embeddings: list[np.ndarray]) -> None:
    """A log with the embeddings of probe images at successive steps."""
    writer = EventWriter(folder)
    for step, embedding in enumerate(embeddings):
        names = np.array([f"tensor[{row}]" for row in range(len(embedding))])
        arrays = {"names": names, "answers": np.array(["cat"] * len(embedding)), "embedding": embedding}
        save_arrays(folder, "probes", step, arrays, writer=writer.name)
        writer.scalar("train/loss", 1.0)
        writer.write(step, 1e9 + step)
    writer.close()


def test_a_line_is_the_cosine_similarity_of_a_pair(tmp_path: Path, lines: list[Any]) -> None:
    write(tmp_path, [np.array([[1.0, 0], [0, 2], [3, 3]]), np.array([[1.0, 0], [5, 0], [0, 0]])])
    (picture,) = probe_similarity.draw(open_log(tmp_path))
    assert picture.alt.startswith("similarity of the embeddings of probe images")
    values = {line.name: line.ys.tolist() for line in lines}
    assert values["1 (cat) and 2 (cat)"] == [0, 1]
    assert values["1 (cat) and 3 (cat)"] == pytest.approx([0.5**0.5, np.nan], nan_ok=True)


def test_of_many_pairs_the_most_and_the_least_alike_are_drawn(tmp_path: Path, lines: list[Any]) -> None:
    embedding = np.random.default_rng(0).normal(0, 1, (8, 5))
    write(tmp_path, [embedding, embedding])
    assert len(probe_similarity.draw(open_log(tmp_path))) == 1
    ends = [line.ys[-1] for line in lines]
    unit = embedding / np.linalg.norm(embedding, axis=1, keepdims=True)
    every = np.sort((unit @ unit.T)[np.triu_indices(8, 1)])[::-1]
    assert ends == pytest.approx([*every[:4], *every[-4:]])


@pytest.mark.parametrize("embeddings", [[np.ones((2, 3))], [np.ones((1, 3))] * 2, [np.ones((2, 3)), np.ones((3, 3))]])
def test_one_step_one_image_and_other_images_have_no_lines(tmp_path: Path, embeddings: list[np.ndarray]) -> None:
    write(tmp_path, embeddings)
    assert probe_similarity.draw(open_log(tmp_path)) == []
