"""Arrays in memory as a data set that runs, workers and resumes can read."""

from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch

from agent.errors import DatasetError
from scenarios.datasets.array_parts import CLASS_NAMES, source_of
from scenarios.datasets.folder_cache import cache_dir_of, write_atomically


def from_arrays(
    x_train: Any,
    y_train: Any,
    x_test: Any = None,
    y_test: Any = None,
    *,
    x_validation: Any = None,
    y_validation: Any = None,
    class_names: Sequence[str] | None = None,
    folder: Path | str | None = None,
) -> str:
    """Save arrays as a file and return the spec of the data set, `npz:` and the path of the file.

    `scenarios.run_lifetime("loss", dataset=from_arrays(x, y))` runs a lifetime on them. The file is named by a
    digest of its content, so that the same arrays give the same file and the same runs.

    Args:
        x_train: samples, as a NumPy array, a tensor or nested lists: images (n × height × width, with 1 or 3 channels
            first or last; whole numbers from 0 to 255 or floats from 0 to 1) or vectors (n × features).
        y_train: a label for each sample, whole numbers or texts.
        x_test: samples of the test part; without them, it is drawn from the others by the seed of a run.
        y_test: their labels.
        x_validation: samples of the validation part, in the same way.
        y_validation: their labels.
        class_names: the names of the classes 0, 1, ...; without them, the labels are the names.
        folder: where the file is written; None for the folder `arrays` in the user's cache directory.

    Returns:
        `npz:PATH`, for `dataset` in settings and on the command line.

    Raises:
        DatasetError: the arrays do not make a data set (see `scenarios.datasets.array_parts.source_of`), or they cannot
            be written.
    """
    given = {
        "x_train": x_train,
        "y_train": y_train,
        "x_test": x_test,
        "y_test": y_test,
        "x_validation": x_validation,
        "y_validation": y_validation,
        CLASS_NAMES: class_names,
    }
    arrays = {name: _array(value, name) for name, value in given.items() if value is not None}
    source_of(arrays, "the arrays")
    target = cache_dir_of(None) / "arrays" if folder is None else Path(folder).expanduser()
    file = target.absolute() / f"{_digest(arrays)}.npz"
    if not file.is_file():
        try:
            write_atomically(file, lambda stream: np.savez(stream, **arrays))  # type: ignore[arg-type]
        except OSError as error:
            raise DatasetError(f"expected a folder to write the arrays to, got {error}; give another folder") from error
    return f"npz:{file}"


def _array(value: Any, name: str) -> np.ndarray:
    try:
        if isinstance(value, torch.Tensor):
            return value.detach().cpu().numpy()
        array = np.asarray(value)
        if array.dtype.kind == "T" or (array.dtype.kind == "O" and all(isinstance(each, str) for each in array.flat)):
            array = array.astype(str)  # as pandas and NumPy's variable-width texts, which no archive can hold
    except (TypeError, ValueError) as error:
        raise DatasetError(f"expected {name} as an array, got {' '.join(str(error).split())}; convert it") from error
    if array.dtype.kind == "O":
        raise DatasetError(f"expected {name} of numbers or texts, got objects; make all samples of one shape and type")
    return array


def _digest(arrays: dict[str, np.ndarray]) -> str:
    digest = blake2b(digest_size=16)
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
