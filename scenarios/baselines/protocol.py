"""The contract of baselines: settings, from which a learner is made that an agent can live with."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import torch

from agent.data.chunk import LabelledInputs
from agent.errors import InvalidSetting
from agent.learners import Learner
from agent.learners.training import Training
from agent.networks.keys import Keys
from agent.networks.protocol import Network
from scenarios.baselines.model import Criterion, Optimizers, Prepared, Tally


class Given(NamedTuple):
    """What a baseline makes its learner from."""

    network: Network
    """Initial weights; the learner owns the network from now on."""
    training: Training
    """The recipe, bound to a data set and a device."""
    keys: Keys
    n_classes: int
    seed: int
    further: Sequence[LabelledInputs] = ()
    """Labelled images to learn from beside each chunk, by its position; none beside later ones."""
    features_dir: Path | None = None
    """Folder of features of frozen networks that are kept; None keeps none."""


@runtime_checkable
class Baseline(Protocol):
    """The settings of a baseline."""

    lazy: ClassVar[bool]
    """Whether it trains before a prediction, and not when it learns; see `agent.learners.Learner`."""
    augments: ClassVar[bool]
    """Whether it trains on augmented images."""

    def learner(self, given: Given) -> Learner:
        """A learner at initialization.

        Raises:
            InvalidSetting: the network or the recipe does not suit it.
        """


class Parts(NamedTuple):
    """What a strategy of Avalanche is made from."""

    model: Prepared
    optimizers: Optimizers
    criterion: Criterion
    batch: int
    """New samples in a gradient step."""
    n_classes: int
    device: torch.device
    tally: Tally


Strategy = Any
"""A `scenarios.baselines.strategies.Strategy`; importing that module imports Avalanche, which takes seconds."""

MakeStrategy = Callable[[Parts], Strategy]


def check_at_least(name: str, value: float, least: float, most: float = 1e9) -> None:
    """Raise InvalidSetting for a setting out of its range."""
    if not least <= value <= most:
        raise InvalidSetting(f"expected {name} from {least:g} to {most:g}, got {value:g}")


def check_replay(mem: int, batch_mem: int | None) -> None:
    """Raise InvalidSetting for a buffer without samples, or for batches of more samples than it holds."""
    check_at_least("mem", mem, 1)
    if batch_mem is not None and not 1 <= batch_mem <= mem:
        raise InvalidSetting(
            f"expected batch_mem from 1 to the {mem:,} samples of mem, got {batch_mem:,}: a batch from memory is never "
            "larger than the memory"
        )
