"""Data sets in an archive of NumPy arrays: x_train, y_train, and the same for test and validation."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from agent.errors import DatasetError
from scenarios.datasets.array_parts import CLASS_NAMES, PARTS, source_of
from scenarios.datasets.content import list_file, record_of
from scenarios.datasets.fingerprints import identified_by
from scenarios.datasets.folder_cache import DAMAGE
from scenarios.datasets.source import Loading, Source


def npz_fingerprint(path: Path, loading: Loading) -> str:
    """A digest of the bytes of the archive, wherever it is."""
    file = archive_at(path)
    try:
        return record_of(file, [b""], [list_file(file)], loading.data_dir, "npz").fingerprint
    except OSError as error:
        raise _unreadable(file, error) from error


@identified_by(npz_fingerprint)
def npz(path: Path, loading: Loading) -> Source:
    """Arrays x_train, y_train and, if there are, x_test, y_test, x_val, y_val: images or feature vectors.

    Args:
        path: a file of `numpy.savez`. Images are n × height × width, n × height × width × channels or n × channels ×
            height × width, with 1 or 3 channels: whole numbers from 0 to 255, or floats from 0 to 1, which are rounded
            to 256 levels. Vectors are n × features. Labels are whole numbers or texts; an array class_names may name
            the classes 0, 1, ....
        loading: says where fingerprints are stored.
    """
    return read_npz(path)


def read_npz(path: Path) -> Source:
    """Read an archive of arrays; images keep their size.

    Grey images become RGB, vectors float32. Classes are the labels that the train part has. Nothing in the archive is
    run: pickled arrays are refused. `scenarios.datasets.array_parts.source_of` says what the arrays must be.

    Raises:
        DatasetError: the file is missing or damaged, an array is missing, or the arrays do not make a data set.
    """
    file = archive_at(path)
    return source_of(_read(file), str(file))


def archive_at(path: Path) -> Path:
    """The absolute path of the archive, without links; raises DatasetError if there is none."""
    try:
        file = path.expanduser().resolve()
        if file.is_file():
            return file
        got = "a folder" if file.is_dir() else "nothing"
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: a loop of links; ValueError: a NUL in a path
        raise _unreadable(path, error) from error
    raise DatasetError(f"expected an archive of arrays (.npz), got {got} at {file}; check the path")


def _read(file: Path) -> Mapping[str, np.ndarray]:
    """The arrays of the data set, by the names that they have in the archive."""
    try:
        loaded = np.load(file, allow_pickle=False)
        if not isinstance(loaded, np.lib.npyio.NpzFile):
            raise DatasetError(
                f"expected an archive with x_train and y_train at {file}, got a single array; use numpy.savez"
            )
        with loaded as archive:
            wanted = [f"{kind}_{end}" for kind in "xy" for end in PARTS] + [CLASS_NAMES]
            if "x_train" not in archive.files:
                raise DatasetError(
                    f"expected arrays x_train and y_train in {file}, got "
                    f"{', '.join(archive.files[:9]) or 'an empty archive'}; save them under these names"
                )
            present = [name for name in wanted if name in archive.files]
            if any(_holds_objects(archive, name) for name in present):
                raise DatasetError(
                    f"expected arrays of numbers and texts in {file}, got pickled objects, which are never loaded; "
                    "save plain arrays (texts with dtype=str, images of one shape)"
                )
            return {name: archive[name] for name in present}
    except DatasetError:
        raise
    except MemoryError as error:
        raise DatasetError(f"expected arrays that fit into memory in {file}, got more; take fewer samples") from error
    except DAMAGE as error:
        raise _unreadable(file, error) from error


def _holds_objects(archive: np.lib.npyio.NpzFile, name: str) -> bool:
    """Whether an array in an archive consists of pickled objects, by its header."""
    assert archive.zip is not None
    with archive.zip.open(f"{name}.npy") as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        return bool(read(file)[2].hasobject)


def _unreadable(file: Path, error: BaseException) -> DatasetError:
    got = " ".join(str(error).split()) or type(error).__name__
    if "allow_pickle" in got:  # what numpy says of any file that is no array
        got = "another kind of file"
    return DatasetError(f"expected a readable archive of arrays (.npz), got {file} ({got}); save it again")
