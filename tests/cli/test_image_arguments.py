"""Image arguments: files, folders, ranges, pipes; damaged and missing files; output files."""

import io
import json
import os
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import convscope as cs
from convscope.cli.image_arguments import parse_images
from convscope.errors import InputError
from tests.warm_processes import run_code, run_command

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


def test_the_result_of_one_image_is_written_to_a_folder(run, tmp_path: Path) -> None:
    picture(tmp_path / "cat.png")
    for out in ("slash/", "bare"):
        assert run("saliency", "cat.png", *SHAPES, "--out", out).returncode == 0
    assert files(tmp_path) == ["bare/cat-saliency.png", "cat.png", "slash/cat-saliency.png"]


def test_each_image_of_folders_ranges_and_files_has_a_result(run, tmp_path: Path) -> None:
    picture(tmp_path / "set/one/a.png")
    picture(tmp_path / "set/two/a.png", seed=1)
    picture(tmp_path / "b.png", seed=2)
    words = ["saliency", "set", "sample:shapes/3-4", "b.png", *SHAPES, "--out", "maps/", "--json"]
    done = run(*words)
    assert done.returncode == 0, done.stderr
    manifests = json.loads(done.stdout)
    assert [manifest["record"]["input"] for manifest in manifests] == [
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
    assert Path(manifests[0]["file"]).name == "one-a-saliency.png"


def test_inputs_with_the_same_name_have_distinct_results(run, tmp_path: Path) -> None:
    for number, name in enumerate(("cat.png", "cat.jpg", "a/cat.png", "a/CAT.png", "cat-2.png")):
        picture(tmp_path / name, seed=number)
    done = run("predict", "cat.png", "cat.png", "cat.jpg", "a/cat.png", "a/CAT.png", "cat-2.png", *SHAPES, "-o", "out/")
    assert done.returncode == 0, done.stderr
    names = files(tmp_path / "out")
    assert len(names) == 6
    assert len({name.casefold() for name in names}) == 6
    assert {"cat-jpg-predict.png", "a-cat-predict.png", "cat-2-predict.png"} <= set(names)


def test_damaged_files_are_skipped_and_counted(run, tmp_path: Path) -> None:
    content = picture(tmp_path / "good.png")
    (tmp_path / "cut.png").write_bytes(content[: len(content) // 2])
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
def test_comparisons_and_reports_skip_damaged_files(run, tmp_path: Path, command: str) -> None:
    picture(tmp_path / "good.png")
    (tmp_path / "text.jpg").write_text("no picture")
    done = run(command, "good.png", "text.jpg", *SHAPES, "--lenses", "saliency")
    assert done.returncode == 1
    assert "1 of 2 images left out" in done.stderr
    assert set(files(tmp_path)) - {"good.png", "text.jpg"} == {"compare.png" if command == "compare" else "report.html"}


def test_a_batch_of_arguments_keeps_sizes_places_and_remarks(tmp_path: Path) -> None:
    """What `compare` and `report` are given is what Python prepares from the same addresses."""
    picture(tmp_path / "cat.png")
    images, _ = parse_images([str(tmp_path / "cat.png"), "sample:shapes/7"]).batch(cs.load("bundled:shapes"))
    assert images.sizes == ((40, 50), (96, 96))
    model = cs.load("bundled:beats")
    recording, _ = parse_images(["sample:beats/1"]).batch(model)
    assert list(map(vars, recording.grids)) == list(map(vars, model.prepare("sample:beats/1").grids))
    assert recording.grids[0].spacing == pytest.approx((1 / 180,))
    np.save(tmp_path / "short.npy", np.ones((1, 300), np.float32))
    short, _ = parse_images([str(tmp_path / "short.npy")]).batch(model)
    assert short.remark == model.prepare(tmp_path / "short.npy").remark != ""


def test_a_refused_request_leaves_no_files(refused, tmp_path: Path) -> None:
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


def test_a_result_never_overwrites_an_input(refused, tmp_path: Path) -> None:
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


@pytest.mark.slow
def test_names_of_results_contain_target_unit_and_layer(run, tmp_path: Path) -> None:
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


@pytest.mark.process
def test_an_image_is_read_from_standard_input(run, tmp_path: Path) -> None:
    sent = picture(tmp_path / "cat.png")
    piped = run_command(["saliency", "-", *SHAPES, "--out", "piped.npz"], tmp_path, sent)
    assert piped.status == 0, piped.output
    assert run("saliency", "cat.png", *SHAPES, "--out", "file.npz").returncode == 0
    with np.load(tmp_path / "piped.npz") as from_pipe, np.load(tmp_path / "file.npz") as from_file:
        assert np.array_equal(from_pipe["values"], from_file["values"])
    assert run("predict", "-", *SHAPES, input=sent).returncode == 0
    assert (tmp_path / "stdin-predict.png").exists()
    assert run("compare", "-", *SHAPES, "--lenses", "saliency", input=sent).returncode == 0
    assert run("top-inputs", "-", "cat.png", *SHAPES, "--unit", "layer3[1]", input=sent).returncode == 0


@pytest.mark.process
def test_an_image_is_read_from_a_named_pipe(tmp_path: Path) -> None:
    sent = picture(tmp_path / "cat.png")
    os.mkfifo(tmp_path / "pipe.png")
    writer = threading.Thread(target=(tmp_path / "pipe.png").write_bytes, args=(sent,), daemon=True)
    writer.start()
    done = run_command(["saliency", "pipe.png", *SHAPES, "--out", "a.json"], tmp_path)
    assert done.status == 0, done.output
    writer.join()


def test_a_truncated_pipe_is_refused(refused, tmp_path: Path) -> None:
    sent = picture(tmp_path / "cat.png")
    message = refused("saliency", "-", *SHAPES, input=sent[: len(sent) // 2])
    assert "standard input" in message
    assert f"({len(sent) // 2} bytes received)" in message
    assert "ended before sending an image (0 bytes)" in refused("saliency", "-", *SHAPES)
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
        ([""], "IMAGE is empty: name a file"),
        (["sample:shape/3"], "no sample 'shape'; did you mean 'shapes'?"),
    ],
)
def test_missing_images_are_refused_before_a_network_is_opened(
    run, tmp_path: Path, words: list[str], sentence: str
) -> None:
    (tmp_path / "hollow").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other/notes.txt").write_text("no picture")
    done = run("saliency", *words, *SHAPES)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"convscope: {sentence}"), done.stderr


def test_several_images_are_refused_by_commands_for_one_image(refused) -> None:
    assert "takes one image, got 2" in refused("structure", "sample:shapes/1", "sample:shapes/2", *SHAPES)
    assert "takes one image, got 2" in refused("recommend", "sample:shapes/1", "sample:shapes/2", *SHAPES)


INVALID_OUTPUTS = [
    ("file/a.png", "there is no folder"),
    ("file/", "is a file, name a folder"),
    ("no/such/a.png", "there is no folder 'no/such'"),
    ("a.mp9", "cannot tell the file type from 'a.mp9': the extension must be one of .png, .jpg"),
]


@pytest.mark.parametrize(("out", "sentence"), INVALID_OUTPUTS)
def test_an_invalid_output_is_refused_before_a_network_is_opened(run, tmp_path: Path, out: str, sentence: str) -> None:
    (tmp_path / "file").write_text("in the way")
    done = run("saliency", "sample:shapes/1", *SHAPES, "--out", out)
    assert done.returncode == 2
    assert "opening" not in done.stderr
    assert sentence in done.stderr
    assert files(tmp_path) == ["file"]


@pytest.mark.parametrize("extension", ["png", "npz", "html"])
@pytest.mark.process
def test_a_full_disk_is_reported_in_one_sentence_and_changes_no_file(tmp_path: Path, extension: str) -> None:
    """The full disk is simulated by a limit on the file size."""
    (tmp_path / f"old.{extension}").write_text("as it was")
    words = ["report", "--lenses", "saliency"] if extension == "html" else ["saliency"]
    words += ["sample:shapes/1", *SHAPES, "--out", f"old.{extension}"]
    code = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (800, 800))\n"
    code += f"import convscope_start; sys.argv = {['convscope', *words]!r}; convscope_start.main()"
    done = run_code(code, tmp_path)
    assert done.status == 2, done.output
    assert done.output.splitlines()[-1] == f"convscope: cannot write 'old.{extension}': File too large"
    assert files(tmp_path) == [f"old.{extension}"]
    assert (tmp_path / f"old.{extension}").read_text() == "as it was"


@pytest.mark.parametrize(("extension", "signature"), [("jpg", b"\xff\xd8"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_the_extension_selects_the_file_type(run, tmp_path: Path, extension: str, signature: bytes) -> None:
    assert run("predict", "sample:shapes/1", *SHAPES, "--out", f"a.{extension}").returncode == 0
    assert (tmp_path / f"a.{extension}").read_bytes().startswith(signature)


def test_heic_photographs_require_a_package(refused, run, process, tmp_path: Path) -> None:
    """A substitute for the package reads a PNG file that follows the signature of HEIC."""
    signature = b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic"
    file = io.BytesIO()
    Image.new("RGB", (32, 32), "red").save(file, "PNG")
    (tmp_path / "photo.HEIC").write_bytes(signature + file.getvalue())
    message = refused("predict", "photo.HEIC", *SHAPES)
    assert "'photo.HEIC' is a HEIC photograph" in message
    assert "-m pip install pillow-heif" in message
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


@pytest.mark.parametrize("text", ["Stop. Go left now", "left and/or right", "left now? yes", "3,1,4", "63,8.5,-1e3"])
def test_words_with_marks_and_numbers_between_commas_are_a_text(text: str) -> None:
    assert parse_images([text]).members == (text,)


def test_a_folder_whose_name_has_words_is_no_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    picture(tmp_path / "my photos/a.png")
    assert parse_images(["my photos"]).members == ("my photos/a.png",)
    for missing in ("my photos/b b", "no such.png", "a scan.nii.gz?frame=0"):
        with pytest.raises(InputError, match="no such file"):
            parse_images([missing])
