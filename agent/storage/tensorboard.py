"""TensorBoard events: the scalars of a step, and the layout of charts."""

import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.accounting.work import ACCOUNTS, PAID, Work
from agent.evaluation.scores import Accuracy
from agent.evaluation.trajectory import Step
from agent.operations import Action, operation_of

if TYPE_CHECKING:
    from tensorboard.compat.proto.summary_pb2 import Summary

_PARTS = ("agent", "learner", "memory")
_ACCOUNTS = ("learn", "memorize", "answer", "calibrate", "decide")
LAYOUT = {
    "Runs side by side": {
        "agent's accuracy (0 to 1) over samples": ["Multiline", ["accuracy/agent"]],
        "agent's accuracy (0 to 1) over FLOPs": ["Multiline", ["by_flop/accuracy_agent"]],
        "share learned from (0 to 1) over samples": ["Multiline", ["decision/learned_fraction"]],
        "GFLOPs over samples": ["Multiline", ["cost/total_gflop"]],
        "memory in MB over samples": ["Multiline", ["memory/megabytes"]],
    },
    "Agent, learner and memory of a run": {
        "accuracy (0 to 1) over samples": ["Multiline", [f"accuracy/{part}" for part in _PARTS]],
        "accuracy (0 to 1) over FLOPs": ["Multiline", [f"by_flop/accuracy_{part}" for part in _PARTS]],
        "on each chunk before its use, over samples": ["Multiline", [f"prequential/{part}" for part in _PARTS]],
        "GFLOPs by account over samples": ["Multiline", [f"cost/{account}_gflop" for account in _ACCOUNTS]],
    },
}
"""Charts for TensorBoard's custom scalars: one curve of several runs, and several curves of one run."""

FOREMOST = ("policy", "scenario", "dataset", "seed")
"""The settings in the first columns of TensorBoard's table, which shows five columns by default."""

CURVES = {
    "final_accuracy": "accuracy/agent",
    "learner_accuracy": "accuracy/learner",
    "memory_accuracy": "accuracy/memory",
    "total_gflop": "cost/total_gflop",
    "total_cost": "cost/total",
    "storage_cost": "cost/storage",
    "learned_fraction": "decision/learned_fraction",
    "memory_entries": "memory/entries",
    "memory_megabytes": "memory/megabytes",
    "recall_mflop_per_query": "cost/recall_mflop_per_query",
    "answer_mflop_per_query": "cost/answer_mflop_per_query",
    **{f"{account}_gflop": f"cost/{account}_gflop" for account in ACCOUNTS},
}
"""Final metrics that equal the end of a curve, with its tag: the table reads them there, and they get no chart."""

UNSHOWN = frozenset(f"{account}_cost" for account in ACCOUNTS)
"""Final metrics that TensorBoard does not show; it shows their total, and the GFLOPs of each account."""


class Events:
    """Writes the events of one run, after removing earlier ones.

    All scalars of a step go into one event, which is ten times as fast as one event for each scalar.
    """

    def __init__(self, path: Path) -> None:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter
        from torch.utils.tensorboard.summary import custom_scalars

        drop_events(path)
        self._writer = EventFileWriter(str(path))
        self._add(custom_scalars(LAYOUT), 0)

    def step(self, step: Step) -> None:
        """Write the scalars of a step over samples, and its accuracies also over the FLOPs that the agent pays."""
        self._add(_summary(scalars(step)), step.samples)
        by_flop = _accuracies("by_flop/accuracy_", step.accuracy)
        by_flop |= _accuracies("by_flop/prequential_", step.prequential)
        if by_flop:
            # In FLOPs and not GFLOPs: TensorBoard's steps are integers.
            self._add(_summary(by_flop), sum(step.work[account].flops for account in PAID) + step.pending_flops)

    def hparams(self, settings: Mapping[str, Any], metrics: Mapping[str, float | None]) -> None:
        """Write settings and final metrics for TensorBoard's table of hyper-parameters.

        Args:
            settings: by name, without those that are None.
            metrics: by name, without those that are None or in `UNSHOWN`; those in `CURVES` refer to their curve.
        """
        from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
        from torch.utils.tensorboard.summary import hparams

        plain = {
            name: value if isinstance(value, bool | int | float | str) else str(value)
            for name, value in settings.items()
            if value is not None
        }
        known = {
            CURVES.get(name, f"final/{name}"): value
            for name, value in metrics.items()
            if value is not None and name not in UNSHOWN
        }
        experiment, *session = hparams(plain, known)
        table = experiment.value[0].metadata.plugin_data
        content = HParamsPluginData.FromString(table.content)
        for column in content.experiment.hparam_infos:  # TensorBoard shows columns that differ first
            column.differs = column.name in FOREMOST
        table.content = content.SerializeToString()
        for summary in (experiment, *session):
            self._add(summary, 0)
        self._add(_summary({tag: float(value) for tag, value in known.items() if tag.startswith("final/")}), 0)

    def close(self) -> None:
        """Write all pending events, and close the file."""
        self._writer.close()

    def _add(self, summary: "Summary", step: int) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        self._writer.add_event(Event(summary=summary, step=step, wall_time=time.time()))


def drop_events(path: Path) -> None:
    """Remove the event files of a directory."""
    for old in path.glob("events.out.tfevents.*"):
        old.unlink()


def scalars(step: Step) -> dict[str, float]:
    """The scalars of a step by tag; accounts without charges have none."""
    values: dict[str, float] = {
        "decision/learn": float(operation_of(step.action).learns),
        "decision/learned_fraction": step.learned / max(step.samples, 1),
        "memory/entries": step.memory_entries,
        "memory/megabytes": step.memory_nbytes / 1e6,
        "cost/total": step.spent,
        "cost/total_gflop": step.spent_gflop,
        "cost/recall_mflop_per_query": step.query_flops / 1e6,
        "cost/answer_mflop_per_query": step.answer_flops / 1e6,
        "price/compute": step.price,
    }
    if operation_of(step.action).consolidates:
        values["decision/consolidate"] = 1.0
    if step.action == Action.BOTH.name:
        values["decision/both"] = 1.0
    if step.wanted:
        values["decision/refused"] = 1.0
    if step.missed:
        values["decision/missed"] = 1.0
    if step.costs["storage"]:
        values["cost/storage"] = step.costs["storage"]
    values |= {f"cost/{account}_gflop": work.flops / 1e9 for account, work in step.work.items() if work != Work()}
    values |= _accuracies("accuracy/", step.accuracy) | _accuracies("prequential/", step.prequential)
    if step.scores and step.scores.per_experience:
        for i, accuracy in enumerate(step.scores.per_experience):
            if accuracy:
                values[f"experience/{i}"] = accuracy.agent
    if step.observed:
        values |= {_observed(name): value for name, value in step.observed.items()}
    if step.mixture:
        fitted = {"w": step.mixture.w, **(step.mixture.setting or {})}
        if step.mixture.temperature != 1:
            fitted["learner_temperature"] = step.mixture.temperature
        values |= {f"mixture/{name}": value for name, value in fitted.items()}
    return values


def _accuracies(prefix: str, accuracy: Accuracy | None) -> dict[str, float]:
    if accuracy is None:
        return {}
    return {f"{prefix}{part}": share for part, share in asdict(accuracy).items() if share is not None}


def _observed(name: str) -> str:
    """The tag of an observed field; running averages form a group of their own."""
    return f"observed_mean/{name.removeprefix('mean_')}" if name.startswith("mean_") else f"observed/{name}"


def _summary(values: Mapping[str, float]) -> "Summary":
    from tensorboard.compat.proto.summary_pb2 import Summary

    return Summary(value=[Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()])
