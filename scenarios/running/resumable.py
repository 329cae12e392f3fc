"""Lives on record: written down as they are lived, checkpointed, stopped and resumed without loss."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from agent.agent import Agent
from agent.errors import CheckpointError, LifetimeError, RunError, is_out_of_memory
from agent.evaluation.trajectory import Step, Trajectory
from agent.lifetime.loop import Lifetimes
from agent.operations import OPERATIONS
from agent.storage.checkpoint import Checkpoints
from agent.storage.record import LifetimeRecord
from scenarios.running.progress import Interrupted, ProgressReporter

Begin = Callable[[Iterable[str]], Lifetimes]
"""The lives under the policies of these names, about to begin."""


def live_on_record(
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
    """Live every lifetime that has not finished, from the last checkpoint on if there is one.

    Args:
        begin: makes the lives.
        records: by name, where each lifetime is written down.
        checkpoints: of these lifetimes together.
        reporter: told what is being lived; asked after each chunk whether to stop.
        title: what the reporter is told before the decisions so far and the last accuracy.
        checkpoint_every: chunks between checkpoints.
        on_step: told of steps, by name: first of those that the checkpoint holds, then of each as it is lived.
        on_end: finishes the record of a lifetime.

    Raises:
        Interrupted: the reporter asked to stop; a checkpoint has been written.
        RunError: from writing, or checkpoints none of which can be used.
    """
    unfinished = {name: record for name, record in records.items() if record.summary() is None}
    decisions: dict[str, list[str]] = {name: [] for name in records}
    seen = dict.fromkeys(records, "")
    try:
        lifetimes = _resumed(begin, records, unfinished.keys(), checkpoints, reporter, decisions, on_step)
        advanced = 0
        if lifetimes and not lifetimes.resumable:
            reporter.warn("the learner cannot be saved: lifetimes that are interrupted begin anew")
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
                seen.update(dict.fromkeys(steps, f" {100 * step.accuracy.agent:.1f}%"))
            reporter.say(f"{title} {_counted(decisions[name])}{seen[name]}".strip())
            advanced += 1
            stopping = reporter.stopping
            if lifetimes and lifetimes.resumable and (stopping or advanced % checkpoint_every == 0):
                for record in records.values():
                    record.sync()
                checkpoints.save(lifetimes.state())
            if lifetimes and stopping:
                raise Interrupted
    finally:
        for record in records.values():
            record.close()
    checkpoints.drop()


def _counted(decisions: Sequence[str]) -> str:
    """How often each operation was decided on: `3 L 2 M`."""
    return " ".join(f"{decisions.count(name)} {each.letter}" for name, each in reversed(OPERATIONS.items()))


def _resumed(
    begin: Begin,
    records: Mapping[str, LifetimeRecord],
    unfinished: Iterable[str],
    checkpoints: Checkpoints,
    reporter: ProgressReporter,
    decisions: Mapping[str, list[str]],
    on_step: Callable[[Mapping[str, Step]], None],
) -> Lifetimes | None:
    """The lives as they were at the newest checkpoint that can be used, or about to begin; None if all have ended."""
    if not unfinished:
        return None
    reasons = []
    for path in checkpoints.found():
        try:
            lifetimes, steps = _from_checkpoint(begin, records, checkpoints, path)
        except CheckpointError as error:
            reasons.append(str(error))
        except LifetimeError:
            raise  # of the settings; no other checkpoint would help
        except (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as e:
            if is_out_of_memory(e):
                raise
            reasons.append(f"expected a checkpoint that fits at {path}, got {type(e).__name__}: {e}".splitlines()[0])
        else:
            for reason in reasons:
                reporter.warn(f"{reason}; going on from the checkpoint before it")
            for name, lived in steps.items():
                records[name].go_on(lived)
                decisions[name].extend(step.action for step in lived)
                for step in lived:
                    on_step({name: step})
            return lifetimes
    if reasons:
        raise RunError(
            f"{'; '.join(reasons)}; no other is left: start anew, with --force of the command that began the run"
        )
    return begin(unfinished)


def _from_checkpoint(
    begin: Begin, records: Mapping[str, LifetimeRecord], checkpoints: Checkpoints, path: Path
) -> tuple[Lifetimes, dict[str, Sequence[Step]]]:
    state = checkpoints.load(path)
    Lifetimes.check_state(state, path)
    n_lived = Lifetimes.lived(state)
    lost = [name for name in records.keys() - n_lived.keys() if records[name].summary() is None]
    if lost or n_lived.keys() - records.keys():
        ours, theirs = ", ".join(records), ", ".join(n_lived) or "none"
        raise CheckpointError(f"expected a checkpoint of the lifetimes {ours} at {path}, got one of {theirs}")
    steps: dict[str, Sequence[Step]] = {name: records[name].steps(n) for name, n in n_lived.items()}
    lifetimes = begin(n_lived)
    lifetimes.load_state(state, steps)
    return lifetimes, steps
