"""Every scenario, one function each."""

import math
import warnings
from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float64
from torch import Tensor

from agent.data.chunk import LabelledInputs
from agent.errors import InvalidSetting
from agent.randomness import named_generator
from scenarios.datasets.load import Dataset, stratified_order
from scenarios.streams.chunking import Chunking, experience_of_chunks, experience_of_classes, fading_times
from scenarios.streams.drift import drifted
from scenarios.streams.scenario import ChunkStream, Scenario

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # a solver that Avalanche imports warns of solvers that nobody asked for


def iid(dataset: Dataset, chunking: Chunking, *, seed: int) -> Scenario:
    """The training images in random order: one experience, the setting of ordinary online learning.

    Args:
        dataset: its training part is streamed.
        chunking: of the stream; with both settings, of the first training images.
        seed: of the order.

    Raises:
        InvalidSetting: a chunking that does not fit the number of training images.
    """
    order = torch.randperm(chunking.n_used(len(dataset.train)), generator=named_generator(seed, "stream"))
    chunks = chunking.cut([order])
    return Scenario(
        name="iid",
        stream=ChunkStream(dataset.train, chunks, dataset.normalization),
        validation=dataset.validation,
        test=dataset.test,
        experience=(0,) * len(chunks[0]),
        group=torch.zeros(len(dataset.test), dtype=torch.int64),
        n_experiences=1,
        truth={},
    )


def iid_stream(dataset: Dataset, n_chunks: int, *, seed: int) -> ChunkStream:
    """The training part in random order, in chunks of equal size (to one sample).

    Args:
        dataset: its training part is streamed.
        n_chunks: number of chunks, 1 to the number of training images.
        seed: of the order.

    Raises:
        InvalidSetting: fewer than one chunk, or more chunks than samples.
    """
    return iid(dataset, Chunking(n_chunks), seed=seed).stream


def class_incremental(dataset: Dataset, chunking: Chunking, *, seed: int, experiences: int = 5) -> Scenario:
    """New classes in every experience, and the old ones never again.

    Class-incremental learning in the words of van de Ven & Tolias 2019 (arXiv:1904.07734). The classes come in random
    order, as many in each experience (to one). No chunk straddles two experiences; chunks are shared out in
    proportion to the samples. With both settings of the chunking, every experience gives a random part of its images.

    Args:
        dataset: its training part is streamed.
        chunking: of each experience.
        seed: of the order of classes and images.
        experiences: number of experiences, 1 to the number of classes.

    Raises:
        InvalidSetting: more experiences than classes or chunks, or a chunking that does not fit.
    """
    return _by_class("class-incremental", dataset, chunking, seed, experiences, visits=1)


def recurring(dataset: Dataset, chunking: Chunking, *, seed: int, experiences: int = 5, visits: int = 2) -> Scenario:
    """Experiences of disjoint classes that come back, with new images, after all the others have been there.

    Class-incremental learning with repetition (Cossu et al. 2022, arXiv:2112.02925), in the order 0, 1, ..., 0, 1, ...
    The images of an experience are divided evenly over its visits, so that none comes twice; the rest is as in
    class-incremental.

    Args:
        dataset: its training part is streamed.
        chunking: of each visit.
        seed: of the order of classes and images.
        experiences: number of experiences, 1 to the number of classes.
        visits: how often each experience is there, 1 or more.

    Raises:
        InvalidSetting: more experiences than classes, no visit, fewer chunks or images of an experience than visits,
            or a chunking that does not fit.
    """
    return _by_class("recurring", dataset, chunking, seed, experiences, visits)


def blurred(dataset: Dataset, chunking: Chunking, *, seed: int, experiences: int = 5, width: float = 0.5) -> Scenario:
    """Class-incremental without boundaries: each experience fades into the next.

    Around a boundary the share of the old experience falls linearly from 1 to 0 while that of the new one rises, over
    a stretch of `width` times the length of the shorter of the two. Images stand so that the shares come out to
    a sample or two, each image once. Changes of task are gradual as in Zeno et al. 2018 (arXiv:1803.10123); the
    setting is the task-free one of Aljundi et al. 2019 (arXiv:1812.03596) and the blurry one of Bang et al. 2021
    (arXiv:2103.17230).

    The truth holds `share0`, `share1`, ...: what part of each chunk is of that experience.

    Args:
        dataset: its training part is streamed.
        chunking: of the stream; with both settings, of the first training images.
        seed: of the order of classes and images.
        experiences: number of experiences, 1 to the number of classes.
        width: of a change, in lengths of an experience, 0 (class-incremental, but for the chunks) to 1 (never one
            experience alone, but for the two ends).

    Raises:
        InvalidSetting: more experiences than classes, fewer chunks than experiences, a width outside 0..1, or a
            chunking that does not fit.
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
    kind: Literal["contrast", "hue", "corruption"] = "contrast",
    strength: float = 1.0,
    experiences: int = 5,
) -> Scenario:
    """All classes in random order, while the images themselves change, sample by sample.

    The amount of change rises linearly from 0 at the first sample to `strength` at the last; `scenarios.streams.drift`
    says what an amount does. Validation and test images are spread over the same amounts, with the classes in
    proportion; a validation image fits nothing before the stream has come to its amount.
    Contrast and noise are those of Hendrycks & Dietterich 2019 (arXiv:1903.12261).

    The truth holds `amount`, the mean of each chunk.

    Args:
        dataset: its training part is streamed.
        chunking: of the stream; with both settings, of the first training images.
        seed: of the order.
        data_seed: of the noise, and of the amounts of the validation and test images; None for `seed`.
        kind: what changes: contrast (it falls), hue (it turns), corruption (noise grows).
        strength: amount of change at the end, 0 or more; at 1 a tenth of the contrast, the opposite hue, or noise of a
            tenth of the full range.
        experiences: number of equal phases of the drift that the evaluation tells apart.

    Raises:
        InvalidSetting: an unknown kind, a strength that is negative or not finite, fewer chunks or test images than
            experiences, no experience, or a chunking that does not fit.
    """
    _check_drift(kind, strength, experiences)
    of_data = seed if data_seed is None else data_seed
    n = chunking.n_used(len(dataset.train))
    order = torch.randperm(n, generator=named_generator(seed, "stream"))
    chunks = chunking.cut([order])

    def changed(part: LabelledInputs, amounts: Float64[Tensor, " n"], name: str) -> LabelledInputs:
        noise = named_generator(of_data, f"drift/{name}")
        return LabelledInputs(drifted(part.inputs, amounts, kind, noise), part.labels)

    amounts = torch.empty(n, dtype=torch.float64)
    amounts[order] = torch.linspace(0, strength, n, dtype=torch.float64)
    places = _spread(dataset.test, of_data, "test")
    in_validation = strength * _spread(dataset.validation, of_data, "validation")
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


def _spread(part: LabelledInputs, seed: int, name: str) -> Float64[Tensor, " n"]:
    """How far into the drift each image belongs, from 0 to 1."""
    places = torch.empty(len(part), dtype=torch.float64)
    order = stratified_order(part.labels, named_generator(seed, f"drift-places/{name}"))
    places[order] = (torch.arange(len(part), dtype=torch.float64) + 0.5) / len(part)
    return places


def _check_drift(kind: str, strength: float, experiences: int) -> None:
    if kind not in ("contrast", "hue", "corruption"):
        raise InvalidSetting(
            f"expected a kind of contrast, hue or corruption, got {kind!r}; change the scenario's kind"
        )
    if not (math.isfinite(strength) and strength >= 0):
        raise InvalidSetting(
            f"expected a finite strength of 0 or more, got {strength:g}; change the scenario's strength"
        )
    if experiences < 1:
        raise InvalidSetting(f"expected at least 1 experience, got {experiences}; change the scenario's experiences")


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
        truth={},
        new_classes=True,
    )


SCENARIOS: dict[str, Callable[..., Scenario]] = {
    "iid": iid,
    "class-incremental": class_incremental,
    "blurred": blurred,
    "recurring": recurring,
    "drift": drift,
}
"""By the name that a user gives."""
