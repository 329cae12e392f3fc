"""Baselines that replay samples from a buffer beside each chunk."""

from dataclasses import dataclass
from typing import Any, ClassVar

from scenarios.baselines.learner import BaselineLearner, strategies
from scenarios.baselines.losses import check_all_trained, check_mean_loss
from scenarios.baselines.protocol import Given, Parts, Strategy, check_at_least, check_replay


@dataclass(frozen=True)
class Replay:
    """Experience replay: beside each batch of new samples one from a reservoir, a uniform sample of all earlier chunks.

    Args:
        mem: samples that stay, 1 or more.
        batch_mem: samples replayed beside each batch, at most mem; none for as many as the batch of the recipe has.
        passes: over each chunk, 1 or more.

    Raises:
        InvalidSetting: a setting outside its range.

    References:
        Chaudhry et al. 2019, arXiv:1902.10486; Avalanche, `ReplayPlugin` with `ReservoirSamplingBuffer`
    """

    mem: int = 200
    batch_mem: int | None = None
    passes: int = 1
    lazy: ClassVar[bool] = False
    augments: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_replay(self.mem, self.batch_mem)
        check_at_least("passes", self.passes, 1)

    def learner(self, given: Given) -> BaselineLearner:
        """See `Baseline`."""

        def make(parts: Parts) -> Strategy:
            return strategies().replay(parts, **_replaying(self, parts))

        return BaselineLearner(make, given)


@dataclass(frozen=True)
class ErAce:
    """ER-ACE: replay with a cross-entropy in which new samples compete with the classes of their batch alone.

    Args:
        mem: samples that stay, equally many of each class, 1 or more.
        batch_mem: samples replayed beside each batch, at most mem; none for as many as the batch of the recipe has.
        passes: over each chunk, 1 or more.

    Raises:
        InvalidSetting: a setting outside its range.

    References:
        Caccia et al. 2022, arXiv:2104.05025; Avalanche, `ER_ACE`
    """

    mem: int = 200
    batch_mem: int | None = None
    passes: int = 1
    lazy: ClassVar[bool] = False
    augments: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_replay(self.mem, self.batch_mem)
        check_at_least("passes", self.passes, 1)

    def learner(self, given: Given) -> BaselineLearner:
        """See `Baseline`."""
        check_mean_loss(given.training, "er-ace")

        def make(parts: Parts) -> Strategy:
            return strategies().er_ace(parts, **_replaying(self, parts))

        return BaselineLearner(make, given)


@dataclass(frozen=True)
class ErAml:
    """ER-AML: replay in which new samples learn to be close to stored ones of their class and far from others.

    Args:
        mem: samples that stay, equally many of each class, 1 or more.
        batch_mem: samples replayed beside each batch, at most mem; none for as many as the batch of the recipe has.
        temperature: of the contrastive loss, above 0.
        passes: over each chunk, 1 or more.

    Raises:
        InvalidSetting: a setting outside its range.

    References:
        Caccia et al. 2022, arXiv:2104.05025; Avalanche, `ER_AML`, with its temperature
    """

    mem: int = 200
    batch_mem: int | None = None
    temperature: float = 0.1
    passes: int = 1
    lazy: ClassVar[bool] = False
    augments: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_replay(self.mem, self.batch_mem)
        check_at_least("temperature", self.temperature, 1e-3)
        check_at_least("passes", self.passes, 1)

    def learner(self, given: Given) -> BaselineLearner:
        """See `Baseline`."""
        check_mean_loss(given.training, "er-aml")

        def make(parts: Parts) -> Strategy:
            return strategies().er_aml(parts, **_replaying(self, parts), temperature=self.temperature)

        return BaselineLearner(make, given)


@dataclass(frozen=True)
class DerPp:
    """DER++: replay in which stored samples keep the logits that they had after their chunk, and their labels.

    Args:
        mem: samples that stay with their logits, equally many of each class, 1 or more.
        batch_mem: samples replayed beside each batch, at most mem; none for as many as the batch of the recipe has.
        alpha: weight of the squared distance of logits, 0 or more.
        beta: weight of the replayed labels, 0 or more; 0 is DER.
        passes: over each chunk, 1 or more.

    Raises:
        InvalidSetting: a setting outside its range.

    References:
        Buzzega et al. 2020, arXiv:2004.07211; Avalanche, `DER`, with its alpha and beta
    """

    mem: int = 200
    batch_mem: int | None = None
    alpha: float = 0.1
    beta: float = 0.5
    passes: int = 1
    lazy: ClassVar[bool] = False
    augments: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_replay(self.mem, self.batch_mem)
        check_at_least("alpha", self.alpha, 0)
        check_at_least("beta", self.beta, 0)
        check_at_least("passes", self.passes, 1)

    def learner(self, given: Given) -> BaselineLearner:
        """See `Baseline`."""
        check_mean_loss(given.training, "der++")

        def make(parts: Parts) -> Strategy:
            return strategies().der(parts, **_replaying(self, parts), alpha=self.alpha, beta=self.beta)

        return BaselineLearner(make, given)


@dataclass(frozen=True)
class Mir:
    """MIR: replay of those stored samples whose loss the coming gradient step would raise most.

    Args:
        mem: samples that stay, equally many of each class, 1 or more.
        batch_mem: samples replayed beside each batch, at most mem; none for as many as the batch of the recipe has.
        subsample: samples among which they are looked for, batch_mem or more.
        passes: over each chunk, 1 or more.

    Raises:
        InvalidSetting: a setting outside its range.

    References:
        Aljundi et al. 2019, arXiv:1908.04742; Avalanche, `MIRPlugin`
    """

    mem: int = 200
    batch_mem: int | None = None
    subsample: int = 200
    passes: int = 1
    lazy: ClassVar[bool] = False
    augments: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_replay(self.mem, self.batch_mem)
        check_at_least("subsample", self.subsample, self.batch_mem or 1)
        check_at_least("passes", self.passes, 1)

    def learner(self, given: Given) -> BaselineLearner:
        """See `Baseline`."""
        check_all_trained(given.training, given.network, "mir")

        def make(parts: Parts) -> Strategy:
            replaying = _replaying(self, parts)
            return strategies().mir(parts, **replaying, subsample=max(self.subsample, replaying["batch_mem"]))

        return BaselineLearner(make, given)


def _replaying(settings: Replay | ErAce | ErAml | DerPp | Mir, parts: Parts) -> dict[str, Any]:
    """What all have: by default as many samples from memory as new ones."""
    batch_mem = min(parts.batch, settings.mem) if settings.batch_mem is None else settings.batch_mem
    return {"mem": settings.mem, "batch_mem": batch_mem, "passes": settings.passes}
