"""Accuracies against a loop over images; plans; predictions that no component may give."""

import json
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agent.accounting.ledger import Ledger
from agent.accounting.work import Work
from agent.errors import ContractError
from agent.evaluation.plan import EvaluationPlan
from agent.evaluation.scores import Accuracy, Prediction, score
from agent.evaluation.trajectory import scores_as_json, scores_from_json
from agent.memory.mixture import Mixture
from tests.agent.toys import toy_images

N_CLASSES, N_GROUPS = 4, 3


def best_of(probabilities):
    return max(range(N_CLASSES), key=probabilities.tolist().__getitem__)


def share(correct):
    return sum(correct) / len(correct) if correct else None


@given(st.integers(1, 12), st.integers(0, 2**31), st.booleans(), st.booleans())
def test_scores_are_those_of_a_loop_over_images(n, seed, with_memory, with_groups):
    drawn = torch.Generator().manual_seed(seed)
    parts = [torch.rand(n, N_CLASSES, generator=drawn) for _ in range(2 + with_memory)]
    data = toy_images(n, seed=seed)
    labels = torch.randint(N_CLASSES, (n,), generator=drawn)
    groups = torch.randint(N_GROUPS, (n,), generator=drawn) if with_groups else None
    test = replace(data, labels=labels)
    plan = EvaluationPlan(data, test, groups=groups)
    memory = parts[2] if with_memory else None
    found = score(Prediction(parts[0], parts[1], memory), plan)
    correct = [[best_of(part[i]) == int(labels[i]) for i in range(n)] for part in parts]
    shares = [share(each) for each in correct]
    assert found.accuracy == Accuracy(shares[0], shares[1], shares[2] if with_memory else None)
    by_class = [share([correct[0][i] for i in range(n) if labels[i] == c]) for c in range(N_CLASSES)]
    assert found.per_class == tuple(by_class)
    if groups is None:
        assert found.per_experience is None
    else:
        for g, of_group in enumerate(found.per_experience):
            rows = [i for i in range(n) if groups[i] == g]
            expected = [share([each[i] for i in rows]) for each in correct]
            assert (of_group is None) == (not rows)
            if rows:
                assert [of_group.agent, of_group.learner, of_group.memory] == [*expected, *[None] * (3 - len(expected))]
    assert scores_from_json(json.loads(json.dumps(scores_as_json(found)))) == found


@given(st.integers(0, 4), st.frozensets(st.integers(0, 9)), st.integers(1, 10), st.frozensets(st.integers(0, 9)))
def test_evaluations_follow_every_few_chunks_the_steps_named_and_the_end(every, after, n_chunks, recalling_after):
    data = toy_images(2)
    plan = EvaluationPlan(data, data, every=every, after=after, recalling_after=recalling_after)
    recalling = 3  # step of the first entry
    found = [step for step in range(n_chunks) if plan.evaluates_after(step, n_chunks, [], recalling=step >= recalling)]
    named = {step for step in after | {step for step in recalling_after if step >= recalling} if step < n_chunks}
    assert set(found) == {n_chunks - 1} | named | (set(range(every - 1, n_chunks, every)) if every else set())


@pytest.mark.parametrize("name", ["agent", "learner", "memory"])
@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_predictions_that_are_not_finite_are_no_predictions(name, wrong):
    parts = {each: torch.full((2, 3), 1 / 3) for each in ("agent", "learner", "memory")}
    parts[name][1, 2] = wrong
    with pytest.raises(ContractError, match=f"expected finite class probabilities of the {name}, got NaN or infinity"):
        Prediction(**parts)


def test_a_weight_that_is_not_finite_is_no_mixture():
    with pytest.raises(ContractError, match="expected a finite weight of the learner, got nan"):
        Mixture(float("nan"), {"theta": 1.0})


@pytest.mark.parametrize(("flops", "nbytes"), [(-1, 0), (0, -1), (0.5, 0), (float("nan"), 0)])
def test_work_that_is_no_amount_is_not_charged(flops, nbytes):
    ledger = Ledger()
    with pytest.raises(ContractError, match=r"expected a whole number of (FLOPs|bytes) of 0 or more on the"):
        ledger.charge("learn", unchecked(flops, nbytes))
    assert ledger.spent() == 0


def unchecked(flops, nbytes):
    """Work with amounts of any type."""
    work = Work()
    object.__setattr__(work, "flops", flops)
    object.__setattr__(work, "nbytes", nbytes)
    return work
