"""``convscope demo``: the bundled networks on bundled inputs through every lens, into one report and pictures."""

from pathlib import Path


def run_demo(folder: Path) -> None:
    """Explain the bundled inputs and say where to look."""
    raise SystemExit("demo")
