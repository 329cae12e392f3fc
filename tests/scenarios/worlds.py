"""Small data sets for tests of what stands on them."""

import torch

from agent.data.augmentation import Augmentation, Normalization
from agent.data.chunk import LabelledInputs
from scenarios.datasets.load import Dataset


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
