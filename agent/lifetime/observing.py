"""What comes before a decision: preparation, queries, and the outputs that policies observe."""

from dataclasses import replace

from agent.accounting.work import Charge, Work
from agent.agent import Agent
from agent.data.chunk import Chunk
from agent.evaluation.plan import EvaluationPlan
from agent.evaluation.scores import accuracies
from agent.lifetime.branch import Branch
from agent.lifetime.cohort import Cohort, Look
from agent.memory import ReadOut
from agent.networks.outputs import Outputs
from agent.operations import OPERATIONS
from agent.policies.observation import Observation
from agent.policies.signals import learner_signals, memory_signals


def prepare(branch: Branch, chunk: Chunk) -> None:
    """Prepare the network from the first chunk, and answer the queries that come before the chunk is used."""
    for cohort in branch.in_turn():
        cohort.pay(cohort.agent.prepare(chunk))
    if chunk.queries:
        branch.flush()
        for cohort in branch.cohorts:
            answering = cohort.agent.answering(chunk.queries, chunk.inputs.shape[1:])
            cohort.pay([Charge("answer", answering, chunk.price)])


def look(branch: Branch, chunk: Chunk, plan: EvaluationPlan) -> None:
    """Compute the outputs for a chunk before it is used, and charge the lifetimes that observe them.

    Policies observe nothing of a chunk that is missed.
    Prequential accuracy uses answers that are billed already at no further cost; work beyond them, and beyond what
    the policy observes, goes to the account `evaluate`.
    """
    holds = not branch.pending  # else the outputs are those of forks
    for cohort, agent, flushed in branch.flushed():
        seen, compared = _look(cohort, agent, chunk, plan)
        cohort.look = seen if holds else None
        by_asking = {"nothing": Work(), "learner": seen.looked, "memory": seen.looked + compared}
        by_measuring = {"nothing": seen.looked + compared, "learner": compared, "memory": Work()}
        unasked = max(0, len(chunk) - chunk.queries)
        for lifetime in cohort.lifetimes:
            observes = "nothing" if branch.busy else lifetime.policy.observes
            lifetime.pay([Charge("decide", by_asking[observes], chunk.price)])
            if plan.prequential:
                measuring = _share(by_measuring[observes], unasked, len(chunk))
                lifetime.pay([Charge("evaluate", work, chunk.price) for work in (*flushed, measuring)])


def _look(cohort: Cohort, agent: Agent, chunk: Chunk, plan: EvaluationPlan) -> tuple[Look, Work]:
    """The outputs, and the work of the memory's read-out."""
    if not plan.prequential and all(lifetime.policy.observes != "memory" for lifetime in cohort.lifetimes):
        return _seen(agent, chunk, *agent.forward(chunk.inputs)), Work()
    prediction, cached, read_out, _ = agent.answer(chunk.inputs)
    if plan.prequential:
        cohort.prequential = accuracies(prediction, chunk.labels)
    known = read_out if agent.memory.n_entries else None
    return _seen(agent, chunk, cached.outputs, cached.looked, known), cached.recalled


def _seen(agent: Agent, chunk: Chunk, outputs: Outputs, looked: Work, read_out: ReadOut | None = None) -> Look:
    reading = agent.reading_flops(len(chunk), chunk.inputs.shape[1:])
    return Look(outputs, looked, replace(looked, flops=reading), read_out)


def look_again(branch: Branch, chunk: Chunk) -> None:
    """Compute outputs that were observed before the branch was split off; they have been paid for."""
    for cohort in branch.in_turn():
        if any(lifetime.observes for lifetime in cohort.lifetimes):
            cohort.look = _seen(cohort.agent, chunk, *cohort.agent.forward(chunk.inputs))


def observations(branch: Branch, chunk: Chunk, n_chunks: int) -> dict[str, Observation]:
    """The observation of each lifetime, after `look` if any of them observes signals of the chunk."""
    return {
        name: observation
        for cohort in branch.cohorts
        for name, observation in _observations(cohort, chunk, n_chunks).items()
    }


def _observations(cohort: Cohort, chunk: Chunk, n_chunks: int) -> dict[str, Observation]:
    agent, found = cohort.agent, {}
    estimates = {
        looked: {name: OPERATIONS[name].estimate(agent, chunk, looked=looked) for name in agent.operations}
        for looked in {lifetime.observes for lifetime in cohort.lifetimes}
    }
    for lifetime in cohort.lifetimes:
        lifetime.observed = None
        if cohort.look and lifetime.observes:
            seen = learner_signals(cohort.look.outputs, chunk.labels)
            if lifetime.policy.observes == "memory":
                seen |= memory_signals(cohort.look.outputs, cohort.look.read_out, chunk.labels)
            lifetime.observed = seen | lifetime.averages.observe(seen)
        found[lifetime.name] = lifetime.observation(agent, chunk, n_chunks, estimates[lifetime.observes])
    return found


def _share(work: Work, n: int, of: int) -> Work:
    """The share of n samples in the work on `of` samples."""
    return Work(work.flops * n // max(of, 1), work.nbytes, work.seconds, work.samples * n // max(of, 1))
