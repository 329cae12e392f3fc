"""What the loop adds to the arithmetic of network and memory, a chunk: `python -m tests.benchmarks.loop_overhead`.

A tiny agent lives 500 small chunks of textures as `lifetime simulate` would: recorded to a run directory (trajectory
and TensorBoard), predicted before each use, under a policy that looks at learner and memory, examined every 5 chunks;
once without checkpoints and once with one every 20 chunks. Arithmetic is what the learner, the memory and the fit of
the mixture do; all the rest is the loop. Times are a chunk's.
"""

import argparse
import cProfile
import pstats
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch

import agent.lifetime.measuring
import agent.lifetime.observing
import agent.memory.mixture
from agent.accounting.ledger import Ledger
from agent.agent import Agent
from agent.learners import OnlineLearner
from agent.lifetime.lifetime import Lifetime
from agent.lifetime.loop import Lifetimes
from agent.memory import CacheMemory
from agent.policies.thresholds import NoveltyPolicy
from agent.storage.checkpoint import Checkpoints
from agent.storage.record import LifetimeRecord, open_run
from agent.storage.tensorboard import Events
from scenarios.config.settings import SimulateConfig
from scenarios.datasets.source import Access
from scenarios.running.lifetimes import run_together
from scenarios.running.progress import SilentReporter
from scenarios.running.world import load_world
from scenarios.streams.scenario import ChunkStream
from tests.benchmarks.ratios import Ratio, ratios
from tests.benchmarks.stopwatch import Places, Stopwatch

ARITHMETIC, CHECKPOINTS = "arithmetic", "checkpoints"
AROUND, THREADS = "around it: build, open, close, metrics", "TensorBoard's thread, which writes them"
PARTS: dict[str, Places] = {
    ARITHMETIC: [
        (OnlineLearner, "learn"),
        (OnlineLearner, "forward"),
        (CacheMemory, "insert"),
        (CacheMemory, "recall"),
        (agent.memory.mixture, "fit_mixture"),
    ],
    CHECKPOINTS: [(Lifetimes, "state"), (LifetimeRecord, "sync"), (Checkpoints, "save")],
    "stream: gathering the chunk": [(ChunkStream, "__getitem__")],
    "what learner and memory make of the chunk": [
        (agent.lifetime.observing, "learner_signals"),
        (agent.lifetime.observing, "memory_signals"),
    ],
    "scoring predictions": [(agent.lifetime.observing, "accuracies"), (agent.lifetime.measuring, "score")],
    "looking, mixing": [(Agent, "look"), (Agent, "answer"), (Agent, "fit"), (Agent, "memorize"), (Agent, "learn")],
    "estimating costs": [(Agent, "estimate_learning"), (Agent, "estimate_memorizing")],
    "observation": [(Lifetime, "observation")],
    "deciding": [(NoveltyPolicy, "decide")],
    "ledger": [(Ledger, "charge"), (Ledger, "hold"), (Ledger, "spent"), (Ledger, "flops")],
    "step": [(Lifetime, "write_down")],
    "trajectory line": [(LifetimeRecord, "step")],
    "TensorBoard events, handed over": [(Events, "step")],
    "the loop's own lines": [(Lifetimes, "advance")],
}


def settings(n_chunks: int, checkpoint_every: int, **others: Any) -> SimulateConfig:
    """Little arithmetic, and everything that the loop can be asked for, unless others say so."""
    return SimulateConfig.model_validate(
        {
            "train_size": 4 * n_chunks,
            "validation_size": 50,
            "test_size": 100,
            "chunks": n_chunks,
            "network": "resnet:width=2",
            "recipe": "sgd:batch=4",
            "learner": "online:epochs=1",
            "pool": True,
            "device": "cpu",
            "policy": "novelty",
            "checkpoint_every": checkpoint_every,
            **others,
        }
    )


def live(config: SimulateConfig, folder: Path, stopwatch: Stopwatch) -> None:
    """Live and record one lifetime, as the stopwatch looks on."""
    world = load_world(config, config.seed, Access(), SilentReporter())
    with (
        open_run(folder, config.model_dump(mode="json")) as run,
        stopwatch.watching(PARTS, rest=AROUND, threads=THREADS),
    ):
        method = config.as_method
        records = {method.label: run.lifetime("")}
        run_together(config, config.seed, [method], world, records, run.checkpoints(), SilentReporter())


def report(title: str, n_chunks: int, stopwatch: Stopwatch) -> None:
    """Print where the time went."""
    wall, cpu = stopwatch.wall, stopwatch.cpu
    print(f"{title}{'processor':>{60 - len(title)}}{'share':>8}{'wall clock':>12}{'calls':>8}")
    loop = [part for part in cpu if part not in (ARITHMETIC, CHECKPOINTS)]

    def line(name: str, parts: Sequence[str], calls: str = "") -> None:
        spent, waited = (1e3 * sum(seconds[part] for part in parts) / n_chunks for seconds in (cpu, wall))
        share = sum(cpu[part] for part in parts) / sum(cpu.values())
        print(f"  {name:<47}{spent:8.3f} ms{share:8.1%}{waited:9.3f} ms{calls:>8}")

    for name, parts in (("all", list(cpu)), (ARITHMETIC, [ARITHMETIC]), (CHECKPOINTS, [CHECKPOINTS]), ("LOOP", loop)):
        line(name, parts)
    for part in sorted(loop, key=lambda part: -cpu[part]):
        line(f"  {part}", [part], f"{stopwatch.calls[part]:,}")


def measure() -> list[Ratio]:
    """All that a recorded lifetime takes over its arithmetic, processor time, with checkpoints as by default."""
    n_chunks, rounds, threads = 500, [], torch.get_num_threads()
    torch.set_num_threads(1)  # a second thread would only wait for tensors this small
    with tempfile.TemporaryDirectory() as folder:
        for number in range(4):
            stopwatch = Stopwatch()
            live(settings(n_chunks, 20), Path(folder) / str(number), stopwatch)
            rounds.append((sum(stopwatch.cpu.values()), stopwatch.cpu[ARITHMETIC]))
    torch.set_num_threads(threads)
    everything, arithmetic = zip(*rounds[1:], strict=True)
    beside = (median(everything) - median(arithmetic)) / n_chunks
    what = f"a recorded lifetime of {n_chunks} chunks of 4 images, ResNet-8 width 2"
    told = f"{1e3 * beside:.1f} ms a chunk beside arithmetic"
    return [Ratio(what, "its arithmetic (processor time)", ratios(everything, arithmetic), "", told)]


def main() -> None:
    parser = argparse.ArgumentParser(description="Overhead of the loop, a chunk.")
    parser.add_argument("--chunks", type=int, default=500)
    parser.add_argument("--profile", action="store_true", help="print the functions by cProfile, too")
    args = parser.parse_args()
    torch.set_num_threads(1)  # a second thread would only wait for tensors this small
    with tempfile.TemporaryDirectory() as folder:
        live(settings(20, 10), Path(folder) / "warm", Stopwatch())
        for title, every in (("without checkpoints", args.chunks), ("a checkpoint every 20 chunks", 20)):
            stopwatch = Stopwatch()
            live(settings(args.chunks, every), Path(folder) / str(every), stopwatch)
            report(title, args.chunks, stopwatch)
        if args.profile:
            profile = cProfile.Profile()
            profile.runcall(live, settings(args.chunks, args.chunks), Path(folder) / "profiled", Stopwatch())
            pstats.Stats(profile).sort_stats("cumulative").print_stats(60)


if __name__ == "__main__":
    main()
