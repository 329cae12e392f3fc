"""Rankings of memories against slow, obvious ones."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenarios.analysis.ranking import best_within, rank
from scenarios.analysis.statistics import mean_interval

ACCURACIES = st.integers(1, 5).flatmap(
    lambda seeds: st.dictionaries(
        st.sampled_from("abcdef"),
        st.lists(st.integers(0, 4).map(lambda n: n / 4), min_size=seeds, max_size=seeds),
        min_size=1,
    )
)


@given(ACCURACIES)
def test_the_best_is_ahead_of_each_other_by_its_paired_difference(accuracies):
    ranking = rank(accuracies, 0.9)
    means = {label: np.mean(values) for label, values in accuracies.items()}
    assert ranking.best == next(label for label in means if means[label] == max(means.values()))
    assert ranking.behind.keys() == accuracies.keys() - {ranking.best}
    behind = [interval.estimate for interval in ranking.behind.values()]
    assert behind == pytest.approx(sorted(behind))
    assert ranking.next == next(iter(ranking.behind), None)
    for label, interval in ranking.behind.items():
        pairs = zip(accuracies[ranking.best], accuracies[label], strict=True)
        assert interval == mean_interval([a - b for a, b in pairs], 0.9)
        assert (label in ranking.equals) == (interval.low is None or interval.low <= 0)


@given(st.dictionaries(st.sampled_from("abcdefgh"), st.tuples(st.integers(1, 5), st.integers(0, 5)), min_size=1))
def test_the_best_within_a_limit_is_the_most_accurate_that_fits(drawn):
    sizes, accuracies = ({label: each[i] for label, each in drawn.items()} for i in (0, 1))
    steps = best_within(sizes, accuracies)
    assert [limit for limit, _ in steps] == sorted({limit for limit, _ in steps})
    for limit in range(6):
        fitting = [label for label in drawn if sizes[label] <= limit]
        chosen = [label for at, label in steps if at <= limit]
        if not fitting:
            assert not chosen
        else:
            assert accuracies[chosen[-1]] == max(accuracies[label] for label in fitting)
            assert all(sizes[label] == at for at, label in steps)


def test_no_memory_has_no_best():
    with pytest.raises(ValueError, match="expected at least one memory, got none"):
        rank({})
    assert best_within({}, {}) == []
