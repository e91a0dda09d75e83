"""``convscope demo``: the bundled networks on bundled inputs through every lens, into one report and pictures."""

from pathlib import Path

from convscope.cli.lens_command import stem
from convscope.cli.talk import bar, put, say
from convscope.errors import CannotWrite
from convscope.values import Prediction, Value, writable

SHOWN = {
    "shapes": ("sample:shapes/33", "sample:shapes/12"),
    "digits": ("sample:digits/3",),
}
"""The inputs of the demo, by the network that answers them; training has seen none."""

QUICK: dict[str, dict[str, int]] = {
    "rise": {"samples": 160},
    "lime": {"samples": 160},
    "kernel-shap": {"samples": 160},
    "partition-shap": {"samples": 160},
    "hsic": {"samples": 160},
    "sobol": {"samples": 4},
    "permutation": {"samples": 3},
    "smoothed-score-cam": {"samples": 2, "channels": 32},
    "integrated-score-cam": {"steps": 4, "channels": 32},
    "extremal-perturbation": {"steps": 60},
    "meaningful-perturbation": {"steps": 60},
}
"""Fewer repetitions than the defaults, so that nobody waits: the maps are noisier than they need be."""


def run_demo(folder: Path) -> None:
    """Explain the bundled inputs and say where to look."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotWrite(f"cannot make the folder {str(folder)!r}: {error.strerror}") from error
    report = writable(folder / "report.html")
    say("opening the bundled networks …")
    from convscope.catalogue import lenses, load, outlines
    from convscope.engine.cost import reporting
    from convscope.reporting import look, write_report

    sections, names = [], [outline.command for outline in outlines()]
    for name, samples in SHOWN.items():
        model = load(f"bundled:{name}")
        for sample in samples:
            with bar(f"{sample:<16}") as told, reporting(told):
                sections += look(model, sample, names, {}, budgets=QUICK)
    values = [value for section in sections for value in section.values]
    with bar("drawing") as told:
        for done, value in enumerate(values):
            value.save(folder / f"{stem(value.record.input)}-{value.record.lens}.png")
            told(done + 1, len(values))
    write_report(sections, report, title="What two small networks see")
    put("\n".join([*map(_line, _answers(values)), ""]))
    put(f"{len(lenses())} lenses on {len(sections)} inputs: {len(values)} pictures in {folder}/")
    put(f"open {report.resolve()}")


def _answers(values: list[Value]) -> list[Prediction]:
    return [value for value in values if isinstance(value, Prediction)]


def _line(value: Prediction) -> str:
    return f"  {value.record.input:<18} {value.labels[0]:<10} {value.confidences[0]:6.1%}"
