"""The families: what has members that a spec chooses. One table, read by settings, commands and listings alike."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class Family:
    """Members by name, each made by a callable."""

    name: str
    plural: str
    option: str
    """The option that takes a member."""
    registry: str
    """Where the members are, as `module:NAME`: imported when they are asked for, as torch takes seconds."""
    own: str = ""
    """What a user's own member, given by its import path, must be; empty where there are none."""
    base: str = ""
    """The class that a user's own must be derived from, as `module:Name`; empty for a family that has none."""
    classes: bool = True
    """Whether a user's own must be a class; any callable will do otherwise."""

    @property
    def members(self) -> Mapping[str, Callable[..., Any]]:
        """What makes each member, by name."""
        return _named(self.registry)

    @property
    def base_class(self) -> type | None:
        """What a user's own must be derived from."""
        return _named(self.base) if self.base else None


def _named(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


NETWORK = Family(
    "network",
    "networks",
    "--network",
    "agent.networks.registry:NETWORKS",
    own="a subclass of agent.networks.Network (agent.testing.check_network tells)",
    base="agent.networks.protocol:Network",
)
RECIPE = Family(
    "recipe",
    "recipes",
    "--recipe",
    "agent.learners.recipe:RECIPES",
    own="whatever gives an agent.learners.Recipe when it is called (agent.testing.check_recipe tells)",
    classes=False,
)
LEARNER = Family(
    "learner",
    "learners",
    "--learner",
    "agent.learners.registry:LEARNERS",
    own="whatever keeps agent.learners.Learner (agent.testing.check_learner tells)",
)
MEMORY = Family(
    "memory",
    "memories",
    "--memory",
    "agent.memory.registry:MEMORIES",
    own="whatever keeps agent.memory.Memory (agent.testing.check_memory tells)",
)
POLICY = Family(
    "policy",
    "policies",
    "--policy",
    "agent.policies.registry:POLICIES",
    own="a subclass of agent.policies.Policy (agent.testing.check_policy tells)",
    base="agent.policies:Policy",
)
SCENARIO = Family("scenario", "scenarios", "--scenario", "scenarios.streams.catalog:SCENARIOS")
TARIFF = Family("tariff", "tariffs", "--tariff", "scenarios.streams.tariffs:TARIFFS")
COST_MODEL = Family("cost model", "costs", "--cost", "agent.accounting.costs:COST_MODELS")

FAMILIES = {each.plural: each for each in (NETWORK, RECIPE, LEARNER, MEMORY, POLICY, SCENARIO, TARIFF, COST_MODEL)}
"""By what `lifetime list` calls them."""
SPECS = {each.option.removeprefix("--"): each for each in FAMILIES.values()}
"""The settings that hold the spec of one member, which a later layer of settings may change key by key."""
