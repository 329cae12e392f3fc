"""Agents that, for each chunk of a stream, learn (gradient updates) or memorize (an episodic key-value cache).

An agent is a learner, a memory and the mixture of what they say; a policy decides for each chunk what to do with it,
and the loop lives the agent through a stream. To try a policy of your own, subclass `Policy` and live it:

    import scenarios
    from agent import Action, Policy

    class Surprised(Policy):
        observes = "learner"    # or "memory", which costs more, or "nothing", the default

        def decide(self, observation):
            surprised = observation.learner_loss > observation.mean_learner_loss
            return Action.LEARN if surprised else Action.MEMORIZE

    trajectory = scenarios.live(Surprised(), dataset="textures", scenario="class-incremental")
    print(trajectory.accuracy, trajectory.steps[-1].spent_gflop)

What an observation holds: `help(agent.Observation)`. What a policy may keep, and where it is saved:
`help(agent.Policy)`. What a trajectory tells: `help(agent.Trajectory)` and `help(agent.Step)`.

To put an agent together by hand: `Agent(learner, memory)`, with `OnlineLearner` or `RefitLearner` around a `ResNet`,
and `CacheMemory`; then `live(agent, stream, policy, plan)`, with any sequence of `Chunk` for a stream, or `live_many`
for several policies that share what they have in common. Anything that keeps the protocols `Learner` and `Memory` will
do.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agent.accounting.costs import CostModel as CostModel
    from agent.agent import Agent as Agent
    from agent.data.chunk import Chunk as Chunk
    from agent.data.chunk import LabelledInputs as LabelledInputs
    from agent.evaluation.plan import EvaluationPlan as EvaluationPlan
    from agent.evaluation.scores import Accuracy as Accuracy
    from agent.evaluation.scores import Prediction as Prediction
    from agent.evaluation.trajectory import Step as Step
    from agent.evaluation.trajectory import Trajectory as Trajectory
    from agent.learners import Learner as Learner
    from agent.learners import OnlineLearner as OnlineLearner
    from agent.learners import Recipe as Recipe
    from agent.learners import RefitLearner as RefitLearner
    from agent.learners.training import Training as Training
    from agent.lifetime.loop import live as live
    from agent.lifetime.loop import live_many as live_many
    from agent.memory import CacheMemory as CacheMemory
    from agent.memory import Memory as Memory
    from agent.memory.rekeying import Rekeying as Rekeying
    from agent.networks import Network as Network
    from agent.networks.keys import KeyPlaces as KeyPlaces
    from agent.networks.resnet import ResNet as ResNet
    from agent.policies import Action as Action
    from agent.policies import Policy as Policy
    from agent.policies.observation import Observation as Observation

_HOME = {
    "Accuracy": "evaluation.scores",
    "Action": "policies",
    "Agent": "agent",
    "CacheMemory": "memory",
    "Chunk": "data.chunk",
    "CostModel": "accounting.costs",
    "EvaluationPlan": "evaluation.plan",
    "KeyPlaces": "networks.keys",
    "LabelledInputs": "data.chunk",
    "Learner": "learners",
    "Memory": "memory",
    "Network": "networks",
    "Observation": "policies.observation",
    "OnlineLearner": "learners",
    "Policy": "policies",
    "Prediction": "evaluation.scores",
    "Recipe": "learners",
    "RefitLearner": "learners",
    "Rekeying": "memory.rekeying",
    "ResNet": "networks.resnet",
    "Step": "evaluation.trajectory",
    "Trajectory": "evaluation.trajectory",
    "Training": "learners.training",
    "live": "lifetime.loop",
    "live_many": "lifetime.loop",
}

__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    """Public names are imported when they are asked for: torch takes seconds, and `lifetime --help` has none."""
    if name not in _HOME:
        raise AttributeError(f"module 'agent' has no attribute {name!r}")
    return getattr(import_module(f"agent.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
