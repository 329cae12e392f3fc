"""Linear maps of keys, and how they are fitted."""

from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from agent.errors import InvalidSetting
from agent.memory.entries import normalized
from agent.randomness import named_generator

MOST_NUMBERS = 2**16
"""In a projected key; more are taken for a typing error."""


class Affine(NamedTuple):
    """x ↦ (x - mean) matrix of L2-normalized keys x."""

    mean: Float[Tensor, " length"]
    matrix: Float[Tensor, "length dim"] | None
    """None for the identity."""

    def of(self, keys: Float[Tensor, "n length"]) -> Float[Tensor, "n dim"]:
        """The keys, normalized and mapped."""
        centred = normalized(keys) - self.mean.to(keys.device)
        return centred if self.matrix is None else centred @ self.matrix.to(keys.device)


@runtime_checkable
class KeyTransform(Protocol):
    """A way to fit an affine map of keys."""

    @property
    def needs_samples(self) -> bool:
        """Whether `fit` looks at the keys."""

    def n_columns(self, key_length: int) -> int:
        """Columns of the map's matrix, the length of a mapped key; 0 if keys keep their length without one."""

    def fitting_flops(self, n: int, key_length: int) -> int:
        """FLOPs of `fit` on n keys."""

    def fit(self, keys: Float[Tensor, "n length"]) -> Affine:
        """The map, from normalized keys, at least one."""


class Unchanged:
    """Keys as the network gives them."""

    needs_samples = False

    def n_columns(self, key_length: int) -> int:
        """No matrix."""
        return 0

    def fitting_flops(self, n: int, key_length: int) -> int:
        """None."""
        return 0

    def fit(self, keys: Float[Tensor, "n length"]) -> Affine:
        """The identity."""
        return Affine(keys.new_zeros(keys.shape[1]), None)


class Centre:
    """Keys minus their mean, so that cosines tell more of them apart.

    The activations behind a ReLU are positive, and the cosines of all pairs are near 1.
    """

    needs_samples = True

    def n_columns(self, key_length: int) -> int:
        """No matrix."""
        return 0

    def fitting_flops(self, n: int, key_length: int) -> int:
        """A sum."""
        return n * key_length

    def fit(self, keys: Float[Tensor, "n length"]) -> Affine:
        """The mean."""
        return Affine(keys.cpu().double().mean(dim=0).float(), None)  # not every device has float64


class Pca:
    """The first principal components of centred keys.

    With n keys of L numbers to fit, the components are found from the smaller of covariance and matrix of products:
    2 n L m + 9 m³ FLOPs with m = min(n, L), and 2 n L dim for the way back from products. With `dim` keys or fewer the
    remaining directions are random, orthogonal to the components, for 2 L dim² FLOPs.

    Args:
        dim: number of components.

    Raises:
        InvalidSetting: no component.

    References:
        Pearson 1901; by the matrix of products, Turk and Pentland 1991, "Eigenfaces for recognition". FLOPs of the
        eigenvectors: Golub and Van Loan, "Matrix computations", 4th edition, section 8.3.
    """

    needs_samples = True

    def __init__(self, dim: int = 64) -> None:
        if dim < 1:
            raise InvalidSetting(f"expected at least 1 component, got {dim}")
        self.dim = dim

    def n_columns(self, key_length: int) -> int:
        """As many as components, but not more than numbers in a key."""
        return min(self.dim, key_length)

    def fitting_flops(self, n: int, key_length: int) -> int:
        """FLOPs of products, eigenvectors and the way back."""
        smaller = min(n, key_length)
        dim = self.n_columns(key_length)
        back = 2 * n * key_length * dim + (2 * key_length * dim**2 if n <= dim else 0) if n < key_length else 0
        return 2 * n * key_length * smaller + 9 * smaller**3 + back

    def fit(self, keys: Float[Tensor, "n length"]) -> Affine:
        """The mean and the components."""
        n, length = keys.shape
        keys = keys.cpu().double()  # not every device has float64
        mean, dim = keys.mean(dim=0), self.n_columns(length)
        centred = keys - mean
        if length <= n:
            found = torch.linalg.eigh(centred.T @ centred).eigenvectors.flip(1)[:, :dim]
            return Affine(mean.float(), found.float())
        found = centred.T @ torch.linalg.eigh(centred @ centred.T).eigenvectors.flip(1)[:, :dim]
        size = found.norm(dim=0)
        found = found[:, size > 1e-6 * size.max()]  # centred keys have rank n - 1 at most
        found = found / found.norm(dim=0)
        if found.shape[1] < dim:
            generator = named_generator(0, "further components")
            further = torch.randn(length, dim - found.shape[1], generator=generator, dtype=torch.float64)
            found = torch.linalg.qr(torch.cat([found, further], dim=1)).Q
        return Affine(mean.float(), found.float())


class Projection:
    """A random projection, which keeps cosines approximately.

    Args:
        dim: numbers in a projected key.
        seed: of the projection.

    Raises:
        InvalidSetting: no number, or more than 65,536.

    References:
        Johnson and Lindenstrauss 1984; with a normal distribution, Dasgupta and Gupta 2003.
    """

    needs_samples = False

    def __init__(self, dim: int = 64, seed: int = 0) -> None:
        if not 1 <= dim <= MOST_NUMBERS:
            raise InvalidSetting(f"expected from 1 to {MOST_NUMBERS:,} numbers in a projected key, got {dim:,}")
        self.dim, self.seed = dim, seed

    def n_columns(self, key_length: int) -> int:
        """Numbers in a projected key."""
        return self.dim

    def fitting_flops(self, n: int, key_length: int) -> int:
        """None: numbers are drawn."""
        return 0

    def fit(self, keys: Float[Tensor, "n length"]) -> Affine:
        """The projection, the same for a seed and a key length."""
        generator = named_generator(self.seed, "random projection")
        matrix = torch.randn(keys.shape[1], self.dim, generator=generator) / self.dim**0.5
        return Affine(keys.new_zeros(keys.shape[1]), matrix.to(keys.device))


TRANSFORMS: dict[str, type[KeyTransform]] = {
    "none": Unchanged,
    "centre": Centre,
    "pca": Pca,
    "projection": Projection,
}
"""Transforms of keys by their name on the command line; the program gives each the seed."""
