"""Write constraints.txt: the version of every package in this environment, for the environments that make builds.

``make constraints`` runs it in a fresh environment of the newest versions that pyproject.toml allows.
"""

import subprocess
import sys
from pathlib import Path

TARGET = Path(__file__).parents[1] / "constraints.txt"
HEADER = """\
# The versions that the suite last passed with, for the environments that the Makefile builds. `make constraints`
# renews this file. pyproject.toml keeps ranges, which is what pip follows where ConvScope is installed by its users.
"""


def pinned(frozen: str) -> list[str]:
    """The lines of ``pip freeze`` that name a release; without local versions, since torch is ``2.13.0+cpu`` or not.

    Editable installs, comments and addresses of files say where something lies on this machine, and are dropped.
    """
    releases = [line for line in frozen.splitlines() if "==" in line and not line.startswith(("#", "-"))]
    return sorted((line.partition("+")[0] for line in releases), key=str.lower)


def main() -> None:
    """Write the file."""
    command = [sys.executable, "-m", "pip", "freeze", "--exclude-editable", "--disable-pip-version-check"]
    frozen = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    TARGET.write_text(HEADER + "\n".join(pinned(frozen)) + "\n")
    print(f"{TARGET.name}: {len(pinned(frozen))} packages")


if __name__ == "__main__":
    main()
