"""``convscope demo``: apply every lens to bundled networks and inputs, and write one report and the pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from convscope.cli.console import print_message, print_result, progress_bar
from convscope.cli.result_paths import image_stem
from convscope.errors import CannotWrite
from convscope.samples.bundled import sample_of
from convscope.spec import InputKind, LensSpec
from convscope.values import Prediction, Value, check_writable

INPUTS = {
    "shapes": ("sample:shapes/33", "sample:shapes/12"),
    "digits": ("sample:digits/3",),
    "beats": ("sample:beats/1",),
    "nodules": ("sample:nodules/1",),
    "sequence": ("sample:sequence/1",),
    "detector": ("sample:scenes/1",),
    "segmenter": ("sample:scenes/2",),
    "pairs": ("sample:pairs/2",),
    "shapes-shortcut": ("sample:shapes-shortcut/3",),
}
"""Bundled network → its inputs in the demo, which were not in its training set."""

SHORT = tuple(name for name in INPUTS if name not in ("shapes", "digits"))
"""The networks that are explained by the lenses with few passes only, of other inputs or tasks."""

ATTENDING = ("pairs",)
"""The networks that lenses of attention explain."""

DATA_SETS = {name: f"sample:{sample_of(name)}/0-{31 if name in SHORT else 119}" for name in INPUTS}
"""Bundled network → the data set for lenses that take one."""

STYLES = {name: f"sample:{sample_of(name)}/2" for name in INPUTS} | {
    "shapes": "sample:shapes/12",
    "digits": "sample:digits/5",
}
"""Bundled network → the style image for lenses that take one."""

GIVEN = {"data set": DATA_SETS, "second image": STYLES}
"""What the demo gives to lenses that need more than a network and an image, by the content of the input."""

FAMILY_LIMITS: dict[str, dict[str, int]] = {
    "perturbation": {"samples": 160, "steps": 60},
    "learned": {"steps": 60},
}
"""Upper limits for the parameters that multiply the number of passes, for fast but noisier results."""

LENS_LIMITS: dict[str, dict[str, int]] = {
    "activation-maximization": {"steps": 64},
    "caricature": {"steps": 40},
    "deep-dream": {"steps": 8},
    "integrated-score-cam": {"steps": 4, "channels": 32},
    "permutation": {"samples": 3},
    "smoothed-score-cam": {"samples": 2, "channels": 32},
    "sobol": {"samples": 4},
    "top-inputs": {"show": 4, "k": 6},
}
"""Values for lenses that need many passes per sample or step, or for which the limit of the family does not fit."""


def run_demo(folder: Path) -> None:
    """Apply every lens to the bundled inputs and write the results to ``folder``."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotWrite(f"cannot make the folder {str(folder)!r}: {error.strerror}") from error
    report = check_writable(folder / "report.html")
    print_message("opening the bundled networks …")
    from convscope.catalogue import lenses, load
    from convscope.engine.context.metering import reporting
    from convscope.reporting import collect, write_report

    fillable = {"network", "image", *GIVEN}
    applied = [spec for spec in lenses() if {kind.content for kind in _required(spec)} <= fillable]
    sections, specs = [], applied
    for network, inputs in INPUTS.items():
        model = load(f"bundled:{network}")
        names = [spec.command for spec in specs if _explains(spec, network)]
        arguments = demo_arguments(specs, network)
        with progress_bar(f"{network:<16}") as update, reporting(update):
            sections += collect(model, list(inputs), names, {}, budgets=arguments)
        specs = [spec for spec in specs if "model" in spec.inputs]  # the others give the same for every network
    values = [value for section in sections for value in section.values]
    with progress_bar("drawing") as update:
        for done, value in enumerate(values):
            value.save(folder / f"{_file_stem(value)}.png")
            update(done + 1, len(values))
    write_report(sections, report, title="What small networks see")
    print_result("\n".join([*(_line(value) for value in values if isinstance(value, Prediction)), ""]))
    count = sum(map(len, INPUTS.values()))
    print_result(
        f"{len(applied)} lenses on {count} inputs and {len(INPUTS)} networks ({', '.join(SHORT)}: "
        f"those with few passes): {len(values)} pictures in {folder}/"
    )
    print_result(f"open {report.resolve()}")


def _explains(spec: LensSpec, network: str) -> bool:
    """Whether the demo applies a lens to one of its networks."""
    return (network in ATTENDING or "attention" not in spec.needs) and not (network in SHORT and spec.many_passes)


def demo_arguments(specs: Sequence[LensSpec], network: str) -> dict[str, dict[str, Any]]:
    """The arguments of each lens that differ from its defaults, by command: inputs and reduced repetitions."""
    arguments: dict[str, dict[str, Any]] = {}
    for spec in specs:
        chosen: dict[str, Any] = {
            name: limit
            for name, limit in FAMILY_LIMITS.get(spec.family, {}).items()
            if name in spec.parameters and spec.parameters[name].default > limit
        }
        chosen |= LENS_LIMITS.get(spec.command, {})
        chosen |= {kind.name: GIVEN[kind.content][network] for kind in _required(spec) if kind.content in GIVEN}
        if chosen:
            arguments[spec.command] = chosen
    return arguments


def _required(spec: LensSpec) -> list[InputKind]:
    return [kind for kind in spec.input_kinds if kind.name in spec.required]


def _file_stem(value: Value) -> str:
    """The file name of a picture: the input, or else the network, if there is one, and the lens."""
    is_demo_input = value.record.input in sum(INPUTS.values(), ())
    subject = image_stem(value.record.input) if is_demo_input else ""
    return "-".join(part for part in (subject or value.record.model.get("name", ""), value.record.lens) if part)


def _line(value: Prediction) -> str:
    return f"  {value.record.input:<18} {value.labels[0]:<10} {value.formatted_scores()[0]:>6}"
