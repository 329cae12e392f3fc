"""What finished runs offer to choose from, whatever kind of run they are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int64

from agent.errors import InvalidSetting
from scenarios.analysis.options import Options
from scenarios.config.settings import AgentConfig

ALL = "all memories"
"""The name of the choice among the options of all memories together."""


@dataclass(frozen=True)
class Consolidating:
    """Which schedules consolidate, and what all would take under a flat tariff; of trees that offer it.

    Attributes:
        chosen: whether a schedule has an action that consolidates, in the order of `Measured.options`.
        prices: price of compute at each chunk, mean over seeds.
        flat_flops: `Options.flops` if each chunk had the mean of all prices; None if all prices are equal.
        unused_written: bytes of raw images that a schedule writes and never needs, as it does not consolidate.
        unused_byte_chunks: sum of these bytes, as far as they are held, over all chunks.
    """

    chosen: Bool[np.ndarray, " options"]
    prices: Float[np.ndarray, " chunks"]
    flat_flops: Float[np.ndarray, "seeds options"] | None
    unused_written: Float[np.ndarray, "seeds options"]
    unused_byte_chunks: Float[np.ndarray, "seeds options"]


@dataclass(frozen=True)
class Measured:
    """The options of finished runs.

    Attributes:
        kind: of the runs.
        config: settings of the first run.
        title: what was lived, for titles.
        seeds: those under which every option was measured, in the order of the rows of `options`.
        n_chunks: chunks of the stream.
        n_scored: images that accuracies are measured on.
        options: all of them.
        by_memory: the indices of the options with each memory, by label; those that leave the memory empty included.
        notes: on the runs.
        consolidating: of trees with schedules that consolidate and others that do not; None for other runs.
    """

    kind: Literal["curve", "tree"]
    config: AgentConfig
    title: str
    seeds: tuple[int, ...]
    n_chunks: int
    n_scored: int
    options: Options
    by_memory: Mapping[str, Int64[np.ndarray, " of_memory"]]
    notes: tuple[str, ...] = ()
    consolidating: Consolidating | None = None

    def choices(self) -> dict[str, Options]:
        """The options of each memory and, if there are several memories, of all together; none of them twice."""
        found = {label: self.options.at(indices) for label, indices in self.by_memory.items()}
        if len(found) > 1:
            every = np.unique(np.concatenate(list(self.by_memory.values())))
            found = {ALL: self.options.at(every), **found}
        return {label: options.without_repeats() for label, options in found.items()}


def chosen_labels(there: Sequence[str], wanted: Sequence[str] | None) -> list[str]:
    """The labels of the memories to choose from, in the order in which they are there.

    Args:
        there: all labels.
        wanted: those that were asked for; None for all.

    Raises:
        InvalidSetting: one that was asked for is not there.
    """
    if unknown := [label for label in wanted or () if label not in there]:
        raise InvalidSetting(f"expected --memories out of {'; '.join(there)}, got {unknown[0]}")
    return [label for label in there if wanted is None or label in wanted]


def common_seeds(seeds: Mapping[str, Sequence[int]]) -> tuple[tuple[int, ...], list[str]]:
    """The seeds that all have, ascending, and a note on those left out.

    Args:
        seeds: of each option or memory, by a name for messages; at least one.

    Raises:
        InvalidSetting: there is no such seed.
    """
    first, *others = seeds
    common = set(seeds[first])
    for name in others:
        if not common & set(seeds[name]):
            raise InvalidSetting(
                f"expected a seed under which everything was measured, got {name} with seeds "
                f"{_listed(seeds[name])} and others with {_listed(common)}; leave it out (--memories), or live it "
                "under the same seeds"
            )
        common &= set(seeds[name])
    left_out = sorted(set().union(*seeds.values()) - common)
    note = f"seeds {_listed(left_out)} are left out: not everything was measured under them"
    return tuple(sorted(common)), [note] if left_out else []


def _listed(seeds: Sequence[int] | set[int]) -> str:
    return ", ".join(map(str, sorted(seeds)))
