"""Lifetimes as a Gymnasium environment: the caller decides between LEARN and MEMORIZE, chunk by chunk."""

from collections.abc import Sequence
from functools import lru_cache, partial
from math import inf
from operator import index
from pathlib import Path
from typing import Any, get_args

import gymnasium

from agent.errors import InvalidSetting
from agent.lifetime.episode import Episode
from agent.policies.protocol import Observes
from scenarios.config.presets import FORMER_OPTIONS, resolve, validate
from scenarios.config.settings import TreeConfig
from scenarios.datasets.load import Dataset
from scenarios.datasets.source import Access
from scenarios.oracle.table import ScheduleTable, read_table
from scenarios.oracle.tables import Pricing
from scenarios.policy_training.worlds_env import SimulatedLifetime, TableLifetime, World, WorldsEnv
from scenarios.running.progress import SilentReporter
from scenarios.running.world import check_settings, load_world, make_episode
from scenarios.streams.scenario import Scenario

ENVIRONMENT_ID = "LearnOrMemorize/Lifetime-v0"

Table = str | Path | ScheduleTable
_SEARCHING = frozenset(("seeds", "first_seed", "search", "beam_width", "cost_weight"))
_SETTINGS = tuple(name for name in TreeConfig.model_fields if name not in TreeConfig.unused | _SEARCHING)


class LifetimeEnv(WorldsEnv):
    """One lifetime per episode: the agent learns or memorizes every chunk of a short stream.

    Lifetimes are simulated (milliseconds to seconds per step), or looked up in the schedule tables of `lifetime tree`
    (microseconds per step). With the same settings and seed both are the same to the bit, if the simulation has as many
    threads as the process that wrote the table: one (`torch.set_num_threads(1)`).

    Action space: `Discrete` over the actions that the agent offers; 0 memorizes the current chunk, 1 learns it. With
    the setting consolidate the next number consolidates, and with the setting both the last one learns and memorizes.

    Observation space: `Box` of float32, one number per field of `agent.Observation`, in the order of
    `Observation.names(actions)` for those actions. The value is -1 for signals of the memory while it is empty, for
    signals that are not observed or not measured, for estimates of an action that is not offered, for `left` without a
    budget, and for all fields after the end. No other value is negative, up to rounding.

    Reward: the change of utility = accuracy - cost weight × spent, which is 0 at initialization; the rewards of a
    lifetime sum to its final utility, up to rounding. Accuracy is that of the agent on one half of the validation
    images; the test set is not used. All costs of the agent count: learning, memorizing, the signals (`observes`), and,
    at the end, fitting the mixture on the other half of the validation images; so costs depend a little on their
    number. There are no queries.

    Starting state: initialization in a world (a seed of data, order and initial weights). The world is drawn, or named
    by `reset(options={"world": 2})`.

    Episode end: terminated after the last chunk; never truncated.

    Info: `world`, `step` (number of decisions so far), `accuracy`, `spent` and `utility` as plain numbers; at
    initialization accuracy is NaN, spent and utility are 0. After the last chunk also `schedule`, such as `"LLMM"`.

    Worker processes: simulated lifetimes need a process that loads torch itself. In a fork of a process with torch they
    could wait forever for threads and locks that the fork lacks, so `reset` and `step` raise there. Gymnasium's "async"
    forks by default on Linux (before Python 3.14); `vector_kwargs={"context": "spawn"}` starts new workers, from a
    script whose own work is under `if __name__ == "__main__":`. Such workers do not inherit `torch.set_num_threads`;
    the environment variable OMP_NUM_THREADS applies to all. Schedule tables work in any process.

    Rendering: `ansi`, a line such as `seed 0: LLM  U 21.4`, with utility in percent.

    Args:
        tables: schedule tables or their files; None to simulate lifetimes.
        preset: simulation only: source of the settings, quick or cifar10; None for quick.
        seeds: simulation only: seeds of the worlds; None for 0, 1 and 2.
        cost_weight: accuracy (0 to 1) that one unit of cost is worth; None for that of the preset or the first table.
        observes: signals of each chunk: nothing, learner or memory; the agent pays for them.
        tariff: prices of compute; None for those of the preset or the table.
        cost: cost model; None likewise.
        budget: what a lifetime may spend, in the unit of the cost model, infinite for no budget; None likewise. It is
            shown in observations and not enforced.
        data_dir: simulation only: directory of data sets and caches; None for the user's cache directory.
        download: simulation only: download a missing data set.
        render_mode: None or ansi.
        settings: simulation only: override the preset; names are the options of `lifetime tree` with _ for -: dataset,
            train_size, chunks, scenario, rekey, network, ...

    Raises:
        InvalidSetting: invalid settings. Those that the data, the machine or the process do not allow raise in `reset`,
            as does DatasetError; `step` may raise TrainingDiverged.
        RunError: a file is not a schedule table.

    Example:
        >>> import scenarios
        >>> env = scenarios.LifetimeEnv(train_size=200, validation_size=40, chunks=3, network="resnet:width=2")
        >>> observation, info = env.reset(seed=0, options={"world": 2})
        >>> observation, reward, terminated, truncated, info = env.step(1)  # LEARN

        By name, once `scenarios.policy_training.environment` is imported, or with the module in the name:

        >>> import gymnasium
        >>> name = "scenarios.policy_training.environment:LearnOrMemorize/Lifetime-v0"
        >>> envs = gymnasium.make_vec(name, num_envs=4, tables=["runs/tree/NAME/seed0/table.npz"])  # doctest: +SKIP

        Simulated in parallel, in new processes:

        >>> envs = gymnasium.make_vec(
        ...     name, num_envs=4, vectorization_mode="async", vector_kwargs={"context": "spawn"}, train_size=200
        ... )  # doctest: +SKIP

    References:
        Ng, Harada and Russell, "Policy invariance under reward transformations", ICML 1999: rewards as differences of
        a potential. Towers et al., "Gymnasium", https://arxiv.org/abs/2407.17032.
    """

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
        prices = {"tariff": tariff, "cost": cost, "budget": budget, "cost_weight": cost_weight}
        overrides: dict[str, Any] = {name: value for name, value in prices.items() if value is not None}
        if budget == inf:
            overrides["budget"] = None
        if tables is None:
            config = _settings(preset or "quick", settings, overrides)
            folder = None if data_dir is None else Path(data_dir)
            checked = _checked((0, 1, 2) if seeds is None else seeds)
            worlds = [
                World(seed, partial(SimulatedLifetime, partial(_episode, config, seed, observes, folder, download)))
                for seed in checked
            ]
            weight, actions = config.cost_weight, config.actions
        else:
            simulation = {"preset": preset, "seeds": seeds, "data_dir": data_dir, "download": download or None}
            given = [name for name, value in (simulation | settings).items() if value is not None]
            if given:
                raise InvalidSetting(
                    f"expected tables or simulation settings, got both: tables and {', '.join(given)}; leave out either"
                )
            worlds, weight, actions = _tabulated([tables] if isinstance(tables, Table) else tables, overrides, observes)
        super().__init__(worlds, weight, render_mode, actions=actions)


def _settings(preset: str, settings: dict[str, Any], overrides: dict[str, Any]) -> TreeConfig:
    for name in settings.keys() & FORMER_OPTIONS.keys():
        raise InvalidSetting(f"expected {FORMER_OPTIONS[name]}, got {name}, as it was called before")
    unknown = [name for name in settings if name not in _SETTINGS]
    if unknown:
        raise InvalidSetting(f"expected settings out of {', '.join(_SETTINGS)}, got {', '.join(unknown)}")
    config = resolve(TreeConfig, preset, settings, overrides)
    check_settings(config)
    return config


def _checked(seeds: Sequence[int]) -> list[int]:
    try:
        whole = [index(seed) for seed in seeds]
    except TypeError:
        whole = []
    if not whole or min(whole) < 0 or len(set(whole)) < len(whole):
        raise InvalidSetting(f"expected a list of seeds, whole numbers from 0 on and each once, got {seeds!r}")
    return whole


def _episode(config: TreeConfig, seed: int, observes: Observes, data_dir: Path | None, download: bool) -> Episode:
    return make_episode(config, seed, _loaded(config, seed, data_dir, download), observes)


@lru_cache(maxsize=16)
def _loaded(config: TreeConfig, seed: int, data_dir: Path | None, download: bool) -> tuple[Dataset, Scenario]:
    return load_world(config, seed, Access(data_dir, download), SilentReporter())


def _tabulated(
    tables: Sequence[Table], overrides: dict[str, Any], observes: Observes
) -> tuple[list[World], float, tuple[str, ...]]:
    """The worlds of schedule tables, the cost weight of the first, and the actions of all."""
    if not len(tables):
        raise InvalidSetting("expected one or more tables, got none; name files that `lifetime tree` wrote")
    worlds, weights, actions = [], [], set()
    for each in tables:
        table = each if isinstance(each, ScheduleTable) else read_table(Path(each))
        config = validate(TreeConfig, {**table.facts["settings"], **overrides})
        pricing = Pricing.of_settings(config)
        worlds.append(World(int(table.facts["seed"]), partial(TableLifetime, pricing.of(table, observes))))
        weights.append(config.cost_weight)
        actions.add(table.actions)
    if len(actions) > 1:
        raise InvalidSetting("expected tables of the same actions, got several; make an environment for each")
    return worlds, weights[0], actions.pop()


if ENVIRONMENT_ID not in gymnasium.registry:
    gymnasium.register(ENVIRONMENT_ID, entry_point="scenarios.policy_training.environment:LifetimeEnv")
