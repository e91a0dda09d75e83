"""Take screenshots of the workbench for the README: ``python scripts/screens.py``; needs Chromium.

The server runs in a separate process, with the bundled networks and samples only.
"""

import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

import convscope as cs
from convscope.training.report import training_report

PICTURES = Path(__file__).parents[1] / "docs/pictures"
PORT = 8917
ADDRESS = f"http://127.0.0.1:{PORT}"
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
]
VIEWS = {
    "web-look": ("/look?model=bundled:shapes&image=sample:shapes/3", "light", 8),
    "web-inside": ("/inside?model=bundled:shapes&image=sample:shapes/3&layer=layer1.0.conv1", "light", 10),
    "web-volume": ("/look?model=bundled:nodules&image=sample:nodules/1&lens=grad-cam", "light", 8),
    "web-compare": ("/compare?model=bundled:shapes&image=sample:shapes/3", "dark", 8),
}
"""The pages: link, theme, and the seconds to wait until the page is complete."""


def main() -> int:
    """Start the workbench, take the screenshots, stop it."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        print("no Chromium on this machine: apt-get install chromium")
        return 1
    command = [str(Path(sys.executable).with_name("convscope")), "serve", "--port", str(PORT), "--no-show"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_until_ready()
        with sync_playwright() as playwright:
            chromium = playwright.chromium.launch(executable_path=browser, args=FLAGS)
            for name, (link, theme, seconds) in VIEWS.items():
                page = chromium.new_page(viewport={"width": 1440, "height": 900}, color_scheme=theme)  # type: ignore[arg-type]
                _screenshot(page, f"{ADDRESS}{link}", PICTURES / f"{name}.png", seconds)
            training_pages(chromium)
            chromium.close()
    finally:
        server.terminate()
        server.wait(timeout=20)
    return 0


def training_pages(chromium: Browser) -> None:
    """Two parts of the page of a training: the curves at its top, and the pictures over time at its end."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "digits"
        cs.train("digits", run)
        report = training_report(cs.open_log(run), Path(folder) / "training.html", findings=())
        page = chromium.new_page(viewport={"width": 1200, "height": 900}, color_scheme="light")
        _screenshot(page, report.as_uri(), PICTURES / "training.png", 1)
        page.set_viewport_size({"width": 1200, "height": 600})
        page.locator(".film").first.scroll_into_view_if_needed()
        page.evaluate("document.querySelector('.film').scrollIntoView()")
        path = PICTURES / "training-probes.png"
        page.screenshot(path=path)
        for name in ("training", "training-probes"):
            Image.open(PICTURES / f"{name}.png").convert("RGB").quantize(256).save(path.with_stem(name), optimize=True)
            print(f"{name}.png: {path.with_stem(name).stat().st_size // 1024} kB")


def _wait_until_ready() -> None:
    for _ in range(120):
        try:
            urllib.request.urlopen(f"{ADDRESS}/api/v1/models", timeout=2)
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
        else:
            return
    raise SystemExit("the workbench did not answer within a minute")


def _screenshot(page: Page, link: str, path: Path, seconds: int) -> None:
    page.goto(link)
    page.wait_for_timeout(1000 * seconds)
    if (slices := page.locator("[data-open-slices]")).count():
        slices.click()
        page.wait_for_selector(".slice-viewer[data-volumes]")
        page.locator(".slice-viewer").scroll_into_view_if_needed()
        page.wait_for_timeout(1000)
    page.screenshot(path=path)
    Image.open(path).convert("RGB").save(path, optimize=True)
    print(f"{path.name}: {path.stat().st_size // 1024} kB")


if __name__ == "__main__":
    sys.exit(main())
