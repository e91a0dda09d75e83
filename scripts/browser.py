"""Find the browser that the tests of the report open it in; on Debian, as root, install it when it is missing."""

import os
import shutil
import subprocess
import sys

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def main() -> int:
    """Say which browser the tests will use; its absence is said plainly and skips those tests."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None and shutil.which("apt-get") and os.geteuid() == 0:
        print("no browser found: installing chromium from the distribution …", flush=True)
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run(["apt-get", "update", "-qq"], check=False, **quiet)
        command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"]
        subprocess.run(command, check=False, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"}, **quiet)
        found = shutil.which("chromium")
    if found is None:
        print("no Chromium on this machine: the tests that open the report in a browser will be skipped")
        print("to run them: apt-get install chromium")
    else:
        print(f"browser for the tests: {found}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
