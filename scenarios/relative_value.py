"""The relative value of learning over memorizing: k%-learners lived over seeds (E. Orhan, 2019)."""

import csv
import io
import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from agent.agent import Agent
from agent.checkpoint import Checkpoints
from agent.chunk import LabelledImages
from agent.errors import RunError
from agent.exam import Exam, accuracy_of
from agent.learners import RefitLearner
from agent.lifetime import Lives
from agent.policies import StaticPolicy
from agent.record import LifetimeRecord, RunDirectory
from agent.trajectory import Trajectory
from scenarios.analysis import CurvePoint, Ratio, RelativeValue
from scenarios.build import build_agent, choose_augmentation
from scenarios.config import CurveConfig
from scenarios.datasets import Dataset, load_dataset
from scenarios.figures import curve_figure, figure_png
from scenarios.recording import live_on_record
from scenarios.streams import ChunkStream, iid_stream
from scenarios.watching import Watcher

COSTS = ("learn", "memorize", "recall", "calibrate")


@dataclass(frozen=True)
class LearnerAt:
    """The k%-learner at one k: its accuracies, and what it was and cost, one value a seed."""

    point: CurvePoint
    y_warm: tuple[float, ...] | None
    warm_gflop: tuple[float, ...] | None
    """GFLOPs of the training that leads from the k%-learner to y_warm; no lifetime pays them."""
    w: tuple[float, ...]
    theta: tuple[float | None, ...]
    gflop: dict[str, tuple[float, ...]]
    memory_entries: tuple[int, ...]
    memory_nbytes: tuple[int, ...]

    @property
    def typical_theta(self) -> float | None:
        """Geometric mean over the seeds whose memory was not empty, as θ is searched on a logarithmic grid."""
        logarithms = [math.log(theta) for theta in self.theta if theta is not None]
        return math.exp(_mean(logarithms)) if logarithms else None


@dataclass(frozen=True)
class Curve:
    """The finished experiment."""

    config: CurveConfig
    n_train: int
    n_test: int
    """Images, the same number for every seed."""
    learners: tuple[LearnerAt, ...]
    statistics: tuple[RelativeValue, ...]
    """By k, in the order of `learners`."""
    warm_statistics: tuple[RelativeValue, ...] | None
    """The same with y from a warm start."""


def live_curve(
    config: CurveConfig, run: RunDirectory, watcher: Watcher, *, download: bool = False, data_dir: Path | None = None
) -> Curve:
    """Live the static k%-learners for every seed, and write the curve.

    Lifetimes that the run directory holds already are not lived again, and unfinished ones go on from their checkpoint.

    Args:
        config: all settings.
        run: where everything is written.
        watcher: told of progress.
        download: fetch a missing data set.
        data_dir: where data sets and caches lie; None for the user's cache folder.

    Raises:
        DatasetError: from loading.
        InvalidSetting: settings that the data set does not allow.
        TrainingDiverged: from the learner; what was recorded stays.
        Interrupted: the watcher asked to stop; a checkpoint has been written.
        RunError: from writing.
    """
    seeds = range(config.first_seed, config.first_seed + config.seeds)
    ks = sorted({*config.k, 100.0})
    records = {(seed, k): run.lifetime(f"seed{seed}/k{k:03g}") for seed in seeds for k in ks}
    unlived = {seed: [k for k in ks if records[seed, k].summary() is None] for seed in seeds}
    first = True
    for seed in seeds:
        if not unlived[seed]:
            run.checkpoints(f"seed{seed}").drop()  # of a process that was killed just before it could
            continue
        watcher.say("data")
        dataset = _load(config, seed, data_dir, download, watcher.reach)
        if first:
            watcher.expect(sum(expected_work(config, dataset, unlived[s]) for s in seeds))
            first = False
        watcher.say(f"seed {seed}")
        _live_seed(config, dataset, seed, {k: records[seed, k] for k in ks}, run.checkpoints(f"seed{seed}"), watcher)
    try:
        curve = _read(config, {k: [records[seed, k] for seed in seeds] for k in ks})
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"expected whole summaries of {len(records)} lifetimes in {run.path}, got one without or with an odd "
            f"{str(error) or type(error).__name__}; --force starts anew"
        ) from error
    _write(curve, run)
    return curve


def prepare(config: CurveConfig, seed: int, *, download: bool, data_dir: Path | None) -> None:
    """Try whether the lifetimes of a seed could begin: load the data, cut the stream, build the agent.

    Raises:
        DatasetError: from loading.
        InvalidSetting: settings that the data set or the machine do not allow.
    """
    dataset = _load(config, seed, data_dir, download, None)
    iid_stream(dataset, config.chunks, seed=seed)
    build_agent(config, dataset, seed=seed, progress=lambda _: None)


def _load(
    config: CurveConfig, seed: int, data_dir: Path | None, download: bool, progress: Callable[[int, int], None] | None
) -> Dataset:
    return load_dataset(
        config.dataset,
        seed=seed,
        n_train=config.train_size,
        n_validation=config.validation_size,
        n_test=config.test_size,
        data_dir=data_dir,
        download=download,
        progress=progress,
    )


def _live_seed(
    config: CurveConfig,
    dataset: Dataset,
    seed: int,
    records: dict[float, LifetimeRecord],
    checkpoints: Checkpoints,
    watcher: Watcher,
) -> None:
    stream = iid_stream(dataset, config.chunks, seed=seed)
    exam = Exam(dataset.validation, dataset.test, every=config.evaluate_every)
    policies = {f"{k:g}": StaticPolicy(k) for k in records}
    by_name = {f"{k:g}": record for k, record in records.items()}
    about = {
        "n_train": len(dataset.train),
        "n_validation": len(dataset.validation),
        "n_test": len(dataset.test),
        "n_classes": dataset.n_classes,
        "augmentation": asdict(choose_augmentation(config, dataset)),
    }

    def begin(names: Iterable[str]) -> Lives:
        agent = build_agent(config, dataset, seed=seed, progress=watcher.advance)
        return Lives(agent, stream, {name: policies[name] for name in names}, exam)

    def finish(name: str, trajectory: Trajectory, aged: Agent) -> None:
        facts = about | (_warm(aged, stream, policies[name], dataset.test) if config.warm else {})
        by_name[name].finish(trajectory, facts)

    live_on_record(
        begin,
        by_name,
        checkpoints,
        watcher,
        title=f"seed {seed}:",
        checkpoint_every=config.checkpoint_every,
        on_step=lambda _: None,  # the learner itself tells of its progress
        on_end=finish,
    )


def _warm(agent: Agent, stream: ChunkStream, policy: StaticPolicy, test: LabelledImages) -> dict[str, float]:
    """The k%-learner after it has learned the rest of the stream too, from the weights it has: accuracy and cost."""
    assert isinstance(agent.learner, RefitLearner), "checked by the configuration"
    learner = agent.learner.warmed()
    for chunk in stream[policy.n_learned(len(stream)) :]:
        learner.learn(chunk)
    work = learner.settle()
    accuracy = accuracy_of(learner.forward(test.images).probabilities, test.labels)
    return {"y_warm": accuracy, "warm_gflop": work.flops / 1e9}


def expected_work(config: CurveConfig, dataset: Dataset, ks: list[float]) -> float:
    """Forward passes of one sample that a seed's lifetimes need (a training step counts as three)."""
    n, n_test, n_validation = len(dataset.train), len(dataset.test), len(dataset.validation)
    training = {k: 3 * config.epochs * n * k / 100 for k in ks}
    looking = sum(n * (1 - k / 100) + n_test + (n_validation if k < 100 else 0) for k in ks)
    if not ks:
        return 0
    if config.protocol == "online":
        n_exams = config.chunks // config.evaluate_every if config.evaluate_every else 0
        return max(training.values()) + looking + n_exams * n_test
    if config.evaluate_every:
        parts = range(config.evaluate_every, config.chunks, config.evaluate_every)
        exams = [100 * part / config.chunks for part in parts]
        looking += sum(3 * config.epochs * n * done / 100 + n_test for done in exams if done < max(ks))
    warm = sum(n_test + (3 * config.epochs * n if k < 100 else 0) for k in ks) if config.warm else 0
    return sum(training.values()) + looking + warm


def _read(config: CurveConfig, records: dict[float, list[LifetimeRecord]]) -> Curve:
    summaries: dict[float, list[dict[str, Any]]] = {
        k: [summary for record in lived if (summary := record.summary())] for k, lived in records.items()
    }
    y = tuple(summary["accuracy"]["learner"] for summary in summaries[100])
    learners = []
    for k in sorted(config.k):
        lived = summaries[k]
        point = CurvePoint(
            k,
            x=tuple(summary["accuracy"]["learner"] for summary in lived),
            y=y,
            z=tuple(summary["accuracy"]["agent"] for summary in lived),
        )
        learners.append(
            LearnerAt(
                point,
                y_warm=tuple(summary["y_warm"] for summary in lived) if config.warm else None,
                warm_gflop=tuple(summary["warm_gflop"] for summary in lived) if config.warm else None,
                w=tuple(summary["mixture"]["w"] for summary in lived),
                theta=tuple(summary["mixture"]["theta"] for summary in lived),
                gflop={cost: tuple(summary["work"][cost]["flops"] / 1e9 for summary in lived) for cost in COSTS},
                memory_entries=tuple(summary["memory_entries"] for summary in lived),
                memory_nbytes=tuple(summary["memory_nbytes"] for summary in lived),
            )
        )
    warm = None
    if config.warm:
        warm = tuple(
            CurvePoint(at.point.k, at.point.x, at.y_warm or (), at.point.z).statistics(config.confidence)
            for at in learners
        )
    statistics = tuple(at.point.statistics(config.confidence) for at in learners)
    last = summaries[100][-1]
    return Curve(config, last["n_train"], last["n_test"], tuple(learners), statistics, warm)


def _write(curve: Curve, run: RunDirectory) -> None:
    run.write("curve.json", json.dumps(curve_json(curve), indent=2) + "\n")
    run.write("curve.csv", curve_csv(curve))
    config = curve.config
    points = [at.point for at in curve.learners]
    png = figure_png(
        curve_figure(points, dataset=config.dataset, protocol=config.protocol, confidence=config.confidence)
    )
    run.write("curve.png", png)
    with run.tensorboard() as board:
        for at, values in zip(curve.learners, curve.statistics, strict=True):
            step = round(at.point.k)
            board.add_scalar("curve/x", values.x.estimate, step)
            board.add_scalar("curve/z", values.z.estimate, step)
            board.add_scalar("curve/y", values.y.estimate, step)
            if values.R.estimate is not None:
                board.add_scalar("curve/R", values.R.estimate, step)
            if values.share.estimate is not None:
                board.add_scalar("curve/share", values.share.estimate, step)
        board.add_image("curve", np.asarray(Image.open(io.BytesIO(png)).convert("RGB")), dataformats="HWC")


def curve_json(curve: Curve) -> dict[str, Any]:
    """The curve as plain values: for each k the statistics, and the values of every seed behind them."""
    config = curve.config
    points = []
    for i, (at, values) in enumerate(zip(curve.learners, curve.statistics, strict=True)):
        point: dict[str, Any] = {"k": at.point.k, **values.as_json()}
        if curve.warm_statistics:
            warm = curve.warm_statistics[i]
            point["warm"] = {"y": asdict(warm.y), "R": asdict(warm.R), "share": asdict(warm.share)}
        point["by_seed"] = {
            "x": at.point.x,
            "z": at.point.z,
            "y": at.point.y,
            **({"y_warm": at.y_warm, "warm_gflop": at.warm_gflop} if at.y_warm else {}),
            "w": at.w,
            "theta": at.theta,
            "gflop": at.gflop,
            "memory_entries": at.memory_entries,
            "memory_nbytes": at.memory_nbytes,
        }
        points.append(point)
    seeds = list(range(config.first_seed, config.first_seed + config.seeds))
    return {
        "dataset": config.dataset,
        "protocol": config.protocol,
        "seeds": seeds,
        "n_train": curve.n_train,
        "n_test": curve.n_test,
        "confidence": config.confidence,
        "points": points,
    }


def curve_csv(curve: Curve) -> str:
    """One line for each k: means over seeds, and the ends of their intervals."""
    rows = []
    for i, (at, values) in enumerate(zip(curve.learners, curve.statistics, strict=True)):
        row: dict[str, Any] = {"k": at.point.k, "n_seeds": values.seeds, "n_test": curve.n_test}
        columns: dict[str, Any] = {name: getattr(values, name) for name in ("x", "z", "y", "y_minus_x", "z_minus_x")}
        columns |= {"R": values.R, "share": values.share}
        if curve.warm_statistics:
            warm = curve.warm_statistics[i]
            columns |= {"y_warm": warm.y, "R_warm": warm.R, "share_warm": warm.share}
        for name, interval in columns.items():
            row |= {name: interval.estimate, f"{name}_low": interval.low, f"{name}_high": interval.high}
            if isinstance(interval, Ratio):
                row[f"{name}_note"] = interval.reason
        row |= {"w": _mean(at.w), "theta": at.typical_theta}
        row |= {f"{cost}_gflop": _mean(amounts) for cost, amounts in at.gflop.items()}
        row |= {"memory_entries": _mean(at.memory_entries), "memory_nbytes": _mean(at.memory_nbytes)}
        rows.append(row)
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
