"""What comes before a decision: preparation, queries, and the outputs that policies observe."""

from dataclasses import replace

from agent.accounting.work import Charge, Work
from agent.agent import Agent
from agent.data.chunk import Chunk, LabelledInputs
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

    Prequential accuracy uses answers that are billed already at no further cost; work beyond them, and beyond what
    the policy observes, goes to the account `evaluate`. Where labels come later than inputs, policies observe other
    inputs than those that are asked about, so that each takes a look of its own. Of a chunk that is missed they
    observe nothing.
    """
    holds = not branch.pending  # else the outputs are those of forks
    observes = {each.name: "nothing" if branch.busy else each.policy.observes for each in branch.lifetimes}
    observed = any(each != "nothing" for each in observes.values())
    for cohort, agent, flushed in branch.flushed():
        unpaid = dict.fromkeys(("nothing", "learner", "memory"), Work())  # work of measuring, by what policies observe
        if observed or chunk.newest is None:
            seen, compared = _look(cohort, agent, chunk, measures=plan.prequential and chunk.newest is None)
            cohort.look = seen if holds else None
            by_asking = {"nothing": Work(), "learner": seen.looked, "memory": seen.looked + compared}
            for lifetime in cohort.lifetimes:
                lifetime.pay([Charge("decide", by_asking[observes[lifetime.name]], chunk.price)])
            unpaid = {"nothing": seen.looked + compared, "learner": compared, "memory": Work()}
        if plan.prequential and chunk.newest is not None and len(chunk.newest):
            unpaid = dict.fromkeys(unpaid, _measure(cohort, agent, chunk.newest))
        if plan.prequential:
            n = len(chunk.asked)
            for lifetime in cohort.lifetimes:
                measuring = _share(unpaid[observes[lifetime.name]], max(0, n - chunk.queries), n)
                lifetime.pay([Charge("evaluate", work, chunk.price) for work in (*flushed, measuring)])


def _look(cohort: Cohort, agent: Agent, chunk: Chunk, *, measures: bool) -> tuple[Look, Work]:
    """The outputs, and the work of the memory's read-out; it also `measures` the accuracy."""
    if not measures and all(lifetime.policy.observes != "memory" for lifetime in cohort.lifetimes):
        return _seen(agent, chunk, *agent.forward(chunk.inputs)), Work()
    prediction, cached, read_out, _ = agent.answer(chunk.inputs)
    if measures:
        cohort.prequential = accuracies(prediction, chunk.labels)
    known = read_out if agent.memory.n_entries else None
    return _seen(agent, chunk, cached.outputs, cached.looked, known), cached.recalled


def _measure(cohort: Cohort, agent: Agent, newest: LabelledInputs) -> Work:
    """Measure the accuracy on inputs whose labels are to come; returns the work."""
    prediction, cached, _, _ = agent.answer(newest.inputs)
    cohort.prequential = accuracies(prediction, newest.labels)
    return cached.looked + cached.recalled


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
