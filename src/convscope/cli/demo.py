"""``convscope demo``: the bundled networks on bundled inputs through every lens, into one report and pictures."""

from pathlib import Path
from typing import Any

from convscope.cli.console import bar, put, say
from convscope.cli.results import stem
from convscope.errors import CannotWrite
from convscope.values import Prediction, Value, writable

SHOWN = {
    "shapes": ("sample:shapes/33", "sample:shapes/12"),
    "digits": ("sample:digits/3",),
}
"""The inputs of the demo, by the network that answers them; training has seen none."""

QUICK: dict[str, dict[str, Any]] = {
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
    "activation-maximization": {"steps": 64},
    "invert": {"steps": 60},
    "caricature": {"steps": 40},
    "style-transfer": {"steps": 60},
    "style-features": {"steps": 60},
    "deep-dream": {"steps": 8},
    "top-inputs": {"show": 4, "k": 6},
}
"""Fewer repetitions than the defaults, so that nobody waits: the maps are noisier than they need be."""

DATA = {"shapes": "sample:shapes/0-119", "digits": "sample:digits/0-119"}
"""What lenses look at that take a data set."""

STYLES = {"shapes": "sample:shapes/12", "digits": "sample:digits/5"}

OVER_DATA = ("activations", "parameter-gradients", "receptive-field", "top-inputs")


def run_demo(folder: Path) -> None:
    """Explain the bundled inputs and say where to look."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotWrite(f"cannot make the folder {str(folder)!r}: {error.strerror}") from error
    report = writable(folder / "report.html")
    say("opening the bundled networks …")
    from convscope.catalogue import declared_lenses, lenses, load
    from convscope.engine.context.metering import reporting
    from convscope.reporting import collect, write_report

    sections, names = [], [outline.command for outline in declared_lenses()]
    for name, samples in SHOWN.items():
        model = load(f"bundled:{name}")
        own = {lens: {"images": DATA[name]} for lens in OVER_DATA} | {"style-transfer": {"style": STYLES[name]}}
        budgets = QUICK | {lens: QUICK.get(lens, {}) | given for lens, given in own.items()}
        with bar(f"{name:<16}") as told, reporting(told):
            sections += collect(model, list(samples), names, {}, budgets=budgets)
        names = [command for command in names if command != "convolve"]  # which needs no network: once will do
    values = [value for section in sections for value in section.values]
    with bar("drawing") as told:
        for done, value in enumerate(values):
            value.save(folder / f"{_stem(value)}.png")
            told(done + 1, len(values))
    write_report(sections, report, title="What two small networks see")
    put("\n".join([*map(_line, _answers(values)), ""]))
    inputs = sum(map(len, SHOWN.values()))
    put(f"{len(lenses())} lenses on {inputs} inputs and {len(SHOWN)} networks: {len(values)} pictures in {folder}/")
    put(f"open {report.resolve()}")


def _stem(value: Value) -> str:
    """What the picture of a value is named after: its input, or its network, or nothing but its lens."""
    looked_at = stem(value.record.input) if value.record.input in sum(SHOWN.values(), ()) else ""
    return "-".join(part for part in (looked_at or value.record.model.get("name", ""), value.record.lens) if part)


def _answers(values: list[Value]) -> list[Prediction]:
    return [value for value in values if isinstance(value, Prediction)]


def _line(value: Prediction) -> str:
    return f"  {value.record.input:<18} {value.labels[0]:<10} {value.said()[0]:>6}"
