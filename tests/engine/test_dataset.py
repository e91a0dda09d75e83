"""Many inputs as one stream: from whatever people call a data set, in constant memory, nothing lost in silence."""

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
from tests.nets import SIDE, Hungry, PlainNet, seeded


def inputs(count: int) -> torch.Tensor:
    """Prepared inputs, each unlike the others."""
    return torch.randn(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures in sub-folders named after classes, one at the top, one cut short, one of another kind, and a text."""
    rng = np.random.default_rng(0)
    for name in ("ant/a.png", "ant/deep/b.jpg", "dog/c.PNG", "top.png", "dog/cut.png", "dog/empty.jpg"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)).save(path)
    cut = tmp_path / "dog/cut.png"
    cut.write_bytes(cut.read_bytes()[:200])
    (tmp_path / "dog/empty.jpg").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / ".hidden.png").write_bytes(b"not a picture")
    return tmp_path


def rows(data: Dataset) -> list[tuple[str, object, int]]:
    """The name, class and place of every image."""
    return [row for chunk in data.chunks() for row in zip(chunk.names, chunk.labels, chunk.places, strict=True)]


def test_a_folder_gives_all_its_pictures_with_the_sub_folder_as_class_and_says_what_it_skips(
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
    assert data.again([3]).names == ("sample:shapes/4",)
    assert repr(as_dataset([folder], model)) == repr(as_dataset(folder, model))


def test_pictures_are_prepared_as_the_model_prepares_them(folder: Path, model: cs.Model) -> None:
    (chunk,) = as_dataset(folder, model).chunks()
    for name, tensor in zip(chunk.names, chunk.tensor, strict=True):
        assert torch.equal(tensor, model.prepare(folder / name).tensor[0])


def test_a_member_is_opened_again_by_its_place(folder: Path, model: cs.Model) -> None:
    data = as_dataset(folder, model)
    (chunk,) = data.chunks()
    again = data.again([chunk.places[3], chunk.places[1]])
    assert again.names == ("top.png", "ant/deep/b.jpg")
    assert torch.equal(again.tensor, chunk.tensor[[3, 1]])


def test_the_first_image_is_the_first_that_can_be_read(folder: Path, model: cs.Model) -> None:
    (folder / "ant/a.png").write_bytes(b"broken")
    assert as_dataset(folder, model).first().names == ("ant/deep/b.jpg",)


@pytest.mark.parametrize("names", [[], ["a.txt", "b.csv"]], ids=["empty", "without pictures"])
def test_a_folder_without_pictures_is_refused_with_one_sentence(names: list[str], tmp_path: Path, model) -> None:
    for name in names:
        (tmp_path / name).write_text("no picture")
    with pytest.raises(InputError, match=r"there is no picture in the folder .*pictures end in"):
        as_dataset(tmp_path, model)


def test_a_folder_of_broken_pictures_is_refused_with_the_first_reason(tmp_path: Path, model: cs.Model) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"broken")
    with pytest.raises(InputError, match=r"none of its 2 pictures can be read; a\.png: .*not an image"):
        list(as_dataset(tmp_path, model).chunks())


def test_what_the_caller_listed_is_not_skipped(folder: Path, model: cs.Model) -> None:
    with pytest.raises(InputError, match="damaged"):
        rows(as_dataset([folder / "top.png", folder / "dog/cut.png"], model))


def test_a_list_takes_paths_pictures_arrays_tensors_and_samples(folder: Path, model: cs.Model) -> None:
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


def test_a_range_of_samples_has_both_its_ends_and_their_classes(model: cs.Model) -> None:
    found = rows(as_dataset("sample:shapes/3-5", model))
    assert [(name, label) for name, label, _ in found] == [
        ("sample:shapes/3", "star"),
        ("sample:shapes/4", "cross"),
        ("sample:shapes/5", "ring"),
    ]
    with pytest.raises(InputError, match="a range of samples is written sample:shapes/0-99"):
        as_dataset("sample:shapes/5-3", model)
    with pytest.raises(UnknownName, match="shapes"):
        as_dataset("sample:shape", model)


def test_inputs_of_different_sizes_go_through_in_chunks_of_one_size(model: cs.Model) -> None:
    net = cs.Model(model.module, input=cs.TensorInput(shape=(3, SIDE, SIDE)))
    given = [torch.zeros(1, 3, side, side) for side in (8, 8, 9, 8)]
    for data in (as_dataset(given, net), as_dataset(iter(given), net)):
        assert [tuple(chunk.tensor.shape[::2]) for chunk in data.chunks()] == [(2, 8), (1, 9), (1, 8)]


def once() -> Iterator[torch.Tensor]:
    """What can be walked through once."""
    yield from inputs(5)


class Pouring(IterableDataset):  # type: ignore[type-arg]
    """A torch data set without places."""

    def __iter__(self) -> Iterator[tuple[torch.Tensor, int]]:
        return iter([(one, row % 3) for row, one in enumerate(inputs(5))])


MANY = TensorDataset(inputs(5), torch.arange(5) % 3)


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(lambda: inputs(5), id="tensor"),
        pytest.param(lambda: list(inputs(5)), id="list of tensors"),
        pytest.param(lambda: [inputs(5)[:3], inputs(5)[3:]], id="list of batches"),
        pytest.param(lambda: once(), id="generator"),
        pytest.param(lambda: MANY, id="Dataset"),
        pytest.param(lambda: DataLoader(MANY, batch_size=2), id="DataLoader"),
        pytest.param(lambda: Pouring(), id="IterableDataset"),
        pytest.param(lambda: [(one, 1) for one in inputs(5)], id="pairs"),
    ],
)
def test_tensors_come_whole_and_in_order_whatever_holds_them(given, model: cs.Model) -> None:
    data = as_dataset(given(), model)
    assert torch.equal(data.first().tensor, inputs(5)[:1])
    chunks = list(data.chunks())
    assert torch.equal(torch.cat([chunk.tensor for chunk in chunks]), inputs(5))
    assert [place for chunk in chunks for place in chunk.places] == list(range(5))
    assert data.size in (5, None)


@pytest.mark.parametrize("given", [MANY, DataLoader(MANY, batch_size=2), Pouring()], ids=lambda g: type(g).__name__)
def test_the_classes_of_pairs_are_kept(given: object, model: cs.Model) -> None:
    assert [label for _, label, _ in rows(as_dataset(given, model))] == [0, 1, 2, 0, 1]


def test_what_passes_once_is_refused_a_second_time(model: cs.Model) -> None:
    data = as_dataset(once(), model)
    assert len(rows(data)) == 5
    with pytest.raises(InputError, match="walked through and cannot be begun again"):
        rows(data)


def test_no_more_are_taken_than_asked_for(model: cs.Model) -> None:
    for given in (inputs(9), once(), MANY):
        data = as_dataset(given, model, most=3)
        assert len(rows(data)) == 3
    assert as_dataset(inputs(9), model, most=3).size == 3


@pytest.mark.parametrize("given", [7, {"a": 1}, None, b"bytes", object()], ids=lambda g: type(g).__name__)
def test_what_is_no_data_set_is_refused(given: object, model: cs.Model) -> None:
    with pytest.raises(InputError, match="a data set is a folder"):
        as_dataset(given, model)


@pytest.mark.parametrize("given", [[], (), iter([])], ids=["list", "tuple", "iterator"])
def test_an_empty_data_set_is_refused(given: object, model: cs.Model) -> None:
    with pytest.raises(InputError, match="no image"):
        rows(as_dataset(given, model))


def test_a_folder_is_no_input_of_a_model_that_takes_tensors(folder: Path) -> None:
    with pytest.raises(InputError, match="says nothing about images"):
        as_dataset(folder, cs.Model(seeded(PlainNet)))


def test_chunks_are_few_at_a_time_and_reading_stays_a_little_ahead(model: cs.Model, monkeypatch) -> None:
    """Of a thousand images no more are opened than a few beyond those that were asked for."""
    opened: list[int] = []

    class Counted(TensorDataset):
        def __getitem__(self, index: int) -> tuple[torch.Tensor, ...]:
            opened.append(index)
            return super().__getitem__(index)

    data = as_dataset(Counted(inputs(1000)), model)
    walk = data.chunks()
    first = next(walk)
    assert len(first) <= 64
    assert len(opened) < len(first) + 40
    walk.close()  # type: ignore[attr-defined]
    assert len(opened) < len(first) + 40


def test_a_chunk_that_does_not_fit_is_cut_and_progress_is_told() -> None:
    model = picture_model(Hungry(seeded(PlainNet), patience=0))
    seen: list[int] = []
    told: list[tuple[int, int]] = []

    def step(chunk: Chunk) -> None:
        model.run(chunk.tensor)
        seen.extend(chunk.places)

    with reporting(lambda done, total: told.append((done, total))):
        as_dataset(inputs(7), model).each(step)
    assert seen == list(range(7))
    assert told == [(7, 7)]
