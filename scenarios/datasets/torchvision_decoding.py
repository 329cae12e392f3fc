"""Open, decode and cache a data set of torchvision."""

import contextlib
import inspect
import io
import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64, Shaped, UInt8

from agent.errors import DatasetError, LifetimeError
from scenarios.datasets.classes import classes_of
from scenarios.datasets.content import ListedFile, check_unchanged, decoded_name, in_threads, list_file, record_of
from scenarios.datasets.folder_cache import FolderRecord, decoded_file, read_arrays, use_decoded, write_decoded
from scenarios.datasets.image_decoding import decode_image, quiet_decoding, square_pixels
from scenarios.datasets.source import Loading
from scenarios.datasets.torchvision_table import Stored


@dataclass(frozen=True)
class Chosen:
    """A data set of torchvision and its variant."""

    name: str
    """Of its class."""
    stored: Stored
    variant: str
    """Empty if there is none."""


@dataclass(frozen=True)
class About:
    """What belongs to decoded images."""

    sizes: dict[str, int]
    """The number of images in each part, in their order."""
    class_names: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Decoded:
    """The images and labels of a data set, one part after the other."""

    about: About
    images: UInt8[np.ndarray, "n 3 size size"]
    labels: Int64[np.ndarray, " n"]


def decode_once(chosen: Chosen, loading: Loading) -> Decoded:
    """The decoded data set: from the cache, or decoded now and stored.

    Raises:
        DatasetError: the data set is missing or damaged, or the download fails.
    """
    if not chosen.stored.files:
        return _decode(chosen, loading, open_parts(chosen, loading))
    # Without its files, opening it says what is missing, or unpacks an archive that torchvision wants by hand.
    there = loading.data_dir.is_dir() and bool(_files_of(chosen, loading))
    opened = None if there and not loading.download else open_parts(chosen, loading)
    files = _files_of(chosen, loading)
    if not files:
        raise _missing(chosen, loading, "a folder without its files")
    record = _record(chosen, loading, files)
    name = decoded_name(record, loading.side, "torchvision")
    cache_file = decoded_file(loading.data_dir, name)
    decoded = _read(cache_file, loading.side)
    stored = decoded is not None
    if decoded is None:
        decoded = _decode(chosen, loading, opened or open_parts(chosen, loading))
        for file in files.values():
            check_unchanged(file)
        about = np.array(json.dumps(asdict(decoded.about)))
        stored = write_decoded(cache_file, decoded.images, labels=decoded.labels, about=about)
    if stored:
        use_decoded(loading.data_dir, record, name)
    return decoded


def fingerprint_of(chosen: Chosen, loading: Loading) -> str | None:
    """A digest of the names and bytes of the files of the data set; None for one that is drawn.

    Raises:
        DatasetError: the data set is missing, or the download fails.
    """
    if not chosen.stored.files:
        return None
    if loading.download:
        open_parts(chosen, loading)
    if not _files_of(chosen, loading):
        raise _missing(chosen, loading, "nothing")
    return _record(chosen, loading, _files_of(chosen, loading)).fingerprint


def open_parts(chosen: Chosen, loading: Loading) -> dict[str, Any]:
    """The parts of the data set as torchvision's objects; downloads it if it is missing and that is allowed.

    Raises:
        DatasetError: the data set is missing or damaged, or the download fails.
    """
    import torchvision.datasets

    kind = getattr(torchvision.datasets, chosen.name)
    takes = _parameters(kind)
    given = {
        "root": str(loading.data_dir),
        "download": loading.download,
        "loader": partial(_load, loading.max_megapixels, loading.side),
        **chosen.stored.variants.get(chosen.variant, {}),
    }
    if loading.download and "download" not in takes and chosen.stored.files:
        given["download"] = False
    arguments = {name: value for name, value in given.items() if name in takes}
    try:
        with contextlib.redirect_stdout(io.StringIO()), quiet_decoding(loading.max_megapixels):
            return {part: kind(**arguments, **more) for part, more in chosen.stored.parts.items()}
    except LifetimeError:
        raise
    except Exception as error:  # torchvision raises many types of errors for missing and damaged files
        raise _missing(chosen, loading, error, "download" in takes) from error


def _load(max_megapixels: float, size: int, path: Path | str) -> UInt8[np.ndarray, "{size} {size} 3"]:
    """Decode an image file as those of a folder are, in place of torchvision's own loader."""
    return decode_image(str(path), max_megapixels, size)


def _parameters(kind: Any) -> set[str]:
    """The parameters of a class, with those of its base class if it passes others on."""
    names: set[str] = set()
    for each in inspect.getmro(kind):
        if "__init__" in vars(each):
            parameters = inspect.signature(vars(each)["__init__"]).parameters.values()
            names.update(parameter.name for parameter in parameters)
            if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
                break
    return names


def _missing(chosen: Chosen, loading: Loading, error: Exception | str, can_download: bool = True) -> DatasetError:
    got = " ".join(str(error).split()) or type(error).__name__
    got = re.sub(r"[. ]*You can (use|set) download=True to download it\.?", "", got)
    where = f"{loading.data_dir} (--data-dir)"
    if "pip install" in got:
        advice = "install what it needs"
    elif not can_download:
        advice = "download it there by hand, which torchvision does not"
    elif loading.download:
        advice = "check the network connection, and delete its files there if they are damaged"
    else:
        advice = "add --download to fetch it"
    return DatasetError(f"expected {chosen.name} in {where}, got: {got}; {advice}, or use another --dataset")


def _files_of(chosen: Chosen, loading: Loading) -> dict[str, ListedFile]:
    """The files of the data set by their names below the data directory, sorted."""
    patterns = [pattern.replace("{}", chosen.variant) for pattern in chosen.stored.files]
    root = loading.data_dir
    try:
        found = {path.relative_to(root).as_posix(): path for each in patterns for path in root.glob(each)}
        files = {name: list_file(path) for name, path in sorted(found.items()) if path.is_file()}
    except OSError as error:
        raise _missing(chosen, loading, error) from error
    return files


def _record(chosen: Chosen, loading: Loading, files: Mapping[str, ListedFile]) -> FolderRecord:
    names = [name.encode("utf-8", "surrogateescape") for name in files]
    what = f"torchvision {chosen.name} {chosen.variant}".strip()
    return record_of(loading.data_dir.resolve(), names, list(files.values()), loading.data_dir, what)


def _read(cache_file: Path, size: int) -> Decoded | None:
    """What `decode_once` stored; None if it is missing or damaged."""
    arrays = read_arrays(cache_file, ("images", "labels", "about"), partial(_check, size))
    if arrays is None:
        return None
    about = json.loads(str(arrays["about"]))
    names, notes = tuple(about["class_names"]), tuple(about["notes"])
    return Decoded(About(about["sizes"], names, notes), arrays["images"], arrays["labels"])


def _check(size: int, arrays: Mapping[str, np.ndarray]) -> None:
    """Raise ValueError, KeyError or TypeError if the arrays are not those that `decode_once` stores."""
    images, labels = arrays["images"], arrays["labels"]
    about = json.loads(str(arrays["about"]))
    n = sum(about["sizes"].values())
    shapes = (images.shape, images.dtype, labels.shape, labels.dtype)
    if shapes != ((n, 3, size, size), np.uint8, (n,), np.int64):
        raise ValueError(f"{shapes}")
    if not (int(labels.min()) >= 0 and int(labels.max()) < len(about["class_names"])) or about["notes"] is None:
        raise ValueError("labels without names")


def _decode(chosen: Chosen, loading: Loading, opened: Mapping[str, Any]) -> Decoded:
    """Decode the images of all parts that have labels."""
    sizes = {part: len(samples) for part, samples in opened.items()}
    n, size = sum(sizes.values()), loading.side
    images, labels = np.empty((n, 3, size, size), np.uint8), [None] * n
    places = [(part, row) for part, length in sizes.items() for row in range(length)]

    def decode(place: int) -> None:
        part, row = places[place]
        name = f"image {row} of the {part} part of {chosen.name}"
        try:
            image, labels[place] = opened[part][row]
            pixels = image if isinstance(image, np.ndarray) else square_pixels(image, name, size)
        except DatasetError:
            raise
        except Exception as error:  # a damaged file
            got = " ".join(str(error).split()) or type(error).__name__
            raise DatasetError(f"expected a readable image, got {name} ({got}); delete and fetch it again") from error
        images[place] = pixels.transpose(2, 0, 1)

    with quiet_decoding(loading.max_megapixels):
        in_threads(n, decode, loading.progress, None if chosen.stored.parallel else 1)
    found, notes = {}, []
    start, kept = 0, list[int]()
    for part, length in sizes.items():
        of_part, rows = labels[start : start + length], range(start, start + length)
        start += length
        if length and all(label is not None for label in of_part):
            found[part] = np.array([int(label) for label in of_part], np.int64)  # type: ignore[call-overload]
            kept.extend(rows)
        elif part == "train" or any(label is not None for label in of_part):
            raise DatasetError(f"expected a label for each image of {chosen.name}, got none for some in {part}")
        else:
            notes.append(f"left out the {part} part, which has no labels")
    if len(kept) < n:
        images = images[kept]
    return _in_classes(chosen, opened["train"], images, found, notes)


def _in_classes(
    chosen: Chosen,
    train: Any,
    images: UInt8[np.ndarray, "n 3 size size"],
    labels: Mapping[str, Int64[np.ndarray, " _"]],
    notes: list[str],
) -> Decoded:
    """Labels as positions in the class names, and images in an order that every machine has."""
    names = list(chosen.stored.label_names) or _names(train)
    of_parts: Mapping[str, Shaped[np.ndarray, " _"]] = labels
    if names is not None and not chosen.stored.ordered:  # neither are its classes
        of_parts, names = {part: np.array(names)[each] for part, each in labels.items()}, None
    classes = classes_of(of_parts, chosen.name, names)
    positions = np.concatenate([classes.labels[part].numpy() for part in labels])
    sizes = {part: len(each) for part, each in labels.items()}
    if not chosen.stored.ordered:
        part_of = np.repeat(np.arange(len(sizes)), list(sizes.values()))
        digests = np.array([blake2b(image.tobytes(), digest_size=16).hexdigest() for image in images])
        order = np.lexsort((digests, positions, part_of))
        images, positions = images[order], positions[order]
    return Decoded(About(sizes, classes.names, (*notes, *classes.notes)), images, positions)


def _names(samples: Any) -> list[str] | None:
    """The class names that an object of torchvision has, by label; None if it has none."""
    for attribute in ("classes", "categories", "all_categories", "_characters"):
        found = getattr(samples, attribute, None)
        if isinstance(found, list | tuple) and found:
            names = [each if isinstance(each, str) else ", ".join(map(str, each)) for each in found]
            counts = Counter(names)
            return [f"{name} ({row})" if counts[name] > 1 else name for row, name in enumerate(names)]
    places = getattr(samples, "class_to_idx", None)
    if isinstance(places, dict) and sorted(places.values()) == list(range(len(places))):
        return sorted(places, key=lambda name: places[name])
    return None
