"""Screenshots of TensorBoard on a folder of runs: `python -m tests.screenshots FOLDER [--runs runs]`.

Starts `lifetime view` and a headless Chromium (Debian: `apt-get install chromium`), and writes timeseries.png,
scalars.png, hparams.png and custom_scalars.png. Chromium is driven by the DevTools protocol over a pipe
(https://chromedevtools.github.io/devtools-protocol/), so that nothing else needs to be installed.
"""

import argparse
import base64
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PAGES = {"timeseries": "timeseries", "scalars": "scalars", "hparams": "hparams", "custom_scalars": "custom_scalars"}
"""File names, and the fragments of TensorBoard's address."""

FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--no-first-run",
    "--hide-scrollbars",
    "--disable-dev-shm-usage",
    "--use-gl=angle",  # charts are drawn with WebGL, on the processor where there is no GPU
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--remote-debugging-pipe",
]

CHOICES = """
localStorage.setItem('_tb_global_settings', JSON.stringify(
  {scalarSmoothing: 0, ignoreOutliers: false, timeSeriesSettingsPaneOpened: false}));
localStorage.setItem('_ignoreYOutliers', 'false');
"""
"""What one would choose by hand: no smoothing, which bends curves of few points, and no end of a curve cut off."""

DRAWN = """
(() => {
  const all = (root) => [...root.querySelectorAll('*')].flatMap((e) => [e, ...(e.shadowRoot ? all(e.shadowRoot) : [])]);
  return all(document).filter((e) => e.tagName === 'CANVAS' || (e.tagName === 'path' && e.classList.length)).length;
})()
"""
"""Counts what charts are drawn on."""


class Browser:
    """A Chromium with one page."""

    def __init__(self, to_browser: int, from_browser: int, width: int, height: int) -> None:
        self._to, self._from = os.fdopen(to_browser, "wb", 0), os.fdopen(from_browser, "rb")
        self._n, self._session = 0, None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.call("Page.enable")
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the protocol, and its answer; events in between are not looked at."""
        self._n += 1
        message = {"id": self._n, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._to.write(json.dumps(message).encode() + b"\0")
        while True:
            answer = json.loads(self._receive())
            if answer.get("id") == self._n:
                if "error" in answer:
                    raise RuntimeError(f"expected {method} to work, got: {answer['error']['message']}")
                return answer["result"]

    def _receive(self) -> bytes:
        received = bytearray()
        while (byte := self._from.read(1)) != b"\0":
            if not byte:
                raise RuntimeError("expected Chromium to answer, but it has ended")
            received += byte
        return bytes(received)

    def evaluate(self, script: str) -> Any:
        """The value of an expression on the page."""
        return self.call("Runtime.evaluate", expression=script, returnByValue=True)["result"].get("value")

    def show(self, address: str, patience_seconds: float) -> None:
        """Open a page and wait until no more charts appear on it, or for as long as the patience lasts."""
        self.call("Page.navigate", url="about:blank")  # else another fragment of the same address is no new page
        self.call("Page.navigate", url=address)
        end, before, calm = time.monotonic() + patience_seconds, -1, 0
        while time.monotonic() < end and calm < 4:
            time.sleep(1)
            drawn = self.evaluate(DRAWN) or 0
            calm = calm + 1 if drawn == before and drawn else 0
            before = drawn

    def screenshot(self, path: Path) -> None:
        """Write what is to be seen as PNG."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))


@contextmanager
def browser(width: int, height: int) -> Iterator[Browser]:
    """Chromium, until the block ends."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        sys.exit("expected Chromium on this machine, found none; apt-get install chromium")
    its_in, to_browser = os.pipe()
    from_browser, its_out = os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        flags = " ".join([*FLAGS, f"--window-size={width},{height}", f"--user-data-dir={profile}"])
        process = subprocess.Popen(
            ["sh", "-c", f"exec '{program}' {flags} about:blank 3<&{its_in} 4>&{its_out}"],
            pass_fds=(its_in, its_out),
            stderr=subprocess.DEVNULL,
        )
        os.close(its_in)
        os.close(its_out)
        try:
            yield Browser(to_browser, from_browser, width, height)
        finally:
            process.terminate()
            process.wait(20)


@contextmanager
def tensorboard(runs: Path) -> Iterator[str]:
    """TensorBoard on a folder of runs until the block ends; its address."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", "from scenarios.cli import main; main()", "view"]
    process = subprocess.Popen([*command, "--runs", str(runs), "--port", str(port)], stdout=subprocess.DEVNULL)
    address = f"http://localhost:{port}/"
    try:
        n_runs = len({events.parent for events in runs.rglob("events.out.tfevents.*")})
        end = time.monotonic() + 90
        while time.monotonic() < end and process.poll() is None:
            time.sleep(1)
            try:
                with urllib.request.urlopen(f"{address}data/runs", timeout=10) as answer:
                    found = json.load(answer)
            except OSError:
                continue
            if len(found) >= n_runs:  # it loads them one after the other
                break
        yield address
    finally:
        process.terminate()
        process.wait(20)


def main() -> None:
    parser = argparse.ArgumentParser(description="Screenshots of TensorBoard.")
    parser.add_argument("folder", type=Path, help="where the images go")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--width", type=int, default=1600)
    parser.add_argument("--height", type=int, default=2200)
    parser.add_argument("--as-it-comes", action="store_true", help="leave TensorBoard's settings as they are at first")
    parser.add_argument("--patience-seconds", type=float, default=40, help="for a page")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    with tensorboard(args.runs) as address, browser(args.width, args.height) as chromium:
        if not args.as_it_comes:
            chromium.show(address, 5)
            chromium.evaluate(CHOICES)
        for name, fragment in PAGES.items():
            smoothing = "" if args.as_it_comes else "&_smoothingWeight=0"
            chromium.show(f"{address}#{fragment}{smoothing}", args.patience_seconds)
            chromium.screenshot(args.folder / f"{name}.png")
            sys.stdout.write(f"{args.folder / f'{name}.png'}\n")


if __name__ == "__main__":
    main()
