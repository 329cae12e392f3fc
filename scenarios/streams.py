"""Avalanche benchmarks read as streams of chunks."""

import warnings
from collections.abc import Iterator, Sequence
from typing import overload

import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from agent.augmentation import Normalization
from agent.chunk import Chunk, LabelledImages
from agent.errors import InvalidSetting
from agent.randomness import named_generator
from scenarios.datasets import Dataset

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # a solver that Avalanche imports warns of solvers that nobody asked for
    from avalanche.benchmarks import benchmark_from_datasets, split_online_stream
    from avalanche.benchmarks.scenarios import DatasetExperience, OnlineCLExperience
    from avalanche.benchmarks.utils import AvalancheDataset, DataAttribute, as_classification_dataset
    from avalanche.benchmarks.utils.transform_groups import DefaultTransformGroups


class ChunkStream(Sequence[Chunk]):
    """A stream of Avalanche experiences, read as chunks.

    The images of a chunk are one gather from the data set's tensor, by the sample ids that its experience carries;
    Avalanche's loading, sample by sample, is never used. Avalanche strategies take `experiences` as they stand.

    Args:
        experiences: each with a `sample_id` attribute in its data set.
        data: what the sample ids are rows of.
    """

    def __init__(self, experiences: Sequence[DatasetExperience], data: LabelledImages) -> None:
        self.experiences = experiences
        self.data = data
        self._sample_ids = [torch.tensor(list(experience.dataset.sample_id)) for experience in experiences]

    def __len__(self) -> int:
        return len(self.experiences)

    @overload
    def __getitem__(self, step: int) -> Chunk: ...

    @overload
    def __getitem__(self, step: slice) -> list[Chunk]: ...

    def __getitem__(self, step: int | slice) -> Chunk | list[Chunk]:
        if isinstance(step, slice):
            return [self[i] for i in range(*step.indices(len(self)))]
        rows = self._sample_ids[step]
        return Chunk(range(len(self))[step], rows, self.data.images[rows], self.data.labels[rows])


def iid_stream(dataset: Dataset, n_chunks: int, *, seed: int) -> ChunkStream:
    """The training part in random order, in chunks of equal size (to one sample).

    Args:
        dataset: its training part is streamed.
        n_chunks: number of chunks, 1 to the number of training images.
        seed: of the order.

    Raises:
        InvalidSetting: fewer than one chunk, or more chunks than samples.
    """
    n = len(dataset.train)
    if not 1 <= n_chunks <= n:
        raise InvalidSetting(
            f"expected 1 to {n} chunks for {n} training images, got {n_chunks}; change --chunks or --train-size"
        )
    data = _avalanche_dataset(dataset.train, dataset.normalization)
    test = _avalanche_dataset(dataset.test, dataset.normalization)
    benchmark = benchmark_from_datasets(train=[data], test=[test])
    order = torch.randperm(n, generator=named_generator(seed, "stream"))

    def equal_chunks(experience: DatasetExperience, _: int) -> Iterator[OnlineCLExperience]:
        for step, rows in enumerate(order.tensor_split(n_chunks)):
            yield OnlineCLExperience(
                dataset=experience.dataset.subset(rows.tolist()),
                origin_experience=experience,
                is_first_subexp=step == 0,
                is_last_subexp=step == n_chunks - 1,
                sub_stream_length=n_chunks,
            )

    # Avalanche's own splitting knows a size of chunks, not their number, and would leave a short one at the end.
    online = split_online_stream(benchmark.train_stream, -(-n // n_chunks), experience_split_strategy=equal_chunks)
    return ChunkStream(list(online), dataset.train)


def _avalanche_dataset(data: LabelledImages, normalization: Normalization) -> AvalancheDataset:
    def standardize(image: Tensor) -> Tensor:
        return normalization(image[None])[0]

    tensors = TensorDataset(data.images, data.labels)
    tensors.targets = data.labels.tolist()  # type: ignore[attr-defined]
    dataset = as_classification_dataset(tensors, transform_groups=DefaultTransformGroups((standardize, None)))
    return dataset.update_data_attribute("sample_id", DataAttribute(list(range(len(data))), "sample_id"))
