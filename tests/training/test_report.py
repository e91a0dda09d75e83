"""The page of a log: everything inlined, with the views that its numbers allow."""

import re
from pathlib import Path

import numpy as np
import pytest

import convscope as cs
from convscope.render.raster import png
from convscope.render.rendered_picture import Picture
from convscope.training.checks.declaration import Finding
from convscope.training.diagnosis import Diagnosis
from convscope.training.report import diagnosis_report, page, training_report
from convscope.training.run import open_log
from convscope.training.store.entries import Histogram
from convscope.training.store.event_writer import EventWriter
from convscope.training.views.distributions import rebinned
from convscope.training.views.learning_curves import is_noisy, smoothed
from convscope.values.facts import Fact


def write_run(folder: Path) -> None:
    writer = EventWriter(folder)
    for step in range(3):
        for role in ("train", "validation"):
            writer.scalar(f"{role}/loss", 1.0 / (step + 1))
        for depth, layer in enumerate(("conv", "fc")):
            writer.scalar(f"gradient_norm/{layer}", 10.0**-depth)
            writer.scalar(f"update_ratio/{layer}", 1e-3)
            writer.scalar(f"dead/{layer}", 0.1 * step)
            writer.scalar(f"effective_rank/{layer}", 3.0)
        writer.histogram("weights/</script>", [-1, 0, 1], [2, 3], 0.0, 1.0)
        writer.picture("kernels/conv", png(np.full((2, 2, 3), step, np.uint8)), 2, 2, 3)
        writer.write(step, 1e9 + step)
    writer.close()


def test_the_page_has_a_section_for_each_view_and_a_slider_for_pictures(tmp_path: Path) -> None:
    write_run(tmp_path / "run")
    path = training_report(open_log(tmp_path), tmp_path / "page.html")
    text = path.read_text("utf-8")
    views = ["learning_curves", "gradient_flow", "update_ratios", "inactive_units", "effective_ranks", "distributions"]
    assert re.findall(r'<section id="(\w+)"', text) == [*views, "pictures"]
    assert 'type="range" min="0" max="2"' in text
    assert not re.search(r'(?:src|href)="(?!data:|#)', text)
    assert text.count("</script>") == 2  # a tag cannot end a script


def test_a_foreign_log_has_the_views_that_it_allows(assets: Path) -> None:
    text = page(open_log(assets / "tensorboard"))
    assert re.findall(r'<section id="(\w+)"', text) == ["learning_curves", "distributions", "pictures"]


def test_a_page_is_an_html_file(tmp_path: Path) -> None:
    write_run(tmp_path / "run")
    with pytest.raises(cs.ConvScopeError, match=r"a report is one HTML file: end 'page.png' in .html"):
        training_report(open_log(tmp_path), tmp_path / "page.png")


def test_the_moving_average_has_no_bias_and_leaves_nan() -> None:
    values = np.array([2.0, 2.0, np.nan, 2.0])
    assert smoothed(values, 0.9)[[0, 1, 3]] == pytest.approx([2, 2, 2])
    assert np.isnan(smoothed(values, 0.9)[2])
    assert smoothed(np.array([0.0, 1.0]), 0.5)[1] == pytest.approx(0.5 / 0.75)


def test_histograms_on_other_edges_keep_their_shares() -> None:
    histogram = Histogram(np.array([0.0, 1.0, 3.0]), np.array([1.0, 3.0]))
    assert rebinned(histogram, np.array([0.0, 0.5, 2.0, 3.0])) == pytest.approx([0.125, 0.5, 0.375])


def test_only_a_curve_that_turns_often_is_smoothed() -> None:
    schedule = 0.5 + 0.5 * np.cos(np.linspace(0, np.pi, 200))
    noise = np.random.default_rng(0).normal(size=200)
    assert is_noisy(schedule + noise)
    assert not is_noisy(schedule)
    assert not is_noisy(noise[:20])


def test_findings_are_written_with_the_pictures_of_their_evidence(tmp_path: Path) -> None:
    fact = Fact("{share} <of> all", share="3%")
    picture = Picture(np.zeros((2, 2, 3), np.uint8), "a <map>")
    findings = (
        Finding("first", "a symptom", "conv", "error", fact, "a cause", "mend()", lambda: picture, (Fact("tried"),)),
        Finding("second", "another", "", "note", fact, "a cause", "mend()"),
    )
    diagnosis = Diagnosis(findings, ("first", "second"), {"third": "no classes"})
    text = diagnosis_report(diagnosis, tmp_path / "doctor.html", subject="net.py:make").read_text("utf-8")
    assert text.count("<article") == 2
    assert text.count("<img") == 1
    assert 'alt="a &lt;map&gt;" src="data:image/png' in text
    assert "3% &lt;of&gt; all." in text
    assert "Tried on a copy:</strong> tried." in text
    assert "third was skipped: no classes" in text
    assert "3 checks" not in text
    assert "2 checks, 2 findings" in text
    assert not re.search(r'(?:src|href)="(?!data:|#)', text)
