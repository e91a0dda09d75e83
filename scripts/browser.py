"""Find the browser for the browser tests; on Debian, as root, install it if it is missing."""

import os
import shutil
import subprocess
import sys

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def main() -> int:
    """Print which browser the tests will use, or that the browser tests will be skipped."""
    browser = next((path for name in NAMES if (path := shutil.which(name))), None)
    if browser is None and shutil.which("apt-get") and os.geteuid() == 0:
        print("no browser found: installing chromium from the distribution …", flush=True)
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"]
        for command in (["apt-get", "update", "-qq"], install):
            subprocess.run(command, check=False, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        browser = shutil.which("chromium")
    if browser is None:
        print("no Chromium on this machine: the tests that open the report in a browser will be skipped")
        print("to run them: apt-get install chromium")
    else:
        print(f"browser for the tests: {browser}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
