"""How long `lifetime curve` takes until its first gradient step: `python -m tests.benchmarks starting`."""

import subprocess
import sys
import tempfile
from statistics import median

from tests.benchmarks.ratios import Ratio, alternately, ratios

TO_FIRST_STEP = """
import os, sys
from agent.learners.training import Training
Training.step = lambda *_, **__: os._exit(0)
from scenarios.cli import main
sys.argv = ["lifetime", "curve", "--quiet", "--runs", {folder!r}]
main()
sys.exit(1)
"""
IMPORTS = "import torch, torchvision, avalanche.benchmarks"


def run(code: str) -> None:
    """In a process of its own."""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def measure() -> list[Ratio]:
    """Half a minute."""

    def start() -> None:
        with tempfile.TemporaryDirectory() as folder:
            run(TO_FIRST_STEP.format(folder=folder))

    started, imported = alternately(start, lambda: run(IMPORTS))
    seconds = f"{median(started):.1f} against {median(imported):.1f} s"
    what = "`lifetime curve` up to its first gradient step"
    return [Ratio(what, "importing torch, torchvision and Avalanche", ratios(started, imported), detail=seconds)]
