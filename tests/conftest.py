import os
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # before torch is imported: workers share the cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def cifar_folder() -> Path:
    """The real CIFAR-10 as an image folder, named by LIFETIME_CIFAR_FOLDER."""
    folder = os.environ.get("LIFETIME_CIFAR_FOLDER")
    if not folder:
        pytest.skip("real CIFAR-10 is absent: set LIFETIME_CIFAR_FOLDER to an image folder of it")
    return Path(folder)
