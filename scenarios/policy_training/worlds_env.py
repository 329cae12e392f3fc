"""A Gymnasium environment over worlds; a lifetime in one of them is simulated or looked up in a schedule table."""

import os
from collections.abc import Callable, Mapping, Sequence
from math import nan
from typing import Any, ClassVar, NamedTuple, Protocol, SupportsInt, runtime_checkable

import gymnasium
import numpy as np
from gymnasium.error import InvalidAction, ResetNeeded
from gymnasium.spaces import Box, Discrete
from jaxtyping import Float

from agent.accounting.utility import utility
from agent.errors import InvalidSetting
from agent.lifetime.episode import Episode
from agent.operations import Action
from agent.policies.observation import Observation
from scenarios.oracle.priced_table import PricedTable

ABSENT = -1.0
"""The value of a field that is not observed or does not exist."""
HIGHEST = float(np.finfo(np.float32).max)
"""Higher values are clipped to this one."""

_PROCESS = os.getpid()
"""The process that imports this module, and with it torch."""


@runtime_checkable
class DecidedLifetime(Protocol):
    """A lifetime whose actions are given chunk by chunk."""

    @property
    def ended(self) -> bool:
        """Whether no chunks are left."""

    def observe(self) -> Float[np.ndarray, " fields"]:
        """`Observation.vector` of the current chunk."""

    def act(self, action: Action) -> tuple[float, float]:
        """Perform the action; returns the agent's accuracy after it, and the total cost so far."""


class SimulatedLifetime:
    """A lifetime that is simulated.

    Raises:
        InvalidSetting: from the construction and from `act`, in a forked process.
    """

    def __init__(self, make: Callable[[], Episode]) -> None:
        _refuse_fork()
        self._episode = make()

    @property
    def ended(self) -> bool:
        """See DecidedLifetime."""
        return self._episode.ended

    def observe(self) -> Float[np.ndarray, " fields"]:
        """See DecidedLifetime."""
        return self._episode.observe().vector()

    def act(self, action: Action) -> tuple[float, float]:
        """See DecidedLifetime."""
        _refuse_fork()
        step = self._episode.act(action)
        assert step.accuracy is not None, "episodes are evaluated after every chunk"
        return step.accuracy.agent, step.spent


class TableLifetime:
    """A lifetime that is looked up in a schedule table."""

    def __init__(self, priced: PricedTable) -> None:
        self._priced, self._node = priced, 1

    @property
    def ended(self) -> bool:
        """See DecidedLifetime."""
        return self._node >= int(self._priced.table.nodes(self._priced.table.n_chunks)[0])

    def observe(self) -> Float[np.ndarray, " fields"]:
        """See DecidedLifetime."""
        return self._priced.vectors[self._node]

    def act(self, action: Action) -> tuple[float, float]:
        """See DecidedLifetime."""
        table = self._priced.table
        self._node = len(table.actions) * self._node + table.number_of(action)
        return float(self._priced.table.accuracy[self._node, 0]), float(self._priced.spent[self._node])


class World(NamedTuple):
    """A seed, and how a lifetime in its world begins."""

    seed: int
    begin: Callable[[], DecidedLifetime]


class WorldsEnv(gymnasium.Env[np.ndarray, SupportsInt]):
    """One lifetime per episode, in one of several worlds; see `LifetimeEnv` for spaces, rewards and info.

    Args:
        worlds: one or more; a reset draws one of them.
        cost_weight: accuracy (0 to 1) that one unit of cost is worth.
        render_mode: None or ansi.
        actions: names of the actions that each world offers, by number.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["ansi"], "render_fps": 1}  # type: ignore[misc]

    def __init__(
        self,
        worlds: Sequence[World],
        cost_weight: float,
        render_mode: str | None = None,
        *,
        actions: Sequence[str] = ("memorize", "learn"),
    ) -> None:
        self._worlds, self.cost_weight, self.render_mode = worlds, cost_weight, render_mode
        self._actions = list(map(Action, actions))
        self.action_space = Discrete(len(self._actions))
        self._n_fields = len(Observation.names(tuple(actions)))
        self.observation_space = Box(ABSENT, HIGHEST, (self._n_fields,), np.float32)
        self._lifetime: DecidedLifetime | None = None
        self._seed, self._schedule = 0, ""
        self._accuracy, self._spent, self._utility = nan, 0.0, 0.0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Float[np.ndarray, " fields"], dict[str, Any]]:
        """Begin a lifetime.

        Args:
            seed: for the draws of this world and of the next ones.
            options: `world`, the seed of the world to begin in.

        Raises:
            DatasetError: from loading.
            InvalidSetting: the data set or the machine does not allow the settings, an unknown option, or a simulated
                lifetime in a forked process.
        """
        super().reset(seed=seed)
        world = self._chosen(options or {})
        self._lifetime, self._seed, self._schedule = world.begin(), world.seed, ""
        self._accuracy, self._spent, self._utility = nan, 0.0, 0.0
        return _encoded(self._lifetime.observe()), self._info()

    def step(self, action: SupportsInt) -> tuple[Float[np.ndarray, " fields"], float, bool, bool, dict[str, Any]]:
        """Memorize (0) or learn (1) the current chunk, or perform the operation of another number.

        Raises:
            gymnasium.error.InvalidAction: an unknown action.
            gymnasium.error.ResetNeeded: no lifetime has begun, or it has ended.
            InvalidSetting: a simulated lifetime in a forked process.
            TrainingDiverged: from the learner.
        """
        if self._lifetime is None or self._lifetime.ended:
            raise ResetNeeded("expected a lifetime to go on, got none that has begun and not ended; call reset() first")
        if not self.action_space.contains(action):
            known = " or ".join(f"{number} ({each.name.upper()})" for number, each in enumerate(self._actions))
            raise InvalidAction(f"expected {known}, got {action!r}")
        chosen, before = self._actions[int(action)], self._utility
        self._accuracy, self._spent = self._lifetime.act(chosen)
        self._utility = utility(self._accuracy, self._spent, self.cost_weight)
        self._schedule += chosen.operation.letter
        ended = self._lifetime.ended
        vector = np.full(self._n_fields, nan) if ended else self._lifetime.observe()
        info = self._info() | ({"schedule": self._schedule} if ended else {})
        return _encoded(vector), self._utility - before, ended, False, info

    def render(self) -> str | None:
        """The lifetime so far as one line, with the render mode ansi.

        Raises:
            gymnasium.error.ResetNeeded: no lifetime has begun.
        """
        if self._lifetime is None:
            raise ResetNeeded("expected a lifetime that has begun, got none; call reset() first")
        if self.render_mode is None:
            return None
        return f"seed {self._seed}: {self._schedule}  U {100 * self._utility:.1f}"

    def _chosen(self, options: Mapping[str, Any]) -> World:
        unknown = [name for name in options if name != "world"]
        if unknown:
            raise InvalidSetting(f"expected no option but world, got {', '.join(unknown)}")
        if "world" not in options:
            return self._worlds[int(self.np_random.integers(len(self._worlds)))]
        found = [world for world in self._worlds if world.seed == options["world"]]
        if len(found) != 1:
            there = ", ".join(str(world.seed) for world in self._worlds)
            raise InvalidSetting(f"expected a world that is once among {there}, got {options['world']!r}")
        return found[0]

    def _info(self) -> dict[str, Any]:
        return {
            "world": self._seed,
            "step": len(self._schedule),
            "accuracy": self._accuracy,
            "spent": self._spent,
            "utility": self._utility,
        }


def _refuse_fork() -> None:
    """Raise InvalidSetting in a fork of the process that loaded torch.

    A fork has one thread, but OpenMP still waits for the threads of the original
    (https://github.com/pytorch/pytorch/issues/17199). `torch.set_num_threads(1)` in the fork is not enough: it can
    still hang if other threads of the original use torch during the fork.
    """
    if os.getpid() != _PROCESS:
        raise InvalidSetting(
            "expected lifetimes to run in a process that loads torch itself, got a fork of one that had, where torch "
            'can hang; start workers anew, as in gymnasium.make_vec(..., vectorization_mode="async", '
            'vector_kwargs={"context": "spawn"}), or look lifetimes up in tables'
        )


def _encoded(vector: Float[np.ndarray, " fields"]) -> Float[np.ndarray, " fields"]:
    return np.where(np.isfinite(vector), np.minimum(vector, HIGHEST), ABSENT).astype(np.float32)
