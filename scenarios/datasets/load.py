"""Load a data set by its name and split it into disjoint train, validation and test parts."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Int64
from torch import Tensor

from agent.data.augmentation import Augmentation, Normalization
from agent.data.chunk import LabelledInputs
from agent.errors import DatasetError, InvalidSetting
from agent.randomness import named_generator
from scenarios.config.members import Member
from scenarios.datasets.cifar import read_cifar
from scenarios.datasets.fingerprints import content_fingerprint, identified_by
from scenarios.datasets.folder_cache import cache_dir_of
from scenarios.datasets.image_decoding import MAX_MEGAPIXELS
from scenarios.datasets.image_folder import folder_fingerprint, read_image_folder
from scenarios.datasets.npz import npz
from scenarios.datasets.parquet import parquet
from scenarios.datasets.resizing import check_image_size, with_image_size
from scenarios.datasets.source import Access, Loading, Progress, Source, scaled
from scenarios.datasets.textures import TEXTURE_CLASSES, make_textures
from scenarios.datasets.torchvision_sets import torchvision

GENERATED = frozenset({"textures"})
"""Data sets whose images are drawn from the seed; all seeds of another data set share its images."""

_VALIDATION_SHARE = 0.1  # of the images outside the test part
_TEST_SHARE = 0.2  # of a data set without its own test part

_N_SHOWN_LETTERS = 24  # of the name of a class in an overview


@dataclass(frozen=True)
class Dataset:
    """A data set in three disjoint parts; the position of a class in `class_names` is its label."""

    name: str
    class_names: tuple[str, ...]
    train: LabelledInputs
    validation: LabelledInputs
    test: LabelledInputs
    augmentation: Augmentation
    normalization: Normalization
    """Computed from the train part."""
    notes: tuple[str, ...] = ()
    """One line for each kind of skipped files."""
    own_test: bool = False
    """Whether the test part is the data set's own, the same for every seed."""
    test_rows: Int64[Tensor, " n_test"] | None = None
    """For each test image its row in the data set's own test part, or in all its images if it has no such part; None if
    the test part is the data set's own, whole and in its order."""
    cache_dir: Path | None = None
    """Where what is computed from its images can be kept; None for nowhere."""

    @property
    def n_classes(self) -> int:
        """The number of classes."""
        return len(self.class_names)

    @property
    def test_ids(self) -> Int64[Tensor, " n_test"]:
        """For each test image a number that it has with every seed and every size of the parts; see `test_rows`."""
        return torch.arange(len(self.test)) if self.test_rows is None else self.test_rows

    def holding_out(self, n: int, seed: int) -> "Dataset":
        """The data set without its test images: some of the training images take their place.

        Their `test_rows` are those in the training part.

        Args:
            n: how many, from 1 to all training images but one, in the proportions of their classes.
            seed: draws them, with the random stream named "held out".
        """
        order = stratified_order(self.train.labels, named_generator(seed, "held out"))
        held_out, train = (
            LabelledInputs(self.train.inputs[rows], self.train.labels[rows])
            for rows in (order[:n], order[n:].sort()[0])
        )
        normalization = Normalization.of(train.inputs)
        return replace(self, train=train, test=held_out, test_rows=order[:n], normalization=normalization)

    def overview(self) -> str:
        """Classes and sizes in one line.

        For example "3 classes (cat, dog, eel), 1,000 training, 200 validation and 500 test images".
        """
        n_shown = self.n_classes if self.n_classes <= 4 else 3
        names = [_shown(name) for name in self.class_names[:n_shown]] + ["..."] * (n_shown < self.n_classes)
        train, validation, test = len(self.train), len(self.validation), len(self.test)
        classes = "class" if self.n_classes == 1 else "classes"
        noun = "image" if self.train.inputs.dim() == 4 else "sample"
        return (
            f"{self.n_classes:,} {classes} ({', '.join(names)}), "
            f"{train:,} training, {validation:,} validation and {test:,} test {noun}{'s' * (test != 1)}"
        )


def _shown(name: str) -> str:
    """The name of a class, short and without control characters."""
    plain = "".join(letter if letter.isprintable() else "?" for letter in name)
    return plain if len(plain) <= _N_SHOWN_LETTERS else plain[: _N_SHOWN_LETTERS - 3] + "..."


class _Sizes(NamedTuple):
    """The number of images in each part; None for the rest, or for a share of it."""

    train: int | None = None
    validation: int | None = None
    test: int | None = None


_DEFAULT_SIZES = {"textures": _Sizes(3000, 500, 1000), "digits": _Sizes(None, 200, 400)}


def load_dataset(
    dataset: Member,
    *,
    seed: int,
    n_train: int | None = None,
    n_validation: int | None = None,
    n_test: int | None = None,
    access: Access = Access(),  # noqa: B008 (frozen)
    progress: Progress | None = None,
    max_megapixels: float = MAX_MEGAPIXELS,
    image_size: int | None = None,
) -> Dataset:
    """Load a data set, images as square RGB, and draw its parts with the random stream named "split".

    The split is stratified: each part has the classes in the proportions of the whole, and the train part has an image
    of every class if it has at least as many images as classes. The rows of a part are in random order. A data set's
    own parts are used as they are, in their own order, unless a smaller size is given.

    | name | images | test | validation | train |
    |---|---|---|---|---|
    | `textures` | drawn from the seed | 1,000 | 500 | 3,000 |
    | `digits` | scikit-learn's 1,797, 8 x 8 enlarged | 400 | 200 | the rest: 1,197 |
    | `cifar10`, `cifar100` | torchvision's 60,000 | the official 10,000 | 10% of the others: 5,000 | the rest: 45,000 |
    | any other | see its function | its own, or 20% | its own, or 10% of the others | the rest |

    Args:
        dataset: one of `DATASETS`, or a callable that returns a `Source`.
        seed: draws the split; for `textures` also the images.
        n_train: size of the train part, 1 or more; None for the size in the table.
        n_validation: size of the validation part, in the same way.
        n_test: size of the test part, in the same way.
        access: where its files and caches are.
        progress: called while images are decoded for the first time.
        max_megapixels: the most pixels, in millions, to decode for one image of a file; above 0.
        image_size: side of the square images in pixels, 8 to 512; None for 32, and for the own size of the images in
            an archive of arrays. The shift of the augmentation keeps its share of the side.

    Raises:
        InvalidSetting: a size below 1, a `max_megapixels` that is not above 0 and finite,
            or an `image_size` out of range or for a data set of feature vectors.
        DatasetError: the data set is missing, damaged or changed, or it has fewer images than the given sizes.
    """
    _check(n_train, n_validation, n_test, max_megapixels)
    check_image_size(image_size)
    usual = _DEFAULT_SIZES.get(dataset.name, _Sizes())
    sizes = _Sizes(n_train or usual.train, n_validation or usual.validation, n_test or usual.test)
    n = sum(size or 0 for size in sizes)
    cache = cache_dir_of(access.data_dir)
    loading = Loading(seed, n, cache, access.download, progress, max_megapixels, image_size)
    source: Source = dataset.make(loading=loading)
    _check_content(dataset, access)
    if image_size is not None:
        source = with_image_size(source, image_size, str(dataset), progress)
    name, augmentation, notes = str(dataset), source.augmentation, source.notes
    train, validation, test, rows = _split(source, sizes, name, named_generator(seed, "split"))
    scale = Normalization.of(train.inputs)
    own_test = source.test is not None
    parts = train, validation, test
    return Dataset(name, source.class_names, *parts, augmentation, scale, notes, own_test, rows, cache)


def _check_content(dataset: Member, access: Access) -> None:
    """Raise DatasetError for files that are not as they were when the run began."""
    if access.content is not None and fingerprint(dataset, access) != access.content:
        raise DatasetError(
            f"expected the files of {dataset} as they were when the run began, got others; put those back, or begin "
            "another run"
        )


def _check(n_train: int | None, n_validation: int | None, n_test: int | None, max_megapixels: float) -> None:
    """Raise InvalidSetting for a size below 1, or a `max_megapixels` that is not above 0 and finite."""
    for option, size in (("--train-size", n_train), ("--validation-size", n_validation), ("--test-size", n_test)):
        if size is not None and size < 1:
            raise InvalidSetting(f"expected {option} of at least 1 image, got {size}; ask for more")
    if not 0 < max_megapixels < math.inf:
        raise InvalidSetting(f"expected --max-megapixels above 0 and finite, got {max_megapixels:g}; raise it")


def fingerprint(dataset: Member, access: Access) -> str | None:
    """The fingerprint of the content of the files that a data set reads; None for a data set that reads none.

    Files keep their fingerprint when they are moved, copied or spelled in another way; see `content_fingerprint`.

    Args:
        dataset: the data set.
        access: where its files and fingerprints are.

    Raises:
        DatasetError: the files cannot be read.
    """
    return content_fingerprint(dataset, Loading(0, 0, cache_dir_of(access.data_dir), access.download))


def stratified_order(labels: Int64[Tensor, " n"], generator: torch.Generator) -> Int64[Tensor, " n"]:
    """A random order of the rows in which the first m, for every m, have nearly the class proportions of the whole.

    The last rows are one row of each class, so that a part taken from the end has every class.
    """
    shuffled = torch.randperm(len(labels), generator=generator)
    grouped = shuffled[labels[shuffled].argsort(stable=True)]
    counts = torch.bincount(labels)
    first = counts.cumsum(0) - counts
    of = labels[grouped]
    place = (torch.arange(len(labels)) - first[of] + 1).double() / counts[of]
    # Equal places are in random order, or the first classes would always come first.
    ties = torch.randperm(len(labels), generator=generator)
    return grouped[ties[place[ties].argsort(stable=True)]]


def _split(
    source: Source, sizes: _Sizes, name: str, generator: torch.Generator
) -> tuple[LabelledInputs, LabelledInputs, LabelledInputs, Int64[Tensor, " n_test"] | None]:
    """Train, validation and test part, and the rows of the test part; see `Dataset.test_rows`.

    The train part is the end of the stratified order, where every class is. The other parts are its beginning, or the
    data set's own parts.
    """
    order = stratified_order(source.train.labels, generator)
    available = len(order)
    n_test = n_validation = 0
    if source.test is None:
        n_test = sizes.test or max(1, round(_TEST_SHARE * available))
    if source.validation is None:
        n_validation = sizes.validation or max(1, round(_VALIDATION_SHARE * (available - n_test)))
    n_train = sizes.train or max(1, available - n_test - n_validation)
    if n_train + n_validation + n_test > available:
        drawn = {"--train-size": n_train, "--validation-size": n_validation, "--test-size": n_test}
        got = " + ".join(f"{option} {n}" for option, n in drawn.items() if n)
        raise DatasetError(
            f"expected parts of at most {available} images together, as many as {name} has for them, "
            f"got {got} = {sum(drawn.values())}; ask for fewer"
        )

    train = _at(source.train, _shuffled(order[available - n_train :], generator))
    validation = _at(source.train, _shuffled(order[n_test : n_test + n_validation], generator))
    rows = _shuffled(order[:n_test], generator)
    if source.validation is not None:
        validation, _ = _subset(source.validation, sizes.validation, name, "validation", generator)
    if source.test is not None:
        return train, validation, *_subset(source.test, sizes.test, name, "test", generator)
    return train, validation, _at(source.train, rows), rows


def _subset(
    part: LabelledInputs, n: int | None, name: str, title: str, generator: torch.Generator
) -> tuple[LabelledInputs, Int64[Tensor, " n"] | None]:
    """A part of n images with their rows; None for the rows of the whole part."""
    if n is None or n == len(part):
        return part, None
    if n > len(part):
        raise DatasetError(
            f"expected --{title}-size of at most {len(part)}, the {title} images of {name}, got {n}; ask for fewer"
        )
    rows = _shuffled(stratified_order(part.labels, generator)[:n], generator)
    return _at(part, rows), rows


def _shuffled(rows: Int64[Tensor, " m"], generator: torch.Generator) -> Int64[Tensor, " m"]:
    return rows[torch.randperm(len(rows), generator=generator)]


def _at(part: LabelledInputs, rows: Int64[Tensor, " m"]) -> LabelledInputs:
    return LabelledInputs(part.inputs[rows], part.labels[rows])


def textures(loading: Loading) -> Source:
    """Embedded: ten classes of procedural textures, drawn from the seed.

    Args:
        loading: gives the number of images, their size and the seed.
    """
    images = make_textures(loading.n_samples, seed=loading.seed, size=loading.side)
    # no mirroring: a mirrored diagonal is another class
    return Source(TEXTURE_CLASSES, images, scaled(Augmentation(shift=4), loading.side))


def digits(loading: Loading, vectors: bool = False) -> Source:
    """scikit-learn's 1,797 real digits, as images or as vectors.

    Args:
        loading: gives the size of the images.
        vectors: the 64 pixels of the original 8 × 8 images, from 0 to 1, instead of enlarged images; with --network
            mlp.

    References:
        Alpaydin & Kaynak 1998, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository
    """
    from sklearn.datasets import load_digits

    pixels, found = load_digits(return_X_y=True)
    names, labels = tuple("0123456789"), torch.from_numpy(found).long()
    if vectors:
        return Source(names, LabelledInputs(torch.from_numpy(pixels / 16).float(), labels), Augmentation())
    small = torch.from_numpy(pixels).float().view(-1, 1, 8, 8) * (255 / 16)
    grey = torch.nn.functional.interpolate(small, (loading.side, loading.side), mode="bilinear", antialias=True)
    images = LabelledInputs(grey.round().clamp(0, 255).to(torch.uint8).repeat(1, 3, 1, 1), labels)
    # A shift of 2 is half an original pixel. Digits fill all 8 rows, so a shift by a whole pixel would cut some off.
    return Source(names, images, scaled(Augmentation(shift=2), loading.side))


def cifar10(loading: Loading) -> Source:
    """CIFAR-10 through torchvision; --download fetches it.

    Args:
        loading: says where it is, and whether it may be downloaded.

    References:
        Krizhevsky 2009, "Learning multiple layers of features from tiny images"
    """
    return read_cifar("CIFAR10", loading.data_dir, download=loading.download)


def cifar100(loading: Loading) -> Source:
    """CIFAR-100 through torchvision; --download fetches it.

    Args:
        loading: says where it is, and whether it may be downloaded.

    References:
        Krizhevsky 2009, "Learning multiple layers of features from tiny images"
    """
    return read_cifar("CIFAR100", loading.data_dir, download=loading.download)


@identified_by(lambda path, loading: folder_fingerprint(path, loading.data_dir))
def folder(path: Path, loading: Loading) -> Source:
    """Images in PATH/train/<class>/ and PATH/test/<class>/, or a tree PATH/<class>/ and a seeded split.

    Args:
        path: the folder.
        loading: says where decoded images are stored.
    """
    return read_image_folder(
        path,
        cache_dir=loading.data_dir,
        progress=loading.progress,
        max_megapixels=loading.max_megapixels,
        size=loading.side,
    )


DATASETS: dict[str, Callable[..., Source]] = {
    "textures": textures,
    "digits": digits,
    "cifar10": cifar10,
    "cifar100": cifar100,
    "torchvision": torchvision,
    "folder": folder,
    "npz": npz,
    "parquet": parquet,
}
"""Data sets by name; a function may take a `Loading`."""
