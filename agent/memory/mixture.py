"""The mixed prediction, w × learner + (1 - w) × memory, and the fit of w and the memory's setting."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from agent.errors import ContractError
from agent.memory.settings import Setting

W_GRID = tuple(i / 40 for i in range(41))
"""Weights of the learner that the fit tries, 0 and 1 included."""

TILE = 1 << 20
"""Probabilities mixed at once (4 MiB), which bounds the memory that many classes need."""

FLOOR = 1e-12
"""Probabilities below it count as this much in a likelihood."""


TEMPERATURES = tuple(2 ** (i / 8) for i in range(-24, 25))
"""Temperatures of the learner that the fit tries, 1/8 to 8."""

Rule = Literal["author", "calibrated", "fixed"]
"""How the mixture is fitted: `author`, by accuracy as Orhan 2018 does; `calibrated`, see `fit_temperature` and
`WITHIN`; `fixed`, not at all, see `fixed_mixture`."""

FIXED_W = 0.5
"""The weight of the learner under the rule `fixed`."""

WITHIN: dict[Rule, float] = {"author": 0.0, "calibrated": 1.0}
"""Pairs of w and setting whose accuracy is so many paired standard errors from the best are decided by likelihood."""


@dataclass(frozen=True)
class Mixture:
    """How learner and memory are combined.

    Attributes:
        w: weight of the learner, 0 to 1; 1 before the first fit.
        setting: of the memory's recall; None before the first fit, which needs a memory with entries.
        temperature: of the learner's probabilities in the mixture, above 0; 1 leaves them as they are.

    Raises:
        ContractError: a weight that is not finite.
    """

    w: float = 1.0
    setting: Setting | None = None
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if not math.isfinite(self.w):
            raise ContractError(f"expected a finite weight of the learner, got {self.w}; correct `fit` of the memory")

    @property
    def fitted(self) -> bool:
        """Whether `w` and `setting` come from a fit."""
        return self.setting is not None

    def as_json(self) -> dict[str, Any]:
        """Plain values for `from_json`."""
        return {"w": self.w, "setting": self.setting, "temperature": self.temperature}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Mixture":
        """The mixture that `as_json` wrote; raises KeyError for anything else."""
        return cls(values["w"], values["setting"], values.get("temperature", 1.0))  # earlier runs have none


def fixed_mixture(prior: Setting) -> Mixture:
    """A mixture without any label: equal weights, at the setting that a memory has before calibration."""
    return Mixture(FIXED_W, prior)


def tempered(probabilities: Float[Tensor, "n classes"], temperature: float) -> Float[Tensor, "n classes"]:
    """Probabilities in proportion to p^(1 / temperature): sharper below 1, flatter above (Guo et al. 2017)."""
    if temperature == 1:
        return probabilities
    return (probabilities.clamp_min(FLOOR).log() / temperature).softmax(dim=1)


def fit_temperature(learner: Float[Tensor, "n classes"], labels: Int64[Tensor, " n"]) -> float:
    """The one of `TEMPERATURES` at which the labels are most likely.

    A learner trained with smoothed labels is under-confident. Its share in a mixture is then less than its accuracy
    warrants, unless its probabilities are sharpened first.

    Args:
        learner: the learner's probabilities of data that did not train it.
        labels: classes of the data.

    References:
        Guo et al. 2017, "On calibration of modern neural networks", arXiv:1706.04599, section 4.2
    """
    logs = learner.double().clamp_min(FLOOR).log()
    likelihoods = [
        float((logs / temperature).log_softmax(dim=1).gather(1, labels[:, None]).sum()) for temperature in TEMPERATURES
    ]
    enough = max(likelihoods) - 1e-9 * max(1, len(labels))  # of an uninformative learner, all are equally likely
    likely = [each for each, found in zip(TEMPERATURES, likelihoods, strict=True) if found >= enough]
    return min(likely, key=lambda temperature: abs(math.log(temperature)))


class LinearMixing:
    """`combine` and `fit` of a memory whose probabilities are averaged with the learner's."""

    settings: tuple[Setting, ...]

    def combine(
        self, learner: Float[Tensor, "n classes"], memory: Float[Tensor, "n classes"], fitted: Mixture
    ) -> Float[Tensor, "n classes"]:
        """w × learner + (1 - w) × memory."""
        return fitted.w * learner + (1 - fitted.w) * memory

    def fit(
        self,
        learner: Float[Tensor, "n classes"],
        memory: Float[Tensor, "n_settings n classes"],
        labels: Int64[Tensor, " n"],
        *,
        within: float = 0.0,
    ) -> Mixture:
        """w and the setting; see `fit_mixture`."""
        return fit_mixture(learner, memory, labels, self.settings, within=within)


def fit_mixture(
    learner: Float[Tensor, "n classes"],
    memory: Float[Tensor, "n_settings n classes"],
    labels: Int64[Tensor, " n"],
    settings: Sequence[Setting],
    *,
    within: float = 0.0,
) -> Mixture:
    """The w and setting with the highest accuracy on validation data; likelihood decides between pairs that are close.

    Accuracy is what experiments measure, but many pairs classify a finite validation set equally well, and still more
    about as well. With w = 1 all settings give the same prediction; the fit then returns the setting at which the
    memory alone has the highest likelihood, for policies that read the memory.

    Args:
        learner: the learner's probabilities of data that neither trained it nor entered the memory.
        memory: the memory's probabilities of the same data, at each setting.
        labels: classes of the data.
        settings: those of `memory`, in the same order.
        within: how close a pair's accuracy must be to the highest, in standard errors of the difference, which is
            paired by image; with 0 it must be equal. For n images the fit holds 41 n bytes for each setting.
    """
    learner, memory, labels = learner.cpu(), memory.cpu(), labels.cpu()
    found = [_score(learner, recalled, labels) for recalled in memory]
    right = torch.stack([each.right for each in found])
    likelihood = torch.stack([each.likelihood for each in found])
    alone = int(likelihood[:, 0].argmax())  # at w = 0
    chosen = most_accurate(right.flatten(0, 1), likelihood.flatten(), within=within)
    setting, w = divmod(chosen, len(W_GRID))
    return Mixture(W_GRID[w], settings[alone if W_GRID[w] == 1 else setting])


class _Scored(NamedTuple):
    """The mixed predictions at one setting, for each w of the grid."""

    right: Bool[Tensor, "n_w n"]
    likelihood: Float64[Tensor, " n_w"]
    """Logarithm of the labels' likelihood."""


def _score(learner: Tensor, recalled: Tensor, labels: Tensor) -> _Scored:
    w = torch.tensor(W_GRID)[:, None, None]
    rows = max(1, TILE // (len(W_GRID) * learner.shape[1]))
    right, likelihood = [], torch.zeros(len(W_GRID), dtype=torch.float64)
    for of_learner, of_memory, classes in zip(
        learner.split(rows), recalled.split(rows), labels.split(rows), strict=True
    ):
        mixed = w * of_learner + (1 - w) * of_memory
        right.append(mixed.argmax(dim=2) == classes)
        chosen = mixed.gather(2, classes.expand(len(W_GRID), -1)[:, :, None])
        likelihood += chosen.double().clamp_min(FLOOR).log().sum(dim=(1, 2))
    return _Scored(torch.cat(right, dim=1), likelihood)


def most_accurate(right: Bool[Tensor, "n_ways n"], likelihood: Float64[Tensor, " n_ways"], *, within: float) -> int:
    """Which way of predicting has the highest likelihood among those whose accuracy is close to the highest.

    Args:
        right: which images each way classifies correctly.
        likelihood: logarithm of the labels' likelihood, of each way.
        within: how close an accuracy must be, in standard errors of the difference, which is paired by image; with 0 it
            must be equal to the highest.
    """

    def most_likely(allowed: Tensor) -> int:
        return int(torch.where(allowed, likelihood, -torch.inf).argmax())  # the first of equals

    n_right = right.sum(dim=1)
    best = most_likely(n_right == n_right.max())
    # If a images are right in the best way alone and b in another alone, the mean difference is (a - b) / n, with
    # variance ((a + b) / n - (a - b)² / n²) / (n - 1). In whole numbers, which float64 holds, nothing is rounded.
    n, behind, different = right.shape[1], n_right[best] - n_right, (right != right[best]).sum(dim=1)
    close = behind**2 * max(n - 1, 1) <= within**2 * (n * different - behind**2).double()
    return most_likely(close)
