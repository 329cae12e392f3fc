"""The table of families: what has members that a spec chooses."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class Family:
    """A family of members, by name."""

    name: str
    plural: str
    option: str
    """The command-line option that takes a member."""
    registry: str
    """The path of the members, as `module:NAME`; imported on first use, because torch takes seconds."""
    own: str
    """What a user's own member must be."""
    base: str = ""
    """The base class of a user's own member, as `module:Name`; empty if there is none."""
    result: str = ""
    """What a user's own member must return, as `module:Name`; empty if it is a class whose objects are the members."""
    in_full: bool = False
    """Whether specs are written with the defaults of their settings, so that a run records them."""

    @property
    def members(self) -> Mapping[str, Callable[..., Any]]:
        """The callable that makes each member, by name."""
        return _named(self.registry)

    @property
    def base_class(self) -> type | None:
        """The base class of a user's own member."""
        return _named(self.base) if self.base else None

    @property
    def result_class(self) -> type | None:
        """The class of what a user's own member must return."""
        return _named(self.result) if self.result else None


def _named(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


NETWORK = Family(
    "network",
    "networks",
    "--network",
    "agent.networks.registry:NETWORKS",
    own="a subclass of agent.networks.Network (agent.testing.check_network checks it)",
    base="agent.networks.protocol:Network",
    in_full=True,
)
RECIPE = Family(
    "recipe",
    "recipes",
    "--recipe",
    "agent.learners.recipe:RECIPES",
    own="a callable that returns an agent.learners.Recipe (agent.testing.check_recipe checks it)",
    result="agent.learners:Recipe",
    in_full=True,
)
LEARNER = Family(
    "learner",
    "learners",
    "--learner",
    "agent.learners.registry:LEARNERS",
    own="a class with the contract agent.learners.Learner (agent.testing.check_learner checks it)",
    in_full=True,
)
MEMORY = Family(
    "memory",
    "memories",
    "--memory",
    "agent.memory.registry:MEMORIES",
    own="a class with the contract agent.memory.Memory (agent.testing.check_memory checks it)",
    in_full=True,
)
TRANSFORM = Family(
    "transform",
    "transforms",
    "--transform",
    "agent.memory.transform:TRANSFORMS",
    own="a class with the contract agent.memory.transform.KeyTransform",
)
EVICTION = Family(
    "eviction",
    "evictions",
    "--eviction",
    "agent.memory.eviction_registry:EVICTIONS",
    own="a class with the contract agent.memory.eviction.Eviction",
)
POLICY = Family(
    "policy",
    "policies",
    "--policy",
    "agent.policies.registry:POLICIES",
    own="a subclass of agent.policies.Policy (agent.testing.check_policy checks it)",
    base="agent.policies:Policy",
)
SCENARIO = Family(
    "scenario",
    "scenarios",
    "--scenario",
    "scenarios.streams.catalog:SCENARIOS",
    own="a callable that returns a scenarios.streams.scenario.Scenario, given dataset, chunking and seed",
    result="scenarios.streams.scenario:Scenario",
)
TARIFF = Family(
    "tariff",
    "tariffs",
    "--tariff",
    "scenarios.streams.tariffs:TARIFFS",
    own="a callable that returns a price for each chunk, given n_chunks and seed",
    result="collections.abc:Sequence",
)
COST_MODEL = Family(
    "cost model",
    "costs",
    "--cost",
    "agent.accounting.costs:COST_MODELS",
    own="a callable that returns an agent.accounting.costs.CostModel",
    result="agent.accounting.costs:CostModel",
)
DATASET = Family(
    "data set",
    "datasets",
    "--dataset",
    "scenarios.datasets.load:DATASETS",
    own="a callable that returns a scenarios.datasets.source.Source",
    result="scenarios.datasets.source:Source",
)
BASELINE = Family(
    "baseline",
    "baselines",
    "--baseline",
    "scenarios.baselines.registry:BASELINES",
    own="a class with the contract scenarios.baselines.protocol.Baseline",
    in_full=True,
)
EXECUTOR = Family(
    "executor",
    "executors",
    "--executor",
    "scenarios.running.executors:EXECUTORS",
    own="a callable that returns a scenarios.running.tasks.Executor",
    result="scenarios.running.tasks:Executor",
)

FAMILIES = {
    each.plural: each
    for each in (
        NETWORK,
        RECIPE,
        LEARNER,
        MEMORY,
        TRANSFORM,
        EVICTION,
        POLICY,
        SCENARIO,
        TARIFF,
        COST_MODEL,
        DATASET,
        BASELINE,
        EXECUTOR,
    )
}
"""By the argument of `lifetime list`."""
