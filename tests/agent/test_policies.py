import math

import pytest

from agent.errors import InvalidSetting
from agent.policies import Action, Observation, StaticPolicy


@pytest.mark.parametrize(
    ("k", "n_chunks", "n_learned"),
    [(0, 10, 0), (100, 10, 10), (50, 10, 5), (33.3, 10, 3), (12, 50, 6), (1, 10, 0), (99, 10, 10), (100, 1, 1)],
)
def test_the_first_k_percent_are_learned(k: float, n_chunks: int, n_learned: int) -> None:
    policy = StaticPolicy(k)
    actions = [policy.decide(Observation(step, n_chunks)) for step in range(n_chunks)]
    assert actions == [Action.LEARN] * n_learned + [Action.MEMORIZE] * (n_chunks - n_learned)
    assert policy.n_learned(n_chunks) == n_learned


@pytest.mark.parametrize(("k", "got"), [(-1, "-1"), (100.5, "100.5"), (math.nan, "nan"), (140, "140")])
def test_a_k_that_is_no_percentage_is_refused(k: float, got: str) -> None:
    with pytest.raises(InvalidSetting, match=rf"^expected k in 0\.\.100, got {got}$"):
        StaticPolicy(k)
