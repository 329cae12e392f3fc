"""A scenario: a stream of chunks, and what only the experimenter knows about it."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Literal, overload

import torch
from jaxtyping import Int64
from torch import Tensor

from agent.data.augmentation import Normalization
from agent.data.chunk import Chunk, LabelledInputs
from agent.errors import InvalidSetting
from scenarios.datasets.load import Dataset
from scenarios.streams.tariffs import checked_prices

Queries = int | Literal["chunk"]
"""Number of queries for each chunk; "chunk" for one query about each of its images."""


class ChunkStream(Sequence[Chunk]):
    """A data set in chunks; the images of a chunk are gathered from the data set's tensor when they are read.

    Args:
        data: the images of the stream.
        visits: rows of `data` for each chunk of each visit to an experience; a row that occurs again is an image that
            comes again.
        normalization: of the images in `as_avalanche`.
        prices: of compute, one for each chunk; None for a constant price of 1.
        queries: number of queries that the agent answers before it uses a chunk, or "chunk" for one about each image.
        label_delay: number of chunks that come after a chunk before its labels do. At each step there are the labels of
            one chunk more, and the agent is asked about the images that have come since (`Chunk.newest`): at the first
            step about those of the first `label_delay` + 1 chunks, at the last `label_delay` steps about none.

    Raises:
        InvalidSetting: the number of prices differs from the number of chunks, a price is negative or not finite,
            `queries` is negative, or `label_delay` is negative or not below the number of chunks.
    """

    def __init__(
        self,
        data: LabelledInputs,
        visits: Sequence[Sequence[Int64[Tensor, " _"]]],
        normalization: Normalization,
        prices: Sequence[float] | None = None,
        queries: Queries = 0,
        label_delay: int = 0,
    ) -> None:
        self.data, self.visits, self.normalization = data, visits, normalization
        self._chunks = [rows for chunks in visits for rows in chunks]
        self.queries = queries
        if queries != "chunk" and queries < 0:
            raise InvalidSetting(f"expected 0 or more queries for each chunk, got {queries}; change --queries")
        self.label_delay = label_delay
        if not 0 <= label_delay < max(1, len(self)):
            raise InvalidSetting(
                f"expected labels that come fewer chunks later than the {len(self)} of the stream, got {label_delay}; "
                "change --label-delay or --chunks"
            )
        self.prices = (1.0,) * len(self) if prices is None else checked_prices(prices, len(self))

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
        chunk = Chunk(position, rows, self.data.inputs[rows], self.data.labels[rows], self.prices[step], queries)
        return self._late(chunk) if self.label_delay else chunk

    def _late(self, chunk: Chunk) -> Chunk:
        """The chunk with the images that have come since the step before, and those whose labels are to come."""
        after, end = chunk.step + 1, chunk.step + 1 + self.label_delay
        waiting = self._chunks[after:end]
        come = self._chunks[:end] if chunk.step == 0 else self._chunks[end - 1 : end]
        rows = torch.cat(come) if come else chunk.sample_ids[:0]
        return replace(
            chunk,
            queries=len(rows) if self.queries == "chunk" else self.queries * len(come),
            newest=LabelledInputs(self.data.inputs[rows], self.data.labels[rows]),
            waiting_nbytes=sum(map(len, waiting)) * self.data.inputs[:1].nbytes,
        )

    def as_avalanche(self) -> list[Any]:
        """The chunks as Avalanche's `OnlineCLExperience`, ready for its strategies, in the order of their labels.

        The `sample_id` of a sample is its row in `data`. This imports Avalanche, which takes seconds.
        """
        from scenarios.streams.avalanche import online_experiences

        return online_experiences(self.data, self.visits, self.normalization)


@dataclass(frozen=True)
class Scenario:
    """A stream, and what only the experimenter knows about it.

    Raises:
        InvalidSetting: an experience has no chunk or no test image, or there is not one label in `validation_truth` for
            each validation image.
    """

    name: str
    stream: ChunkStream
    validation: LabelledInputs
    """Its images change as those of the stream do, and its labels are as noisy."""
    test: LabelledInputs
    """Its images change as those of the stream do; its labels are true at the end of the stream."""
    experience: tuple[int, ...]
    """For each chunk, the experience that it belongs to, from 0; if experiences mix, the nominal one."""
    group: Int64[Tensor, " n_test"]
    """For each test image, the experience that it belongs to."""
    n_experiences: int
    truth: dict[str, tuple[float, ...]] = field(default_factory=dict)
    """Named values for each chunk, for the analysis only."""
    shown: Int64[Tensor, " n_validation"] | None = None
    """For each validation image, the step of the first chunk with images like it; None if only its class decides.

    No mixture is fitted on a validation image before this chunk has come with its labels.
    """
    new_classes: bool = False
    """Whether the classes of an experience are new at its first visit."""
    validation_truth: Int64[Tensor, " n_validation"] | None = None
    """The true labels of the validation images, by which the experimenter measures on them; None for their labels.

    Mixtures are fitted by the labels of `validation`, which an agent has.
    """

    def __post_init__(self) -> None:
        if self.validation_truth is not None and len(self.validation_truth) != len(self.validation):
            raise InvalidSetting(
                f"expected a true label for each of {len(self.validation)} validation images, got "
                f"{len(self.validation_truth)}; correct the scenario"
            )
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
    def images(self) -> LabelledInputs:
        """All images of the stream, each once, with the labels that it has there."""
        rows = torch.cat([rows for chunks in self.stream.visits for rows in chunks]).unique()
        data = self.stream.data
        return data if len(rows) == len(data) else LabelledInputs(data.inputs[rows], data.labels[rows])

    @property
    def ends(self) -> tuple[int, ...]:
        """The steps of the last chunk of each visit to an experience."""
        last = len(self.experience) - 1
        changes = (step for step, (now, then) in enumerate(pairwise(self.experience)) if now != then)
        return (*changes, last)

    def priced(self, prices: Sequence[float], queries: Queries = 0, label_delay: int = 0) -> "Scenario":
        """The same scenario with other prices of compute, queries and delay; raises as `ChunkStream` does."""
        old = self.stream
        stream = ChunkStream(old.data, old.visits, old.normalization, prices, queries, label_delay)
        return replace(self, stream=stream)


def in_one_experience(
    name: str,
    dataset: Dataset,
    visits: Sequence[Sequence[Int64[Tensor, " _"]]],
    labels: Int64[Tensor, " n"] | None = None,
    **further: Any,
) -> Scenario:
    """A scenario of a single experience, with the validation and test images of the data set.

    Args:
        name: of the scenario.
        dataset: gives the images.
        visits: rows of the training images for each chunk of the only visit.
        labels: of the first n training images, which hold all of the stream; None for their own.
        further: fields of `Scenario` that differ, or are left out otherwise.
    """
    [chunks] = visits
    train = dataset.train if labels is None else LabelledInputs(dataset.train.inputs[: len(labels)], labels)
    fields = {
        "validation": dataset.validation,
        "test": dataset.test,
        "experience": (0,) * len(chunks),
        "group": torch.zeros(len(dataset.test), dtype=torch.int64),
        "n_experiences": 1,
    }
    return Scenario(name=name, stream=ChunkStream(train, visits, dataset.normalization), **{**fields, **further})
