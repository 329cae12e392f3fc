"""Learners: networks that give probabilities and keys, trained online, with cool-downs, refitted, or above features."""

from agent.learners.cooldown import CooldownLearner as CooldownLearner
from agent.learners.head import HeadLearner as HeadLearner
from agent.learners.online import OnlineLearner as OnlineLearner
from agent.learners.protocol import Learner as Learner
from agent.learners.recipe import RECIPES as RECIPES
from agent.learners.recipe import ParameterGroup as ParameterGroup
from agent.learners.recipe import Recipe as Recipe
from agent.learners.refit import RefitLearner as RefitLearner
from agent.learners.registry import LEARNERS as LEARNERS
from agent.learners.replay import AsymmetricReplayLearner as AsymmetricReplayLearner
from agent.learners.replay import ReplayLearner as ReplayLearner
