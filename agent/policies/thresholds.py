"""Policies that learn where one number of the observation reaches a threshold.

What is compared equals its running average at the first chunk, and a threshold that is met exactly means LEARN: a
relative policy with a threshold of at most 1 therefore begins with learning.
"""

from math import isnan
from typing import Literal

from agent.errors import InvalidSetting
from agent.operations import Action
from agent.policies.observation import Observation
from agent.policies.protocol import Policy
from agent.policies.ranges import check_at_least, check_within


class LossPolicy(Policy):
    """Learns where the learner's loss on the chunk is high.

    LEARN if loss >= threshold × running average of the loss, or, not relative, if loss >= threshold. Where the loss
    rises above what it was, the stream has something new.

    Args:
        threshold: multiple of the running average (relative) or nats, 0 or more; 0 always learns.
        relative: compare with the running average.

    Raises:
        InvalidSetting: a threshold below 0, infinite or NaN.

    References:
        Watching the prequential error for change: Gama et al., "Learning with drift detection", SBIA 2004.
    """

    observes = "learner"

    def __init__(self, threshold: float = 1.0, relative: bool = True) -> None:
        check_at_least("threshold", threshold, 0)
        self.threshold, self.relative = threshold, relative

    def decide(self, observation: Observation) -> Action:
        """LEARN where the loss reaches the threshold."""
        bar = self.threshold * (observation.mean_learner_loss if self.relative else 1)
        return Action.LEARN if observation.learner_loss >= bar else Action.MEMORIZE


class UncertaintyPolicy(Policy):
    """Learns where the learner is uncertain of its predictions; looks at no label.

    entropy: LEARN if the mean entropy >= threshold × its running average, or, not relative, >= threshold. margin: the
    other way round, as a small margin is an uncertain prediction: LEARN if the mean margin <= threshold × its running
    average, or <= threshold.

    Args:
        measure: entropy of the predictions, or margin between their two highest probabilities.
        threshold: multiple of the running average (relative), nats of entropy, or margin; 0 or more.
        relative: compare with the running average.

    Raises:
        InvalidSetting: an unknown measure; a threshold below 0, infinite or NaN.

    References:
        Lewis and Gale, "A sequential algorithm for training text classifiers", SIGIR 1994 (uncertainty sampling);
        Settles, "Active learning literature survey", 2009 (entropy); Scheffer, Decomain and Wrobel, "Active hidden
        Markov models for information extraction", IDA 2001 (margin).
    """

    observes = "learner"

    def __init__(
        self, measure: Literal["entropy", "margin"] = "entropy", threshold: float = 1.0, relative: bool = True
    ) -> None:
        if measure not in ("entropy", "margin"):
            raise InvalidSetting(f"expected measure to be entropy or margin, got {measure}")
        check_at_least("threshold", threshold, 0)
        self.measure, self.threshold, self.relative = measure, threshold, relative

    def decide(self, observation: Observation) -> Action:
        """LEARN where the entropy is at least, or the margin at most, what the threshold says."""
        if self.measure == "entropy":
            bar = self.threshold * (observation.mean_learner_entropy if self.relative else 1)
            uncertain = observation.learner_entropy >= bar
        else:
            bar = self.threshold * (observation.mean_learner_margin if self.relative else 1)
            uncertain = observation.learner_margin <= bar
        return Action.LEARN if uncertain else Action.MEMORIZE


class DisagreementPolicy(Policy):
    """Learns where learner and memory name different classes.

    LEARN if they differ on at least the share `threshold` of the chunk. There is nothing to disagree with while the
    memory is empty: then the first chunk is learned from and the next memorized.

    Args:
        threshold: share of the chunk, 0 to 1; 0 always learns once the memory holds something.

    Raises:
        InvalidSetting: a threshold outside 0..1.

    References:
        Learner and memory as a committee of two: Seung, Opper and Sompolinsky, "Query by committee", COLT 1992.
    """

    observes = "memory"

    def __init__(self, threshold: float = 0.5) -> None:
        check_within("threshold", threshold, 0, 1)
        self.threshold = threshold

    def decide(self, observation: Observation) -> Action:
        """LEARN where the disagreement reaches the threshold."""
        if not observation.memory_entries:
            return _begin(observation)
        return Action.LEARN if observation.disagreement >= self.threshold else Action.MEMORIZE


class NoveltyPolicy(Policy):
    """Learns where the chunk lies far from everything in memory; looks at no label.

    LEARN if the mean distance to what is stored, as the memory measures it (the cache: 1 - cosine to the nearest key),
    >= threshold × its running average, or, not relative, >= threshold. Nothing is near while the memory is empty: then
    the first chunk is learned from and the next memorized.

    Args:
        threshold: multiple of the running average (relative), or distance, 0 or more.
        relative: compare with the running average.

    Raises:
        InvalidSetting: a threshold below 0, infinite or NaN; from `decide`, a memory that tells no novelty.

    References:
        Novelty as the distance to the nearest neighbours in an archive: Lehman and Stanley, "Abandoning objectives:
        evolution through the search for novelty alone", Evolutionary Computation 19(2), 2011.
    """

    observes = "memory"

    def __init__(self, threshold: float = 1.0, relative: bool = True) -> None:
        check_at_least("threshold", threshold, 0)
        self.threshold, self.relative = threshold, relative

    def decide(self, observation: Observation) -> Action:
        """LEARN where the novelty reaches the threshold."""
        if not observation.memory_entries:
            return _begin(observation)
        if isnan(observation.novelty):
            raise InvalidSetting(
                "expected a memory that tells how far a chunk lies from what is stored, got one that does not; choose "
                "another policy, or --memory cache"
            )
        bar = self.threshold * (observation.mean_novelty if self.relative else 1)
        return Action.LEARN if observation.novelty >= bar else Action.MEMORIZE


class TariffPolicy(Policy):
    """Learns while compute is cheap.

    LEARN if the price of compute now <= threshold; a constant price of 1 is cheap for the default.

    Args:
        threshold: highest price to learn at, as a multiple of what the cost model says, 0 or more.

    Raises:
        InvalidSetting: a threshold below 0, infinite or NaN.

    References:
        Work put off until power is clean or cheap: Wiesner et al., "Let's wait awhile: how temporal workload shifting
        can reduce carbon emissions in the cloud", Middleware 2021.
    """

    def __init__(self, threshold: float = 1.0) -> None:
        check_at_least("threshold", threshold, 0)
        self.threshold = threshold

    def decide(self, observation: Observation) -> Action:
        """LEARN at a price of at most the threshold."""
        return Action.LEARN if observation.price <= self.threshold else Action.MEMORIZE


def _begin(observation: Observation) -> Action:
    """What to do with an empty memory: if it always meant LEARN, nothing would ever enter it."""
    return Action.LEARN if observation.step == 0 else Action.MEMORIZE
