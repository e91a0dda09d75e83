"""Clips: folders of frames, animated pictures, films."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from convscope.engine.inputs.input_files import read_input
from convscope.errors import InputError

FRAMES = np.random.default_rng(0).integers(0, 256, (12, 8, 10, 3), dtype=np.uint8)


def test_frames_are_sorted_by_the_numbers_in_their_names(tmp_path: Path) -> None:
    for index, frame in enumerate(FRAMES):
        Image.fromarray(frame).save(tmp_path / f"frame{index}.png")
    raw = read_input(tmp_path)
    assert np.array_equal(raw.values, FRAMES.transpose(3, 0, 1, 2)), "frame 10 comes after frame 9"
    assert raw.axes == ("time", "height", "width")


def test_frames_of_several_sizes_are_refused(tmp_path: Path) -> None:
    for side in (8, 9):
        Image.new("RGB", (side, side)).save(tmp_path / f"{side}.png")
    with pytest.raises(InputError, match="several sizes"):
        read_input(tmp_path)


def test_an_animated_gif_has_a_duration(tmp_path: Path) -> None:
    frames = [Image.fromarray(frame) for frame in FRAMES]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=40)
    raw = read_input(tmp_path / "a.gif")
    assert raw.values.shape == (3, 12, 8, 10)
    assert raw.spacing[0] == pytest.approx(0.04)
    frames[0].save(tmp_path / "still.gif")
    assert read_input(tmp_path / "still.gif").axes == ("height", "width"), "one frame is a picture"


def film(path: Path) -> None:
    """Five frames that grow brighter."""
    av = pytest.importorskip("av", reason="the decoder of films is not installed")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 16, "yuv420p"
        for level in range(0, 250, 50):
            frame = av.VideoFrame.from_ndarray(np.full((16, 32, 3), level, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


@pytest.mark.parametrize("ending", ["mp4", "mov", "mkv", "avi"])
def test_a_film_is_decoded(tmp_path: Path, ending: str) -> None:
    film(tmp_path / f"a.{ending}")
    raw = read_input(tmp_path / f"a.{ending}")
    assert raw.values.shape == (3, 5, 16, 32)
    assert np.abs(raw.values.mean((0, 2, 3)) - np.arange(0, 250, 50)).max() < 6
    assert raw.spacing[0] == pytest.approx(1 / 25)


@pytest.mark.parametrize(
    "text", ["ffconcat version 1.0\nfile secret.mp4\n", "#EXTM3U\n#EXTINF:1,\nsecret.mp4\n#EXT-X-ENDLIST\n"]
)
def test_a_playlist_of_other_films_is_no_film(tmp_path: Path, text: str) -> None:
    film(tmp_path / "secret.mp4")
    (tmp_path / "a.mp4").write_text(text)
    with pytest.raises(InputError, match=r"'a.mp4' is no film in MP4"):
        read_input(tmp_path / "a.mp4")
