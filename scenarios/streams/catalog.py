"""All scenarios by name, and those in which images, classes or experiences follow each other as they are, or drift.

A scenario is a function of a data set, whose training images form the stream, a chunking, which cuts the stream into
chunks, and a seed, which draws the order of the images, and of the classes where it matters. It raises InvalidSetting
if the chunking does not fit the training images or if one of its own settings is out of range.
"""

from collections.abc import Callable
from typing import get_args

import torch
from jaxtyping import Float64
from torch import Tensor

from agent.data.chunk import LabelledInputs
from agent.errors import InvalidSetting
from agent.randomness import named_generator
from scenarios.datasets.load import Dataset
from scenarios.streams.chunking import Chunking, experience_of_chunks, experience_of_classes, fading_times, places_of
from scenarios.streams.corruptions import check_strength
from scenarios.streams.domains import domains
from scenarios.streams.drift import DriftKind, drifted
from scenarios.streams.labels import label_drift, noisy_labels
from scenarios.streams.recurrence import long_tailed, zipf
from scenarios.streams.scenario import ChunkStream, Scenario, in_one_experience


def iid(dataset: Dataset, chunking: Chunking, *, seed: int) -> Scenario:
    """The training images in random order, in one experience: ordinary online learning.

    With both settings of the chunking, only the first training images are used.
    """
    order = torch.randperm(chunking.n_used(len(dataset.train)), generator=named_generator(seed, "stream"))
    return in_one_experience("iid", dataset, chunking.cut([order]))


def iid_stream(dataset: Dataset, n_chunks: int, *, seed: int) -> ChunkStream:
    """The stream of `iid` in `n_chunks` chunks, 1 to the number of training images."""
    return iid(dataset, Chunking(n_chunks), seed=seed).stream


def class_incremental(dataset: Dataset, chunking: Chunking, *, seed: int, experiences: int = 5) -> Scenario:
    """Each experience has new classes, which do not return later.

    Class-incremental learning as defined by van de Ven & Tolias 2019 (arXiv:1904.07734). The order of the classes is
    random; experiences differ by at most one class. No chunk spans two experiences; the number of chunks is
    proportional to the samples. With both settings of the chunking, a random part of each experience's images is used.

    Args:
        experiences: number of experiences, 1 to the number of classes, and at most one for each chunk.
    """
    return _by_class("class-incremental", dataset, chunking, seed, experiences, visits=1)


def recurring(dataset: Dataset, chunking: Chunking, *, seed: int, experiences: int = 5, visits: int = 2) -> Scenario:
    """Experiences with disjoint classes, which return in turn with new images.

    Class-incremental learning with repetition (Cossu et al. 2022, arXiv:2112.02925), in the order 0, 1, ..., 0, 1, ...
    The images of an experience are divided evenly among its visits, and each image occurs once. Everything else is as
    in class-incremental.

    Args:
        experiences: number of experiences, 1 to the number of classes.
        visits: number of visits to each experience, 1 or more; each visit needs a chunk.
    """
    return _by_class("recurring", dataset, chunking, seed, experiences, visits)


def blurred(dataset: Dataset, chunking: Chunking, *, seed: int, experiences: int = 5, width: float = 0.5) -> Scenario:
    """Class-incremental without boundaries: each experience fades into the next.

    Around a boundary, the share of the old experience falls linearly from 1 to 0 while that of the new one rises. The
    length of this change is `width` times the length of the shorter experience. The shares are exact to a sample or
    two, and each image occurs once. Changes of task are gradual as in Zeno et al. 2018 (arXiv:1803.10123); the setting
    is the task-free one of Aljundi et al. 2019 (arXiv:1812.03596) and the blurry one of Bang et al. 2021
    (arXiv:2103.17230).

    With both settings of the chunking, only the first training images are used. `Scenario.truth` has `share0`,
    `share1`, ...: the share of each experience in each chunk.

    Args:
        experiences: number of experiences, 1 to the number of classes, and at most one for each chunk.
        width: length of a change in lengths of an experience, from 0 (class-incremental, except that chunks may span
            two experiences) to 1 (experiences mix everywhere, except at the two ends of the stream).

    Raises:
        InvalidSetting: a setting outside its range, or a chunking that does not fit.
    """
    if not 0 <= width <= 1:
        raise InvalidSetting(f"expected a width of 0 to 1, got {width:g}; change the scenario's width")
    n = chunking.n_used(len(dataset.train))
    experience_of = experience_of_classes(dataset.n_classes, experiences, seed)
    of = experience_of[dataset.train.labels[:n]]
    lengths = torch.bincount(of, minlength=experiences)
    if not lengths.all():
        raise InvalidSetting(
            f"expected training images of each of {experiences} experiences, got none of experience "
            f"{int(lengths.argmin())}; change --train-size or lower the scenario's experiences"
        )
    order = torch.randperm(n, generator=named_generator(seed, "stream"))
    order = order[of[order].argsort(stable=True)]
    chunks = chunking.cut([order[fading_times(lengths, width).argsort(stable=True)]])
    shares = torch.stack([torch.bincount(of[rows], minlength=experiences) / len(rows) for rows in chunks[0]])
    return Scenario(
        name="blurred",
        stream=ChunkStream(dataset.train, chunks, dataset.normalization),
        validation=dataset.validation,
        test=dataset.test,
        experience=experience_of_chunks(chunks[0], lengths.cumsum(0).double()),
        group=experience_of[dataset.test.labels],
        n_experiences=experiences,
        truth={f"share{number}": tuple(share) for number, share in enumerate(shares.T.tolist())},
    )


def drift(
    dataset: Dataset,
    chunking: Chunking,
    *,
    seed: int,
    data_seed: int | None = None,
    kind: DriftKind = "contrast",
    strength: float = 1.0,
    experiences: int = 5,
) -> Scenario:
    """All classes in random order, while the images change from sample to sample.

    The amount of change rises linearly from 0 at the first sample to `strength` at the last; `scenarios.streams.drift`
    defines the amounts. Validation and test images are distributed over the same amounts, with the classes in
    proportion; no mixture is fitted on a validation image before the stream has reached its amount.
    Contrast and noise are those of Hendrycks & Dietterich 2019 (arXiv:1903.12261).

    With both settings of the chunking, only the first training images are used. `Scenario.truth` has `amount`, the mean
    amount in each chunk.

    Args:
        data_seed: draws the noise, and the amounts of the validation and test images; None for `seed`.
        kind: what changes: contrast (it falls), hue (it turns), corruption (noise grows).
        strength: amount of change at the end, 0 or more; at 1 a tenth of the contrast, the opposite hue, or noise of a
            tenth of the full range.
        experiences: number of equal phases of the drift, which the evaluation reports separately, 1 or more, and at
            most one for each chunk and each test image.
    """
    _check_drift(kind, strength, experiences)
    _check_rgb(dataset)
    of_data = seed if data_seed is None else data_seed
    n = chunking.n_used(len(dataset.train))
    order = torch.randperm(n, generator=named_generator(seed, "stream"))
    chunks = chunking.cut([order])

    def changed(part: LabelledInputs, amounts: Float64[Tensor, " n"], name: str) -> LabelledInputs:
        noise = named_generator(of_data, f"drift/{name}")
        return LabelledInputs(drifted(part.inputs, amounts, kind, noise), part.labels)

    amounts = torch.empty(n, dtype=torch.float64)
    amounts[order] = torch.linspace(0, strength, n, dtype=torch.float64)
    places = places_of(dataset.test.labels, named_generator(of_data, "drift-places/test"))
    in_validation = strength * places_of(dataset.validation.labels, named_generator(of_data, "drift-places/validation"))
    reached = torch.stack([amounts[rows].max() for rows in chunks[0]])
    train = changed(LabelledInputs(dataset.train.inputs[:n], dataset.train.labels[:n]), amounts, "train")
    return Scenario(
        name="drift",
        stream=ChunkStream(train, chunks, dataset.normalization),
        validation=changed(dataset.validation, in_validation, "validation"),
        test=changed(dataset.test, strength * places, "test"),
        experience=experience_of_chunks(chunks[0], torch.arange(1, experiences + 1).double() * (n / experiences)),
        group=(places * experiences).long(),
        n_experiences=experiences,
        truth={"amount": tuple(float(amounts[rows].mean()) for rows in chunks[0])},
        shown=torch.searchsorted(reached.cummax(0).values, in_validation),
    )


def _check_drift(kind: str, strength: float, experiences: int) -> None:
    if kind not in get_args(DriftKind):
        raise InvalidSetting(
            f"expected a kind of contrast, hue or corruption, got {kind!r}; change the scenario's kind"
        )
    check_strength(strength)
    if experiences < 1:
        raise InvalidSetting(f"expected at least 1 experience, got {experiences}; change the scenario's experiences")


def _check_rgb(dataset: Dataset) -> None:
    shape = tuple(dataset.train.inputs.shape[1:])
    if len(shape) != 3 or shape[0] != 3 or dataset.train.inputs.dtype != torch.uint8:
        raise InvalidSetting(f"expected RGB images to drift, got samples of shape {shape}; choose another --scenario")


def _by_class(name: str, dataset: Dataset, chunking: Chunking, seed: int, experiences: int, visits: int) -> Scenario:
    if visits < 1:
        raise InvalidSetting(
            f"expected at least 1 visit to each experience, got {visits}; change the scenario's visits"
        )
    experience_of = experience_of_classes(dataset.n_classes, experiences, seed)
    if experiences * visits > len(dataset.train):
        raise InvalidSetting(
            f"expected at most as many visits to experiences as the {len(dataset.train)} training images, got "
            f"{experiences * visits}; lower the scenario's visits"
        )
    order = torch.randperm(len(dataset.train), generator=named_generator(seed, "stream"))
    of = experience_of[dataset.train.labels[order]]
    parts = [order[of == number].tensor_split(visits) for number in range(experiences)]
    chunks = chunking.cut([part[visit] for visit in range(visits) for part in parts])
    return Scenario(
        name=name,
        stream=ChunkStream(dataset.train, chunks, dataset.normalization),
        validation=dataset.validation,
        test=dataset.test,
        experience=tuple(place % experiences for place, some in enumerate(chunks) for _ in some),
        group=experience_of[dataset.test.labels],
        n_experiences=experiences,
        new_classes=True,
    )


SCENARIOS: dict[str, Callable[..., Scenario]] = {
    "iid": iid,
    "class-incremental": class_incremental,
    "blurred": blurred,
    "recurring": recurring,
    "drift": drift,
    "domains": domains,
    "label-drift": label_drift,
    "noisy-labels": noisy_labels,
    "long-tailed": long_tailed,
    "zipf": zipf,
}
"""All scenarios by name."""
