"""How often classes and images come: long tails of classes, and images that come again."""

import math

import torch
from jaxtyping import Int64
from torch import Tensor

from agent.errors import InvalidSetting
from agent.randomness import named_generator
from scenarios.datasets.load import Dataset
from scenarios.streams.chunking import Chunking
from scenarios.streams.scenario import Scenario, in_one_experience

_ROUNDING = 1e-9
_LONGEST = 10**9
"""Most images of a stream that are drawn."""


def long_tailed(
    dataset: Dataset, chunking: Chunking, *, seed: int, data_seed: int | None = None, imbalance: float = 100.0
) -> Scenario:
    """As iid, while a few classes have most of the images of the stream.

    The class of rank r = 0, 1, ... of C has `imbalance`^(-r / (C - 1)) as many images as the first, rounded up: as
    many of each class as the training images allow, or as both settings of the chunking ask for. Ranks and images are
    drawn, and the other training images are not used. Test and validation images have their classes in the proportions
    of the data set, as usual for long tails: accuracy counts rare classes like the others, and mixtures are fitted for
    that.

    Args:
        data_seed: draws the ranks of the classes and the images that are used; None for `seed`.
        imbalance: images of the most frequent class for each of the rarest one, 1 or more.

    Raises:
        InvalidSetting: an imbalance outside its range, a class without training images, or a chunking that does not
            fit.

    References:
        Cui et al. 2019, arXiv:1901.05555 (long-tailed CIFAR)
    """
    if not (math.isfinite(imbalance) and imbalance >= 1):
        raise InvalidSetting(f"expected an imbalance of 1 or more, got {imbalance:g}; change the scenario's imbalance")
    draws = named_generator(seed if data_seed is None else data_seed, "long-tailed")
    labels, n_classes = dataset.train.labels, dataset.n_classes
    available = torch.bincount(labels, minlength=n_classes)
    if not available.all():
        raise InvalidSetting(
            f"expected training images of each of {n_classes} classes, got none of "
            f"{dataset.class_names[int(available.argmin())]}; raise --train-size"
        )
    ranks = torch.randperm(n_classes, generator=draws).double()
    weights = imbalance ** (-ranks / max(1, n_classes - 1))
    most = float((available / weights).min() * weights.sum())
    n = chunking.n_used(max(1, int(most + _ROUNDING)))
    counts = (n * weights / weights.sum() - _ROUNDING).ceil().long().clamp(min=1).minimum(available)
    shuffled = torch.randperm(len(labels), generator=draws)
    grouped = shuffled[labels[shuffled].argsort(stable=True)]
    of = labels[grouped]
    rows = grouped[torch.arange(len(labels)) - (available.cumsum(0) - available)[of] < counts[of]]
    wanted = (chunking.n_chunks or 1) * (chunking.chunk_size or 1)
    if chunking.n_chunks is not None and wanted > len(rows):
        raise InvalidSetting(
            f"expected chunks of at most {len(rows)} images together, as many as {len(labels)} training images give "
            f"with imbalance={imbalance:g}, got {wanted}; lower --chunks, --chunk-size or the scenario's imbalance"
        )
    order = rows[torch.randperm(len(rows), generator=named_generator(seed, "stream"))]
    return in_one_experience("long-tailed", dataset, chunking.cut([order]))


def zipf(
    dataset: Dataset,
    chunking: Chunking,
    *,
    seed: int,
    data_seed: int | None = None,
    exponent: float = 1.0,
    items: int | None = None,
) -> Scenario:
    """Images that come again: the stream is drawn with repetition, a few images often and most of them rarely.

    Each place of the stream has the image of rank r = 1, 2, ... with a probability in proportion to r^-`exponent`
    (Zipf's law, of images here as of classes in Chan et al. 2022); which images have which rank is drawn. Without both
    settings of the chunking there are as many draws as training images; with both, a stream may be longer.

    To memorize an image pays whenever it comes again, which prequential accuracy (`--prequential`) shows; test and
    validation images never occur in the stream. `Scenario.truth` has `seen`: the share of each chunk that came in an
    earlier one.

    Args:
        data_seed: draws the rank of each image; None for `seed`.
        exponent: 0 or more; 0 for images that are equally frequent.
        items: number of images to draw from, 1 to the number of training images; none for all of them.

    Raises:
        InvalidSetting: a setting outside its range, or a chunking that does not fit.

    References:
        Zipf 1949, "Human behavior and the principle of least effort";
        Chan et al. 2022, arXiv:2205.05055 (skewed frequencies, and memory beside weights)
    """
    n_train = len(dataset.train)
    if not (math.isfinite(exponent) and exponent >= 0):
        raise InvalidSetting(
            f"expected a finite exponent of 0 or more, got {exponent:g}; change the scenario's exponent"
        )
    if items is not None and not 1 <= items <= n_train:
        raise InvalidSetting(
            f"expected 1 to {n_train} items for {n_train} training images, got {items}; change the scenario's items"
        )
    of_data = seed if data_seed is None else data_seed
    ranked = torch.randperm(n_train, generator=named_generator(of_data, "zipf"))[:items]
    weights = torch.arange(1, len(ranked) + 1, dtype=torch.float64) ** -exponent
    draws = torch.rand(_n_draws(chunking, n_train), dtype=torch.float64, generator=named_generator(seed, "stream"))
    below = weights.cumsum(0)
    order = ranked[torch.searchsorted(below, draws * below[-1], right=True).clamp_max(len(ranked) - 1)]
    visits = chunking.cut([order])
    return in_one_experience("zipf", dataset, visits, truth={"seen": _shares_seen(visits[0], n_train)})


def _n_draws(chunking: Chunking, n_train: int) -> int:
    """The number of images in a stream of draws."""
    if chunking.n_chunks is None or chunking.chunk_size is None or chunking.n_chunks < 1:
        return n_train
    n = chunking.n_chunks * chunking.chunk_size
    if n > _LONGEST:
        raise InvalidSetting(
            f"expected a stream of at most {_LONGEST:,} images, got {n:,}; lower --chunks or --chunk-size"
        )
    return n


def _shares_seen(chunks: list[Int64[Tensor, " _"]], n_train: int) -> tuple[float, ...]:
    """For each chunk the share of its rows that an earlier chunk had."""
    rows = torch.cat(chunks)
    number = torch.arange(len(chunks)).repeat_interleave(torch.tensor([len(some) for some in chunks]))
    first = torch.full((n_train,), len(chunks)).scatter_reduce_(0, rows, number, "amin")
    again = (first[rows] < number).double()
    return tuple(float(some.mean()) for some in again.split([len(some) for some in chunks]))
