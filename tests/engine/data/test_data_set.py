"""Data sets of every kind as a stream of chunks: order, classes, skipped files, constant memory."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import convscope as cs
from convscope.engine.context.metering import reporting
from convscope.engine.data.data_set import Chunk, Dataset, as_dataset
from convscope.errors import InputError, UnknownName
from tests.conftest import picture_model
from tests.nets import SIDE, OutOfMemoryNet, PlainNet, seeded


def inputs(count: int) -> torch.Tensor:
    """Prepared inputs, all different."""
    return torch.randn(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images in subfolders named after classes, one at the top, a truncated one, an empty one, and a text file."""
    rng = np.random.default_rng(0)
    for name in ("ant/a.png", "ant/deep/b.jpg", "dog/c.PNG", "top.png", "dog/cut.png", "dog/empty.jpg"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)).save(path)
    truncated = tmp_path / "dog/cut.png"
    truncated.write_bytes(truncated.read_bytes()[:200])
    (tmp_path / "dog/empty.jpg").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / ".hidden.png").write_bytes(b"not a picture")
    return tmp_path


def rows(data: Dataset) -> list[tuple[str, object, int]]:
    """The name, class and index of every image."""
    return [row for chunk in data.chunks() for row in zip(chunk.names, chunk.labels, chunk.indices, strict=True)]


def test_a_folder_yields_its_images_with_subfolders_as_classes_and_records_skipped_files(
    folder: Path, model: cs.Model
) -> None:
    data = as_dataset(folder, model)
    assert [(name, label) for name, label, _ in rows(data)] == [
        ("ant/a.png", "ant"),
        ("ant/deep/b.jpg", "ant"),
        ("dog/c.PNG", "dog"),
        ("top.png", None),
    ]
    assert list(data.skipped) == ["dog/cut.png", "dog/empty.jpg"]
    assert "damaged" in data.skipped["dog/cut.png"]
    assert "0 bytes" in data.skipped["dog/empty.jpg"]
    assert "2 that cannot be read" in data.notes()["skipped files"]
    assert data.classes(["ant", "dog", "unknown", None, 2]) == [0, 3, None, None, 2]


def test_several_folders_follow_each_other(folder: Path, model: cs.Model) -> None:
    data = as_dataset([folder / "ant", "sample:shapes/3-4", folder / "top.png", folder / "dog"], model)
    names = [f"{folder}/ant/a.png", f"{folder}/ant/deep/b.jpg", "sample:shapes/3", "sample:shapes/4"]
    assert [name for name, _, _ in rows(data)] == [*names, f"{folder}/top.png", f"{folder}/dog/c.PNG"]
    assert [name.rpartition("/")[2] for name in data.skipped] == ["cut.png", "empty.jpg"]
    assert data.reopen([3]).names == ("sample:shapes/4",)
    assert repr(as_dataset([folder], model)) == repr(as_dataset(folder, model))


def test_images_are_prepared_as_by_the_model(folder: Path, model: cs.Model) -> None:
    (chunk,) = as_dataset(folder, model).chunks()
    for name, tensor in zip(chunk.names, chunk.tensor, strict=True):
        assert torch.equal(tensor, model.prepare(folder / name).tensor[0])


def test_members_are_reopened_by_their_index(folder: Path, model: cs.Model) -> None:
    data = as_dataset(folder, model)
    (chunk,) = data.chunks()
    reopened = data.reopen([chunk.indices[3], chunk.indices[1]])
    assert reopened.names == ("top.png", "ant/deep/b.jpg")
    assert torch.equal(reopened.tensor, chunk.tensor[[3, 1]])


def test_the_first_image_is_the_first_that_can_be_read(folder: Path, model: cs.Model) -> None:
    (folder / "ant/a.png").write_bytes(b"broken")
    assert as_dataset(folder, model).first().names == ("ant/deep/b.jpg",)


@pytest.mark.parametrize("names", [[], ["a.txt", "b.csv"]], ids=["empty", "without pictures"])
def test_a_folder_without_images_is_refused(names: list[str], tmp_path: Path, model) -> None:
    for name in names:
        (tmp_path / name).write_text("no picture")
    with pytest.raises(InputError, match=r"there is no picture in the folder .*pictures end in"):
        as_dataset(tmp_path, model)


def test_a_folder_of_broken_images_is_refused_with_the_first_reason(tmp_path: Path, model: cs.Model) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"broken")
    with pytest.raises(InputError, match=r"none of its 2 pictures can be read; a\.png: .*not an image"):
        list(as_dataset(tmp_path, model).chunks())


def test_listed_images_are_not_skipped(folder: Path, model: cs.Model) -> None:
    with pytest.raises(InputError, match="damaged"):
        rows(as_dataset([folder / "top.png", folder / "dog/cut.png"], model))


def test_a_list_may_hold_paths_images_arrays_tensors_and_samples(folder: Path, model: cs.Model) -> None:
    array = np.zeros((20, 24, 3), np.uint8)
    data = as_dataset([folder / "top.png", Image.fromarray(array), array, inputs(1)[0], "sample:shapes/7"], model)
    assert [name.rpartition("/")[2] for name, _, _ in rows(data)] == [
        "top.png",
        "image[1]",
        "ndarray[2]",
        "tensor[3]",
        "7",
    ]
    assert rows(data)[-1][1] == "crescent"
    assert torch.equal(next(data.chunks()).tensor[3], inputs(1)[0])


@pytest.mark.parametrize(("address", "count"), [("sample:shapes", 200), ("sample:digits", 400), ("sample:photo", 2)])
def test_a_collection_of_samples_is_a_data_set(address: str, count: int, model: cs.Model) -> None:
    assert as_dataset(address, model).size == count


def test_a_range_of_samples_includes_both_ends_with_classes(model: cs.Model) -> None:
    members = rows(as_dataset("sample:shapes/3-5", model))
    assert [(name, label) for name, label, _ in members] == [
        ("sample:shapes/3", "star"),
        ("sample:shapes/4", "cross"),
        ("sample:shapes/5", "ring"),
    ]
    with pytest.raises(InputError, match="a range of samples is written sample:shapes/0-99"):
        as_dataset("sample:shapes/5-3", model)
    with pytest.raises(UnknownName, match="shapes"):
        as_dataset("sample:shape", model)


def test_each_chunk_has_inputs_of_one_size(model: cs.Model) -> None:
    net = cs.Model(model.module, input=cs.TensorInput(shape=(3, SIDE, SIDE)))
    tensors = [torch.zeros(1, 3, side, side) for side in (8, 8, 9, 8)]
    for data in (as_dataset(tensors, net), as_dataset(iter(tensors), net)):
        assert [tuple(chunk.tensor.shape[::2]) for chunk in data.chunks()] == [(2, 8), (1, 9), (1, 8)]


def generator() -> Iterator[torch.Tensor]:
    """An iterator that can be consumed only once."""
    yield from inputs(5)


class TensorStream(IterableDataset):  # type: ignore[type-arg]
    """A torch data set without indices."""

    def __iter__(self) -> Iterator[tuple[torch.Tensor, int]]:
        return iter([(tensor, row % 3) for row, tensor in enumerate(inputs(5))])


PAIRS = TensorDataset(inputs(5), torch.arange(5) % 3)


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(lambda: inputs(5), id="tensor"),
        pytest.param(lambda: list(inputs(5)), id="list of tensors"),
        pytest.param(lambda: [inputs(5)[:3], inputs(5)[3:]], id="list of batches"),
        pytest.param(lambda: generator(), id="generator"),
        pytest.param(lambda: PAIRS, id="Dataset"),
        pytest.param(lambda: DataLoader(PAIRS, batch_size=2), id="DataLoader"),
        pytest.param(lambda: TensorStream(), id="IterableDataset"),
        pytest.param(lambda: [(tensor, 1) for tensor in inputs(5)], id="pairs"),
    ],
)
def test_all_containers_of_tensors_yield_all_of_them_in_order(source, model: cs.Model) -> None:
    data = as_dataset(source(), model)
    assert torch.equal(data.first().tensor, inputs(5)[:1])
    chunks = list(data.chunks())
    assert torch.equal(torch.cat([chunk.tensor for chunk in chunks]), inputs(5))
    assert [index for chunk in chunks for index in chunk.indices] == list(range(5))
    assert data.size in (5, None)


@pytest.mark.parametrize(
    "source", [PAIRS, DataLoader(PAIRS, batch_size=2), TensorStream()], ids=lambda g: type(g).__name__
)
def test_the_classes_of_pairs_are_kept(source: object, model: cs.Model) -> None:
    assert [label for _, label, _ in rows(as_dataset(source, model))] == [0, 1, 2, 0, 1]


def test_an_iterator_cannot_be_read_twice(model: cs.Model) -> None:
    data = as_dataset(generator(), model)
    assert len(rows(data)) == 5
    with pytest.raises(InputError, match="consumed and cannot be iterated again"):
        rows(data)


def test_the_number_of_images_can_be_limited(model: cs.Model) -> None:
    for source in (inputs(9), generator(), PAIRS):
        data = as_dataset(source, model, most=3)
        assert len(rows(data)) == 3
    assert as_dataset(inputs(9), model, most=3).size == 3


@pytest.mark.parametrize("source", [7, {"a": 1}, None, b"bytes", object()], ids=lambda g: type(g).__name__)
def test_other_objects_are_refused(source: object, model: cs.Model) -> None:
    with pytest.raises(InputError, match="a data set is a folder"):
        as_dataset(source, model)


@pytest.mark.parametrize("source", [[], (), iter([])], ids=["list", "tuple", "iterator"])
def test_an_empty_data_set_is_refused(source: object, model: cs.Model) -> None:
    with pytest.raises(InputError, match="no image"):
        rows(as_dataset(source, model))


def test_a_folder_is_refused_for_a_model_that_takes_tensors(folder: Path) -> None:
    with pytest.raises(InputError, match="says nothing about images"):
        as_dataset(folder, cs.Model(seeded(PlainNet)))


def test_only_a_few_images_are_read_ahead(model: cs.Model, monkeypatch) -> None:
    """Of a thousand images only a few more are opened than were requested."""
    opened: list[int] = []

    class Counted(TensorDataset):
        def __getitem__(self, index: int) -> tuple[torch.Tensor, ...]:
            opened.append(index)
            return super().__getitem__(index)

    data = as_dataset(Counted(inputs(1000)), model)
    chunks = data.chunks()
    first = next(chunks)
    assert len(first) <= 64
    assert len(opened) < len(first) + 40
    chunks.close()  # type: ignore[attr-defined]
    assert len(opened) < len(first) + 40


def test_a_chunk_that_exceeds_the_memory_is_split_and_progress_is_reported() -> None:
    model = picture_model(OutOfMemoryNet(seeded(PlainNet), allowed_calls=0))
    indices: list[int] = []
    reports: list[tuple[int, int]] = []

    def step(chunk: Chunk) -> None:
        model.run(chunk.tensor)
        indices.extend(chunk.indices)

    with reporting(lambda done, total: reports.append((done, total))):
        as_dataset(inputs(7), model).for_each_chunk(step)
    assert indices == list(range(7))
    assert reports == [(7, 7)]
