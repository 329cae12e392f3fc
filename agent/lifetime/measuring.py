"""What comes after an action: calibration, and evaluations on the test set."""

from collections.abc import Collection
from dataclasses import replace

from agent.accounting.work import Charge, Work
from agent.agent import Agent
from agent.data.chunk import LabelledInputs
from agent.evaluation.linear_probe import Probed, linear_probe
from agent.evaluation.plan import EvaluationPlan
from agent.evaluation.scores import Prediction, RuleScore, Scores, accuracy_of, score
from agent.learners.protocol import Learner, Representing
from agent.lifetime.branch import Branch
from agent.lifetime.cohort import Cohort
from agent.memory.mixture import Mixture, Rule
from agent.version import Version


def evaluate_at_initialization(branch: Branch, plan: EvaluationPlan, price: float) -> None:
    """Predict the test set before the first chunk, for the experimenter."""
    for cohort in branch.in_turn():
        prediction, cohort.test, _, spent = cohort.agent.answer(plan.test.inputs, at_every_setting=True)
        cohort.pay([Charge("evaluate", spent, price)])
        for lifetime in cohort.lifetimes:
            lifetime.initial_scores = score(prediction, plan)


def calibrate(branch: Branch, plan: EvaluationPlan, price: float) -> None:
    """Fit the mixtures of the agents whose calibration is due; the learner must be flushed."""
    for cohort in branch.in_turn():
        if cohort.agent.calibration_due:
            usable = plan.usable(branch.step)
            cohort.validation, fitted = cohort.agent.calibrate(plan.validation, cohort.validation, usable)
            cohort.pay([Charge("calibrate", fitted, price)])


def evaluate(
    branch: Branch, due: Collection[Cohort], plan: EvaluationPlan, price: float
) -> list[tuple[Scores, Mixture] | tuple[None, None]]:
    """Predict the test set before the end, for the experimenter; scores and mixture of each cohort, if it is due.

    A learner with work pending is evaluated as a fork, and everything goes to the account `evaluate`, so that
    evaluations change neither the agents nor what they pay.
    """
    measured: list[tuple[Scores, Mixture] | tuple[None, None]] = []
    for cohort, agent, spent in branch.flushed():
        if cohort not in due:
            measured.append((None, None))
            continue
        mixture = agent.mixture
        if not agent.calibrate_every:
            usable = plan.usable(branch.step)
            mixture, cohort.validation, fitted = agent.fit(plan.validation, cohort.validation, usable)
            spent.append(fitted)
        test = plan.test.inputs
        prediction, cohort.test, _, answered = agent.answer(test, cohort.test, mixture, at_every_setting=True)
        cohort.pay([Charge("evaluate", work, price) for work in (*spent, answered)])
        measured.append((score(prediction, plan), mixture))
    return measured


def finish(branch: Branch, plan: EvaluationPlan, probes: dict[Version, Probed]) -> list[tuple[Scores, Mixture]]:
    """Calibrate at a price of 1 (the stream is over), and predict the test set; the learner must be flushed.

    The FLOPs of this last calibration are charged in full even if earlier evaluations, on the account `evaluate`,
    have cached part of it. So are those of predicting the test set and of the linear probe, on that account.

    Args:
        branch: at the end of the stream.
        plan: what is measured.
        probes: those that were made, by version of the learner; a new one is added.
    """
    measured = []
    for cohort in branch.in_turn():
        agent = cohort.agent
        cohort.validation, fitted = agent.calibrate(plan.validation, cohort.validation, plan.usable(branch.step))
        if cohort.validation and not agent.calibrate_every:
            in_full = cohort.validation.looked + cohort.validation.recalled
            fitted = Work(in_full.flops, in_full.nbytes, fitted.seconds, in_full.samples)
        further = bool(plan.rules) and plan.details(cohort.names)
        on_the_way = further or (cohort.test is not None and len(cohort.test.settings) > 1)
        test = plan.test.inputs
        prediction, cohort.test, _, _ = agent.answer(test, cohort.test, at_every_setting=on_the_way)
        looked, recalled = cohort.test.looked, cohort.test.recalled
        flops = agent.answering(len(test), test.shape[1:]).flops
        cohort.prediction = prediction if plan.keeps_predictions else None
        measured_work = Work(flops, 0, looked.seconds + recalled.seconds, len(test))
        cohort.pay([Charge("calibrate", fitted), Charge("evaluate", measured_work)])
        scores = _scores(prediction, plan, branch, cohort, agent)
        if plan.probed is not None:
            probed = _probe(agent.learner, plan.probed, plan, probes)
            cohort.pay([Charge("evaluate", probed.work)])
            scores = replace(scores, linear_probe=probed.accuracy)
        measured.append((scores, agent.mixture))
    return measured


def _probe(learner: Learner, images: LabelledInputs, plan: EvaluationPlan, probes: dict[Version, Probed]) -> Probed:
    """The linear probe of a learner, which is trained once for all lifetimes that have the same weights."""
    if learner.version not in probes:
        assert isinstance(learner, Representing), "checked at initialization"
        probes[learner.version] = linear_probe(learner, images, plan.test)
    return probes[learner.version]


def _scores(prediction: Prediction, plan: EvaluationPlan, branch: Branch, cohort: Cohort, agent: Agent) -> Scores:
    """Scores on the test set, with those under mixtures that are fitted by further rules, which nobody pays."""
    by_rule: dict[Rule, RuleScore] = {}
    for rule in plan.rules if plan.details(cohort.names) else ():
        mixture, _, _ = agent.fit(plan.validation, cohort.validation, plan.usable(branch.step), rule)
        other, _, _, _ = agent.answer(plan.test.inputs, cohort.test, mixture, at_every_setting=True)
        by_rule[rule] = RuleScore(accuracy_of(other.agent, plan.test.labels), mixture)
    return replace(score(prediction, plan), by_rule=by_rule)
