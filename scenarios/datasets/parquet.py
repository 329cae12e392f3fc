"""Data sets in Parquet files with a column of encoded images and one of labels, as public data hubs export them."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Shaped, UInt8

from agent.data.chunk import LabelledInputs
from agent.errors import DatasetError
from scenarios.datasets.classes import classes_of
from scenarios.datasets.content import check_unchanged, decoded_once, in_threads, list_file, record_of
from scenarios.datasets.fingerprints import identified_by
from scenarios.datasets.folder_cache import FolderRecord
from scenarios.datasets.image_decoding import IMAGE_SIZE, MAX_MEGAPIXELS, decode_bytes, quiet_decoding
from scenarios.datasets.parquet_columns import Columns, choose_columns, read_labels
from scenarios.datasets.parquet_files import ParquetFiles, find_parquet
from scenarios.datasets.source import PHOTOGRAPHS, Loading, Progress, Source, scaled

if TYPE_CHECKING:
    import pyarrow as pa

_NBYTES_AT_ONCE = 64 * 2**20  # of encoded images in memory
_LEAST_ROWS, _MOST_ROWS = 16, 8192  # of a batch


def parquet_fingerprint(path: Path, loading: Loading) -> str:
    """A digest of the bytes of the files of each part, in their order, wherever they are."""
    return _record(find_parquet(path), loading.data_dir).fingerprint


@identified_by(parquet_fingerprint)
def parquet(path: Path, loading: Loading, image: str | None = None, label: str | None = None) -> Source:
    """Images and labels in Parquet files, as public data hubs export them.

    Args:
        path: a file, or a folder with train-*.parquet, test-*.parquet and validation-*.parquet, or the same in folders
            train, test and validation; what follows is written after it, as in parquet:PATH,label=fine_label.
        loading: says where decoded images are stored.
        image: the column of encoded images, binary or a struct with a field bytes; by default the one that there is.
        label: the column of labels, whole numbers or texts; by default the one that is called or marked as such.

    References:
        https://huggingface.co/docs/hub/datasets-image
    """
    return read_parquet(
        path,
        image=image,
        label=label,
        cache_dir=loading.data_dir,
        progress=loading.progress,
        max_megapixels=loading.max_megapixels,
        size=loading.side,
    )


def read_parquet(
    path: Path,
    *,
    cache_dir: Path,
    image: str | None = None,
    label: str | None = None,
    progress: Progress | None = None,
    max_megapixels: float = MAX_MEGAPIXELS,
    size: int = IMAGE_SIZE,
) -> Source:
    """Read Parquet files; see `find_parquet` for their parts and `choose_columns` for their columns.

    Images are decoded as those of a folder are (see `read_image_folder`) and cached in the same way. Classes are those
    of the train part, by the names in the files' metadata if there are some. A part without labels is left out with a
    note, and drawn by seed if it is the test part.

    Args:
        path: a file or a folder.
        cache_dir: where decoded images are stored.
        image: the column of images; None to find it.
        label: the column of labels; None to find it.
        progress: called while images are decoded.
        max_megapixels: the most pixels, in millions, to decode for one image.
        size: width and height of the images, in pixels.

    Raises:
        DatasetError: a file is missing or damaged, parts or columns are not clear, or an image cannot be decoded.
    """
    found = find_parquet(path)
    record = _record(found, cache_dir)
    columns = _columns(found, image, label)
    labels, notes = _labels(found, columns.label)
    classes = classes_of(labels, str(found.root), columns.class_names)
    files = [file for part in labels for file in found.parts[part]]
    n = sum(map(len, labels.values()))
    images = decoded_once(
        record,
        cache_dir,
        (n, 3, size, size),
        lambda: _decode_all(files, columns.image, n, size, progress, max_megapixels),
        columns.image,
        *labels,
    )
    rows = torch.from_numpy(images).split([len(each) for each in labels.values()])
    parts = {part: LabelledInputs(each, classes.labels[part]) for part, each in zip(labels, rows, strict=True)}
    return Source(
        classes.names,
        parts["train"],
        scaled(PHOTOGRAPHS, size),
        parts.get("validation"),
        parts.get("test"),
        (*found.notes, *notes, *classes.notes),
    )


def _labels(found: ParquetFiles, column: str) -> tuple[dict[str, Shaped[np.ndarray, " _"]], list[str]]:
    """The labels of each part that has labels, and notes about the others."""
    labels, notes = {}, []
    for part, files in found.parts.items():
        of_part = read_labels({file: partial(_read_column, file, column) for file in files}, column)
        if of_part is not None and len(of_part):
            labels[part] = of_part
        elif of_part is None and part != "train":
            notes.append(f"left out the {part} part, which has no labels")
        else:
            got = "none" if of_part is None else "no sample"
            raise DatasetError(f"expected labelled images in the {part} part of {found.root}, got {got}; add some")
    return labels, notes


def _record(found: ParquetFiles, cache_dir: Path) -> FolderRecord:
    files = [(part, file) for part, files in found.parts.items() for file in files]
    try:
        listed = [list_file(file) for _, file in files]
    except OSError as error:
        raise _unreadable(found.root, error) from error
    return record_of(found.root, [part.encode() for part, _ in files], listed, cache_dir, "parquet")


def _columns(found: ParquetFiles, image: str | None, label: str | None) -> Columns:
    """The columns of the first file, which all files must have."""
    first, chosen = "", None
    for file in (file for files in found.parts.values() for file in files):
        with _opened(file) as opened:
            schema = opened.schema_arrow
        columns = choose_columns(schema, str(file), image, label)
        if chosen is None:
            first, chosen = str(file), columns
        elif columns != chosen:
            raise DatasetError(
                f"expected the same columns and class names in all files, got others in {file} than in {first}; make "
                "them alike, or give one of the files"
            )
    assert chosen is not None
    return chosen


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
    """An open Parquet file; what its reader raises becomes a DatasetError."""
    import pyarrow as pa
    import pyarrow.parquet

    try:
        with pa.parquet.ParquetFile(file) as opened:
            yield opened
    except DatasetError:
        raise
    except (pa.ArrowException, OSError, ValueError, KeyError, MemoryError) as error:
        raise _unreadable(file, error) from error


def _unreadable(file: Path, error: BaseException) -> DatasetError:
    got = " ".join(str(error).split()) or type(error).__name__
    return DatasetError(f"expected a readable Parquet file, got {file} ({got}); download or write it again")


def _read_column(file: Path, name: str) -> "pa.ChunkedArray":
    with _opened(file) as opened:
        return opened.read(columns=[name]).column(name)


def _decode_all(
    files: list[Path], column: str, n: int, size: int, progress: Progress | None, max_megapixels: float
) -> UInt8[np.ndarray, "n 3 size size"]:
    """Decode the images of all files, in their order, a batch of rows at a time."""
    images = np.empty((n, 3, size, size), np.uint8)
    start = 0

    def report(done: int, _: int) -> None:
        if progress is not None:
            progress(start + done, n)

    with quiet_decoding(max_megapixels):
        for file in files:
            first, listed = start, list_file(file)
            with _opened(file) as opened:
                n_rows = max(1, opened.metadata.num_rows)
                at_once = min(max(_NBYTES_AT_ONCE * n_rows // listed.nbytes, _LEAST_ROWS), _MOST_ROWS)
                for batch in opened.iter_batches(at_once, columns=[column]):
                    decode = partial(
                        _decode_row,
                        images[start : start + len(batch)],
                        _encoded(batch.column(0)),
                        (start - first, file),
                        max_megapixels,
                    )
                    in_threads(len(batch), decode, report)
                    start += len(batch)
            check_unchanged(listed)
    return images


def _decode_row(
    images: UInt8[np.ndarray, "n 3 size size"],
    encoded: list[bytes | None],
    origin: tuple[int, Path],
    max_megapixels: float,
    row: int,
) -> None:
    """Decode one image of a batch; `origin` is the first row of the batch in its file, and the file."""
    content, name = encoded[row], f"row {origin[0] + row} of {origin[1]}"
    if not content:
        raise DatasetError(f"expected an encoded image, got no bytes in {name}; remove the row, or embed the image")
    images[row] = decode_bytes(content, name, max_megapixels, images.shape[-1]).transpose(2, 0, 1)


def _encoded(column: "pa.Array") -> list[bytes | None]:
    import pyarrow.types as types

    if types.is_struct(column.type):
        column = column.flatten()[column.type.get_field_index("bytes")]  # null where the image is
    return column.to_pylist()
