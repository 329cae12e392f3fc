"""Experiences whose images come from different domains, with the same classes: domain-incremental learning.

| kind | experience e = 0, 1, ... of E |
|---|---|
| `corruptions` | none, noise, blur, contrast, pixelation, brightness, impulse, as `streams.corruptions` has them |
| `rotations` | 180 e / E degrees counterclockwise, bilinear; corners from outside the image are black |
| `permutations` | pixels in a random order of their places, one for all images and channels of the experience |

Rotations stay below 180 degrees, as in the rotated MNIST of Lopez-Paz & Ranzato 2017. They suit classes that stay
themselves when they are turned, and not, say, stripes of one direction. Permutations are those of Goodfellow et al.
2013, of the numbers of vectors too.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Int64, Shaped, UInt8
from torch import Tensor

from agent.data.chunk import LabelledInputs
from agent.errors import InvalidSetting
from agent.randomness import named_generator
from scenarios.datasets.load import Dataset
from scenarios.streams.chunking import Chunking, first_steps, numbers_of_chunks, numbers_of_rows, places_of
from scenarios.streams.corruptions import CORRUPTIONS, check_strength, corrupted
from scenarios.streams.scenario import ChunkStream, Scenario

DomainKind = Literal["corruptions", "rotations", "permutations"]

_BLOCK = 1024  # images rotated at once, to limit the memory of their float copies


def domains(
    dataset: Dataset,
    chunking: Chunking,
    *,
    seed: int,
    data_seed: int | None = None,
    kind: DomainKind = "corruptions",
    experiences: int = 5,
    strength: float = 1.0,
) -> Scenario:
    """All classes in every experience, whose images are corrupted, rotated or permuted in a way of its own.

    Domain-incremental learning as defined by van de Ven & Tolias 2019; the agent is not told the domain. The first
    experience has the images as they are; `scenarios.streams.domains` defines the others.

    Experiences have nearly as many images each, in random order, and no chunk spans two. Test and validation images are
    distributed over the domains, with the classes in proportion; no mixture is fitted on a validation image before the
    first chunk of its domain has been used. With both settings of the chunking, only the first training images are
    used. The scenario takes the memory of a second data set.

    Args:
        data_seed: draws noise and permutations, and the domains of the validation and test images; None for `seed`.
        kind: what a domain is: corruptions, rotations (both of images alone) or permutations.
        experiences: number of domains, 1 or more, and at most one for each chunk and each test image; at most 7 with
            corruptions.
        strength: of corruptions, 0 or more; 1 is the strongest in CIFAR-10-C.

    References:
        van de Ven & Tolias 2019, arXiv:1904.07734 (domain-incremental learning);
        Hendrycks & Dietterich 2019, arXiv:1903.12261 (corruptions);
        Lopez-Paz & Ranzato 2017, arXiv:1706.08840 (rotations);
        Goodfellow et al. 2013, arXiv:1312.6211 (permutations)
    """
    _check(dataset, kind, experiences, strength)
    world = _Domains(kind, experiences, strength, seed if data_seed is None else data_seed)
    n = chunking.n_used(len(dataset.train))
    visits = chunking.cut_evenly(torch.randperm(n, generator=named_generator(seed, "stream")), experiences)
    train = LabelledInputs(dataset.train.inputs[:n], dataset.train.labels[:n])
    in_validation, group = world.spread(dataset.validation, "validation"), world.spread(dataset.test, "test")
    changed = world.changed(train, numbers_of_rows(visits, n), "train")
    return Scenario(
        name="domains",
        stream=ChunkStream(changed, visits, dataset.normalization),
        validation=world.changed(dataset.validation, in_validation, "validation"),
        test=world.changed(dataset.test, group, "test"),
        experience=numbers_of_chunks(visits),
        group=group,
        n_experiences=experiences,
        shown=first_steps(visits)[in_validation],
    )


@dataclass(frozen=True)
class _Domains:
    """The domains of a scenario; `seed` draws what is random in them."""

    kind: DomainKind
    experiences: int
    strength: float
    seed: int

    def spread(self, part: LabelledInputs, name: str) -> Int64[Tensor, " n"]:
        """A domain for each image of a part, in which the classes are in proportion."""
        places = places_of(part.labels, named_generator(self.seed, f"domain-places/{name}"))
        return (places * self.experiences).long()

    def changed(self, part: LabelledInputs, domain: Int64[Tensor, " n"], name: str) -> LabelledInputs:
        """A copy of a part, each image in its domain."""
        inputs = part.inputs.clone()
        for number in range(1, self.experiences):
            rows = (domain == number).nonzero()[:, 0]
            if len(rows):
                inputs[rows] = self._in_domain(part.inputs[rows], number, name)
        return LabelledInputs(inputs, part.labels)

    def _in_domain(self, inputs: Shaped[Tensor, "n ..."], number: int, name: str) -> Shaped[Tensor, "n ..."]:
        if self.kind == "corruptions":
            draws = named_generator(self.seed, f"domains/{name}/{number}")
            return corrupted(inputs, list(CORRUPTIONS)[number - 1], self.strength, draws)
        if self.kind == "rotations":
            return rotated(inputs, 180 * number / self.experiences)
        return permuted(inputs, named_generator(self.seed, f"domains/permutation/{number}"))


def rotated(
    images: UInt8[Tensor, "n channels height width"], degrees: float
) -> UInt8[Tensor, "n channels height width"]:
    """The images turned counterclockwise around their middle, bilinear, with black corners."""
    from torchvision.transforms.v2 import InterpolationMode  # takes a second to import
    from torchvision.transforms.v2.functional import rotate

    return torch.cat([rotate(some, degrees, InterpolationMode.BILINEAR) for some in images.split(_BLOCK)])


def permuted(inputs: Shaped[Tensor, "n ..."], generator: torch.Generator) -> Shaped[Tensor, "n ..."]:
    """The pixels of images, or the numbers of vectors, in one random order of their places."""
    flat = inputs.flatten(2) if inputs.ndim == 4 else inputs.flatten(1)
    return flat[..., torch.randperm(flat.shape[-1], generator=generator)].reshape(inputs.shape)


def _check(dataset: Dataset, kind: str, experiences: int, strength: float) -> None:
    if kind not in get_args(DomainKind):
        raise InvalidSetting(
            f"expected a kind of corruptions, rotations or permutations, got {kind!r}; change the scenario's kind"
        )
    if kind == "corruptions" and not 1 <= experiences <= 1 + len(CORRUPTIONS):
        raise InvalidSetting(
            f"expected 1 to {1 + len(CORRUPTIONS)} experiences with corruptions, got {experiences}; change the "
            "scenario's experiences, or its kind"
        )
    check_strength(strength)
    inputs = dataset.train.inputs
    if kind != "permutations" and (inputs.ndim != 4 or inputs.dtype != torch.uint8):
        raise InvalidSetting(
            f"expected images of 8 bits for domains of {kind}, got samples of shape {tuple(inputs.shape[1:])}; take "
            "kind=permutations, or choose another --scenario"
        )
