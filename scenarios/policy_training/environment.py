"""Lifetimes as a Gymnasium environment: whoever acts decides between LEARN and MEMORIZE, chunk by chunk."""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from operator import index
from pathlib import Path
from typing import Any, ClassVar, Protocol, SupportsInt, get_args, runtime_checkable

import gymnasium
import numpy as np
from gymnasium.error import InvalidAction, ResetNeeded
from gymnasium.spaces import Box, Discrete
from jaxtyping import Float

from agent.accounting.utility import utility
from agent.errors import InvalidSetting
from agent.lifetime.episode import Episode
from agent.operations import Action, actions
from agent.policies.observation import Observation
from agent.policies.protocol import Observes
from scenarios.config.families import TARIFF
from scenarios.config.members import make
from scenarios.config.presets import resolve, validate
from scenarios.config.settings import TreeConfig
from scenarios.datasets.load import Dataset
from scenarios.oracle.priced_table import PricedTable
from scenarios.oracle.table import ScheduleTable, read_table
from scenarios.running.progress import SilentReporter
from scenarios.running.world import cost_model, load_world, make_episode, resolve_specs
from scenarios.streams.scenario import Scenario

ENVIRONMENT_ID = "LearnOrMemorize/Lifetime-v0"
ABSENT = -1.0
"""Stands in observations for what is not there."""
HIGHEST = float(np.finfo(np.float32).max)
"""Of what is there; what is more is shown as this."""

_PROCESS = os.getpid()
"""The process that imports this module, and with it torch."""

Table = str | Path | ScheduleTable
_SEARCHING = frozenset(("seeds", "first_seed", "search", "beam_width", "cost_weight"))
_SETTINGS = tuple(name for name in TreeConfig.model_fields if name not in TreeConfig.unused | _SEARCHING)


class LifetimeEnv(gymnasium.Env[np.ndarray, SupportsInt]):
    """One lifetime an episode: at every chunk of a short stream the agent learns it or memorizes it.

    Lifetimes are lived (some milliseconds to seconds a step), or looked up in tables of all schedules, as `lifetime
    tree` writes them (microseconds a step). At the same settings and seed both are the same to the bit, if what is
    lived has as many threads as what grew the table: one (`torch.set_num_threads(1)`).

    Action space: `Discrete` over the operations that there are (`agent.operations.OPERATIONS`); 0 memorizes the chunk
    at hand, 1 learns it.

    Observation space: `Box` of float32, one number for each field of `agent.Observation`, in the order of
    `Observation.names()`. What is not there is -1: what the memory makes of a chunk while it is empty, what is not
    asked for, what is left of no budget, and every field once the lifetime has ended. Nothing else is
    negative, rounding aside.

    Reward: what the step adds to utility = accuracy - cost weight × spent, which is 0 at birth; so the rewards of a
    lifetime sum to its final utility, up to rounding. Accuracy is that of the agent on those validation images that
    serve nothing else (half of them); no test image is looked at. Everything that the agent pays counts: learning,
    memorizing, looking at chunks (`observes`), and at the end fitting the mixture on the other half, so that
    costs depend a little on how many validation images there are. Nothing is asked on the way.

    Starting state: birth, in a world (a seed of data, their order and initial weights) that is drawn from those there
    are, or is the one that `reset(options={"world": 2})` names.

    Episode end: terminated after the last chunk; never truncated.

    Info: `world`, `step` (chunks decided on), `accuracy`, `spent` and `utility` as plain numbers; at birth nothing has
    been measured (accuracy is NaN) or spent, and utility is 0; after the last chunk `schedule` too, as in `"LLMM"`.

    Worker processes: lifetimes are lived in processes that load torch themselves, never in a forked copy of a process
    that has: there torch can wait for ever for threads and locks that the copy lacks, so that `reset` and `step` refuse
    in it. Gymnasium's "async" forks by default on Linux (before Python 3.14); `vector_kwargs={"context": "spawn"}`
    starts its workers anew, from a script whose own work is under `if __name__ == "__main__":`. Such workers do not
    inherit `torch.set_num_threads`; the environment variable OMP_NUM_THREADS counts for all. Looking lifetimes up works
    in any process.

    Rendering: `ansi`, a line such as `seed 0: LLM  U 21.4`, utility in percent.

    Args:
        tables: files of schedule tables, or trees, to look lifetimes up in; None to live them.
        preset: live only: where the settings start, quick or cifar10; None for quick.
        seeds: live only: worlds to draw from; None for 0, 1 and 2.
        cost_weight: accuracy (0 to 1) that one unit of cost is worth, over the preset's or the first table's.
        observes: what to see of each chunk: nothing, learner or memory; the agent pays for it.
        tariff: prices of compute, over the preset's or those that a table was grown with.
        cost: cost model, likewise.
        budget: what a lifetime may spend, in the unit of the cost model, likewise; infinite for none. It is shown, and
            ends nothing.
        data_dir: live only: where data sets and caches lie; None for the user's cache folder.
        download: live only: fetch a missing data set.
        render_mode: None or ansi.
        settings: live only: over the preset's, by the names of the options of `lifetime tree` with _ for -: dataset,
            train_size, chunks, scenario, rekey, network, ...

    Raises:
        InvalidSetting: settings that cannot be. What only the data, the machine or the process do not allow comes from
            `reset`, as do DatasetError and, from `step`, TrainingDiverged.
        RunError: a file that is no schedule table.

    Example:
        >>> import scenarios
        >>> env = scenarios.LifetimeEnv(train_size=200, validation_size=40, chunks=3, network="resnet:width=2")
        >>> observation, info = env.reset(seed=0, options={"world": 2})
        >>> observation, reward, terminated, truncated, info = env.step(1)  # LEARN

        By name, once `scenarios.policy_training.environment` has been imported or where the name asks for it:

        >>> import gymnasium
        >>> name = "scenarios.policy_training.environment:LearnOrMemorize/Lifetime-v0"
        >>> envs = gymnasium.make_vec(name, num_envs=4, tables=["runs/tree/NAME/seed0/table.npz"])  # doctest: +SKIP

        Lived side by side, in processes of their own:

        >>> envs = gymnasium.make_vec(
        ...     name, num_envs=4, vectorization_mode="async", vector_kwargs={"context": "spawn"}, train_size=200
        ... )  # doctest: +SKIP

    References:
        Ng, Harada and Russell, "Policy invariance under reward transformations", ICML 1999: rewards as differences of
        a potential. Towers et al., "Gymnasium", https://arxiv.org/abs/2407.17032.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["ansi"], "render_fps": 1}  # type: ignore[misc]

    def __init__(
        self,
        tables: Table | Sequence[Table] | None = None,
        *,
        preset: str | None = None,
        seeds: Sequence[int] | None = None,
        cost_weight: float | None = None,
        observes: Observes = "memory",
        tariff: str | None = None,
        cost: str | None = None,
        budget: float | None = None,
        data_dir: str | Path | None = None,
        download: bool = False,
        render_mode: str | None = None,
        **settings: Any,
    ) -> None:
        if observes not in get_args(Observes):
            raise InvalidSetting(f"expected observes to be one of {', '.join(get_args(Observes))}, got {observes!r}")
        if render_mode not in (None, "ansi"):
            raise InvalidSetting(f"expected a render_mode of ansi or None, got {render_mode!r}")
        priced = {"tariff": tariff, "cost": cost, "budget": budget}
        overrides: dict[str, Any] = {name: value for name, value in priced.items() if value is not None}
        overrides |= {} if cost_weight is None else {"cost_weight": cost_weight}
        overrides |= {"budget": None} if budget == math.inf else {}
        if tables is None:
            folder = None if data_dir is None else Path(data_dir)
            config = _settings(preset or "quick", settings, overrides)
            weight = config.cost_weight
            born = partial(_born, config, observes=observes, data_dir=folder, download=download)
            self._worlds = [
                _World(number, partial(born, number)) for number in _checked((0, 1, 2) if seeds is None else seeds)
            ]
        else:
            live = {
                "preset": preset,
                "seeds": seeds,
                "data_dir": data_dir,
                "download": download or None,
                **settings,
            }
            given = [name for name, value in live.items() if value is not None]
            if given:
                raise InvalidSetting(
                    f"expected tables or settings to live by, got both: tables and {', '.join(given)}; leave out either"
                )
            self._worlds, weight = _tabulated(tables, overrides, observes)
        self.cost_weight, self.render_mode = weight, render_mode
        self._actions = list(actions())
        self.action_space = Discrete(len(self._actions))
        self.observation_space = Box(ABSENT, HIGHEST, (len(Observation.names()),), np.float32)
        self._life: _Life | None = None
        self._world = 0
        self._schedule = ""
        self._accuracy, self._spent, self._utility = math.nan, 0.0, 0.0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Float[np.ndarray, " fields"], dict[str, Any]]:
        """Be born.

        Args:
            seed: of which worlds come next.
            options: `world`, the seed of the one to be born in.

        Raises:
            DatasetError: from loading.
            InvalidSetting: settings that the data set or the machine do not allow, unknown options, or a lifetime to
                live in a forked process.
        """
        super().reset(seed=seed)
        world = self._chosen(options or {})
        self._life, self._world, self._schedule = world.lifetime(), world.seed, ""
        self._accuracy, self._spent, self._utility = math.nan, 0.0, 0.0
        return _encoded(self._life.observe()), self._info()

    def step(self, action: SupportsInt) -> tuple[Float[np.ndarray, " fields"], float, bool, bool, dict[str, Any]]:
        """Memorize (0) or learn (1) the chunk at hand, or do with it what another number stands for.

        Raises:
            gymnasium.error.InvalidAction: another action.
            gymnasium.error.ResetNeeded: before birth or after the end.
            InvalidSetting: a lifetime to live in a forked process.
            TrainingDiverged: from the learner.
        """
        if self._life is None or self._life.ended:
            raise ResetNeeded("expected a lifetime to go on, got none that has begun and not ended; call reset() first")
        if not self.action_space.contains(action):
            known = " or ".join(f"{each.number} ({each.name.upper()})" for each in self._actions)
            raise InvalidAction(f"expected {known}, got {action!r}")
        chosen, before = self._actions[int(action)], self._utility
        self._accuracy, self._spent = self._life.act(chosen)
        self._utility = utility(self._accuracy, self._spent, self.cost_weight)
        self._schedule += chosen.operation.letter
        ended = self._life.ended
        seen = np.full(len(Observation.names()), np.nan) if ended else self._life.observe()
        info = self._info() | ({"schedule": self._schedule} if ended else {})
        return _encoded(seen), self._utility - before, ended, False, info

    def render(self) -> str | None:
        """The lifetime so far as a line, where the render mode is ansi.

        Raises:
            gymnasium.error.ResetNeeded: before birth.
        """
        if self._life is None:
            raise ResetNeeded("expected a lifetime that has begun, got none; call reset() first")
        if self.render_mode is None:
            return None
        return f"seed {self._world}: {self._schedule}  U {100 * self._utility:.1f}"

    def _chosen(self, options: Mapping[str, Any]) -> "_World":
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
            "world": self._world,
            "step": len(self._schedule),
            "accuracy": self._accuracy,
            "spent": self._spent,
            "utility": self._utility,
        }


@runtime_checkable
class _Life(Protocol):
    """A lifetime that has begun, decided from outside."""

    @property
    def ended(self) -> bool:
        """Whether there is nothing left to decide."""

    def observe(self) -> Float[np.ndarray, " fields"]:
        """`Observation.vector` of the chunk at hand."""

    def act(self, action: Action) -> tuple[float, float]:
        """Decide on it; returns the agent's accuracy from then on, and what has been spent."""


@dataclass(frozen=True)
class _World:
    """Where lifetimes can be born."""

    seed: int
    lifetime: Callable[[], _Life]


class _Lived:
    """A lifetime that is lived."""

    def __init__(self, episode: Episode) -> None:
        self._episode = episode

    @property
    def ended(self) -> bool:
        return self._episode.ended

    def observe(self) -> Float[np.ndarray, " fields"]:
        return self._episode.observe().vector()

    def act(self, action: Action) -> tuple[float, float]:
        _refuse_forked()
        step = self._episode.act(action)
        assert step.accuracy is not None, "episodes are examined at every chunk"
        return step.accuracy.agent, step.spent


class _LookedUp:
    """A lifetime that is looked up."""

    def __init__(self, priced: PricedTable) -> None:
        self._priced, self._node = priced, 1

    @property
    def ended(self) -> bool:
        return self._node >= int(self._priced.table.nodes(self._priced.table.n_chunks)[0])

    def observe(self) -> Float[np.ndarray, " fields"]:
        return self._priced.vectors[self._node]

    def act(self, action: Action) -> tuple[float, float]:
        known = self._priced.table.actions
        self._node = len(known) * self._node + known.index(action.name)
        return float(self._priced.table.accuracy[self._node, 0]), float(self._priced.spent[self._node])


def _settings(preset: str, settings: dict[str, Any], overrides: dict[str, Any]) -> TreeConfig:
    unknown = [name for name in settings if name not in _SETTINGS]
    if unknown:
        raise InvalidSetting(f"expected settings out of {', '.join(_SETTINGS)}, got {', '.join(unknown)}")
    config = resolve(TreeConfig, preset, settings, overrides)
    return config.model_copy(update=resolve_specs(config))


def _checked(seeds: Sequence[int]) -> list[int]:
    try:
        whole = [index(seed) for seed in seeds]
    except TypeError:
        whole = []
    if not whole or min(whole) < 0 or len(set(whole)) < len(whole):
        raise InvalidSetting(f"expected a list of seeds, whole numbers from 0 on and each once, got {seeds!r}")
    return whole


def _born(config: TreeConfig, seed: int, *, observes: Observes, data_dir: Path | None, download: bool) -> _Life:
    _refuse_forked()
    return _Lived(make_episode(config, seed, _loaded(config, seed, data_dir, download), observes))


def _refuse_forked() -> None:
    """Raise in a copy of the process that loaded torch.

    A copy has one thread, while OpenMP still counts on those of the original
    (https://github.com/pytorch/pytorch/issues/17199). `torch.set_num_threads(1)` in the copy is not enough: it can
    still hang if other threads of the original use torch while the copy is made.
    """
    if os.getpid() != _PROCESS:
        raise InvalidSetting(
            "expected lifetimes to be lived in a process that loads torch itself, got a fork of one that had, where "
            'torch can hang; start workers anew, as in gymnasium.make_vec(..., vectorization_mode="async", '
            'vector_kwargs={"context": "spawn"}), or look lifetimes up in tables'
        )


@lru_cache(maxsize=16)
def _loaded(config: TreeConfig, seed: int, data_dir: Path | None, download: bool) -> tuple[Dataset, Scenario]:
    return load_world(config, seed, data_dir=data_dir, download=download, reporter=SilentReporter())


def _tabulated(
    tables: Table | Sequence[Table], overrides: dict[str, Any], observes: Observes
) -> tuple[list[_World], float]:
    """The worlds, and the cost weight of the first if no other is given."""
    if isinstance(tables, Table):
        tables = [tables]
    if not len(tables):
        raise InvalidSetting("expected one or more tables, got none; name files that `lifetime tree` wrote")
    worlds, weights = [], []
    for table in tables:
        table = table if isinstance(table, ScheduleTable) else read_table(Path(table))
        config, seed = validate(TreeConfig, {**table.facts["settings"], **overrides}), int(table.facts["seed"])
        prices = make(config.tariff, TARIFF, n_chunks=table.n_chunks, seed=seed)
        budget = math.inf if config.budget is None else config.budget
        priced = PricedTable(table, tuple(prices), cost_model(config), budget, observes)
        worlds.append(_World(seed, partial(_LookedUp, priced)))
        weights.append(config.cost_weight)
    return worlds, weights[0]


def _encoded(vector: Float[np.ndarray, " fields"]) -> Float[np.ndarray, " fields"]:
    return np.where(np.isfinite(vector), np.minimum(vector, HIGHEST), ABSENT).astype(np.float32)


if ENVIRONMENT_ID not in gymnasium.registry:
    gymnasium.register(ENVIRONMENT_ID, entry_point="scenarios.policy_training.environment:LifetimeEnv")
