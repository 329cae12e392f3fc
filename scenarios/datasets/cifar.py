"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009) through torchvision."""

import contextlib
import http.client
import io
import pickle
import tarfile
import zlib
from pathlib import Path
from typing import Any

import torch

from agent.data.chunk import LabelledInputs
from agent.errors import DatasetError
from scenarios.datasets.source import PHOTOGRAPHS, Source

FAILURES = (
    RuntimeError,  # torchvision: a missing file or a wrong checksum
    OSError,  # no network (URLError), no permission, a full disk
    http.client.HTTPException,
    tarfile.TarError,
    zlib.error,
    EOFError,
    pickle.UnpicklingError,
)
"""What torchvision raises for a data set that is missing or damaged, or that cannot be downloaded."""


def read_cifar(kind: str, data_dir: Path, *, download: bool) -> Source:
    """Read the official parts of CIFAR10 or CIFAR100; the archive is stored and unpacked in `data_dir`.

    Raises:
        DatasetError: the data set is missing or damaged, or the download fails.
    """
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
                f"delete it and add --download to fetch it again, {alternatives} (--data-dir is {data_dir})"
            )
        download = True  # torchvision unpacks an intact archive without using the network
    try:
        # Releases of torchvision before 0.21 print "Files already downloaded and verified"; later ones draw a bar.
        with contextlib.redirect_stdout(io.StringIO()):
            train, test = (loader(str(data_dir), train=part, download=download and part) for part in (True, False))
    except FAILURES as error:
        got = " ".join(str(error).split()) or type(error).__name__
        raise DatasetError(
            f"expected {kind} in {data_dir} (--data-dir), got: {got}; "
            f"delete {unpacked.name} and {archive.name} there if they are damaged and add --download with a network "
            f"connection, {alternatives}"
        ) from error
    return Source(tuple(train.classes), _labelled(train), PHOTOGRAPHS, test=_labelled(test))


def _labelled(cifar: Any) -> LabelledInputs:
    images = torch.from_numpy(cifar.data).permute(0, 3, 1, 2).contiguous()
    return LabelledInputs(images, torch.tensor(cifar.targets))
