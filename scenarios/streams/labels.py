"""Labels that change their meaning, and labels that are wrong."""

from typing import Literal, get_args

import torch
from jaxtyping import Int64
from torch import Tensor

from agent.data.chunk import LabelledInputs
from agent.errors import InvalidSetting
from agent.randomness import named_generator
from scenarios.datasets.load import Dataset, stratified_order
from scenarios.streams.chunking import Chunking, first_steps, numbers_of_chunks, numbers_of_rows
from scenarios.streams.scenario import ChunkStream, Scenario, in_one_experience

NoiseKind = Literal["symmetric", "pairs"]


def label_drift(
    dataset: Dataset,
    chunking: Chunking,
    *,
    seed: int,
    data_seed: int | None = None,
    experiences: int = 5,
    share: float = 0.2,
) -> Scenario:
    """Sudden concept drift: at each boundary between experiences, some classes swap their labels for good.

    The images stay as they are, all classes in random order; what is right to answer changes (real concept drift in
    Gama et al. 2014). At each boundary other classes, `share` of all and at least two, take each other's labels in a
    circle, once in the stream; at least one class keeps its own.

    Test and validation images have the labels of the end. The experience of a test image is the one at whose beginning
    the label of its class came into force, the first for classes that never change: so from this experience on its
    label is true. Accuracy on an experience before it begins is on labels of the future (forward transfer is negative
    if the agent knows the former ones); accuracy at the end and forgetting are of labels that are true, and so is
    anytime accuracy, the mean over experiences that have begun. Prequential accuracy is by the labels of the moment.
    No mixture is fitted on a validation image before its label is true.

    Experiences have nearly as many images each, and no chunk spans two. With both settings of the chunking, only the
    first training images are used. `Scenario.truth` has `changed`: the share of each chunk with another label than at
    the beginning.

    Args:
        data_seed: draws the classes that change, and their labels; None for `seed`.
        experiences: number of experiences, 1 or more, and at most one for each chunk; all boundaries together change
            fewer classes than there are.
        share: share of the classes that swap labels at a boundary, above 0 to 1, rounded; at least two do.

    Raises:
        InvalidSetting: a setting outside its range, or a chunking that does not fit.

    References:
        Gama et al. 2014, "A survey on concept drift adaptation", ACM Computing Surveys 46(4);
        Tsymbal 2004, "The problem of concept drift: definitions and related work", Trinity College Dublin
    """
    at, final = _changes(dataset.n_classes, experiences, share, seed if data_seed is None else data_seed)
    n = chunking.n_used(len(dataset.train))
    visits = chunking.cut_evenly(torch.randperm(n, generator=named_generator(seed, "stream")), experiences)
    own = dataset.train.labels[:n]
    labels = torch.where(at[own] <= numbers_of_rows(visits, n), final[own], own)
    changed = labels != own
    validation, test = dataset.validation, dataset.test
    return Scenario(
        name="label-drift",
        stream=ChunkStream(LabelledInputs(dataset.train.inputs[:n], labels), visits, dataset.normalization),
        validation=LabelledInputs(validation.inputs, final[validation.labels]),
        test=LabelledInputs(test.inputs, final[test.labels]),
        experience=numbers_of_chunks(visits),
        group=at[test.labels],
        n_experiences=experiences,
        truth={"changed": tuple(float(changed[rows].double().mean()) for chunks in visits for rows in chunks)},
        shown=first_steps(visits)[at[validation.labels]],
    )


def _changes(
    n_classes: int, experiences: int, share: float, seed: int
) -> tuple[Int64[Tensor, " n_classes"], Int64[Tensor, " n_classes"]]:
    """For each class the experience at whose beginning its label changes, 0 for never, and its label from then on."""
    if not 0 < share <= 1:
        raise InvalidSetting(f"expected a share above 0, at most 1, got {share:g}; change the scenario's share")
    size = max(2, round(share * n_classes))
    if experiences > 1 and size * (experiences - 1) >= n_classes:
        raise InvalidSetting(
            f"expected fewer than {n_classes} classes to change their labels, got {size} at each of "
            f"{experiences - 1} boundaries; lower the scenario's experiences or its share, or take a data set of more "
            "classes"
        )
    order = torch.randperm(n_classes, generator=named_generator(seed, "label-drift"))
    at, final = torch.zeros(n_classes, dtype=torch.int64), torch.arange(n_classes)
    for experience in range(1, experiences):
        classes = order[(experience - 1) * size : experience * size]
        at[classes], final[classes] = experience, classes.roll(1)
    return at, final


def noisy_labels(
    dataset: Dataset,
    chunking: Chunking,
    *,
    seed: int,
    data_seed: int | None = None,
    rate: float = 0.2,
    kind: NoiseKind = "symmetric",
) -> Scenario:
    """As iid, while a share of the labels of the stream is wrong.

    The share is exact to a sample, with the classes in proportion. Validation images are labelled images of the same
    source: as many of their labels are wrong, and mixtures are fitted by them, since no agent knows better. What the
    experimenter measures is by true labels: accuracy on test images, and on those validation images on which
    schedule tables and trainings of policies evaluate. Only prequential accuracy, and what an agent observes of a
    chunk, is by the labels of the stream, in which a perfect agent is right about 1 - `rate`.

    With both settings of the chunking, only the first training images are used. `Scenario.truth` has `wrong`: the share
    of wrong labels in each chunk.

    Args:
        data_seed: draws the wrong labels; None for `seed`.
        rate: share of wrong labels, 0 to 1.
        kind: which they are: symmetric (each other class alike) or pairs (the next class, and the first after the
            last).

    Raises:
        InvalidSetting: a setting outside its range, a single class, or a chunking that does not fit.

    References:
        Natarajan et al. 2013, "Learning with noisy labels", NeurIPS (label noise by class);
        Patrini et al. 2017, arXiv:1609.03683 (symmetric and asymmetric noise);
        Han et al. 2018, arXiv:1804.06872 (pairs)
    """
    _check_noise(rate, kind, dataset.n_classes)
    of_data = seed if data_seed is None else data_seed

    def noisy(labels: Int64[Tensor, " n"], name: str) -> Int64[Tensor, " n"]:
        return _with_noise(labels, dataset.n_classes, rate, kind, named_generator(of_data, f"label-noise/{name}"))

    n = chunking.n_used(len(dataset.train))
    visits = chunking.cut([torch.randperm(n, generator=named_generator(seed, "stream"))])
    labels, validation = noisy(dataset.train.labels[:n], "train"), dataset.validation
    wrong = labels != dataset.train.labels[:n]
    return in_one_experience(
        "noisy-labels",
        dataset,
        visits,
        labels,
        validation=LabelledInputs(validation.inputs, noisy(validation.labels, "validation")),
        validation_truth=validation.labels,
        truth={"wrong": tuple(float(wrong[rows].double().mean()) for rows in visits[0])},
    )


def _with_noise(
    labels: Int64[Tensor, " n"], n_classes: int, rate: float, kind: NoiseKind, draws: torch.Generator
) -> Int64[Tensor, " n"]:
    wrong = stratified_order(labels, draws)[: round(rate * len(labels))]
    # Classes are in a circle; a single class has no next one, and then nothing is wrong.
    steps = torch.randint(1, max(2, n_classes), (len(wrong),), generator=draws) if kind == "symmetric" else 1
    noisy = labels.clone()
    noisy[wrong] = (labels[wrong] + steps) % n_classes
    return noisy


def _check_noise(rate: float, kind: str, n_classes: int) -> None:
    if not 0 <= rate <= 1:
        raise InvalidSetting(f"expected a rate of wrong labels from 0 to 1, got {rate:g}; change the scenario's rate")
    if kind not in get_args(NoiseKind):
        raise InvalidSetting(f"expected a kind of symmetric or pairs, got {kind!r}; change the scenario's kind")
    if rate and n_classes < 2:
        raise InvalidSetting("expected 2 or more classes for wrong labels, got 1; choose another --dataset")
