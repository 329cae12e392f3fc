"""Policies that compare one field of the observation with a threshold.

At the first chunk the field equals its running average, and equality means LEARN: a relative policy with a threshold of
at most 1 learns the first chunk.
"""

from math import isnan
from typing import Literal

from agent.errors import InvalidSetting
from agent.operations import Action
from agent.policies.learning import LearningPolicy
from agent.policies.observation import Observation
from agent.policies.protocol import Policy
from agent.policies.ranges import check_at_least, check_one_of, check_within


class LossPolicy(LearningPolicy):
    """Learns if the learner's loss on the chunk is high.

    LEARN if loss >= threshold × running average of the loss, or, not relative, if loss >= threshold. A rising loss
    indicates that the stream has changed.

    Args:
        threshold: multiple of the running average (relative) or nats, 0 or more; 0 always learns.
        relative: compare with the running average.
        both: memorize learned chunks as well, by BOTH in place of LEARN; the agent must offer it (--both).

    Raises:
        InvalidSetting: a threshold below 0, infinite or NaN.

    References:
        Monitoring the prequential error for change: Gama et al., "Learning with drift detection", SBIA 2004.
    """

    observes = "learner"

    def __init__(self, threshold: float = 1.0, relative: bool = True, both: bool = False) -> None:
        super().__init__(both=both)
        check_at_least("threshold", threshold, 0)
        self.threshold, self.relative = threshold, relative

    def decide(self, observation: Observation) -> Action:
        """LEARN if the loss reaches the threshold."""
        bar = self.threshold * (observation.mean_learner_loss if self.relative else 1)
        return self.action(learns=observation.learner_loss >= bar)


class UncertaintyPolicy(LearningPolicy):
    """Learns if the learner's predictions are uncertain; uses no labels.

    entropy: LEARN if the mean entropy >= threshold × its running average, or, not relative, >= threshold. margin: a
    small margin is an uncertain prediction, so LEARN if the mean margin <= threshold × its running average, or
    <= threshold.

    Args:
        measure: entropy of the predictions, or margin between their two highest probabilities.
        threshold: multiple of the running average (relative), nats of entropy, or margin; 0 or more.
        relative: compare with the running average.
        both: memorize learned chunks as well, by BOTH in place of LEARN; the agent must offer it (--both).

    Raises:
        InvalidSetting: an unknown measure; a threshold below 0, infinite or NaN.

    References:
        Lewis and Gale, "A sequential algorithm for training text classifiers", SIGIR 1994 (uncertainty sampling);
        Settles, "Active learning literature survey", 2009 (entropy); Scheffer, Decomain and Wrobel, "Active hidden
        Markov models for information extraction", IDA 2001 (margin).
    """

    observes = "learner"

    def __init__(
        self,
        measure: Literal["entropy", "margin"] = "entropy",
        threshold: float = 1.0,
        relative: bool = True,
        both: bool = False,
    ) -> None:
        super().__init__(both=both)
        check_one_of("measure", measure, "entropy", "margin")
        check_at_least("threshold", threshold, 0)
        self.measure, self.threshold, self.relative = measure, threshold, relative

    def decide(self, observation: Observation) -> Action:
        """LEARN if the entropy is at least, or the margin at most, the threshold."""
        if self.measure == "entropy":
            bar = self.threshold * (observation.mean_learner_entropy if self.relative else 1)
            uncertain = observation.learner_entropy >= bar
        else:
            bar = self.threshold * (observation.mean_learner_margin if self.relative else 1)
            uncertain = observation.learner_margin <= bar
        return self.action(learns=uncertain)


class DisagreementPolicy(LearningPolicy):
    """Learns if learner and memory predict different classes.

    LEARN if the predictions differ for at least the share `threshold` of the chunk. While the memory is empty, the
    first chunk is learned and the next ones are memorized.

    Args:
        threshold: share of the chunk, 0 to 1; 0 always learns once the memory has entries.
        both: memorize learned chunks as well, by BOTH in place of LEARN; the agent must offer it (--both).

    Raises:
        InvalidSetting: a threshold outside 0..1.

    References:
        Learner and memory as a committee of two: Seung, Opper and Sompolinsky, "Query by committee", COLT 1992.
    """

    observes = "memory"

    def __init__(self, threshold: float = 0.5, both: bool = False) -> None:
        super().__init__(both=both)
        check_within("threshold", threshold, 0, 1)
        self.threshold = threshold

    def decide(self, observation: Observation) -> Action:
        """LEARN if the disagreement reaches the threshold."""
        if not observation.memory_entries:
            return self.action(learns=observation.step == 0)  # or else nothing would ever enter the memory
        return self.action(learns=observation.disagreement >= self.threshold)


class NoveltyPolicy(LearningPolicy):
    """Learns if the chunk is far from the entries in memory; uses no labels.

    LEARN if the mean distance to the stored entries, as the memory measures it (the cache: 1 - cosine to the nearest
    key), >= threshold × its running average, or, not relative, >= threshold. While the memory is empty, the first chunk
    is learned and the next ones are memorized.

    Args:
        threshold: multiple of the running average (relative), or distance, 0 or more.
        relative: compare with the running average.
        both: memorize learned chunks as well, by BOTH in place of LEARN; the agent must offer it (--both).

    Raises:
        InvalidSetting: a threshold below 0, infinite or NaN; from `decide`, a memory that does not measure novelty.

    References:
        Novelty as the distance to the nearest neighbours in an archive: Lehman and Stanley, "Abandoning objectives:
        evolution through the search for novelty alone", Evolutionary Computation 19(2), 2011.
    """

    observes = "memory"

    def __init__(self, threshold: float = 1.0, relative: bool = True, both: bool = False) -> None:
        super().__init__(both=both)
        check_at_least("threshold", threshold, 0)
        self.threshold, self.relative = threshold, relative

    def decide(self, observation: Observation) -> Action:
        """LEARN if the novelty reaches the threshold."""
        if not observation.memory_entries:
            return self.action(learns=observation.step == 0)  # or else nothing would ever enter the memory
        if isnan(observation.novelty):
            raise InvalidSetting(
                "expected a memory that measures novelty, the distance to the stored entries, got one that does not; "
                "choose another policy, or --memory cache"
            )
        bar = self.threshold * (observation.mean_novelty if self.relative else 1)
        return self.action(learns=observation.novelty >= bar)


class TariffPolicy(LearningPolicy):
    """Learns while compute is cheap.

    LEARN if the current price of compute <= threshold; with the default, a constant price of 1 always learns.

    Args:
        threshold: highest price to learn at, as a multiple of that in the cost model, 0 or more.
        both: memorize learned chunks as well, by BOTH in place of LEARN; the agent must offer it (--both).

    Raises:
        InvalidSetting: a threshold below 0, infinite or NaN.

    References:
        Delaying work until power is clean or cheap: Wiesner et al., "Let's wait awhile: how temporal workload shifting
        can reduce carbon emissions in the cloud", Middleware 2021.
    """

    def __init__(self, threshold: float = 1.0, both: bool = False) -> None:
        super().__init__(both=both)
        check_at_least("threshold", threshold, 0)
        self.threshold = threshold

    def decide(self, observation: Observation) -> Action:
        """LEARN if the price is at most the threshold."""
        return self.action(learns=observation.price <= self.threshold)


class SleepPolicy(Policy):
    """Memorizes while compute is dear, and consolidates while it is cheap: days awake and nights asleep.

    CONSOLIDATE if the current price of compute <= threshold, else MEMORIZE; with the default, a constant price of 1
    always consolidates. The agent must offer the action (--consolidate).

    Args:
        threshold: highest price to consolidate at, as a multiple of that in the cost model, 0 or more.

    Raises:
        InvalidSetting: a threshold below 0, infinite or NaN.

    References:
        McClelland, McNaughton and O'Reilly, "Why there are complementary learning systems in the hippocampus and
        neocortex", Psychological Review 102(3), 1995.
    """

    needs_actions = ("consolidate",)

    def __init__(self, threshold: float = 1.0) -> None:
        check_at_least("threshold", threshold, 0)
        self.threshold = threshold

    def decide(self, observation: Observation) -> Action:
        """CONSOLIDATE if the price is at most the threshold."""
        return Action.CONSOLIDATE if observation.price <= self.threshold else Action.MEMORIZE
