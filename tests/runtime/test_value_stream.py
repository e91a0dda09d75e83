"""A lens over a data set: values are computed as they are requested, and never all kept in memory."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

import convscope as cs
from convscope.engine.context.metering import reporting
from convscope.errors import InputError, OutputError, ParameterError, UnknownName
from convscope.runtime.value_stream import ValueStream
from tests.narrowing import listed, streamed


@pytest.fixture(scope="module")
def shapes() -> cs.Model:
    return cs.load("bundled:shapes")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Eleven pictures and a damaged one among them."""
    for number in range(11):
        pixels = np.random.default_rng(number).integers(0, 255, (40, 50, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number:02}.png")
    whole = (tmp_path / "04.png").read_bytes()
    (tmp_path / "04b.png").write_bytes(whole[: len(whole) // 2])
    return tmp_path


def test_a_folder_gives_its_values_one_after_the_other(shapes: cs.Model, folder: Path) -> None:
    stream = cs.saliency(shapes, folder)
    assert isinstance(stream, ValueStream)
    assert stream.size == 12
    values = list(stream)
    alone = [cs.saliency(shapes, folder / f"{number:02}.png") for number in range(11)]
    assert [Path(value.record.input).name for value in values] == [f"{n:02}.png" for n in range(11)]
    for actual, expected in zip(values, alone, strict=True):
        torch.testing.assert_close(actual.values, expected.values, rtol=1e-4, atol=1e-7)
        assert actual.target == expected.target
    assert list(stream.skipped) == ["04b.png"]
    assert len(list(stream)) == 11  # again


def test_ranges_lists_with_folders_and_loaders_are_streams_too(shapes: cs.Model, folder: Path) -> None:
    assert [v.record.input for v in streamed(cs.saliency(shapes, "sample:shapes/3-5"))] == [
        f"sample:shapes/{n}" for n in (3, 4, 5)
    ]
    assert len(list(cs.saliency(shapes, [str(folder), "sample:shapes/3-5"]))) == 14
    tensor = shapes.prepare(["sample:shapes/1", "sample:shapes/2", "sample:shapes/3"]).tensor
    loader = DataLoader(TensorDataset(tensor, torch.arange(3)), batch_size=2)
    batch = listed(cs.saliency(shapes, tensor))
    for actual, expected in zip(cs.saliency(shapes, loader), batch, strict=True):
        assert torch.equal(actual.values, expected.values)
    for actual, expected in zip(cs.saliency(shapes, TensorDataset(tensor)), batch, strict=True):
        assert torch.equal(actual.values, expected.values)
    assert isinstance(cs.saliency(shapes, ["sample:shapes/1", "sample:shapes/2"]), list)
    assert isinstance(cs.saliency(shapes, "sample:shapes/1"), cs.Attribution)


def test_no_more_is_read_than_the_values_asked_for_need(shapes: cs.Model) -> None:
    """500 images need the memory of a few: what passes by is pulled a chunk at a time."""
    image = shapes.prepare("sample:shapes/1").tensor
    pulled = 0

    def endless() -> Iterator[Tensor]:
        nonlocal pulled
        while True:
            pulled += 1
            yield image

    most = 0
    for given, _ in enumerate(cs.grad_cam(shapes, endless())):
        most = max(most, pulled - given)
        if given == 200:
            break
    assert most <= 65  # a chunk, and the first of the next


def test_each_image_may_have_a_target_of_its_own(shapes: cs.Model) -> None:
    targets = [n % 5 for n in range(12)]
    values = list(streamed(cs.saliency(shapes, "sample:shapes/0-11", target=targets)))
    assert [value.target_index for value in values] == targets
    with pytest.raises(OutputError, match="3 targets for 12 images"):
        cs.saliency(shapes, "sample:shapes/0-11", target=[1, 2, 3])
    with pytest.raises(OutputError, match="needs all images at once"):
        cs.saliency(shapes, "sample:shapes/0-11", target=lambda output, rows: output[:, 0])
    plain = list(streamed(cs.saliency(shapes, "sample:shapes/0-2", target=lambda output: output[:, 3])))
    alone = cs.saliency(shapes, "sample:shapes/1", target=3)
    torch.testing.assert_close(plain[1].values, alone.values, rtol=1e-4, atol=1e-7)


def test_what_is_wrong_is_refused_at_the_call(shapes: cs.Model, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no picture in the folder"):
        cs.saliency(shapes, tmp_path)
    with pytest.raises(UnknownName, match="no label 'nothing'"):
        cs.saliency(shapes, "sample:shapes/0-3", target="nothing")
    with pytest.raises(ParameterError, match="samples must be"):
        cs.smooth_grad(shapes, "sample:shapes/0-3", samples=0)


@pytest.mark.slow
def test_progress_goes_from_nothing_to_all(shapes: cs.Model) -> None:
    shares: list[float] = []
    with reporting(lambda done, total: shares.append(done / total)):
        list(streamed(cs.saliency(shapes, "sample:shapes/0-99")))
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert len(shares) > 2


# Tensors that were not prepared


@pytest.mark.parametrize(("scale", "message"), [(255.0, "from 0 to 255"), (1.0, "from 0 to 1")])
def test_tensors_that_were_not_prepared_are_noticed_by_their_range(
    shapes: cs.Model, scale: float, message: str
) -> None:
    pixels = torch.from_numpy(cs.sample("shapes/7").image.copy()).permute(2, 0, 1).float() / 255
    pixels = (pixels - pixels.min()) / (pixels.max() - pixels.min()) * scale
    for attribution in (
        cs.saliency(shapes, pixels),
        cs.saliency(shapes, [pixels])[0],
        next(iter(cs.saliency(shapes, iter([pixels[None]])))),
        next(iter(cs.saliency(shapes, TensorDataset(pixels[None])))),
        cs.activations(shapes, pixels[None]),
        cs.compare(shapes, pixels[None], ["saliency"]).rows[0][0],
    ):
        (caveat,) = attribution.record.caveats
        assert message in caveat
        assert "seems not to be prepared" in caveat


def test_prepared_tensors_and_pictures_are_not(shapes: cs.Model) -> None:
    prepared = shapes.prepare("sample:shapes/7").tensor
    plain = cs.Model(shapes.module, input=cs.ImageInput(size=96))
    for model, given in (
        (shapes, prepared),
        (shapes, "sample:shapes/7"),
        (shapes, torch.zeros(1, 3, 96, 96)),
        (shapes, np.full((96, 96, 3), 200, np.uint8)),
        (plain, torch.rand(1, 3, 96, 96)),
        (cs.Model(shapes.module), 255 * torch.rand(1, 3, 96, 96)),
    ):
        assert cs.saliency(model, given).record.caveats == ()


def test_a_stream_runs_under_the_autocast_of_its_call_whenever_it_is_read() -> None:
    """Also one that was asked for without autocast and is read under it."""
    model, data = cs.load("bundled:digits"), "sample:digits/0-2"
    kind = model.device.type
    plain = streamed(cs.saliency(model, data))
    with torch.autocast(kind, dtype=torch.bfloat16):
        cast = streamed(cs.saliency(model, data))
        true = list(streamed(cs.saliency(model, data)))
        read_under_it = list(plain)
    values = list(cast)
    assert torch.equal(values[0].values, true[0].values)
    assert all("torch.autocast (bfloat16)" in " ".join(value.record.caveats) for value in values)
    assert torch.equal(read_under_it[0].values, next(iter(streamed(cs.saliency(model, data)))).values)
    assert not any("autocast" in " ".join(value.record.caveats) for value in read_under_it)
    assert not torch.equal(values[0].values, read_under_it[0].values)
