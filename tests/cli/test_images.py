"""What stands for images: files, folders, ranges, pipes; what of them is damaged, missing or written over."""

import io
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SHAPES = ("--model", "bundled:shapes")


def picture(path: Path, seed: int = 0) -> bytes:
    """A small picture, written to ``path``."""
    pixels = np.random.default_rng(seed).integers(0, 255, (40, 50, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path.read_bytes()


def files(folder: Path) -> list[str]:
    """All files below a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_one_image_goes_to_a_folder_as_many_do(run, tmp_path: Path) -> None:
    picture(tmp_path / "cat.png")
    for out in ("slash/", "bare"):
        assert run("saliency", "cat.png", *SHAPES, "--out", out).returncode == 0
    assert files(tmp_path) == ["bare/cat-saliency.png", "cat.png", "slash/cat-saliency.png"]


def test_folders_ranges_and_files_are_looked_at_one_by_one(run, tmp_path: Path) -> None:
    picture(tmp_path / "set/one/a.png")
    picture(tmp_path / "set/two/a.png", seed=1)
    picture(tmp_path / "b.png", seed=2)
    words = ["saliency", "set", "sample:shapes/3-4", "b.png", *SHAPES, "--out", "maps/", "--json"]
    done = run(*words)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert [one["record"]["input"] for one in told] == [
        "set/one/a.png",
        "set/two/a.png",
        "sample:shapes/3",
        "sample:shapes/4",
        "b.png",
    ]
    assert files(tmp_path / "maps") == [
        "b-saliency.png",
        "one-a-saliency.png",
        "shapes-3-saliency.png",
        "shapes-4-saliency.png",
        "two-a-saliency.png",
    ]
    assert Path(told[0]["file"]).name == "one-a-saliency.png"


def test_inputs_of_one_name_have_results_of_their_own(run, tmp_path: Path) -> None:
    for number, name in enumerate(("cat.png", "cat.jpg", "a/cat.png", "a/CAT.png", "cat-2.png")):
        picture(tmp_path / name, seed=number)
    done = run("predict", "cat.png", "cat.png", "cat.jpg", "a/cat.png", "a/CAT.png", "cat-2.png", *SHAPES, "-o", "out/")
    assert done.returncode == 0, done.stderr
    names = files(tmp_path / "out")
    assert len(names) == 6
    assert len({name.casefold() for name in names}) == 6
    assert {"cat-jpg-predict.png", "a-cat-predict.png", "cat-2-predict.png"} <= set(names)


def test_damaged_files_among_others_are_counted_and_the_rest_is_written(run, tmp_path: Path) -> None:
    whole = picture(tmp_path / "good.png")
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.jpg").write_text("no picture")
    (tmp_path / "none.png").touch()
    picture(tmp_path / "later.png", seed=1)
    done = run("saliency", "good.png", "cut.png", "text.jpg", "none.png", "later.png", *SHAPES, "--out", "maps/")
    assert done.returncode == 1
    assert files(tmp_path / "maps") == ["good-saliency.png", "later-saliency.png"]
    last = done.stderr.splitlines()[-1]
    assert last == "convscope: 3 of 5 images left out, as they cannot be read"
    assert all(name in done.stderr for name in ("'cut.png' is damaged", "'text.jpg'", "'none.png' is empty"))


@pytest.mark.parametrize("command", ["compare", "report"])
def test_what_shows_many_side_by_side_leaves_damaged_ones_out_too(run, tmp_path: Path, command: str) -> None:
    picture(tmp_path / "good.png")
    (tmp_path / "text.jpg").write_text("no picture")
    done = run(command, "good.png", "text.jpg", *SHAPES, "--lenses", "saliency")
    assert done.returncode == 1
    assert "1 of 2 images left out" in done.stderr
    assert set(files(tmp_path)) - {"good.png", "text.jpg"} == {"compare.png" if command == "compare" else "report.html"}


def test_nothing_is_left_of_a_request_that_is_refused(refused, tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no picture")
    (tmp_path / "also.jpg").write_text("no picture")
    (tmp_path / "hollow").mkdir()
    for words in (
        ["text.jpg", "also.jpg", *SHAPES],
        ["sample:shapes/1", "sample:shapes/2", "--model", "bundled:shape"],
        ["sample:shapes/1", "sample:shapes/2", *SHAPES, "--target", "nothing"],
        ["sample:shapes/1", "sample:shapes/2", *SHAPES, "--layer", "layer9"],
        ["hollow", *SHAPES],
    ):
        command = "grad-cam"
        refused(command, *words, "--out", "maps/deep/")
        refused(command, words[0], *words[words.index("--model") :], "--out", "one/")
    assert files(tmp_path) == ["also.jpg", "text.jpg"]
    assert not (tmp_path / "maps").exists()
    assert not (tmp_path / "one").exists()


def test_a_result_is_never_written_over_what_is_read(refused, tmp_path: Path) -> None:
    before = {name: picture(tmp_path / name) for name in ("cat.png", "set/cat.png", "set/cat-saliency.png")}
    (tmp_path / "link.png").symlink_to(tmp_path / "cat.png")
    for words in (
        ["saliency", "cat.png", "--out", "cat.png"],
        ["saliency", "cat.png", "--out", "./set/../cat.png"],
        ["saliency", "cat.png", "--out", "link.png"],
        ["saliency", "set", "--out", "set/"],
        ["style-transfer", "sample:shapes/1", "--style", "cat.png", "--out", "cat.png"],
        ["compare", "cat.png", "--out", "cat.png"],
    ):
        assert "would be written over its own input" in refused(*words, *SHAPES)
        assert "--out" in refused(*words, *SHAPES)
    assert {name: (tmp_path / name).read_bytes() for name in before} == before


def test_names_of_results_carry_what_was_explained(run, tmp_path: Path) -> None:
    for words in (
        ["grad-cam", "--target", "star - heart", "--layer", "layer2"],
        ["grad-cam", "--target", "layer3[17]"],
        ["grad-cam"],
        ["compare", "--lenses", "saliency", "--targets", "star,heart"],
        ["report", "--lenses", "saliency", "--target", "star"],
    ):
        assert run(words[0], "sample:shapes/7", *words[1:], *SHAPES).returncode == 0
    assert run("activation-maximization", *SHAPES, "--unit", "layer3[2]", "--steps", "2").returncode == 0
    assert files(tmp_path) == [
        "compare-star-heart.png",
        "report-star.html",
        "shapes-7-grad-cam-layer3-17.png",
        "shapes-7-grad-cam-star-minus-heart-layer2.png",
        "shapes-7-grad-cam.png",
        "shapes-activation-maximization-layer3-2.png",
    ]


def test_an_image_comes_through_standard_input(run, process, tmp_path: Path) -> None:
    sent = picture(tmp_path / "cat.png")
    piped = process("saliency", "-", *SHAPES, "--out", "piped.npz", input=sent)
    assert piped.returncode == 0, piped.stderr
    assert run("saliency", "cat.png", *SHAPES, "--out", "file.npz").returncode == 0
    with np.load(tmp_path / "piped.npz") as one, np.load(tmp_path / "file.npz") as other:
        assert np.array_equal(one["values"], other["values"])
    assert run("predict", "-", *SHAPES, input=sent).returncode == 0
    assert (tmp_path / "stdin-predict.png").exists()
    assert run("compare", "-", *SHAPES, "--lenses", "saliency", input=sent).returncode == 0
    assert run("top-inputs", "-", "cat.png", *SHAPES, "--unit", "layer3[1]", input=sent).returncode == 0


def test_an_image_comes_through_a_named_pipe(process, tmp_path: Path) -> None:
    sent = picture(tmp_path / "cat.png")
    os.mkfifo(tmp_path / "pipe.png")
    writer = threading.Thread(target=(tmp_path / "pipe.png").write_bytes, args=(sent,), daemon=True)
    writer.start()
    done = process("saliency", "pipe.png", *SHAPES, "--out", "a.json")
    assert done.returncode == 0, done.stderr
    writer.join()


def test_a_pipe_that_ends_early_is_told_so(refused, tmp_path: Path) -> None:
    sent = picture(tmp_path / "cat.png")
    said = refused("saliency", "-", *SHAPES, input=sent[: len(sent) // 2])
    assert "standard input" in said
    assert f"({len(sent) // 2} bytes came)" in said
    assert "ended before it gave an image (0 bytes)" in refused("saliency", "-", *SHAPES)
    assert "twice" in refused("saliency", "-", "-", *SHAPES, input=sent)
    assert files(tmp_path) == ["cat.png"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["hollow"], "there is no picture in the folder 'hollow': it is empty; pictures end in .jpg, .png, …"),
        (["other"], "there is no picture in the folder 'other': it holds 1 other file"),
        (["nowhere.png", "sample:shapes/1"], "no such file: 'nowhere.png'"),
        (["x" * 300], "cannot open 'xxx"),
        (["~nobody-of-this-name/a.png", "sample:shapes/1"], "cannot open '~nobody-of-this-name/a.png'"),
        (["sample:shapes/9-3"], "a range of samples is written sample:shapes/0-99"),
        (["sample:shape/3"], "no sample 'shape'; did you mean 'shapes'?"),
    ],
)
def test_images_that_are_not_there_are_refused_before_a_network_is_opened(
    run, tmp_path: Path, words: list[str], sentence: str
) -> None:
    (tmp_path / "hollow").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other/notes.txt").write_text("no picture")
    done = run("saliency", *words, *SHAPES)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"convscope: {sentence}"), done.stderr


def test_several_images_for_what_looks_at_one_are_refused(refused) -> None:
    assert "looks at one image, got 2" in refused("structure", "sample:shapes/1", "sample:shapes/2", *SHAPES)
    assert "looks at one image, got 2" in refused("recommend", "sample:shapes/1", "sample:shapes/2", *SHAPES)


PLACES = [
    ("file/a.png", "there is no folder"),
    ("file/", "is a file, name a folder"),
    ("no/such/a.png", "there is no folder 'no/such'"),
    ("a.gif", "cannot tell what to write from 'a.gif': end it in .png, .jpg"),
]


@pytest.mark.parametrize(("out", "sentence"), PLACES)
def test_a_place_that_cannot_be_written_is_refused_before_a_network_is_opened(
    run, tmp_path: Path, out: str, sentence: str
) -> None:
    (tmp_path / "file").write_text("in the way")
    done = run("saliency", "sample:shapes/1", *SHAPES, "--out", out)
    assert done.returncode == 2
    assert "opening" not in done.stderr
    assert sentence in done.stderr
    assert files(tmp_path) == ["file"]


@pytest.mark.parametrize("ending", ["png", "npz", "html"])
def test_a_full_disk_is_told_in_one_sentence_and_leaves_nothing_and_spoils_nothing(
    command: list[str], tmp_path: Path, ending: str
) -> None:
    """A limit on the size of files stands for the disk."""
    (tmp_path / f"old.{ending}").write_text("as it was")
    limit = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (800, 800))\n"
    words = ["report", "--lenses", "saliency"] if ending == "html" else ["saliency"]
    done = subprocess.run(
        [sys.executable, "-c", limit + command[2], *words, "sample:shapes/1", *SHAPES, "--out", f"old.{ending}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-1] == f"convscope: cannot write 'old.{ending}': File too large"
    assert files(tmp_path) == [f"old.{ending}"]
    assert (tmp_path / f"old.{ending}").read_text() == "as it was"


@pytest.mark.parametrize(("ending", "head"), [("jpg", b"\xff\xd8"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_pictures_are_written_as_their_ending_says(run, tmp_path: Path, ending: str, head: bytes) -> None:
    assert run("predict", "sample:shapes/1", *SHAPES, "--out", f"a.{ending}").returncode == 0
    assert (tmp_path / f"a.{ending}").read_bytes().startswith(head)


def test_pictures_of_heic_photographs_need_a_package(refused, run, process, tmp_path: Path) -> None:
    """A stand-in for the package reads what a PNG file holds behind the mark of HEIC."""
    mark = b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic"
    file = io.BytesIO()
    Image.new("RGB", (32, 32), "red").save(file, "PNG")
    (tmp_path / "photo.HEIC").write_bytes(mark + file.getvalue())
    said = refused("predict", "photo.HEIC", *SHAPES)
    assert "'photo.HEIC' is a HEIC photograph" in said
    assert "-m pip install pillow-heif" in said
    assert "left out: 'photo.HEIC' is a HEIC" in run("predict", ".", "sample:shapes/1", *SHAPES, "--json").stderr
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/pillow_heif.py").write_text(
        "import io\nfrom PIL import Image, PngImagePlugin\n"
        "def register_heif_opener():\n"
        "    Image.register_open('HEIF', lambda file, name: PngImagePlugin.PngImageFile(io.BytesIO(file.read()[24:])),"
        " lambda head: head[4:12] == b'ftypheic')\n"
        "    Image.register_extension('HEIF', '.heic')\n"
    )
    paths = os.pathsep.join([str(tmp_path / "lib"), os.environ.get("PYTHONPATH", "")])
    done = process("predict", "photo.HEIC", *SHAPES, env={"PYTHONPATH": paths})
    assert done.returncode == 0, done.stderr
