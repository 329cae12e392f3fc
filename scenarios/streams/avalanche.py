"""Streams as Avalanche benchmarks; the one module that imports avalanche."""

import warnings
from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Int64
from torch import Tensor
from torch.utils.data import TensorDataset

from agent.data.augmentation import Normalization
from agent.data.chunk import LabelledInputs

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # a solver that Avalanche imports warns about other solvers
    from avalanche.benchmarks import benchmark_from_datasets, split_online_stream
    from avalanche.benchmarks.scenarios import DatasetExperience, OnlineCLExperience
    from avalanche.benchmarks.utils import AvalancheDataset, DataAttribute, as_classification_dataset
    from avalanche.benchmarks.utils.transform_groups import DefaultTransformGroups


def online_experiences(
    data: LabelledInputs, visits: Sequence[Sequence[Int64[Tensor, " _"]]], normalization: Normalization
) -> list[OnlineCLExperience]:
    """The chunks of an online stream, split from a benchmark with one experience for each visit.

    Args:
        data: the images of the stream.
        visits: rows of `data` for each chunk of each visit.
        normalization: applied to each image when it is loaded.
    """
    images = _avalanche_dataset(data, normalization)
    benchmark = benchmark_from_datasets(train=[images.subset(torch.cat(list(chunks)).tolist()) for chunks in visits])

    def planned_chunks(experience: DatasetExperience, _: int) -> Iterator[OnlineCLExperience]:
        chunks, first = visits[experience.current_experience], 0
        for number, rows in enumerate(chunks):
            yield OnlineCLExperience(
                dataset=experience.dataset.subset(list(range(first, first + len(rows)))),
                origin_experience=experience,
                is_first_subexp=number == 0,
                is_last_subexp=number == len(chunks) - 1,
                sub_stream_length=len(chunks),
            )
            first += len(rows)

    # With a split strategy, Avalanche ignores the chunk size (1).
    return list(split_online_stream(benchmark.train_stream, 1, experience_split_strategy=planned_chunks))


def _avalanche_dataset(data: LabelledInputs, normalization: Normalization) -> AvalancheDataset:
    def standardize(image: Tensor) -> Tensor:
        return normalization(image[None])[0]

    tensors = TensorDataset(data.inputs, data.labels)
    tensors.targets = data.labels.tolist()  # type: ignore[attr-defined]
    dataset = as_classification_dataset(tensors, transform_groups=DefaultTransformGroups((standardize, None)))
    return dataset.update_data_attribute("sample_id", DataAttribute(list(range(len(data))), "sample_id"))
