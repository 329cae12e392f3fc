"""The benchmarks that give ratios: `python -m tests.benchmarks [SUITE ...]`, all of `SUITES` without a name.

All take one to two hours on two cores, which should have nothing else to do. Prints a line as
each is measured, and at the end a table in Markdown.
"""

import argparse
import os

from tests.benchmarks import (
    approximate,
    bounding,
    executing,
    features,
    full_curve,
    growth,
    learning,
    loop_overhead,
    recalling,
    scaling,
    sharing,
    starting,
)
from tests.benchmarks.ratios import Ratio, machine

SUITES = {
    "learning": learning.measure,
    "sharing": sharing.measure,
    "recalling": recalling.measure,
    "approximate": approximate.measure,
    "bounding": bounding.measure,
    "features": features.measure,
    "loop": loop_overhead.measure,
    "starting": starting.measure,
    "growth": growth.measure,
    "executing": executing.measure,
    "scaling": scaling.measure,
    "full-curve": full_curve.measure,
}


def table(found: list[tuple[str, Ratio]]) -> str:
    """In Markdown."""
    lines = ["| suite | what / against what | ratio | rounds | target |", "|---|---|--:|---|---|"]
    for suite, ratio in found:
        what = f"{ratio.what} / {ratio.rival}" + (f" ({ratio.detail})" if ratio.detail else "")
        between = f"{min(ratio.rounds):.2f} to {max(ratio.rounds):.2f}"
        lines.append(f"| {suite} | {what} | {ratio.value:.2f} | {between} | {ratio.target} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Ratios against stated rivals, each measured in one process.")
    parser.add_argument("suites", nargs="*", choices=[[], *SUITES], default=[], help="default: all")
    names = parser.parse_args().suites or list(SUITES)
    print(machine())
    if (load := os.getloadavg()[0]) > 0.5:
        print(f"the machine is busy (load {load:.1f}): these ratios will be off; wait until it is idle")
    found = []
    for name in names:
        for ratio in SUITES[name]():
            print(f"{name:<10}{ratio}", flush=True)
            found.append((name, ratio))
    print(f"\n{table(found)}\n\n{machine()}")


if __name__ == "__main__":
    main()
