"""In which order a scenario shows its training images, and where one chunk ends and the next begins."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from agent.errors import InvalidSetting
from agent.randomness import named_generator

_FIX = "change --chunks, --chunk-size or --train-size"


@dataclass(frozen=True)
class Chunking:
    """How a stream is cut into chunks: their number, their size, or both.

    | given | chunks |
    |---|---|
    | `n_chunks` | that many, of equal size to one sample (where chunks must not straddle experiences: in each visit) |
    | `chunk_size` | of that size; the last of the stream (of each visit) may be short |
    | both | that many of exactly that size; the other training images are not used |

    Raises:
        InvalidSetting: neither is given, or chunks of no sample.
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
        """How many of n training images the stream holds, if its chunks need not keep experiences apart."""
        if self.n_chunks is None or self.chunk_size is None or self.n_chunks < 1:
            return n
        return min(n, self.n_chunks * self.chunk_size)

    def cut(self, visits: Sequence[Int64[Tensor, " _"]]) -> list[list[Int64[Tensor, " _"]]]:
        """The chunks of each visit, none of which straddles two.

        A number of chunks is shared out so that chunks are of nearly one size throughout, with at least one a visit.

        Args:
            visits: the rows of the training part in the order of the stream, one tensor for each visit to an
                experience.

        Raises:
            InvalidSetting: a visit with too few samples, fewer chunks than visits, or more than the samples allow.
        """
        least = self.chunk_size or 1
        of_size = f" of {least}" if self.chunk_size and self.n_chunks is not None else ""
        smallest = least if of_size else 1
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
            return [list(rows.split(least)) for rows in visits]
        n, room = sum(map(len, visits)), [len(rows) // least for rows in visits]
        if not len(visits) <= self.n_chunks <= sum(room):
            among = f" and {len(visits)} visits to experiences" if len(visits) > 1 else ""
            raise InvalidSetting(
                f"expected {len(visits)} to {sum(room)} chunks{of_size} for {n} training images{among}, "
                f"got {self.n_chunks}; {_FIX}"
            )
        counts = _shares([len(rows) for rows in visits], room, self.n_chunks)
        if self.chunk_size:
            return [list(rows[: k * least].split(least)) for rows, k in zip(visits, counts, strict=True)]
        return [list(rows.tensor_split(k)) for rows, k in zip(visits, counts, strict=True)]


def _shares(lengths: list[int], room: list[int], n_chunks: int) -> list[int]:
    """Numbers of chunks: one each, and every further one where chunks are largest and there is room for it."""
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
    """The experience of each class: classes in the order of the stream "class-order", as many in each (to one).

    Raises:
        InvalidSetting: no experience, or more than classes.
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
    """For each chunk the experience that its middle falls into, if they end at the positions `boundaries`."""
    lengths = torch.tensor([len(rows) for rows in chunks], dtype=torch.float64)
    middles = lengths.cumsum(0) - lengths / 2
    return tuple(torch.searchsorted(boundaries, middles, right=True).tolist())


def fading_times(lengths: Int64[Tensor, " experiences"], width: float) -> Float64[Tensor, " n"]:
    """When each sample comes, experience after experience, if each fades linearly into the next.

    Experience e, of n_e samples, would be alone between its boundaries. Around the boundary b of e and e + 1 the
    density of e falls linearly from 1 to 0 while that of e + 1 rises, from b - L/2 to b + L/2, where
    L = width × min(n_e, n_{e+1}). What an experience lends to the other side it gets back, so its samples come out
    even: the j-th stands where the integral of its density is j + 1/2.

    Returns:
        Times on the scale of positions in the stream, ascending within an experience.
    """
    sizes = lengths.tolist()
    stretches = [0.0, *(width * min(pair) for pair in pairwise(sizes)), 0.0]
    times, start = [], 0
    for n, rise, fall in zip(sizes, stretches[:-1], stretches[1:], strict=True):
        passed = torch.arange(n, dtype=torch.float64) + 0.5
        left = n - passed
        time = start + passed
        # The triangle under a rise of length L holds x²/2L samples by x, and L/2 in all.
        time = torch.where(passed < rise / 2, start - rise / 2 + (2 * rise * passed).sqrt(), time)
        time = torch.where(left < fall / 2, start + n + fall / 2 - (2 * fall * left).sqrt(), time)
        times.append(time)
        start += n
    return torch.cat(times)
