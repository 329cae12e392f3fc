"""Baselines by their names on the command line."""

from collections.abc import Callable

from scenarios.baselines.protocol import Baseline
from scenarios.baselines.replaying import DerPp, ErAce, ErAml, Mir, Replay
from scenarios.baselines.retraining import Cumulative, GDumb
from scenarios.baselines.slda import Slda
from scenarios.baselines.trained import Ewc, LwF, Naive

BASELINES: dict[str, Callable[..., Baseline]] = {
    "naive": Naive,
    "replay": Replay,
    "gdumb": GDumb,
    "er-ace": ErAce,
    "er-aml": ErAml,
    "der++": DerPp,
    "mir": Mir,
    "lwf": LwF,
    "ewc": Ewc,
    "cumulative": Cumulative,
    "slda": Slda,
}
"""A member is called with its settings; `Baseline.learner` makes the learner."""
