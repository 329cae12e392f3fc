"""Metrics of continual learning, computed from accuracies on the test part of each experience over time.

There are two kinds of input. Both hold accuracies in [0, 1].

- `matrix`, rows x experiences: row 0 is at initialization, then there is one row after each visit to an experience.
  `visited[r]` is the experience whose visit ended just before row r + 1. Experiences may recur.
- `anytime`, evaluations x experiences: all evaluations after initialization. `current[t]` is the experience of the
  stream at evaluation t, and `seen[t, i]` says whether any sample of experience i had been seen by then.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

Matrix = Float[np.ndarray, "rows experiences"]
Anytime = Float[np.ndarray, "evaluations experiences"]
Seen = Bool[np.ndarray, "evaluations experiences"]
PerExperience = Float[np.ndarray, " experiences"]


def forgetting(matrix: Matrix, visited: Sequence[int]) -> PerExperience:
    """Accuracy on each experience when the last visit to it ended, minus the accuracy in the last row.

    This is Avalanche's definition (`avalanche.evaluation.metrics.Forgetting` with the input from its plugins): a later
    visit resets the reference. Without recurring experiences it is R_ii - R_Ti of Lopez-Paz & Ranzato 2017
    (arXiv:1706.08840). The reference of Chaudhry et al. 2018 (arXiv:1801.10112) is the highest accuracy at any time,
    so their forgetting is never smaller.

    Args:
        matrix: accuracies in [0, 1], row 0 at initialization, then one row for each of `visited`.
        visited: experiences in the order of their visits, each in 0..experiences - 1.

    Returns:
        In [-1, 1], positive if accuracy was lost; NaN for the experience visited last and for those never visited.

    Raises:
        ValueError: no visits, a number of rows other than 1 + visits, an unknown experience, or an accuracy that is not
            a number in [0, 1].
    """
    _check_matrix(matrix, visited)
    lost = np.full(matrix.shape[1], np.nan)
    for row, experience in enumerate(visited, start=1):
        lost[experience] = matrix[row, experience] - matrix[-1, experience]
    lost[visited[-1]] = np.nan
    return lost


def backward_transfer(matrix: Matrix, visited: Sequence[int]) -> PerExperience:
    """The gain in accuracy on each experience from later visits: minus `forgetting`, with its arguments and errors.

    Its mean is BWT of Lopez-Paz & Ranzato 2017 (arXiv:1706.08840, section 2): the sum over i < T of R_Ti - R_ii,
    divided by T - 1.
    """
    return -forgetting(matrix, visited)


def forward_transfer(matrix: Matrix, visited: Sequence[int]) -> PerExperience:
    """Accuracy on each experience just before its first visit, minus the accuracy at initialization.

    Its mean is FWT of Lopez-Paz & Ranzato 2017 (arXiv:1706.08840, section 2): the sum over i > 1 of R_{i-1,i} - b_i,
    divided by T - 1. Avalanche's `ForwardTransfer` is the same if each experience is visited once, in order. Arguments
    and errors of `forgetting`.

    Returns:
        In [-1, 1]; NaN for the experience visited first and for those never visited.
    """
    _check_matrix(matrix, visited)
    gained = np.full(matrix.shape[1], np.nan)
    for row, experience in enumerate(visited):
        if experience not in visited[:row]:
            gained[experience] = matrix[row, experience] - matrix[0, experience]
    gained[visited[0]] = np.nan
    return gained


def average_anytime_accuracy(anytime: Anytime, seen: Seen) -> float:
    """AAA: the mean over all evaluations of the mean accuracy on the experiences seen so far, in [0, 1].

    AAA = 1/T sum over t of 1/|S_t| sum over i in S_t of a_ti, with S_t the experiences seen by evaluation t (Caccia et
    al. 2022, arXiv:2104.05025; Soutif-Cormerais et al. 2023, arXiv:2308.10328). All experiences have the same weight,
    whatever the size of their test parts. All evaluations have the same weight, so space them evenly.

    Args:
        anytime: accuracies in [0, 1], one row for each evaluation; values of unseen experiences are ignored.
        seen: True if the experience had been seen by then; at least one in each row.

    Raises:
        ValueError: no evaluations, an evaluation before any experience was seen, or an accuracy of a seen experience
            that is not a number in [0, 1].
    """
    _check_anytime(anytime, seen)
    return float(np.mean([row[mask].mean() for row, mask in zip(anytime, seen, strict=True)]))


def min_accuracy(anytime: Anytime, seen: Seen, current: Sequence[int]) -> float | None:
    """min-ACC: the lowest accuracy on each experience since it was learned, averaged over all seen but the current one.

    min-ACC = 1/(k-1) sum over i < k of min over t after i was learned of a_ti (De Lange et al. 2023, arXiv:2205.13452,
    section 3). As in the authors' code, evaluations while an experience is current do not count for it, also at a later
    visit.

    Args:
        anytime: accuracies in [0, 1], one row for each evaluation, in order of time.
        seen: True if the experience had been seen by then; always True for the current one.
        current: the current experience at each evaluation.

    Returns:
        In [0, 1]; None if only the current experience has been seen by the last row.

    Raises:
        ValueError: as in `average_anytime_accuracy`, or `current` has the wrong length or an unknown or unseen
            experience.
    """
    _check_anytime(anytime, seen)
    now = np.asarray(current, dtype=int)
    if len(now) != len(anytime):
        raise ValueError(f"expected a current experience for each evaluation, got {len(now)} for {len(anytime)}")
    _check_experiences("current", current, anytime.shape[1])
    if not seen[np.arange(len(now)), now].all():
        raise ValueError("expected the current experience of each evaluation among those seen, got one that is not")
    others = [i for i in np.flatnonzero(seen[-1]) if i != now[-1]]
    if not others:
        return None
    return float(np.mean([anytime[seen[:, i] & (now != i), i].min() for i in others]))


def worst_case_accuracy(anytime: Anytime, seen: Seen, current: Sequence[int]) -> float:
    """WC-ACC: weighted mean of the last accuracy on the current experience and `min_accuracy`, in [0, 1].

    WC-ACC = 1/k a_T,current + (1 - 1/k) min-ACC with k experiences seen (De Lange et al. 2023, arXiv:2205.13452,
    section 3). With a single experience it is the final accuracy. Arguments and errors of `min_accuracy`.
    """
    worst = min_accuracy(anytime, seen, current)
    final = float(anytime[-1, current[-1]])
    if worst is None:
        return final
    k = int(seen[-1].sum())
    return final / k + (1 - 1 / k) * worst


def mean_over_experiences(values: PerExperience) -> float | None:
    """Mean of the values that are not NaN; None if all are NaN."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else None


def transfer_metrics(matrix: Matrix, visited: Sequence[int]) -> dict[str, float | None]:
    """Means of `forgetting`, `backward_transfer` and `forward_transfer`, with their arguments and errors.

    The means are over the experiences for which the metrics are defined. They are None for a single experience.
    """
    metrics = (forgetting, backward_transfer, forward_transfer)
    return {metric.__name__: mean_over_experiences(metric(matrix, visited)) for metric in metrics}


def _check_matrix(matrix: Matrix, visited: Sequence[int]) -> None:
    if len(visited) == 0:
        raise ValueError("expected at least one visit to an experience, got none")
    if len(matrix) != len(visited) + 1:
        raise ValueError(
            f"expected a row at initialization and one after each visit, {len(visited) + 1} rows, got {len(matrix)}"
        )
    _check_experiences("visited", visited, matrix.shape[1])
    _check_accuracies(matrix)


def _check_anytime(anytime: Anytime, seen: Seen) -> None:
    if len(anytime) == 0:
        raise ValueError("expected at least one evaluation, got none")
    if anytime.shape != seen.shape:
        raise ValueError(f"expected seen in the shape of the accuracies, {anytime.shape}, got {seen.shape}")
    if not seen.any(axis=1).all():
        row = int(np.flatnonzero(~seen.any(axis=1))[0])
        raise ValueError(f"expected an experience seen by each evaluation, got none by row {row}; drop that row")
    _check_accuracies(anytime[seen])


def _check_accuracies(accuracies: np.ndarray) -> None:
    outside = accuracies[~((accuracies >= 0) & (accuracies <= 1))]
    if outside.size:
        raise ValueError(f"expected accuracies in [0, 1] (not percent), got {outside[0]:g}")


def _check_experiences(name: str, experiences: Sequence[int], count: int) -> None:
    for experience in experiences:
        # NumPy would accept a negative index and count from the end.
        if not 0 <= experience < count:
            raise ValueError(f"expected experiences in 0..{count - 1} in {name}, got {experience}")
