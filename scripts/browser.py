"""Find the browser for the browser tests; on Debian, as root, install it if it is missing."""

import os
import shutil
import subprocess
import sys

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
"""The order of ``tests/conftest.py``: the first draws pages only, the others also a window around them."""


def main() -> int:
    """Print which browser the tests will use, or that the browser tests will be skipped."""
    if shutil.which(NAMES[0]) is None and shutil.which("apt-get") and os.geteuid() == 0:
        print(f"installing {NAMES[0]} from the distribution …", flush=True)
        run_apt("update")
        run_apt("install", "-y", "--no-install-recommends", NAMES[0])
        if find_browser() is None:  # an older distribution has no such package
            run_apt("install", "-y", "--no-install-recommends", NAMES[1])
    browser = find_browser()
    if browser is None:
        print("no Chromium on this machine: the tests that open the report in a browser will be skipped")
        print("to run them: apt-get install chromium-headless-shell")
    else:
        print(f"browser for the tests: {browser}")
    return 0


def find_browser() -> str | None:
    """The path of the first browser that is installed."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def run_apt(*words: str) -> None:
    """Run apt-get silently; whether it did what it should is seen by the browser being there."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "-qq", *words], check=False, env=environment, capture_output=True)


if __name__ == "__main__":
    sys.exit(main())
