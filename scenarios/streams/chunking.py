"""Cut a stream of training images into chunks, and assign classes, chunks and images to experiences."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from agent.errors import InvalidSetting
from agent.randomness import named_generator
from scenarios.datasets.load import stratified_order

_FIX = "change --chunks, --chunk-size or --train-size"


@dataclass(frozen=True)
class Chunking:
    """How a stream is cut into chunks: their number, their size, or both.

    | given | chunks |
    |---|---|
    | `n_chunks` | this number of chunks; their sizes differ by at most one sample (within each visit) |
    | `chunk_size` | chunks of this size; the last one (of each visit) may be smaller |
    | both | this number of chunks of exactly this size; the other training images are not used |

    Raises:
        InvalidSetting: neither is given, or the chunk size is below 1.
    """

    n_chunks: int | None = None
    chunk_size: int | None = None

    def __post_init__(self) -> None:
        if self.n_chunks is None and self.chunk_size is None:
            raise InvalidSetting(
                "expected a number of chunks, a chunk size or both, got neither; give --chunks or --chunk-size"
            )
        if self.chunk_size is not None and self.chunk_size < 1:
            raise InvalidSetting(f"expected chunks of at least 1 sample, got {self.chunk_size}; change --chunk-size")

    def n_used(self, n: int) -> int:
        """The number of training images, out of n, in a stream whose chunks may mix experiences."""
        if self.n_chunks is None or self.chunk_size is None or self.n_chunks < 1:
            return n
        return min(n, self.n_chunks * self.chunk_size)

    def cut(self, visits: Sequence[Int64[Tensor, " _"]]) -> list[list[Int64[Tensor, " _"]]]:
        """The chunks of each visit; no chunk spans two visits.

        A given number of chunks is distributed so that all chunks have nearly the same size, with at least one chunk
        in each visit.

        Args:
            visits: rows of the training part in the order of the stream, one tensor for each visit to an experience.

        Raises:
            InvalidSetting: a visit has too few samples, or there are fewer chunks than visits or too many chunks for
                the samples.
        """
        size = self.chunk_size or 1
        of_size = f" of {size}" if self.chunk_size and self.n_chunks is not None else ""
        smallest = size if of_size else 1
        for number, rows in enumerate(visits):
            if len(rows) < smallest:
                what, where = f"a chunk{of_size}", ""
                if len(visits) > 1:
                    what, where = f"each of {len(visits)} visits to experiences", f" for visit {number}"
                raise InvalidSetting(
                    f"expected {smallest} or more training images for {what}, got {len(rows)}{where}; {_FIX}"
                    + ", or lower the scenario's experiences" * (len(visits) > 1)
                )
        if self.n_chunks is None:
            return [list(rows.split(size)) for rows in visits]
        n, room = sum(map(len, visits)), [len(rows) // size for rows in visits]
        if not len(visits) <= self.n_chunks <= sum(room):
            among = f" and {len(visits)} visits to experiences" if len(visits) > 1 else ""
            raise InvalidSetting(
                f"expected {len(visits)} to {sum(room)} chunks{of_size} for {n} training images{among}, "
                f"got {self.n_chunks}; {_FIX}"
            )
        counts = _shares([len(rows) for rows in visits], room, self.n_chunks)
        if self.chunk_size:
            return [list(rows[: k * size].split(size)) for rows, k in zip(visits, counts, strict=True)]
        return [list(rows.tensor_split(k)) for rows, k in zip(visits, counts, strict=True)]

    def cut_evenly(self, order: Int64[Tensor, " n"], experiences: int) -> list[list[Int64[Tensor, " _"]]]:
        """The chunks of experiences that follow each other and have nearly the same number of samples.

        No chunk spans two experiences. With both settings, experiences differ by at most one chunk.

        Args:
            order: rows of the training part in the order of the stream.
            experiences: their number, 1 or more.

        Raises:
            InvalidSetting: no experience, or the chunks do not fit; see `cut`.
        """
        if experiences < 1:
            raise InvalidSetting(
                f"expected at least 1 experience, got {experiences}; change the scenario's experiences"
            )
        if experiences > len(order):
            raise InvalidSetting(
                f"expected at most as many experiences as the {len(order)} training images, got {experiences}; {_FIX}, "
                "or lower the scenario's experiences"
            )
        n, size = self.n_chunks or 0, self.chunk_size or 0
        if size and n >= experiences and n * size <= len(order):
            counts = [len(some) for some in torch.arange(n).tensor_split(experiences)]
            return self.cut(order[: n * size].split([count * size for count in counts]))
        return self.cut(order.tensor_split(experiences))


def _shares(lengths: list[int], room: list[int], n_chunks: int) -> list[int]:
    """The number of chunks of each visit, 1 to `room`; each further chunk goes where chunks are largest."""
    counts = [1] * len(lengths)
    largest = [(float(-length), i) for i, length in enumerate(lengths) if room[i] > 1]
    heapq.heapify(largest)
    for _ in range(n_chunks - len(lengths)):
        _, i = heapq.heappop(largest)
        counts[i] += 1
        if counts[i] < room[i]:
            heapq.heappush(largest, (-lengths[i] / counts[i], i))
    return counts


def experience_of_classes(n_classes: int, experiences: int, seed: int) -> Int64[Tensor, " n_classes"]:
    """The experience of each class, in a random order; experiences differ by at most one class.

    Raises:
        InvalidSetting: no experience, or more experiences than classes.
    """
    if not 1 <= experiences <= n_classes:
        raise InvalidSetting(
            f"expected 1 to {n_classes} experiences for {n_classes} classes, got {experiences}; "
            "change the scenario's experiences"
        )
    experience = torch.empty(n_classes, dtype=torch.int64)
    order = torch.randperm(n_classes, generator=named_generator(seed, "class-order"))
    for number, classes in enumerate(order.tensor_split(experiences)):
        experience[classes] = number
    return experience


def experience_of_chunks(
    chunks: Sequence[Int64[Tensor, " _"]], boundaries: Float64[Tensor, " experiences"]
) -> tuple[int, ...]:
    """For each chunk, the experience at its middle, where `boundaries` are the positions at which experiences end."""
    lengths = torch.tensor([len(rows) for rows in chunks], dtype=torch.float64)
    middles = lengths.cumsum(0) - lengths / 2
    return tuple(torch.searchsorted(boundaries, middles, right=True).tolist())


def numbers_of_chunks(visits: Sequence[Sequence[Int64[Tensor, " _"]]]) -> tuple[int, ...]:
    """For each chunk the number of its visit."""
    return tuple(number for number, chunks in enumerate(visits) for _ in chunks)


def numbers_of_rows(visits: Sequence[Sequence[Int64[Tensor, " _"]]], n: int) -> Int64[Tensor, " {n}"]:
    """For each of the first n training images the number of its visit, 0 for images that are in none."""
    numbers = torch.zeros(n, dtype=torch.int64)
    for number, chunks in enumerate(visits):
        numbers[torch.cat(list(chunks))] = number
    return numbers


def first_steps(visits: Sequence[Sequence[Int64[Tensor, " _"]]]) -> Int64[Tensor, " visits"]:
    """For each visit the step of its first chunk."""
    lengths = torch.tensor([len(chunks) for chunks in visits])
    return lengths.cumsum(0) - lengths


def places_of(labels: Int64[Tensor, " n"], generator: torch.Generator) -> Float64[Tensor, " n"]:
    """Random places of images, evenly spaced between 0 and 1; every stretch has the classes in proportion."""
    places = torch.empty(len(labels), dtype=torch.float64)
    places[stratified_order(labels, generator)] = (torch.arange(len(labels), dtype=torch.float64) + 0.5) / len(labels)
    return places


def fading_times(lengths: Int64[Tensor, " experiences"], width: float) -> Float64[Tensor, " n"]:
    """The time of each sample if every experience fades linearly into the next one.

    Around the boundary b of the experiences e and e + 1, of n_e and n_{e+1} samples, the density of e falls linearly
    from 1 to 0 between b - L/2 and b + L/2, while that of e + 1 rises, where L = width × min(n_e, n_{e+1}). The
    densities of an experience still add up to n_e samples. The time of its j-th sample is where the integral of its
    density is j + 1/2.

    Returns:
        Times on the scale of positions in the stream, experience by experience, ascending within each.
    """
    sizes = lengths.tolist()
    stretches = [0.0, *(width * min(pair) for pair in pairwise(sizes)), 0.0]
    times, start = [], 0
    for n, rise, fall in zip(sizes, stretches[:-1], stretches[1:], strict=True):
        passed = torch.arange(n, dtype=torch.float64) + 0.5
        left = n - passed
        time = start + passed
        # A rise of length L has x²/2L samples before its position x, and L/2 samples in all.
        time = torch.where(passed < rise / 2, start - rise / 2 + (2 * rise * passed).sqrt(), time)
        time = torch.where(left < fall / 2, start + n + fall / 2 - (2 * fall * left).sqrt(), time)
        times.append(time)
        start += n
    return torch.cat(times)
