"""Files, Pillow images, arrays and tensors: every mode is converted, and unusable inputs are refused."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile
from torch import nn

import convscope as cs
from convscope.errors import InputError, UnknownName
from tests.engine.networks import SIDE, axes_net, condition, pictured, small_network, tensor

Make = Callable[[Path], Any]


def blocks(height: int = SIDE, width: int = SIDE) -> np.ndarray:
    """Four colors in four corners, so that every rotation and flip is noticed."""
    array = np.empty((height, width, 3), np.uint8)
    array[: height // 2, : width // 2], array[: height // 2, width // 2 :] = (250, 20, 30), (20, 200, 40)
    array[height // 2 :, : width // 2], array[height // 2 :, width // 2 :] = (30, 60, 220), (240, 230, 90)
    return array


def prepared(image: Any, height: int = SIDE, width: int = SIDE, channels: int = 3) -> np.ndarray:
    """The pixels that the network gets, (height, width, channels) from 0 to 255, for images that need no resizing."""
    spec = cs.ImageInput(size=(height, width), channels=channels)
    batch = cs.Model(nn.Identity(), input=spec).prepare(image).tensor
    assert batch.shape == (1, channels, height, width)
    return (batch[0] * 255).permute(1, 2, 0).numpy()


def save_noise(path: Path, size: tuple[int, int] = (64, 64)) -> Path:
    noise = np.random.default_rng(0).integers(0, 256, (*reversed(size), 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    return path


def truncate(path: Path, share: float) -> Path:
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    return path


def png_header(path: Path, width: int, height: int) -> Path:
    """A PNG whose header declares a huge size, with only a few bytes of data."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")
    )
    return path


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


REFUSED: dict[str, tuple[Make, str]] = {
    "a missing file": (lambda p: p / "none.jpg", r"^no such file: '.*none\.jpg'$"),
    "a missing file by name": (lambda p: "none.jpg", r"^no such file: 'none\.jpg'$"),
    "a folder": (lambda p: p, r"^there is no picture in the folder '.*': it is empty"),
    "zero bytes": (lambda p: write(p / "a.png", b""), r"a\.png' is empty \(0 bytes\)$"),
    "a text called .jpg": (
        lambda p: write(p / "a.jpg", b"dear diary"),
        r"a\.jpg' is not an image that Pillow can read$",
    ),
    "a model's file": (
        lambda p: write(p / "a.onnx", b"dear diary"),
        r"a\.onnx' is not an image that Pillow can read; a model's file is given as the model$",
    ),
    "a truncated JPEG": (lambda p: truncate(save_noise(p / "a.jpg"), 0.6), r"a\.jpg' is damaged: .*truncated"),
    "a truncated PNG": (lambda p: truncate(save_noise(p / "a.png"), 0.6), r"a\.png' is damaged: "),
    "one pixel": (
        lambda p: save_noise(p / "a.png", (1, 1)),
        r"a\.png'? has 1×1 pixels: there is nothing in it to look at$",
    ),
    "one row": (lambda p: save_noise(p / "a.png", (64, 1)), r"has 64×1 pixels: there is nothing in it"),
    "30,000 pixels wide": (
        lambda p: png_header(p / "a.png", 30_000, 20),
        r"a\.png'? has 30000×20 pixels, more than 20000 a side",
    ),
    "120 million pixels": (
        lambda p: png_header(p / "a.png", 20_000, 6_000),
        r"has 20000×6000 pixels, more than .*100 million",
    ),
    "900 million pixels": (lambda p: png_header(p / "a.png", 30_000, 30_000), r"a\.png' .*(too large|more than)"),
    "one pixel as an array": (lambda p: np.zeros((1, 1, 3), np.uint8), r"the image has 1×1 pixels"),
    "30,000 pixels as a picture": (lambda p: Image.new("L", (30_000, 2)), r"the image has 30000×2 pixels, more than"),
    "floats as a picture": (lambda p: Image.new("F", (8, 8)), r"a floating-point image has no known range"),
    "a NaN in an array": (lambda p: np.full((8, 8), np.nan), r"the array holds NaN or infinite numbers"),
    "an infinite array": (lambda p: np.full((8, 8, 3), np.inf, np.float32), r"the array holds NaN or infinite numbers"),
    "floats to 255": (
        lambda p: np.full((8, 8), 255.0),
        r"a float array holds numbers from 0 to 1, got 255 to 255; scale it first",
    ),
    "negative floats": (lambda p: np.full((8, 8), -0.5), r"holds numbers from 0 to 1, got -0\.5 to -0\.5"),
    "wide integers": (
        lambda p: np.zeros((8, 8, 3), np.int64),
        r"an array of pixels is uint8, uint16 or float, got int64",
    ),
    "an array of words": (lambda p: np.full((8, 8), "a"), r"an array of pixels is uint8, uint16 or float, got <U1"),
    "two channels": (lambda p: np.zeros((8, 8, 2), np.uint8), r"\(height, width, 1, 3 or 4\), got shape \(8, 8, 2\)"),
    "channels first": (lambda p: np.zeros((3, 8, 8), np.uint8), r"got shape \(3, 8, 8\)"),
    "an empty array": (lambda p: np.zeros((0, 8, 3), np.uint8), r"got shape \(0, 8, 3\)"),
    "a vector": (lambda p: np.zeros(8, np.uint8), r"an array is \(height, width\) .* got shape \(8,\)"),
    "a NaN in a tensor": (
        lambda p: torch.full((1, 3, 8, 8), torch.nan),
        r"holds NaN or infinite numbers, the first at \(0, 0, 0, 0\)",
    ),
    "an infinite tensor": (lambda p: torch.full((3, 8, 8), -torch.inf), r"the input holds NaN or infinite numbers"),
    "an integer tensor": (
        lambda p: torch.zeros(1, 3, 8, 8, dtype=torch.uint8),
        r"floating-point numbers, got uint8; pass raw pixels as",
    ),
    "a tensor of another channel count": (
        lambda p: torch.zeros(1, 4, 8, 8),
        r"this model takes 3 channels, got 4 \(shape \(1, 4, 8, 8\)\)",
    ),
    "a tensor with its channels last": (
        lambda p: torch.zeros(1, 8, 8, 3),
        r"this model takes 3 channels, got 8 \(shape \(1, 8, 8, 3\)\); channels come first: x.movedim\(-1, 1\)$",
    ),
    "a tensor of two axes": (lambda p: torch.zeros(8, 8), r"is \(C, H, W\) or \(N, C, H, W\), got shape \(8, 8\)"),
    "a tensor of five axes": (lambda p: torch.zeros(1, 1, 3, 8, 8), r"got shape \(1, 1, 3, 8, 8\)"),
    "an empty tensor": (lambda p: torch.zeros(0, 3, 8, 8), r"without empty axes, got shape \(0, 3, 8, 8\)"),
    "a sparse tensor": (lambda p: torch.zeros(1, 3, 8, 8).to_sparse(), r"sparse|dense"),
    "a tensor without numbers": (lambda p: torch.zeros(1, 3, 8, 8, device="meta"), r"meta"),
    "no image": (lambda p: [], r"there is no image: the list is empty"),
    "nothing": (lambda p: None, r"a path, a Pillow image, an array or a tensor, got NoneType"),
    "a number in a list": (
        lambda p: [3],
        r"a path, a Pillow image, an array or a tensor, got numbers in a list: pass np",
    ),
    "a batch in a list": (lambda p: [torch.zeros(2, 3, 8, 8)], r"a list holds single images, got a batch"),
    "tensors of two sizes": (
        lambda p: [torch.zeros(3, 8, 8), torch.zeros(3, 9, 8)],
        r"have one shape, got \(3, 8, 8\) and \(3, 9, 8\)",
    ),
    "a name too long for a file": (lambda p: "x" * 5000, r"."),
    "an unknown home directory": (lambda p: "~no-such-user/a.jpg", r"."),
}


@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED)
def test_unusable_inputs_raise_a_one_line_error_and_leave_the_model_unchanged(
    make: Make, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = pictured()
    before = condition(model.module)
    with pytest.raises(InputError, match=message) as error:
        cs.saliency(model, make(tmp_path))
    assert "\n" not in str(error.value)
    assert condition(model.module) == before


@pytest.mark.parametrize("size", [(30_000, 20), (20_000, 6_000), (30_000, 30_000)])
def test_a_decompression_bomb_is_refused_before_decoding(
    size: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = png_header(tmp_path / "bomb.png", *size)
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda *_: pytest.fail("the pixels were decoded"))
    with pytest.raises(InputError):
        pictured().prepare(path)


@pytest.mark.parametrize("size", [(20_000, 2), (2, 20_000)])
def test_an_extreme_aspect_ratio_does_not_take_gigabytes(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a shorter side of 224 pixels, the longer side would have two million."""
    original_resize = Image.Image.resize

    def resize(self: Image.Image, size: tuple[int, int], *args: Any, **options: Any) -> Image.Image:
        assert size[0] * size[1] <= 100_000_000, f"{size[0] * size[1] * 4 / 2**30:.1f} GB"
        return original_resize(self, size, *args, **options)

    monkeypatch.setattr(Image.Image, "resize", resize)
    try:
        batch = cs.Model(nn.Identity(), input=cs.ImageInput(size=224)).prepare(Image.new("RGB", size))
    except InputError:
        return
    assert batch.tensor.shape == (1, 3, 224, 224)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL.*")  # Pillow warns about damaged TIFFs
@pytest.mark.parametrize("extension", ["jpg", "png", "gif", "bmp", "tiff", "webp", "ico", "ppm"])
def test_a_damaged_file_is_read_or_raises_an_input_error(extension: str, tmp_path: Path) -> None:
    complete = save_noise(tmp_path / f"whole.{extension}").read_bytes()
    model, rng = pictured(), np.random.default_rng(0)
    refused = 0
    for _ in range(40):
        data = bytearray(complete[: rng.integers(1, len(complete) + 1)])
        for index in rng.integers(0, len(data), 5):
            data[index] = rng.integers(256)
        try:
            model.prepare(write(tmp_path / f"a.{extension}", bytes(data)))
        except InputError:
            refused += 1
    assert refused > 0


# Images of every mode


def _palette(transparency: int | bytes | None) -> tuple[Image.Image, np.ndarray]:
    image = Image.new("P", (SIDE, SIDE))
    image.putpalette([250, 20, 30, 20, 200, 40, 30, 60, 220, 240, 230, 90])
    indices = np.arange(SIDE * SIDE).reshape(SIDE, SIDE) % 4
    image.putdata(indices.ravel().tolist())
    colors = np.array([[250, 20, 30], [20, 200, 40], [30, 60, 220], [240, 230, 90]], float)
    alpha = np.ones(4)
    if isinstance(transparency, int):
        alpha[transparency] = 0
    if isinstance(transparency, bytes):
        alpha = np.frombuffer(transparency, np.uint8) / 255
    if transparency is not None:
        image.info["transparency"] = transparency
    on_white = colors * alpha[:, None] + 255 * (1 - alpha[:, None])
    return image, on_white[indices]


def _with_alpha(mode: str) -> tuple[Image.Image, np.ndarray]:
    colors = blocks() if mode == "RGBA" else blocks()[..., :1]
    alpha = np.tile(np.array([0, 85, 170, 255], np.uint8), SIDE // 4)[None, :, None].repeat(SIDE, 0)
    opacity = alpha / 255
    expected = colors * opacity + 255 * (1 - opacity)
    return Image.fromarray(np.concatenate([colors, alpha], 2)), np.broadcast_to(expected, (SIDE, SIDE, 3))


def _sixteen_bits() -> tuple[Image.Image, np.ndarray]:
    values = np.linspace(0, 65535, SIDE * SIDE).astype(np.uint16).reshape(SIDE, SIDE)
    return Image.fromarray(values), (values / 257)[..., None].repeat(3, 2)


def _gray() -> tuple[Image.Image, np.ndarray]:
    values = np.arange(256, dtype=np.uint8).reshape(SIDE, SIDE)
    return Image.fromarray(values), values[..., None].repeat(3, 2).astype(float)


def _black_and_white() -> tuple[Image.Image, np.ndarray]:
    values = np.indices((SIDE, SIDE)).sum(0) % 2 == 0
    return Image.fromarray(values), values[..., None].repeat(3, 2) * 255.0


def _gray_with_one_transparent_value() -> tuple[Image.Image, np.ndarray]:
    picture, expected = _gray()
    picture.info["transparency"] = 7
    return picture, np.where(expected == 7, 255.0, expected)


MODES: dict[str, Callable[[], tuple[Image.Image, np.ndarray]]] = {
    "grey": _gray,
    "grey with a transparent value": _gray_with_one_transparent_value,
    "black and white": _black_and_white,
    "palette": lambda: _palette(None),
    "palette with a transparent colour": lambda: _palette(2),
    "palette with half-transparent colours": lambda: _palette(bytes([255, 0, 85, 170])),
    "colour with transparency": lambda: _with_alpha("RGBA"),
    "grey with transparency": lambda: _with_alpha("LA"),
    "sixteen bits": _sixteen_bits,
}


@pytest.mark.parametrize("make", MODES.values(), ids=MODES)
def test_all_modes_are_converted_with_transparency_on_white(
    make: Callable[[], tuple[Image.Image, np.ndarray]], tmp_path: Path
) -> None:
    picture, expected = make()
    picture.save(tmp_path / "a.png", **{k: v for k, v in picture.info.items() if k == "transparency"})
    np.testing.assert_allclose(prepared(tmp_path / "a.png"), expected, atol=1.01)
    np.testing.assert_allclose(prepared(picture), expected, atol=1.01)


def test_a_network_with_one_channel_gets_the_luminance() -> None:
    expected = blocks() @ [0.299, 0.587, 0.114]
    np.testing.assert_allclose(prepared(blocks(), channels=1)[..., 0], expected, atol=1.01)


def test_cmyk_images_are_converted_to_rgb(tmp_path: Path) -> None:
    Image.fromarray(blocks()).convert("CMYK").save(tmp_path / "a.jpg", quality=100)
    expected = np.asarray(Image.fromarray(blocks()).convert("CMYK").convert("RGB"), float)
    np.testing.assert_allclose(prepared(tmp_path / "a.jpg"), expected, atol=6)
    np.testing.assert_allclose(prepared(tmp_path / "a.jpg")[2, 2], blocks()[2, 2], atol=40)


ORIENTATIONS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("source", ["path", "picture"])
def test_the_exif_orientation_is_applied(orientation: int, source: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(blocks(16, 32)).save(tmp_path / "a.jpg", quality=100, subsampling=0, exif=exif)
    expected = ORIENTATIONS[orientation](blocks(16, 32))
    with Image.open(tmp_path / "a.jpg") as opened:
        image = tmp_path / "a.jpg" if source == "path" else opened
        np.testing.assert_allclose(prepared(image, *expected.shape[:2]), expected, atol=6)


def test_a_damaged_image_that_the_caller_opened_is_refused(tmp_path: Path) -> None:
    with (
        Image.open(truncate(save_noise(tmp_path / "a.jpg"), 0.6)) as picture,
        pytest.raises(InputError, match=r"the image is damaged: .*truncated"),
    ):
        pictured().prepare(picture)


def test_the_first_frame_of_an_animation_is_used(tmp_path: Path) -> None:
    frames = [Image.fromarray(blocks()), Image.new("RGB", (SIDE, SIDE))]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    np.testing.assert_allclose(prepared(tmp_path / "a.gif"), blocks(), atol=1)


# Arrays and tensors


@pytest.mark.parametrize(
    "image",
    [
        blocks(),
        blocks() / 255,
        (blocks() / 255).astype(np.float32),
        blocks().astype(np.uint16) * 257,
        np.concatenate([blocks(), np.full((SIDE, SIDE, 1), 255, np.uint8)], 2),
        np.asfortranarray(blocks()),
        blocks()[:, ::-1][:, ::-1],
        Image.fromarray(blocks()),
    ],
    ids=["uint8", "float64", "float32", "uint16", "with alpha", "another order", "negative strides", "picture"],
)
def test_arrays_of_all_types_are_read(image: Any) -> None:
    np.testing.assert_allclose(prepared(image), blocks(), atol=1e-4)


@pytest.mark.parametrize("image", [blocks()[..., 0], blocks()[..., :1]], ids=["without axis", "with axis"])
def test_a_gray_array_needs_no_channel_axis(image: np.ndarray) -> None:
    np.testing.assert_allclose(prepared(image), blocks()[..., :1].repeat(3, 2), atol=1e-4)


def test_a_boolean_mask_is_black_and_white() -> None:
    mask = blocks()[..., 0] > 100
    np.testing.assert_array_equal(prepared(mask, channels=1)[..., 0], mask * 255)


def test_a_list_returns_a_list_and_one_image_one_value() -> None:
    model = pictured()
    attribution = cs.saliency(model, blocks())
    assert isinstance(attribution, cs.Attribution)
    batches: tuple[Any, ...] = (
        [blocks()],
        [blocks(), blocks()],
        (blocks(),),
        np.stack([blocks(), blocks()]),
        tensor(2, 3, SIDE, SIDE),
    )
    for images in batches:
        attributions = cs.saliency(model, images)
        assert isinstance(attributions, list)
        assert len(attributions) == len(images)
    assert isinstance(cs.saliency(model, tensor(1, 3, SIDE, SIDE)), cs.Attribution)
    assert isinstance(cs.saliency(model, tensor(3, SIDE, SIDE)), cs.Attribution)


def test_a_prepared_tensor_is_used_unchanged_and_never_written_to() -> None:
    image = tensor()
    before = image.clone()
    assert torch.equal(pictured().prepare(image).tensor, before)
    with_gradient = image.clone().requires_grad_(True)
    cs.integrated_gradients(pictured(), with_gradient, steps=2)
    assert torch.equal(with_gradient, before)
    assert with_gradient.grad is None


def test_a_tensor_made_under_inference_mode_can_be_explained() -> None:
    with torch.inference_mode():
        image = tensor().clone()
    assert torch.equal(cs.saliency(pictured(), image).values, cs.saliency(pictured(), tensor()).values)


def test_inputs_that_overflow_the_networks_precision_are_refused() -> None:
    """One million is infinite in half precision."""
    with pytest.raises(InputError, match="NaN or infinite"):
        cs.saliency(cs.Model(small_network().half()), tensor() * 1e6)


def test_a_model_of_prepared_tensors_refuses_images_with_a_remedy() -> None:
    with pytest.raises(
        InputError, match=r"says nothing about images: say how they are prepared, with input=cs\.ImageInput\("
    ):
        cs.saliency(cs.Model(small_network()), blocks())


@pytest.mark.parametrize("channels", [2, 5])
def test_images_are_refused_for_other_channel_counts_than_one_or_three(channels: int) -> None:
    with pytest.raises(
        InputError, match=f"this model takes {channels} channels; pass a prepared tensor, a picture has 1 or 3"
    ):
        cs.saliency(pictured(channels=channels), blocks())


@pytest.mark.parametrize("shape", [(2, 64), (1, 2, 64)])
def test_the_declared_shape_of_a_signal_is_enforced(shape: tuple[int, ...]) -> None:
    model = cs.Model(axes_net(1), input=cs.TensorInput(shape=(2, 64)))
    assert cs.saliency(model, tensor(*shape)).values.shape == (64,)
    with pytest.raises(InputError, match="this model takes 2 channels, got 3"):
        cs.saliency(model, tensor(1, 3, 64))
    with pytest.raises(InputError, match=r"is 2 or 3 axes, got shape \(64,\)"):
        cs.saliency(model, tensor(64))


def test_an_unknown_sample_is_refused_with_a_suggestion() -> None:
    with pytest.raises(UnknownName, match="no sample 'digitz'; did you mean 'digits'"):
        cs.predict(pictured(), "sample:digitz/3")
    with pytest.raises(
        UnknownName, match=r"no sample 'detector' \(there are .*sample:scenes/1, .*sample:photo/china\)"
    ):
        cs.predict(pictured(), "sample:detector/0")
    with pytest.raises(UnknownName, match="digits are numbered 0 to 399"):
        cs.predict(pictured(), "sample:digits/4000")
