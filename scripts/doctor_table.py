"""Write docs/doctor.md: what every check looks for, and how often it is right on seeded cases.

python scripts/doctor_table.py [CHECK …] [--figures FILE]

With names it prints the seeds that went wrong; without, it writes the page. `--figures` keeps the counts of checks that
were run, so that the page, which takes minutes, can be made in parts.
"""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from convscope.training.checks.catalogue import CHECKS  # noqa: E402
from convscope.training.checks.declaration import Check  # noqa: E402
from tests.training.checks import cases  # noqa: E402

CASES = 30
SUBJECTS = {
    "run": ("A training", "convscope doctor runs/digits"),
    "network": ("A network on images", "convscope doctor photos --model net.py:make"),
    "explanation": (
        "An explanation: why is my map blank, of one color, inverted or NaN?",
        "cs.diagnose(model, image, explanation=cs.grad_cam(model, image))",
    ),
    "folder": ("A folder of images", "convscope doctor --data photos"),
}
HEAD = f"""# What the doctor looks for

Written by `python scripts/doctor_table.py` from the declarations of the checks.

Each check ran on {CASES} sick and {CASES} healthy cases, drawn from seeds (`tests/training/checks`): series of numbers,
small networks whose weights are set, tiny images. Half of the healthy cases of most checks are close to the symptom.
*Recall* is the share of sick cases with a finding, *false alarms* the share of healthy cases with one. The cases are
synthetic, and were written with the bounds of the checks in mind: the figures say that a check does what it declares,
not how often it is right about other trainings. Two kinds of sick cases were replaced after the checks had missed them:
images in blue-green-red order for `bundled:shapes`, a fifth of the cases of `wrong_preprocessing` (all missed; that
network is right on them too, and one whose answer depends on color is in its place), and one of `nonfinite_values`.
`wrong_preprocessing` does not see a wrong order of channels where the network hardly uses color. The cases of checks of
an explanation are maps of networks of three layers; those of `weight_spectra` have their directions added by hand.
Half of the sick cases of `shortcut`, and a fifth of those of `background_answers`, are `bundled:shapes-shortcut`, which
was trained with a watermark on one class; `bundled:shapes` on the same images is among the healthy ones. The answers of
the other networks are set by hand, on images of colors and blobs.
"""


def row(check: Check, counts: cases.Counts) -> str:  # type: ignore[type-arg]  # of any evidence
    """A check as a row of the table."""
    remedy = "<br>".join(f"`{line.strip()}`" for line in check.remedy.splitlines())
    return (
        f"| `{check.name}` | {check.looks_for} | {remedy} | {counts.recall:.0%} | {counts.false_alarms:.0%} "
        f"| {counts.cases} + {counts.cases} |"
    )


def page(figures: Path | None) -> str:
    """The whole page; every case of every check is run, except of checks whose counts are kept."""
    parts = [HEAD]
    for subject, (title, command) in SUBJECTS.items():
        parts += [f"## {title}", "", f"`{command}`", ""]
        parts += ["| check | looks for | remedy | recall | false alarms | cases |", "|---|---|---|---|---|---|"]
        parts += [row(check, measured(check.name, figures)) for check in CHECKS if check.subject == subject]
        parts.append("")
    return "\n".join(parts)


def measured(name: str, figures: Path | None) -> cases.Counts:
    """The counts of a check, which are printed and kept too."""
    kept = json.loads(figures.read_text("utf-8")) if figures and figures.exists() else {}
    counts = cases.Counts(**kept[name]) if name in kept else cases.count(name, CASES)
    if figures:
        figures.write_text(json.dumps({**kept, name: asdict(counts)}), "utf-8")
    print(
        f"{name}: recall {counts.recall:.0%}, false alarms {counts.false_alarms:.0%}", counts.missed, counts.alarmed,
        flush=True,
    )  # fmt: skip
    return counts


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write docs/doctor.md.")
    parser.add_argument("checks", nargs="*")
    parser.add_argument("--figures", type=Path)
    arguments = parser.parse_args()
    if arguments.checks:
        for name in arguments.checks:
            measured(name, arguments.figures)
    else:
        (ROOT / "docs" / "doctor.md").write_text(page(arguments.figures), "utf-8")
