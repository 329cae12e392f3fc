"""What a long lifetime leaves in memory: `python -m tests.benchmarks.long_life` (Linux).

An agent lives 10,000 chunks of 2 textures each, recorded as `lifetime simulate` records. The process may grow by what
the agent holds by design (its memory and the samples that it rehearses) and by the steps of the trajectory, one a
chunk. The growth of the resident memory is printed beside both, and so is the number of tensors alive, which must not
grow at all. Then, the time of an insert into fuller and fuller memories, which should not depend on how full they are.
"""

import argparse
import gc
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from agent.evaluation.trajectory import Step
from agent.lifetime.loop import Lifetimes
from agent.memory import CacheMemory
from agent.storage.record import open_run
from scenarios.datasets.source import Access
from scenarios.running.lifetimes import run_together
from scenarios.running.progress import SilentReporter
from scenarios.running.world import load_world
from tests.benchmarks import recalling
from tests.benchmarks.loop_overhead import settings


def resident_nbytes() -> int:
    """Of this process, as the kernel counts."""
    status = Path("/proc/self/status").read_text()
    [kilobytes] = [line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")]
    return 1024 * int(kilobytes)


def held_nbytes(thing: Any, seen: set[int]) -> int:
    """Of plain values and data classes made of them; what has been `seen` is not counted twice."""
    if id(thing) in seen or thing is None or isinstance(thing, type):
        return 0
    seen.add(id(thing))
    parts: list[Any] = []
    if isinstance(thing, dict):
        parts = [part for pair in thing.items() for part in pair]
    elif isinstance(thing, list | tuple):
        parts = list(thing)
    elif is_dataclass(thing):
        parts = [getattr(thing, field.name) for field in fields(thing)]
        parts += [thing.__dict__] if hasattr(thing, "__dict__") else []
    return sys.getsizeof(thing) + sum(held_nbytes(part, seen) for part in parts)


def n_tensors() -> int:
    """Tensors alive, as far as the garbage collector knows."""
    return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())


class Growth:
    """Prints a line every so many chunks, and keeps what it printed."""

    def __init__(self, every: int) -> None:
        self.every = every
        self.rows: list[tuple[int, int, int, int]] = []
        print(
            f"{'chunks':>8}{'resident':>12}{'agent':>10}{'steps':>10}{'the rest':>12}{'tensors':>9}{'ms a chunk':>12}"
        )
        self._start = time.perf_counter()

    def look(self, lifetimes: Lifetimes, steps: dict[str, Step]) -> None:
        """Called after each chunk."""
        branch = lifetimes._branches[-1] if lifetimes else None
        [step] = steps.values()
        if branch is None or (step.step + 1) % self.every:
            return
        seconds = time.perf_counter() - self._start
        gc.collect()
        agent, trajectory = branch.cohorts[0].agent.nbytes, held_nbytes(branch.lifetimes[0].steps, set())
        resident = resident_nbytes()
        self.rows.append((step.step + 1, resident, agent, trajectory))
        rest, mb = resident - agent - trajectory, 1e6
        print(
            f"{step.step + 1:>8,}{resident / mb:>9.1f} MB{agent / mb:>7.2f} MB{trajectory / mb:>7.2f} MB"
            f"{rest / mb:>9.1f} MB{n_tensors():>9,}{1e3 * seconds / self.every:>12.2f}",
            flush=True,
        )
        self._start = time.perf_counter()

    def summarize(self) -> None:
        """Growth a chunk, from the second look on and over the second half of life."""
        for first in (1, len(self.rows) // 2):
            (start, *before), (end, *after) = self.rows[first], self.rows[-1]
            resident, agent, trajectory = ((b - a) / (end - start) for a, b in zip(before, after, strict=True))
            print(
                f"a chunk, from {start:,} to {end:,}: resident {resident:+,.0f} bytes = agent {agent:+,.0f}, "
                f"steps {trajectory:+,.0f}, and {resident - agent - trajectory:+,.0f} besides"
            )


def live(n_chunks: int, checkpoint_every: int) -> None:
    """Live the lifetime, looking at the process twenty times on the way."""
    config = settings(  # as little arithmetic as can be; half of the chunks are memorized
        n_chunks,
        checkpoint_every,
        train_size=2 * n_chunks,
        policy="random:p=0.5",
        evaluate_every=100,
        calibrate_every=100,
    )
    world = load_world(config, config.seed, Access(), SilentReporter())
    growth = Growth(max(1, n_chunks // 20))
    advance: Callable[[Lifetimes], dict[str, Step]] = Lifetimes.advance

    def watched(lifetimes: Lifetimes) -> dict[str, Step]:
        steps = advance(lifetimes)
        growth.look(lifetimes, steps)
        return steps

    with tempfile.TemporaryDirectory() as folder, patch.object(Lifetimes, "advance", watched):
        path = Path(folder) / "run"
        with open_run(path, config.model_dump(mode="json")) as run:
            method = config.as_method
            records = {method.label: run.lifetime("")}
            run_together(config, config.seed, [method], world, records, run.checkpoints(), SilentReporter())
        on_disk = {file.name.split(".tfevents")[0]: file.stat().st_size for file in path.iterdir()}
        print("on disk, bytes a chunk:", ", ".join(f"{name} {size / n_chunks:,.0f}" for name, size in on_disk.items()))
    growth.summarize()


def insert() -> None:
    """Time inserts of 2 entries, 512 numbers long, into memories of growing size."""
    print("insert of 2 entries into a memory of")
    generator = torch.Generator().manual_seed(0)
    first = None
    for megabytes in (1, 4, 16, 30, 64):
        memory = CacheMemory(10)
        n = megabytes * 500
        recalling.insert(memory, torch.randn(n, 512, generator=generator))
        keys = torch.randn(2, 512, generator=generator)
        seconds = []
        for _ in range(50):
            start = time.thread_time()
            recalling.insert(memory, keys)
            seconds.append(time.thread_time() - start)
        median = sorted(seconds)[len(seconds) // 2]
        first = first or median
        print(f"  {megabytes:>3} MB: {1e3 * median:8.3f} ms, {median / first:6.1f} times the first")


def main() -> None:
    parser = argparse.ArgumentParser(description="Memory of a long lifetime.")
    parser.add_argument("--chunks", type=int, default=10_000)
    parser.add_argument("--checkpoint-every", type=int, default=1000)
    args = parser.parse_args()
    torch.set_num_threads(1)  # a second thread would only wait for tensors this small
    live(args.chunks, args.checkpoint_every)
    insert()


if __name__ == "__main__":
    main()
