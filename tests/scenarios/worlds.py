"""Small data sets for tests of what stands on them."""

from pathlib import Path
from typing import Any

import torch

from agent.data.augmentation import Augmentation, Normalization
from agent.data.chunk import LabelledInputs
from scenarios.config.families import DATASET
from scenarios.config.members import Member
from scenarios.datasets import load
from scenarios.datasets.load import Dataset
from scenarios.datasets.source import Access


def colours(n_train: int = 40, n_validation: int = 12, n_test: int = 16, n_classes: int = 3, seed: int = 0) -> Dataset:
    """Noisy images whose class is their brightness."""
    generator = torch.Generator().manual_seed(seed)

    def part(n: int) -> LabelledInputs:
        labels = torch.arange(n) % n_classes
        level = (labels * 200 // n_classes)[:, None, None, None]
        noise = torch.randint(0, 56, (n, 3, 32, 32), generator=generator)
        return LabelledInputs((level + noise).to(torch.uint8), labels)

    train = part(n_train)
    names = tuple(f"class{i}" for i in range(n_classes))
    return Dataset(
        "colours", names, train, part(n_validation), part(n_test), Augmentation(), Normalization.of(train.inputs)
    )


def load_dataset(text: str, *, data_dir: Path | None = None, download: bool = False, **settings: Any) -> Dataset:
    """The data set of a spec; see `scenarios.datasets.load.load_dataset`."""
    return load.load_dataset(Member.read(text, DATASET), access=Access(data_dir, download), **settings)


def fingerprint(text: str, data_dir: Path | None = None, *, download: bool = False) -> str | None:
    """The fingerprint of the data set of a spec."""
    return load.fingerprint(Member.read(text, DATASET), Access(data_dir, download))
