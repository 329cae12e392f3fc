"""Data sets by name, as disjoint train, validation and test parts, each with the augmentation that suits it."""

import contextlib
import http.client
import io
import math
import pickle
import tarfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor

from agent.data.augmentation import Augmentation, Normalization
from agent.data.chunk import LabelledInputs
from agent.errors import DatasetError, InvalidSetting
from agent.randomness import named_generator
from scenarios.datasets.image_decoding import MAX_MEGAPIXELS
from scenarios.datasets.image_folder import Progress, folder_fingerprint, read_image_folder
from scenarios.datasets.textures import TEXTURE_CLASSES, make_textures

DATASETS = {
    "textures": "Embedded: ten classes of procedural textures, drawn from the seed.",
    "digits": "scikit-learn's 1,797 real digits, enlarged to 32 × 32.",
    "cifar10": "CIFAR-10 (Krizhevsky 2009) through torchvision; --download fetches it.",
    "cifar100": "CIFAR-100, likewise.",
    "folder:PATH": "Images in PATH/train/<class>/ and PATH/test/<class>/, or a tree PATH/<class>/ and a seeded split.",
}
"""What `load_dataset` knows; PATH stands for a folder of images."""
DATASET_NAMES = tuple(DATASETS)

MADE = frozenset({"textures"})
"""Data sets whose images are made anew from each seed; of the others all seeds share the images."""

_VALIDATION_SHARE = 0.1  # of the images that are not for testing
_TEST_SHARE = 0.2  # of a data set without a test part of its own

_SHOWN_LETTERS = 24  # of the name of a class in an overview

_PHOTOGRAPHS = Augmentation(shift=4, mirror=True)
_TEXTURES = Augmentation(shift=4)  # a mirrored diagonal is another class
_DIGITS = Augmentation(shift=2)  # half an original pixel: digits fill all 8 rows, a whole one would cut some off


@dataclass(frozen=True)
class Dataset:
    """A data set in three parts that share no image; the position of a class in `class_names` is its label."""

    name: str
    class_names: tuple[str, ...]
    train: LabelledInputs
    validation: LabelledInputs
    test: LabelledInputs
    augmentation: Augmentation
    normalization: Normalization
    """Statistics of the train part alone."""
    notes: tuple[str, ...] = ()
    """A line each for what was passed over in reading, such as files of a folder that are no images."""

    @property
    def n_classes(self) -> int:
        """How many classes there are to tell apart."""
        return len(self.class_names)

    def overview(self) -> str:
        """Classes and sizes in a line.

        For example "3 classes (cat, dog, eel), 1,000 training, 200 validation and 500 test images".
        """
        n_shown = self.n_classes if self.n_classes <= 4 else 3
        names = [_shown(name) for name in self.class_names[:n_shown]] + ["..."] * (n_shown < self.n_classes)
        train, validation, test = len(self.train), len(self.validation), len(self.test)
        classes = "class" if self.n_classes == 1 else "classes"
        images = "image" if test == 1 else "images"
        return (
            f"{self.n_classes:,} {classes} ({', '.join(names)}), "
            f"{train:,} training, {validation:,} validation and {test:,} test {images}"
        )


def _shown(name: str) -> str:
    """The name of a class on a terminal: short, and without characters that steer it."""
    plain = "".join(letter if letter.isprintable() else "?" for letter in name)
    return plain if len(plain) <= _SHOWN_LETTERS else plain[: _SHOWN_LETTERS - 3] + "..."


@dataclass(frozen=True)
class _Sizes:
    """Images asked for in each part; None leaves it to the data set."""

    train: int | None
    validation: int | None
    test: int | None


@dataclass(frozen=True)
class _Source:
    """A data set before it is split: `pool` gives the parts that it does not bring along itself."""

    class_names: tuple[str, ...]
    pool: LabelledInputs
    augmentation: Augmentation
    sizes: _Sizes
    validation: LabelledInputs | None = None
    test: LabelledInputs | None = None
    notes: tuple[str, ...] = ()


def load_dataset(
    name: str,
    *,
    seed: int,
    n_train: int | None = None,
    n_validation: int | None = None,
    n_test: int | None = None,
    data_dir: Path | None = None,
    download: bool = False,
    progress: Progress | None = None,
    max_megapixels: float = MAX_MEGAPIXELS,
) -> Dataset:
    """Load the data set `name` as 32 x 32 RGB images and draw its parts with the random stream named "split".

    Draws are stratified: each part has the classes in the proportion of the whole, and the train part has an image of
    every class if it has as many images as there are classes. Rows then stand in random order. Parts that a data set
    brings along are kept (in their own order, if no size is asked for); the rest is drawn from what remains.

    | name | images | test | validation | train |
    |---|---|---|---|---|
    | `textures` | drawn from the seed | 1,000 | 500 | 3,000 |
    | `digits` | scikit-learn's 1,797, 8 x 8 enlarged | 400 | 200 | the rest: 1,197 |
    | `cifar10`, `cifar100` | torchvision's 60,000 | the official 10,000 | 10% of the others: 5,000 | the rest: 45,000 |
    | `folder:PATH` | see `read_image_folder` | its own, or 20% | its own, or 10% of the others | the rest |

    Args:
        name: one of `DATASET_NAMES`.
        seed: of the split; for `textures` of the images, too.
        n_train: size of the train part, 1 or more; None for the size in the table.
        n_validation: size of the validation part, likewise.
        n_test: size of the test part, likewise.
        data_dir: where CIFAR archives and decoded folders are kept; None for the user's cache directory.
        download: whether a missing CIFAR archive may be fetched.
        progress: called with the images decoded and the images in all while a folder is decoded for the first time.
        max_megapixels: the most pixels, in millions, that are decoded for one image of a folder; above 0.

    Raises:
        InvalidSetting: an unknown name, a size below 1, or a limit of megapixels of 0 or less.
        DatasetError: the data set is missing, damaged or smaller than the sizes ask for.
    """
    for option, size in (("--train-size", n_train), ("--validation-size", n_validation), ("--test-size", n_test)):
        if size is not None and size < 1:
            raise InvalidSetting(f"expected {option} of at least 1 image, got {size}; ask for more")
    if not 0 < max_megapixels < math.inf:
        raise InvalidSetting(f"expected --max-megapixels above 0 and finite, got {max_megapixels:g}; raise it")
    sizes = _Sizes(n_train, n_validation, n_test)
    data_dir = _cache_dir(data_dir)
    kind, colon, path = name.partition(":")
    if kind == "folder" and path:
        source = _folder(Path(path), sizes, data_dir, progress, max_megapixels)
    elif kind in _LOADERS and not colon:
        source = _LOADERS[kind](seed, sizes, data_dir, download)
    else:
        raise InvalidSetting(f"expected a data set out of {', '.join(DATASET_NAMES)}, got {name!r}; choose one of them")
    train, validation, test = _split(source, name, named_generator(seed, "split"))
    normalization = Normalization.of(train.inputs)
    return Dataset(name, source.class_names, train, validation, test, source.augmentation, normalization, source.notes)


def fingerprint(name: str, data_dir: Path | None = None) -> str | None:
    """What tells a data set from another of the same name: for a folder its content, else nothing.

    A folder that was moved, copied or is spelled in another way keeps its fingerprint; see `folder_fingerprint`.

    Args:
        name: of the data set.
        data_dir: where fingerprints are kept, as for `load_dataset`; None for the user's cache directory.

    Raises:
        DatasetError: a folder that cannot be read.
    """
    kind, _, path = name.partition(":")
    return folder_fingerprint(Path(path), _cache_dir(data_dir)) if kind == "folder" and path else None


def _cache_dir(data_dir: Path | None) -> Path:
    if data_dir is not None:
        return data_dir
    from platformdirs import user_cache_path

    return user_cache_path("learn-or-memorize")


def stratified_order(labels: Int64[Tensor, " n"], generator: torch.Generator) -> Int64[Tensor, " n"]:
    """A random order of the rows in which the first m, for every m, have the classes in nearly the proportion of all.

    Its last rows are one of each class, so that whoever takes from the front leaves the rarest classes for the end.
    """
    shuffled = torch.randperm(len(labels), generator=generator)
    grouped = shuffled[labels[shuffled].argsort(stable=True)]
    counts = torch.bincount(labels)
    first = counts.cumsum(0) - counts
    of = labels[grouped]
    place = (torch.arange(len(labels)) - first[of] + 1).double() / counts[of]
    # Equal places of different classes come in random order, or the first classes would get the odd images.
    ties = torch.randperm(len(labels), generator=generator)
    return grouped[ties[place[ties].argsort(stable=True)]]


def _split(
    source: _Source, name: str, generator: torch.Generator
) -> tuple[LabelledInputs, LabelledInputs, LabelledInputs]:
    """Train, validation and test part.

    The train part comes from the end of the pool's order, where every class is, the others from its front or, if the
    data set brings them along, out of their own images.
    """
    order = stratified_order(source.pool.labels, generator)
    asked, available = source.sizes, len(order)
    n_test = n_validation = 0
    if source.test is None:
        n_test = asked.test or max(1, round(_TEST_SHARE * available))
    if source.validation is None:
        n_validation = asked.validation or max(1, round(_VALIDATION_SHARE * (available - n_test)))
    n_train = asked.train or max(1, available - n_test - n_validation)
    if n_train + n_validation + n_test > available:
        drawn = {"--train-size": n_train, "--validation-size": n_validation, "--test-size": n_test}
        got = " + ".join(f"{option} {n}" for option, n in drawn.items() if n)
        raise DatasetError(
            f"expected parts of at most {available} images together, as many as {name} has for them, "
            f"got {got} = {sum(drawn.values())}; ask for fewer"
        )

    def shuffled(rows: Int64[Tensor, " m"]) -> LabelledInputs:
        return _rows(source.pool, rows[torch.randperm(len(rows), generator=generator)])

    train = shuffled(order[available - n_train :])
    validation, test = shuffled(order[n_test : n_test + n_validation]), shuffled(order[:n_test])
    if source.validation is not None:
        validation = _subset(source.validation, asked.validation, name, "validation", generator)
    if source.test is not None:
        test = _subset(source.test, asked.test, name, "test", generator)
    return train, validation, test


def _subset(part: LabelledInputs, n: int | None, name: str, title: str, generator: torch.Generator) -> LabelledInputs:
    if n is None or n == len(part):
        return part
    if n > len(part):
        raise DatasetError(
            f"expected --{title}-size of at most {len(part)}, the {title} images of {name}, got {n}; ask for fewer"
        )
    rows = stratified_order(part.labels, generator)[:n]
    return _rows(part, rows[torch.randperm(n, generator=generator)])


def _rows(part: LabelledInputs, rows: Int64[Tensor, " m"]) -> LabelledInputs:
    return LabelledInputs(part.inputs[rows], part.labels[rows])


def _textures(seed: int, sizes: _Sizes, data_dir: Path, download: bool) -> _Source:
    n_train, n_validation, n_test = sizes.train or 3000, sizes.validation or 500, sizes.test or 1000
    pool = make_textures(n_train + n_validation + n_test, seed=seed)
    return _Source(TEXTURE_CLASSES, pool, _TEXTURES, _Sizes(n_train, n_validation, n_test))


def _digits(seed: int, sizes: _Sizes, data_dir: Path, download: bool) -> _Source:
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    small = torch.from_numpy(pixels).float().view(-1, 1, 8, 8) * (255 / 16)
    grey = torch.nn.functional.interpolate(small, (32, 32), mode="bilinear", antialias=True)
    images = grey.round().clamp(0, 255).to(torch.uint8).repeat(1, 3, 1, 1)
    sizes = _Sizes(sizes.train, sizes.validation or 200, sizes.test or 400)
    return _Source(tuple("0123456789"), LabelledInputs(images, torch.from_numpy(labels).long()), _DIGITS, sizes)


def _folder(path: Path, sizes: _Sizes, data_dir: Path, progress: Progress | None, max_megapixels: float) -> _Source:
    found = read_image_folder(path, cache_dir=data_dir, progress=progress, max_megapixels=max_megapixels)
    return _Source(found.class_names, found.train, _PHOTOGRAPHS, sizes, found.validation, found.test, found.notes)


def _cifar(kind: str, seed: int, sizes: _Sizes, data_dir: Path, download: bool) -> _Source:
    import torchvision

    loader = getattr(torchvision.datasets, kind)
    archive, unpacked = data_dir / loader.filename, data_dir / loader.base_folder
    alternatives = "or use --dataset textures, digits or folder:PATH"
    if not download and not unpacked.exists():
        if not archive.exists():
            raise DatasetError(
                f"expected {kind} in {data_dir} (--data-dir), got no {unpacked.name} there; "
                f"add --download to fetch it (170 MB), {alternatives}"
            )
        if not torchvision.datasets.utils.check_integrity(str(archive), loader.tgz_md5):
            raise DatasetError(
                f"expected the {kind} archive {archive} with md5 {loader.tgz_md5}, got a damaged one; "
                f"delete it and add --download to fetch it anew, {alternatives} (--data-dir is {data_dir})"
            )
        download = True  # torchvision unpacks a sound archive without a look at the network
    try:
        # Releases of torchvision before 0.21 print "Files already downloaded and verified"; later ones draw a bar.
        with contextlib.redirect_stdout(io.StringIO()):
            train, test = (loader(str(data_dir), train=part, download=download and part) for part in (True, False))
    except _CIFAR_FAILURES as error:
        got = " ".join(str(error).split()) or type(error).__name__
        raise DatasetError(
            f"expected {kind} in {data_dir} (--data-dir), got: {got}; "
            f"delete {unpacked.name} and {archive.name} there if they are damaged and add --download with a network "
            f"at hand, {alternatives}"
        ) from error
    return _Source(tuple(train.classes), _labelled(train), _PHOTOGRAPHS, sizes, test=_labelled(test))


def _labelled(cifar: Any) -> LabelledInputs:
    images = torch.from_numpy(cifar.data).permute(0, 3, 1, 2).contiguous()
    return LabelledInputs(images, torch.tensor(cifar.targets))


_CIFAR_FAILURES = (
    RuntimeError,  # torchvision: not there, or another checksum
    OSError,  # no network (URLError), no permission, a full disk
    http.client.HTTPException,
    tarfile.TarError,
    zlib.error,
    EOFError,
    pickle.UnpicklingError,
)

_LOADERS: dict[str, Callable[[int, _Sizes, Path, bool], _Source]] = {
    "textures": _textures,
    "digits": _digits,
    "cifar10": partial(_cifar, "CIFAR10"),
    "cifar100": partial(_cifar, "CIFAR100"),
}
