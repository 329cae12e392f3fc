"""A scenario: a stream of chunks, and what the experimenter alone knows of it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal, overload

from jaxtyping import Int64
from torch import Tensor

from agent.data.augmentation import Normalization
from agent.data.chunk import Chunk, LabelledInputs
from agent.errors import InvalidSetting

Queries = int | Literal["chunk"]
"""Queries for each chunk: a number, or one about each of its images."""


class ChunkStream(Sequence[Chunk]):
    """A data set in chunks; the images of a chunk are one gather from the data set's tensor.

    Args:
        data: what comes.
        visits: rows of `data` for each chunk of each visit to an experience.
        normalization: of the images, for whoever reads the stream as Avalanche's.
        prices: of compute at each chunk; None for 1 throughout.
        queries: put to the agent before each chunk is used: a number, or "chunk" for one about each of its images.

    Raises:
        InvalidSetting: another number of prices than of chunks, one that is negative or not finite, or fewer than 0
            queries.
    """

    def __init__(
        self,
        data: LabelledInputs,
        visits: Sequence[Sequence[Int64[Tensor, " _"]]],
        normalization: Normalization,
        prices: Sequence[float] | None = None,
        queries: Queries = 0,
    ) -> None:
        self.data, self.visits, self.normalization = data, visits, normalization
        self._chunks = [rows for chunks in visits for rows in chunks]
        self.queries = queries
        if queries != "chunk" and queries < 0:
            raise InvalidSetting(f"expected 0 or more queries for each chunk, got {queries}; change --queries")
        self.prices = (1.0,) * len(self) if prices is None else tuple(prices)
        if len(self.prices) != len(self):
            raise InvalidSetting(
                f"expected {len(self)} prices, one for each chunk, got {len(self.prices)}; "
                "make the tariff for as many chunks"
            )
        for step, price in enumerate(self.prices):
            if not (math.isfinite(price) and price >= 0):
                raise InvalidSetting(
                    f"expected finite prices of 0 or more, got {price:g} at chunk {step}; change the tariff"
                )

    def __len__(self) -> int:
        return len(self._chunks)

    @overload
    def __getitem__(self, step: int) -> Chunk: ...

    @overload
    def __getitem__(self, step: slice) -> list[Chunk]: ...

    def __getitem__(self, step: int | slice) -> Chunk | list[Chunk]:
        if isinstance(step, slice):
            return [self[i] for i in range(*step.indices(len(self)))]
        rows = self._chunks[step]
        position = range(len(self))[step]
        queries = len(rows) if self.queries == "chunk" else self.queries
        return Chunk(position, rows, self.data.inputs[rows], self.data.labels[rows], self.prices[step], queries)

    def offering(self, prices: Sequence[float], queries: Queries) -> "ChunkStream":
        """The same chunks at other prices and with other queries; raises as the constructor does."""
        return ChunkStream(self.data, self.visits, self.normalization, prices, queries)

    def as_avalanche(self) -> list[Any]:
        """The chunks as Avalanche's `OnlineCLExperience`, which its strategies train on as they stand.

        Each has a `sample_id` for every sample, its row in `data`. Importing Avalanche takes seconds.
        """
        from scenarios.streams.avalanche import online_experiences

        return online_experiences(self.data, self.visits, self.normalization)


@dataclass(frozen=True)
class Scenario:
    """A stream, and what the experimenter alone knows of it.

    Raises:
        InvalidSetting: an experience without a chunk or without a test image.
    """

    name: str
    stream: ChunkStream
    validation: LabelledInputs
    """As images look in that world; so is `test`."""
    test: LabelledInputs
    experience: tuple[int, ...]
    """For each chunk the experience that it belongs to, from 0; where experiences mix, the nearest nominal one."""
    group: Int64[Tensor, " n_test"]
    """For each test image the experience that it belongs to."""
    n_experiences: int
    truth: dict[str, tuple[float, ...]]
    """By chunk, for the analysis only."""
    shown: Int64[Tensor, " n_validation"] | None = None
    """For each validation image the step of the first chunk that shows images like it; None where only its class tells.

    Nothing is fitted on a validation image before that chunk has been used.
    """
    new_classes: bool = False
    """Whether no image of an experience's classes comes before its first visit."""

    def __post_init__(self) -> None:
        for number in range(self.n_experiences):
            if number not in self.experience:
                raise InvalidSetting(
                    f"expected a chunk of each of {self.n_experiences} experiences, got none of experience {number} in "
                    f"{len(self.stream)} chunks; raise --chunks, lower --chunk-size or the scenario's experiences"
                )
            if not (self.group == number).any():
                raise InvalidSetting(
                    f"expected a test image of each of {self.n_experiences} experiences, got none of experience "
                    f"{number}; raise --test-size or lower the scenario's experiences"
                )

    @property
    def ends(self) -> tuple[int, ...]:
        """The steps after whose chunk a visit to an experience ends."""
        last = len(self.experience) - 1
        changes = (step for step, (now, then) in enumerate(pairwise(self.experience)) if now != then)
        return (*changes, last)

    def priced(self, prices: Sequence[float]) -> "Scenario":
        """The same scenario with other prices of compute, one for each chunk.

        Raises:
            InvalidSetting: another number of prices than of chunks, or one that is negative or not finite.
        """
        return replace(self, stream=self.stream.offering(prices, self.stream.queries))

    def asked(self, queries: Queries) -> "Scenario":
        """The same scenario with another demand on the agent; see `ChunkStream`.

        Raises:
            InvalidSetting: fewer than 0 queries.
        """
        return replace(self, stream=self.stream.offering(self.stream.prices, queries))
