"""Letters of all scripts in pictures: drawn with a font of the system, or said to be missing."""

from pathlib import Path

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib.font_manager import fontManager, get_font

from convscope.render import font_fallback, font_metrics
from convscope.render.canvas import BODY, Canvas

TIGER = "虎斑猫"


def tiny_font(path: Path, characters: str) -> Path:
    """A font in which each of these characters is a black square."""
    pen = TTGlyphPen(None)
    pen.moveTo((100, 0))
    for corner in ((100, 800), (900, 800), (900, 0)):
        pen.lineTo(corner)
    pen.closePath()
    square = pen.glyph()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", "square"])
    builder.setupCharacterMap({ord(c): "square" for c in characters})
    builder.setupGlyf({".notdef": square, "square": square})
    builder.setupHorizontalMetrics(dict.fromkeys((".notdef", "square"), (1000, 100)))
    builder.setupHorizontalHeader(ascent=900, descent=-100)
    builder.setupNameTable({"familyName": "Squares", "styleName": "Regular", "psName": "Squares"})
    builder.setupOS2(sTypoAscender=900, sTypoDescender=-100)
    builder.setupPost()
    builder.save(path)
    return path


@pytest.fixture
def font_files(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files of the fonts of this machine, beside DejaVu Sans: none, until a test adds one."""
    paths: list[str] = []
    monkeypatch.setattr(font_fallback, "candidate_fonts", lambda bold: paths)
    monkeypatch.setattr(font_fallback, "_font_of", {})
    return paths


def canvas_with(words: str, **style: object) -> Canvas:
    canvas = Canvas("light", 600)
    canvas.paragraph(words, **style)
    return canvas


def ink(canvas: Canvas) -> float:
    """How many pixels of a picture are dark."""
    return float((canvas.to_picture("letters").pixels < 100).all(-1).sum())


def test_a_character_that_dejavu_lacks_is_drawn_with_a_font_that_has_it(font_files: list[str], tmp_path: Path) -> None:
    font_files.append(str(tiny_font(tmp_path / "squares.ttf", TIGER)))
    single, triple = canvas_with(f"{TIGER[0]} cat"), canvas_with(f"{TIGER} cat")
    assert font_fallback.font_runs(f"{TIGER} cat", bold=False) == [
        (font_files[0], TIGER),
        (font_fallback.default_font(bold=False), " cat"),
    ]
    square = (0.8 * BODY) ** 2
    assert ink(triple) - ink(single) == pytest.approx(2 * square, rel=0.15)
    assert triple.text_width(f"{TIGER} cat") == pytest.approx(single.text_width(f"{TIGER[0]} cat") + 2 * BODY, abs=1)


@pytest.mark.parametrize("kind", ["svg", "pdf"])
def test_files_of_lines_and_letters_draw_it_too(font_files: list[str], tmp_path: Path, kind: str) -> None:
    font_files.append(str(tiny_font(tmp_path / "squares.ttf", TIGER)))
    file = canvas_with(TIGER).to_picture("letters").vector(kind)  # type: ignore[arg-type]
    assert b"Squares" in file


@pytest.mark.parametrize("anchor", ["left", "center", "right"])
def test_a_line_of_two_fonts_stands_where_it_should(font_files: list[str], tmp_path: Path, anchor: str) -> None:
    font_files.append(str(tiny_font(tmp_path / "squares.ttf", TIGER)))
    canvas = Canvas("light", 600)
    canvas.text(300, 20, f"H{TIGER}H", anchor=anchor)  # type: ignore[arg-type]
    canvas.y = 60
    columns = np.flatnonzero((canvas.to_picture("letters").pixels < 200).any((0, 2)))
    width = canvas.text_width(f"H{TIGER}H")
    begins = {"left": 300.0, "center": 300 - width / 2, "right": 300 - width}[anchor]
    assert columns[0] == pytest.approx(begins, abs=3)
    assert columns[-1] == pytest.approx(begins + width, abs=3)


def test_what_no_font_has_is_said_once_with_what_to_install(font_files: list[str], drawn_texts: list[str]) -> None:
    canvas = canvas_with(f"{TIGER} and again {TIGER}")
    canvas.paragraph("कखग ☃🯰")
    canvas.to_picture("letters")
    advice = [words for words in drawn_texts if "No installed font" in words]
    assert len(advice) == 1
    assert "U+864E, U+6591, U+732B" in advice[0]
    assert "fonts-noto-cjk fonts-noto-core" in advice[0]


def test_where_nothing_is_missing_nothing_is_said_and_no_font_is_looked_for(
    monkeypatch: pytest.MonkeyPatch, drawn_texts: list[str]
) -> None:
    monkeypatch.setattr(font_fallback, "candidate_fonts", lambda bold: pytest.fail("looked for a font"))
    canvas_with("Übergröße – ½ × π, Кошка, قط").to_picture("letters")
    assert not any("No installed font" in words for words in drawn_texts)


def test_a_font_added_to_matplotlib_is_found_and_the_font_of_last_resort_is_not(tmp_path: Path) -> None:
    path = tiny_font(tmp_path / "squares.ttf", TIGER)
    fontManager.addfont(path)
    try:
        assert str(path) in font_fallback.candidate_fonts(bold=False)
    finally:
        fontManager.ttflist[:] = [entry for entry in fontManager.ttflist if entry.fname != str(path)]
    assert not any("LastResort" in path for path in font_fallback.candidate_fonts(bold=False))


def test_a_file_that_is_no_font_is_passed_over(font_files: list[str], tmp_path: Path) -> None:
    broken = tmp_path / "broken.ttf"
    broken.write_bytes(b"no font")
    font_files += [str(broken), str(tiny_font(tmp_path / "squares.ttf", TIGER))]
    assert font_fallback.missing_characters(TIGER) == []


@pytest.mark.parametrize("bold", [False, True])
def test_the_characters_of_dejavu_are_those_that_freetype_reads(bold: bool) -> None:
    path = font_fallback.default_font(bold)
    assert font_metrics.characters_of(path) == frozenset(get_font(path).get_charmap())
