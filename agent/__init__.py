"""Agents that learn (gradient updates) or memorize (an episodic key-value cache) each chunk of a stream.

An agent is a learner, a memory and the mixture of their predictions. A policy decides on each chunk, and the loop runs
the agent's lifetime on a stream. To try your own policy, subclass `Policy`:

    import scenarios
    from agent import Action, Policy

    class Surprised(Policy):
        observes = "learner"    # or "memory", which costs more, or "nothing", the default

        def decide(self, observation):
            surprised = observation.learner_loss > observation.mean_learner_loss
            return Action.LEARN if surprised else Action.MEMORIZE

    trajectory = scenarios.run_lifetime(Surprised(), dataset="textures", scenario="class-incremental")
    print(trajectory.accuracy, trajectory.steps[-1].spent_gflop)

`help(agent.Observation)` lists what an observation contains, `help(agent.Policy)` explains the state of a policy and
its saving, and `help(agent.Trajectory)` and `help(agent.Step)` describe the results.

To build an agent yourself: `Agent(learner, memory)`, with an `OnlineLearner` or `RefitLearner` of a `ResNet`, and a
`CacheMemory`. Then call `run_lifetime(agent, stream, policy, plan)` with any sequence of `Chunk` as the stream, or
`run_lifetimes` for several policies, or several agents of one learner, that share work (`joint_keys` gives the keys
that such a learner reads, and the columns of each agent). Any class that satisfies the protocol `Learner`
or `Memory` can be used.
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
    from agent.lifetime.loop import run_lifetime as run_lifetime
    from agent.lifetime.loop import run_lifetimes as run_lifetimes
    from agent.memory import CacheMemory as CacheMemory
    from agent.memory import Memory as Memory
    from agent.memory.rekeying import Rekeying as Rekeying
    from agent.networks import Network as Network
    from agent.networks.keys import KeyPlaces as KeyPlaces
    from agent.networks.keys import joint_keys as joint_keys
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
    "joint_keys": "networks.keys",
    "run_lifetime": "lifetime.loop",
    "run_lifetimes": "lifetime.loop",
}

__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    """Import a public name at its first use, so that `lifetime --help` does not wait for torch."""
    if name not in _HOME:
        raise AttributeError(f"module 'agent' has no attribute {name!r}")
    return getattr(import_module(f"agent.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
