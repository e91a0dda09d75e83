"""Signals, bands, volumes and clips prepared from files, and explained."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import convscope as cs
from convscope.engine.context import free_memory
from convscope.engine.context.free_memory import TooLittleMemory
from convscope.engine.inputs.input_files import read_input
from convscope.engine.inputs.preparation import read_images
from convscope.engine.inputs.raw_input import RawInput
from convscope.engine.inputs.readers import arrays
from convscope.errors import ConvScopeError, InputError


def scorer(conv: type[nn.Module], pool: type[nn.Module], channels: int) -> nn.Module:
    """A small network that scores two classes."""
    torch.manual_seed(0)
    return nn.Sequential(conv(channels, 4, 3), nn.ReLU(), pool(1), nn.Flatten(), nn.Linear(4, 2)).eval()  # type: ignore[call-arg]


# Signals


def test_a_signal_is_brought_to_the_rate_and_the_length_of_the_network(tmp_path: Path) -> None:
    times = np.arange(1500) / 500
    table = np.stack([times, np.sin(2 * np.pi * 5 * times)], 1)
    np.savetxt(tmp_path / "ecg.csv", table, delimiter=",", header="time,MLII", comments="")
    spec = cs.SignalInput(shape=(1, 720), rate=360, keep="start")
    sample = spec.prepare_raw(read_input(tmp_path / "ecg.csv"))
    expected = np.sin(2 * np.pi * 5 * np.arange(720) / 360)
    inner = slice(20, 700)  # the filter knows nothing beyond the ends
    assert np.abs(sample.tensor[0, inner].numpy() - expected[inner]).max() < 0.01
    assert sample.remark == (
        "resampled from 500 to 360 samples per second, "
        "the signal has 1080 samples, and the network takes 720: the rest is left out"
    )
    assert sample.grid.spacing == (1 / 360,)
    assert sample.grid.channel_names == ("MLII",)


def test_a_short_signal_is_filled_with_zeros_and_a_file_without_a_rate_is_mentioned() -> None:
    spec = cs.SignalInput(shape=(1, 8), rate=10, keep="start")
    sample = spec.prepare_array(np.ones(5))
    assert sample.tensor.tolist() == [[1, 1, 1, 1, 1, 0, 0, 0]]
    assert "10 samples per second are assumed" in sample.remark


def test_channels_are_found_on_either_axis() -> None:
    spec = cs.SignalInput(shape=(2, 6))
    array = np.arange(12.0).reshape(2, 6)
    assert torch.equal(spec.prepare_array(array).tensor, spec.prepare_array(array.T).tensor)
    with pytest.raises(InputError, match="has 3 channels, this network takes 2"):
        spec.prepare_array(np.zeros((3, 6)))


def test_a_record_keeps_the_names_of_channels_and_the_rate(tmp_path: Path) -> None:
    np.savetxt(
        tmp_path / "a.csv", np.random.default_rng(0).normal(size=(30, 2)), delimiter=",", header="I,II", comments=""
    )
    model = cs.Model(scorer(nn.Conv1d, nn.AdaptiveAvgPool1d, 2), input=cs.SignalInput(shape=(2, 30), rate=100))
    value = cs.saliency(model, tmp_path / "a.csv")
    record = value.record  # type: ignore[union-attr]
    assert (record.kind, record.unit, record.spacing, record.channel_names) == ("signal", "s", (0.01,), ("I", "II"))
    loaded = cs.Attribution.load(value.save(tmp_path / "v.npz"))  # type: ignore[union-attr]
    assert loaded.record.channel_names == ("I", "II")


# Scaling


def test_a_signal_of_another_length_is_mentioned() -> None:
    spec = cs.SignalInput(shape=(1, 8), rate=4)

    def remark(count: int, rate: float = 4) -> str:
        return spec.prepare_raw(RawInput(np.ones((1, count), np.float32), ("time",), (1 / rate,))).remark

    assert remark(8) == ""
    assert remark(9) == "the signal has 9 samples, and the network takes 8: the rest is left out"
    assert remark(7) == "the signal has 7 samples, and the network takes 8: zeros are added"
    assert remark(12, rate=8) == (
        "resampled from 8 to 4 samples per second, the signal has 6 samples, and the network takes 8: zeros are added"
    )


def test_voxels_of_another_size_are_mentioned() -> None:
    spec = cs.VolumeInput(spacing=(1, 1, 1))
    values = np.zeros((1, 2, 4, 4), np.float32)
    axes = ("depth", "height", "width")
    assert spec.prepare_raw(RawInput(values, axes, (5, 0.7, 0.7))).remark == (
        "resampled from voxels of 5×0.7×0.7 to 1×1×1 mm"
    )
    assert spec.prepare_raw(RawInput(values, axes, (1, 1, 1))).remark == ""
    assert "no size of its voxels: 1×1×1 mm are assumed" in spec.prepare_array(values).remark


@pytest.mark.parametrize(
    ("options", "affine", "remark"),
    [
        ({}, np.eye(4), "neither the size of its voxels nor an orientation: those of the file are kept, 6×0.5×0.5 mm"),
        ({}, np.eye(4), "0.5 mm and RAS"),
        ({}, None, "^the network names no size of its voxels: those of the file are kept, 6×0.5×0.5 mm$"),
        ({"spacing": (6, 0.5, 0.5)}, np.eye(4), "^$"),
        ({"orientation": "RAS"}, np.eye(4), "^$"),
    ],
)
def test_a_volume_for_a_network_that_names_no_voxels_is_mentioned(
    options: dict[str, Any], affine: Any, remark: str
) -> None:
    raw = RawInput(np.zeros((1, 2, 4, 4), np.float32), ("x", "y", "z"), (6, 0.5, 0.5), "mm", affine)
    assert re.search(remark, cs.VolumeInput(**options).prepare_raw(raw).remark)


def test_a_volume_of_another_extent_is_mentioned() -> None:
    def remark(*extent: int, fit: Any = "crop") -> str:
        return cs.VolumeInput(shape=(1, 4, 4, 4), fit=fit).prepare_array(np.zeros(extent)).remark

    assert remark(4, 4, 4) == remark(1, 4, 9, fit="stretch") == ""
    assert remark(1, 4, 4) == "the volume has 1×4×4 voxels, and the network takes 4×4×4: zeros are added"
    assert remark(4, 6, 4) == "the volume has 4×6×4 voxels, and the network takes 4×4×4: its center is kept"
    assert remark(4, 6, 2).endswith("takes 4×4×4: its center is kept, and zeros are added")


def test_windows_standardization_and_means_are_applied_in_this_order() -> None:
    spec = cs.VolumeInput(window=(-100, 100), mean=0.5, std=0.25)
    values = np.array([-300, -100, 0, 100, 300], np.float32).reshape(1, 1, 1, 5)
    assert spec.prepare_array(values).tensor.flatten().tolist() == [-2, -2, 0, 2, 2]
    standardized = cs.SignalInput(standardize=True).prepare_array(np.arange(10.0)).tensor
    assert float(standardized.mean()) == pytest.approx(0, abs=1e-6)
    assert float(standardized.std(correction=0)) == pytest.approx(1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: cs.SignalInput(shape=(1, 2, 3)), "shape of SignalInput is \\(channels, time\\)"),
        (lambda: cs.VolumeInput(window=(5, 5)), "low below high"),
        (lambda: cs.VolumeInput(orientation="RAR"), "orientation says in which direction"),
        (lambda: cs.VolumeInput(fit="pad"), "fit must be crop or stretch"),  # type: ignore[arg-type]
        (lambda: cs.SignalInput(keep="end"), "keep must be center or start"),  # type: ignore[arg-type]
        (lambda: cs.BandsInput(shape=(6, 8, 8), shown=(0, 1)), "shown is one band or three"),
        (lambda: cs.BandsInput(shape=(6, 8, 8), shown=(4, 5, 6)), "shown is one band or three"),
        (lambda: cs.BandsInput(shape=(6, 8, 8), mean=(1, 2)), "mean has 2 numbers for 6 channels"),
        (lambda: cs.VideoInput(std=0), "must be above zero"),
        (lambda: cs.VideoInput(std=-1), "must be above zero"),
    ],
)
def test_specifications_that_cannot_be_are_refused(make: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


def test_numbers_that_are_not_finite_are_refused() -> None:
    with pytest.raises(InputError, match="holds NaN or infinite numbers"):
        cs.SignalInput().prepare_array(np.array([1.0, np.nan]))


# Volumes: the position in space survives every step


def blob(center: tuple[float, ...], shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """A volume with a smooth spot."""
    grid = np.stack(np.meshgrid(*(np.arange(size) for size in shape), indexing="ij"), -1)
    return np.exp(-((grid - np.asarray(center)) ** 2).sum(-1) / 8).astype(np.float32)


def centroid(values: torch.Tensor) -> np.ndarray[Any, Any]:
    """The center of mass of a volume, in indices."""
    array = values.double().numpy()
    grid = np.stack(np.meshgrid(*(np.arange(size) for size in array.shape), indexing="ij"), -1)
    return (grid * array[..., None]).sum((0, 1, 2)) / array.sum()  # type: ignore[no-any-return]


@pytest.mark.parametrize("orientation", [None, "RAS", "SAR", "LPI", "PSL"])
@pytest.mark.parametrize("fit", ["crop", "stretch"])
@pytest.mark.parametrize("spacing", [None, (2.0, 2.0, 2.0)])
def test_a_spot_stays_where_it_is_in_space(orientation: str | None, fit: Any, spacing: Any) -> None:
    center = (14.0, 22.0, 9.0)
    affine = np.array([[0, -1.5, 0, 40], [2, 0, 0, -30], [0, 0, 3, 12], [0, 0, 0, 1]], float)
    raw = RawInput(blob(center, (30, 40, 20))[None], ("x", "y", "z"), (2, 1.5, 3), "mm", affine)
    spec = cs.VolumeInput(shape=(1, 36, 28, 32), orientation=orientation, spacing=spacing, fit=fit)
    sample = spec.prepare_raw(raw)
    assert sample.tensor.shape == (1, 36, 28, 32)
    assert sample.grid.affine is not None
    position = sample.grid.affine @ [*centroid(sample.tensor[0]), 1]
    assert np.abs(position - affine @ [*center, 1])[:3].max() < 0.4, "less than half a voxel, in millimeters"
    if orientation:
        columns = sample.grid.affine[:3, :3]
        letters = [("RL", "AP", "SI")[int(np.abs(column).argmax())][int(column.sum() < 0)] for column in columns.T]
        assert "".join(letters) == orientation


def test_orientation_needs_a_position_in_space() -> None:
    with pytest.raises(InputError, match="does not say how it lies in space"):
        cs.VolumeInput(orientation="RAS").prepare_array(np.zeros((4, 4, 4)))


def test_a_map_lies_over_the_scan(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    affine = np.array([[-2, 0, 0, 30], [0, 2, 0, -20], [0, 0, 4, 5], [0, 0, 0, 1]], float)
    nibabel.save(nibabel.Nifti1Image(blob((10, 12, 6), (20, 24, 12)), affine), tmp_path / "scan.nii.gz")
    net = nn.Sequential(nn.Conv3d(1, 1, 1, bias=False), nn.AdaptiveAvgPool3d(1), nn.Flatten()).eval()
    nn.init.ones_(net[0].weight)  # type: ignore[arg-type]
    model = cs.Model(net, input=cs.VolumeInput(shape=(1, 12, 24, 20), orientation="SAR"))
    value = cs.gradient_x_input(model, tmp_path / "scan.nii.gz", target=0)
    path = value.save(tmp_path / "map.nii.gz")  # type: ignore[union-attr]
    image = nibabel.load(path)
    position = image.affine @ [*centroid(torch.from_numpy(image.get_fdata())), 1]
    assert np.abs(position - affine @ [10, 12, 6, 1])[:3].max() < 0.1
    assert cs.Attribution.load(value.save(tmp_path / "v.npz")).record.affine == value.record.affine  # type: ignore[union-attr]


# Bands and clips


def test_shown_bands_are_drawn_and_all_are_explained(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    array = np.random.default_rng(0).integers(0, 9000, (6, 20, 30), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "b.tif", array, photometric="minisblack", metadata={"axes": "CYX"})
    spec = cs.BandsInput(shape=(6, 20, 30), window=(0, 9000), shown=(4, 2, 0))
    model = cs.Model(scorer(nn.Conv2d, nn.AdaptiveAvgPool2d, 6), input=spec)
    value: Any = cs.saliency(model, tmp_path / "b.tif")
    assert value.values.shape == (20, 30)
    assert value.notes["the input is drawn as"] == "channels 4, 2, 0 of 6, as red, green and blue"
    photo = np.asarray(value.photo)
    for color, band in enumerate((4, 2, 0)):
        assert np.corrcoef(photo[..., color].ravel(), array[band].ravel())[0, 1] > 0.99


def test_frames_are_taken_at_even_distances() -> None:
    spec = cs.VideoInput(shape=(3, 4, 8, 8), fit="stretch")
    clip = np.broadcast_to(np.arange(10).reshape(1, 10, 1, 1), (3, 10, 8, 8)) * 25.5
    sample = spec.prepare_array(clip)
    assert (sample.tensor[0, :, 0, 0] * 10).round().tolist() == [0, 3, 6, 9]
    short = spec.prepare_array(clip[:, :2])
    assert "the clip has 2 frames, and the network takes 4" in short.remark


def test_a_folder_is_one_clip_and_a_folder_of_folders_is_a_data_set(tmp_path: Path) -> None:
    from PIL import Image

    for clip in ("a", "b"):
        (tmp_path / clip).mkdir()
        for index in range(4):
            Image.new("RGB", (12, 12), (60 * index, 0, 0)).save(tmp_path / clip / f"{index}.png")
    model = cs.Model(scorer(nn.Conv3d, nn.AdaptiveAvgPool3d, 3), input=cs.VideoInput(shape=(3, 4, 8, 8)))
    value: Any = cs.saliency(model, tmp_path / "a")
    assert (value.record.kind, value.values.shape) == ("video", (4, 8, 8))
    assert len(list(cs.saliency(model, [tmp_path / "a", tmp_path / "b"]))) == 2  # type: ignore[arg-type]


def test_volumes_that_are_turned_or_oblique_are_mentioned() -> None:
    spec = cs.VolumeInput(orientation="SAR")
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(0.5), -np.sin(0.5)], [np.sin(0.5), np.cos(0.5)]]
    upright = np.eye(4)[[2, 1, 0, 3]]
    remarks = {
        name: spec.prepare_raw(
            RawInput(np.zeros((1, 2, 3, 4), np.float32), ("x", "y", "z"), (1, 1, 1), "mm", affine)
        ).remark
        for name, affine in (("upright", upright), ("turned", np.eye(4)), ("oblique", upright @ turn))
    }
    assert remarks["upright"] == ""
    assert remarks["turned"] == "turned from RAS to SAR"
    assert remarks["oblique"].startswith("its axes are 28.6 degrees away from those of the body")


def test_a_signal_for_a_network_without_a_rate_is_mentioned() -> None:
    sound = RawInput(np.zeros((1, 40), np.float32), ("time",), (1 / 44100,))
    assert "keeps its 44100 samples per second" in cs.SignalInput(shape=(1, 40)).prepare_raw(sound).remark


def test_a_volume_without_memory_for_its_forward_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "large.npy", np.zeros((200, 200, 200), np.uint8))
    monkeypatch.setattr(free_memory, "free_bytes", lambda device: 2**28)
    monkeypatch.setattr(arrays, "as_numbers", lambda *given: pytest.fail("the numbers were read"))
    model = cs.Model(scorer(nn.Conv3d, nn.AdaptiveAvgPool3d, 1), input=cs.VolumeInput())
    with pytest.raises(TooLittleMemory, match=r"1 × 200 × 200 × 200 .*needs at least .* GiB, and 0.2 GiB are free"):
        cs.saliency(model, tmp_path / "large.npy")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([[[1, 2, 3], [1, 2]]], "got rows of 2 and 3 numbers in a list: bring them to one length and pass an array"),
        ([[1, 2, 3], [1, 2]], "got rows of 2 and 3 numbers in a list: bring them to one length and pass an array"),
        ([[1, 2, 3], [1, 2, 4]], r"got numbers in a list: pass np.array\(…\) of them$"),
        ([1, 2, 3], r"got numbers in a list: pass np.array\(…\) of them$"),
        ([["a.npy"]], "got list$"),
        ([], "^there is no input: the list is empty$"),
    ],
)
def test_numbers_in_lists_are_refused(given: Any, message: str) -> None:
    spec: Any = cs.SignalInput(shape=(2, 3))
    with pytest.raises(InputError, match=message):
        read_images(given, spec, device=torch.device("cpu"), dtype=torch.float32)


class NumbersWereRead(ConvScopeError):
    pass


class Scale(nn.Module):
    """A product with a parameter, for whose gradient autograd would keep the input."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


def test_a_volume_without_memory_for_its_backward_pass_is_refused_before_it_is_read_for_lenses_of_the_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(*_: Any) -> None:
        raise NumbersWereRead

    np.save(tmp_path / "large.npy", np.zeros((200, 200, 200), np.uint8))
    layers = [layer for _ in range(12) for layer in (Scale(), Scale(), nn.Tanh())]
    network = nn.Sequential(nn.Conv3d(1, 2, 1), *layers, nn.AdaptiveAvgPool3d(1), nn.Flatten())
    model = cs.Model(network, input=cs.VolumeInput())
    map_bytes = 4 * 2 * 200**3
    monkeypatch.setattr(free_memory, "free_bytes", lambda device: 8 * map_bytes)  # autograd keeps those of twelve tanh
    monkeypatch.setattr(arrays, "as_numbers", read)
    with pytest.raises(TooLittleMemory, match=r"the backward pass of Sequential for inputs of 1 × 200 × 200 × 200"):
        cs.saliency(model, tmp_path / "large.npy")
    monkeypatch.setattr(
        free_memory, "free_bytes", lambda device: 18 * map_bytes
    )  # and no inputs of products: parameters are frozen
    for lens in (cs.saliency, cs.grad_cam, cs.occlusion):
        with pytest.raises(NumbersWereRead):
            lens(model, tmp_path / "large.npy")
