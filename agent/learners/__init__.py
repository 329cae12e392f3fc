"""Learners: a network that gives probabilities and keys, trained chunk by chunk, cooled down or refitted when asked."""

from agent.learners.cooldown import CooldownLearner as CooldownLearner
from agent.learners.online import OnlineLearner as OnlineLearner
from agent.learners.protocol import Learner as Learner
from agent.learners.refit import RefitLearner as RefitLearner
