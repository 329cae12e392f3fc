"""TensorBoard events: a step of a lifetime as scalars, and how the charts are laid out."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.trajectory import Step

if TYPE_CHECKING:
    from tensorboard.compat.proto.summary_pb2 import Summary

_PARTS = ("agent", "learner", "memory")
_ACCOUNTS = ("learn", "memorize", "recall", "rekey", "calibrate", "decide")
LAYOUT = {
    "Accuracy": {
        "on the test set, over samples": ["Multiline", [f"accuracy/{part}" for part in _PARTS]],
        "on each chunk before its use": ["Multiline", [f"prequential/{part}" for part in _PARTS]],
        "on the test set, over GFLOPs": ["Multiline", [f"by_gflop/accuracy_{part}" for part in _PARTS]],
    },
    "Cost": {"GFLOPs by account": ["Multiline", [f"cost/{account}_gflop" for account in _ACCOUNTS]]},
}
"""Charts that show several scalars at once, under TensorBoard's custom scalars."""


class Events:
    """Writes events of one run, in place of any that its directory holds.

    All scalars of a step go into one event, which takes a tenth of the time that one event each would.
    """

    def __init__(self, path: Path) -> None:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter
        from torch.utils.tensorboard.summary import custom_scalars

        drop_events(path)
        self._writer = EventFileWriter(str(path))
        self._add(custom_scalars(LAYOUT), 0)

    def step(self, step: Step) -> None:
        """Write a step: over samples, and the accuracies over GFLOPs, too."""
        self._add(_summary(scalars(step)), step.samples)
        accuracies = {"accuracy": step.accuracy, "prequential": step.prequential}
        by_gflop = {
            f"by_gflop/{name}_{part}": share
            for name, accuracy in accuracies.items()
            if accuracy
            for part, share in asdict(accuracy).items()
        }
        if by_gflop:
            self._add(_summary(by_gflop), round(step.spent_gflop))

    def hparams(self, settings: Mapping[str, Any], metrics: Mapping[str, float | None]) -> None:
        """Write settings and final metrics for TensorBoard's table of hyper-parameters."""
        from torch.utils.tensorboard.summary import hparams

        plain = {
            name: value if isinstance(value, bool | int | float | str) else str(value)
            for name, value in settings.items()
            if value is not None
        }
        known = {f"final/{name}": float(value) for name, value in metrics.items() if value is not None}
        for summary in hparams(plain, known):
            self._add(summary, 0)
        self._add(_summary(known), 0)

    def close(self) -> None:
        """Write what is pending, and end."""
        self._writer.close()

    def _add(self, summary: "Summary", step: int) -> None:
        import time

        from tensorboard.compat.proto.event_pb2 import Event

        self._writer.add_event(Event(summary=summary, step=step, wall_time=time.time()))


def drop_events(path: Path) -> None:
    """Remove the event files of a directory."""
    for old in path.glob("events.out.tfevents.*"):
        old.unlink()


def scalars(step: Step) -> dict[str, float]:
    """What TensorBoard shows of a step over the samples met."""
    values: dict[str, float] = {
        "decision/learn": float(step.action == "learn"),
        "decision/learned_fraction": step.learned / max(step.samples, 1),
        "memory/entries": step.memory_entries,
        "memory/megabytes": step.memory_nbytes / 1e6,
        "cost/total": step.spent,
        "cost/total_gflop": step.spent_gflop,
        "cost/storage": step.costs["storage"],
        "cost/recall_mflop_per_query": step.query_flops / 1e6,
        "price/compute": step.price,
    }
    values |= {f"cost/{account}_gflop": work.flops / 1e9 for account, work in step.work.items()}
    if step.accuracy:
        values |= {f"accuracy/{part}": share for part, share in asdict(step.accuracy).items()}
    if step.prequential:
        values |= {f"prequential/{part}": share for part, share in asdict(step.prequential).items()}
    if step.scores and step.scores.per_experience:
        for i, accuracy in enumerate(step.scores.per_experience):
            if accuracy:
                values[f"experience/{i}"] = accuracy.agent
    if step.observed:
        values |= {f"observed/{name}": value for name, value in step.observed.items()}
    if step.mixture:
        values["mixture/w"] = step.mixture.w
        if step.mixture.theta is not None:
            values["mixture/theta"] = step.mixture.theta
    return values


def _summary(values: Mapping[str, float]) -> "Summary":
    from tensorboard.compat.proto.summary_pb2 import Summary

    return Summary(value=[Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()])
