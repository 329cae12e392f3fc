"""Run lifetimes that are recorded and checkpointed, so that they can be stopped and resumed without loss."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from agent.agent import Agent
from agent.errors import CheckpointError, RunError
from agent.evaluation.trajectory import Step, Trajectory
from agent.lifetime.loop import Lifetimes
from agent.operations import OPERATIONS, PASS, operation_of
from agent.storage.checkpoint import Checkpoints, must_fit
from agent.storage.record import LifetimeRecord
from scenarios.running.progress import Interrupted, ProgressReporter

Begin = Callable[[Iterable[str]], Lifetimes]
"""Makes the lifetimes with these names, at initialization."""


def run_recorded(
    begin: Begin,
    records: Mapping[str, LifetimeRecord],
    checkpoints: Checkpoints,
    reporter: ProgressReporter,
    *,
    title: str,
    checkpoint_every: int,
    on_step: Callable[[Mapping[str, Step]], None],
    on_end: Callable[[str, Trajectory, Agent], None],
) -> None:
    """Run each unfinished lifetime, from the last checkpoint if there is one.

    Args:
        begin: makes the lifetimes.
        records: of each lifetime, by name.
        checkpoints: of these lifetimes together.
        reporter: receives the decisions so far and the last accuracy; may stop the run after each chunk.
        title: begins each message to the reporter.
        checkpoint_every: chunks between checkpoints.
        on_step: called with steps by name: first with each step in the checkpoint, then with each new step.
        on_end: finishes the record of a lifetime.

    Raises:
        Interrupted: the reporter stopped the run; a checkpoint is saved.
        RunError: a file cannot be written, or there are checkpoints but none can be used.
    """
    decisions: dict[str, list[str]] = {name: [] for name in records}
    accuracies = dict.fromkeys(records, "")
    try:
        lifetimes, past = _resumed(begin, records, checkpoints, reporter)
        for name, recorded in past.items():
            records[name].restart_after(recorded)
            decisions[name].extend(step.action for step in recorded)
            for step in recorded:
                on_step({name: step})
        advanced = 0
        while lifetimes:
            steps = lifetimes.advance()
            for name, step in steps.items():
                records[name].step(step)
                decisions[name].append(step.action)
            on_step(steps)
            for name, trajectory, agent in lifetimes.ended():
                on_end(name, trajectory, agent)
            name, step = next(iter(steps.items()))
            if step.accuracy:
                accuracies.update(dict.fromkeys(steps, f" {100 * step.accuracy.agent:.1f}%"))
            reporter.say(f"{title} {_counted(decisions[name])}{accuracies[name]}".strip())
            advanced += 1
            stopping = reporter.stopping
            if lifetimes and lifetimes.resumable and (stopping or advanced % checkpoint_every == 0):
                _save(lifetimes, records, checkpoints)
            if lifetimes and stopping:
                raise Interrupted
    finally:
        for record in records.values():
            record.close()
    checkpoints.drop()


def _save(lifetimes: Lifetimes, records: Mapping[str, LifetimeRecord], checkpoints: Checkpoints) -> None:
    """Save a checkpoint, after the steps before it have reached the disk."""
    for record in records.values():
        record.sync()
    checkpoints.save(lifetimes.state())


def _counted(decisions: Sequence[str]) -> str:
    """The number of chunks for each operation: `3 L 2 M`; of PASS and what only some agents offer, if there are any."""
    counts = {name: decisions.count(name) for name in (*reversed(OPERATIONS), PASS)}
    shown = [name for name, n in counts.items() if n or not (name == PASS or OPERATIONS[name].option)]
    return " ".join(f"{counts[name]} {operation_of(name).letter}" for name in shown)


def _resumed(
    begin: Begin, records: Mapping[str, LifetimeRecord], checkpoints: Checkpoints, reporter: ProgressReporter
) -> tuple[Lifetimes | None, Mapping[str, Sequence[Step]]]:
    """The lifetimes at the newest usable checkpoint, or at initialization, and their past steps; None if all ended."""
    unfinished = [name for name, record in records.items() if record.summary() is None]
    if not unfinished:
        return None, {}
    reasons = []
    for path in checkpoints.found():
        try:
            with must_fit(path):
                lifetimes, past = _from_checkpoint(begin, records, checkpoints, path)
        except CheckpointError as error:
            reasons.append(str(error))
        else:
            for reason in reasons:
                reporter.warn(f"{reason}; going on from the checkpoint before it")
            return lifetimes, past
    if reasons:
        raise RunError(
            f"{'; '.join(reasons)}; no other is left: start anew, with --force of the command that began the run"
        )
    lifetimes = begin(unfinished)
    if not lifetimes.resumable:
        named = ", ".join(each for each in unfinished if each) or "the lifetime"
        reporter.warn(f"{named}: the learner cannot be saved on the way; if interrupted, it begins anew")
    return lifetimes, {}


def _from_checkpoint(
    begin: Begin, records: Mapping[str, LifetimeRecord], checkpoints: Checkpoints, path: Path
) -> tuple[Lifetimes, Mapping[str, Sequence[Step]]]:
    state = checkpoints.load(path)
    Lifetimes.check_state(state, path)
    n_steps = Lifetimes.n_steps_in(state)
    lost = [name for name in records.keys() - n_steps.keys() if records[name].summary() is None]
    if lost or n_steps.keys() - records.keys():
        ours, theirs = ", ".join(records), ", ".join(n_steps) or "none"
        raise CheckpointError(f"expected a checkpoint of the lifetimes {ours} at {path}, got one of {theirs}")
    past = {name: records[name].steps(n) for name, n in n_steps.items()}
    lifetimes = begin(n_steps)
    lifetimes.load_state(state, past)
    return lifetimes, past
