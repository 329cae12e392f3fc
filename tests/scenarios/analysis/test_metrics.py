"""Metrics of continual learning against Avalanche's own, against slow obvious code, and on a matrix done by hand."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scenarios.analysis.metrics import (
    average_anytime_accuracy,
    backward_transfer,
    forgetting,
    forward_transfer,
    mean_over_experiences,
    min_accuracy,
    transfer_metrics,
    worst_case_accuracy,
)


def seen_so_far(current, experiences):
    return np.array([[i in current[: t + 1] for i in range(experiences)] for t in range(len(current))])


# Three experiences, visited in the order 0, 1, 2: initialization, then a row after each.
MATRIX = np.array([[0.1, 0.2, 0.1], [0.9, 0.3, 0.1], [0.6, 0.8, 0.4], [0.5, 0.9, 0.7]])
IN_ORDER = [0, 1, 2]
# The first experience comes back at the end.
RECURRING = np.vstack([MATRIX, [0.8, 0.6, 0.6]])

percents = st.integers(0, 100).map(lambda value: value / 100)


@st.composite
def lifetimes(draw):
    """A matrix with a row at initialization and after each visit, and the visits."""
    experiences = draw(st.integers(1, 4))
    visited = draw(st.lists(st.integers(0, experiences - 1), min_size=1, max_size=7))
    row = st.lists(percents, min_size=experiences, max_size=experiences)
    return np.array(draw(st.lists(row, min_size=len(visited) + 1, max_size=len(visited) + 1))), visited


def as_dict(values):
    return {i: value for i, value in enumerate(values) if not math.isnan(value)}


def test_by_hand():
    assert forgetting(MATRIX, IN_ORDER) == pytest.approx([0.4, -0.1, np.nan], nan_ok=True)
    assert forward_transfer(MATRIX, IN_ORDER) == pytest.approx([np.nan, 0.1, 0.3], nan_ok=True)
    metrics = transfer_metrics(MATRIX, IN_ORDER)
    assert metrics == pytest.approx(
        {
            "forgetting": 0.15,
            "backward_transfer": -0.15,
            "forward_transfer": 0.2,
        }
    )


def test_an_experience_that_comes_back_is_measured_from_its_last_visit():
    assert forgetting(RECURRING, [*IN_ORDER, 0]) == pytest.approx([np.nan, 0.2, 0.1], nan_ok=True)
    assert forward_transfer(RECURRING, [*IN_ORDER, 0]) == pytest.approx([np.nan, 0.1, 0.3], nan_ok=True)
    again = np.vstack([RECURRING, [0.7, 0.7, 0.5]])
    assert forgetting(again, [*IN_ORDER, 0, 1]) == pytest.approx([0.1, np.nan, 0.2], nan_ok=True)
    assert forward_transfer(again, [*IN_ORDER, 0, 1]) == pytest.approx([np.nan, 0.1, 0.3], nan_ok=True)


def test_evaluations_on_the_way_count_for_anytime_and_worst_case_accuracy():
    anytime = np.array([[0.5, 0.0], [0.9, 0.0], [0.2, 0.4], [0.6, 0.8], [0.7, 0.6]])
    current = [0, 0, 1, 1, 1]
    seen = seen_so_far(current, 2)
    assert seen.tolist() == [[True, False]] * 2 + [[True, True]] * 3
    assert average_anytime_accuracy(anytime, seen) == pytest.approx((0.5 + 0.9 + 0.3 + 0.7 + 0.65) / 5)
    assert min_accuracy(anytime, seen, current) == 0.2
    assert worst_case_accuracy(anytime, seen, current) == pytest.approx((0.6 + 0.2) / 2)
    matrix = np.vstack([[0.0, 0.0], anytime[[1, 4]]])
    assert transfer_metrics(matrix, [0, 1])["forgetting"] == pytest.approx(0.2)
    at_ends = worst_case_accuracy(anytime[[1, 4]], seen[[1, 4]], [0, 1])
    assert at_ends > worst_case_accuracy(anytime, seen, current)  # the gap is missed


def test_evaluations_while_an_experience_is_current_do_not_count_as_its_worst():
    anytime = np.array([[0.1, 0.0], [0.8, 0.2], [0.3, 0.9], [0.6, 0.7]])
    current = [0, 1, 0, 1]  # 0.1 and 0.3 while the first was current
    assert min_accuracy(anytime, seen_so_far(current, 2), current) == 0.6


def test_what_was_seen_between_two_evaluations_can_be_told():
    anytime, current = np.array([[0.4, 0.2, 0.0], [0.6, 0.0, 0.6]]), [0, 2]
    seen = np.array([[True, True, False], [True, True, True]])
    assert average_anytime_accuracy(anytime, seen) == pytest.approx((0.3 + 0.4) / 2)
    assert worst_case_accuracy(anytime, seen, current) == pytest.approx((0.6 + 0.6 + 0.0) / 3)


def test_a_single_experience_can_neither_be_forgotten_nor_transfer():
    metrics = transfer_metrics(np.array([[0.1], [0.4], [0.8]]), [0, 0])
    assert metrics == pytest.approx(
        {
            "forgetting": None,
            "backward_transfer": None,
            "forward_transfer": None,
        }
    )
    assert min_accuracy(np.array([[0.4]]), np.array([[True]]), [0]) is None


def test_experiences_never_visited_have_no_metrics():
    assert as_dict(forgetting(MATRIX[:3], [2, 0])) == pytest.approx({2: 0.1 - 0.4})
    assert as_dict(forward_transfer(MATRIX[:3], [2, 0])) == pytest.approx({0: 0.8})


@settings(max_examples=60, deadline=None)
@given(life=lifetimes())
@pytest.mark.filterwarnings("ignore")
def test_forgetting_is_avalanches(life):
    """Fed as Avalanche's plugins feed theirs: after each visit all experiences, the one just visited as initial."""
    from avalanche.evaluation.metrics import BWT, Forgetting

    matrix, visited = life
    for metric, ours in ((Forgetting(), forgetting), (BWT(), backward_transfer)):
        for row, just_visited in zip(matrix[1:], visited, strict=True):
            metric.reset_last()
            for experience, accuracy in enumerate(row):
                metric.update(experience, float(accuracy), initial=experience == just_visited)
        assert as_dict(ours(matrix, visited)) == pytest.approx(metric.result())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("experiences", [2, 5])
def test_all_of_it_is_avalanches_on_the_same_predictions(experiences):
    from avalanche.evaluation.metrics import Accuracy, Forgetting, ForwardTransfer

    generator = torch.Generator().manual_seed(experiences)
    labels = torch.randint(4, (experiences, 25), generator=generator)
    # Unlike random predictions these differ in accuracy: each evaluation copies its own share of the labels.
    matrix = np.zeros((experiences + 1, experiences))
    lost, transferred = Forgetting(), ForwardTransfer()
    for row in range(experiences + 1):
        lost.reset_last()
        for experience in range(experiences):
            known = torch.rand(25, generator=generator) < torch.rand((), generator=generator)
            guesses = torch.randint(4, (25,), generator=generator)
            predicted = torch.where(known, labels[experience], guesses)
            matrix[row, experience] = (predicted == labels[experience]).double().mean()
            accuracy = Accuracy()
            for batch in (slice(0, 10), slice(10, 20), slice(20, 25)):
                accuracy.update(predicted[batch], labels[experience][batch])
            if row == 0:
                transferred.update(experience, accuracy.result(), initial=True)
            else:
                lost.update(experience, accuracy.result(), initial=experience == row - 1)
                if experience == row:
                    transferred.update(experience, accuracy.result())
    visited = range(experiences)
    assert as_dict(forgetting(matrix, visited)) == pytest.approx(lost.result())
    assert as_dict(forward_transfer(matrix, visited)) == pytest.approx(transferred.result())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("visited", [[0, 1, 2], [0, 1, 2, 0, 1]])
def test_avalanches_plugins_report_the_same_of_a_learner_of_theirs(visited):
    from avalanche.benchmarks import benchmark_from_datasets
    from avalanche.benchmarks.utils import as_classification_dataset
    from avalanche.evaluation.metrics import bwt_metrics, forgetting_metrics, forward_transfer_metrics
    from avalanche.training.plugins import EvaluationPlugin
    from avalanche.training.supervised import Naive

    generator = torch.Generator().manual_seed(0)
    images = torch.randn(3, 60, 6, generator=generator)
    labels = (images @ torch.randn(3, 6, 3, generator=generator)).argmax(dim=2)  # a different rule for each experience
    parts = []
    for each in zip(images, labels, strict=True):
        data = torch.utils.data.TensorDataset(*each)
        data.targets = each[1].tolist()
        parts.append(as_classification_dataset(data))
    benchmark = benchmark_from_datasets(train=parts, test=parts)
    network = torch.nn.Linear(6, 3, bias=False)
    with torch.no_grad():
        network.weight.copy_(torch.randn(3, 6, generator=generator))
    kinds = (forgetting_metrics, bwt_metrics, forward_transfer_metrics)
    evaluator = EvaluationPlugin(*(metrics(experience=True, stream=True) for metrics in kinds), loggers=[])
    strategy = Naive(
        model=network,
        optimizer=torch.optim.SGD(network.parameters(), lr=0.5),
        criterion=torch.nn.CrossEntropyLoss(),
        train_mb_size=60,
        train_epochs=4,
        eval_mb_size=60,
        evaluator=evaluator,
        eval_every=0,
    )

    def accuracies():
        with torch.no_grad():
            return (network(images).argmax(dim=2) == labels).double().mean(dim=1).tolist()

    rows, transferred = [accuracies()], {}
    for experience in visited:
        strategy.train(benchmark.train_stream[experience], eval_streams=[benchmark.test_stream])
        rows.append(accuracies())
        for key, value in strategy.evaluator.get_last_metrics().items():
            if key.startswith("ExperienceForwardTransfer"):
                transferred.setdefault(int(key[-3:]), value)  # of its first visit
    matrix = np.array(rows)
    last = strategy.evaluator.get_last_metrics()
    lost = {int(key[-3:]): value for key, value in last.items() if key.startswith("ExperienceForgetting")}
    lost.pop(visited[-1], None)  # a value logged before its last visit stays among Avalanche's last metrics
    assert len({*matrix.ravel()}) > 5
    assert as_dict(forgetting(matrix, visited)) == pytest.approx(lost)
    assert as_dict(forward_transfer(matrix, visited)) == pytest.approx(transferred)
    ours = transfer_metrics(matrix, visited)
    assert ours["forgetting"] == pytest.approx(last["StreamForgetting/eval_phase/test_stream"])
    assert ours["backward_transfer"] == pytest.approx(last["StreamBWT/eval_phase/test_stream"])
    assert ours["forgetting"] != 0
    if visited == sorted(visited):  # it goes by numbers, so that a later visit overwrites
        assert ours["forward_transfer"] == pytest.approx(last["StreamForwardTransfer/eval_phase/test_stream"])


@settings(max_examples=100, deadline=None)
@given(life=lifetimes())
def test_anytime_and_worst_case_accuracy_against_loops(life):
    matrix, current = life[0][1:], life[1]
    seen = seen_so_far(current, matrix.shape[1])
    averages = [np.mean([matrix[t, i] for i in set(current[: t + 1])]) for t in range(len(current))]
    assert average_anytime_accuracy(matrix, seen) == pytest.approx(np.mean(averages))
    kept = [matrix[-1, current[-1]]]
    for i in sorted(set(current) - {current[-1]}):
        first = current.index(i)
        kept.append(min(matrix[t, i] for t in range(first, len(current)) if current[t] != i))
    worst = worst_case_accuracy(matrix, seen, current)
    assert worst == pytest.approx(np.mean(kept))
    assert 0 <= worst <= 1


@settings(max_examples=50, deadline=None)
@given(life=lifetimes())
def test_names_of_experiences_do_not_matter_and_numbers_are_finite(life):
    matrix, visited = life
    metrics = transfer_metrics(matrix, visited)
    assert all(value is None or math.isfinite(value) for value in metrics.values())
    turned = transfer_metrics(matrix[:, ::-1], [matrix.shape[1] - 1 - i for i in visited])
    assert turned == pytest.approx(metrics)


def test_mean_over_experiences():
    assert mean_over_experiences(np.array([0.5, np.nan, 0.1])) == pytest.approx(0.3)
    assert mean_over_experiences(np.array([np.nan])) is None


SEEN = np.ones((2, 2), dtype=bool)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: forgetting(MATRIX, []), "expected at least one visit to an experience, got none"),
        (lambda: forgetting(MATRIX, [0, 1]), "a row at initialization and one after each visit, 3 rows, got 4"),
        (lambda: forward_transfer(MATRIX, [0, 1, 3]), r"expected experiences in 0..2 in visited, got 3"),
        (lambda: forward_transfer(MATRIX, [0, 1, -1]), r"expected experiences in 0..2 in visited, got -1"),
        (lambda: backward_transfer(100 * MATRIX, IN_ORDER), r"accuracies in \[0, 1\] \(not percent\), got 10"),
        (lambda: forgetting(np.full((2, 1), np.nan), [0]), r"accuracies in \[0, 1\] \(not percent\), got nan"),
        (lambda: average_anytime_accuracy(MATRIX[:0, :2], SEEN[:0]), "expected at least one evaluation, got none"),
        (
            lambda: worst_case_accuracy(MATRIX[:2, :2], SEEN, [0]),
            "a current experience for each evaluation, got 1 for 2",
        ),
        (lambda: worst_case_accuracy(MATRIX[:2, :2], SEEN, [0, 2]), "expected experiences in 0..1 in current, got 2"),
        (
            lambda: min_accuracy(MATRIX[:1, :2], np.array([[True, False]]), [1]),
            "current experience of each evaluation among those seen, got one that is not",
        ),
        (
            lambda: average_anytime_accuracy(MATRIX[:2, :2], np.array([[True, True], [False, False]])),
            "expected an experience seen by each evaluation, got none by row 1; drop that row",
        ),
    ],
)
def test_errors_say_what_was_expected(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_accuracies_of_the_unseen_do_not_matter():
    anytime, current = np.array([[0.5, np.nan], [0.25, 0.75]]), [0, 1]
    assert average_anytime_accuracy(anytime, seen_so_far(current, 2)) == 0.5
    assert worst_case_accuracy(anytime, seen_so_far(current, 2), current) == 0.5
