"""Learners by name."""

from collections.abc import Callable

from agent.learners.cooldown import CooldownLearner
from agent.learners.head import HeadLearner
from agent.learners.online import OnlineLearner
from agent.learners.protocol import Learner
from agent.learners.refit import RefitLearner
from agent.learners.replay import AsymmetricReplayLearner, ReplayLearner

LEARNERS: dict[str, Callable[..., Learner]]
LEARNERS = {
    "online": OnlineLearner,
    "cooldown": CooldownLearner,
    "refit": RefitLearner,
    "head": HeadLearner,
    "er": ReplayLearner,
    "er-ace": AsymmetricReplayLearner,
}
"""Learners by their names on the command line; called with a network, a training and the places of keys."""
