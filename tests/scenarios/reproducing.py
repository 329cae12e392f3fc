"""Recorded settings made small, and stand-ins for the data sets that they are about."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scenarios.config.reproductions import REPRODUCTIONS, Reproduction

N_CLASSES = {"cifar10": 10, "cifar100": 100}
N_CHUNKS = {"cifar10": 5, "cifar100": 20}


def stand_in(path: Path, n_classes: int, *, seed: int = 0) -> Path:
    """An archive of noisy images whose class is their brightness, in the shape of CIFAR: 32 × 32, RGB."""
    generator = np.random.default_rng(seed)

    def images(labels: np.ndarray) -> np.ndarray:
        level = labels * 200 // n_classes
        noise = generator.integers(0, 56, (len(labels), 32, 32, 3))
        return (level[:, None, None, None] + noise).astype(np.uint8)

    train, test = (np.repeat(np.arange(n_classes), n) for n in (max(3, 120 // n_classes), max(1, 40 // n_classes)))
    arrays = {"x_train": images(train), "y_train": train, "x_test": images(test), "y_test": test}
    np.savez(path, **arrays)
    return path


SMALLER = {
    "resnet:depth=20,width=16": {"network": "resnet:depth=20,width=2"},
    "resnet:depth=8,width=16": {"network": "resnet:depth=8,width=2"},
    "efficientnet-lite0:side=224": {"network": "resnet:depth=8,width=2", "learner": "online:epochs=1"},
    "airbench:size=94": {"network": "airbench:size=93"},
}
"""What takes the place of networks; one without pretrained weights has no features that a head could be trained on."""


def small(recorded: Reproduction) -> Reproduction:
    """The same methods and the same world on ten batches of images, with narrow networks and few epochs."""
    dataset = recorded.settings["dataset"]
    n = N_CLASSES[dataset]
    chunks = min(N_CHUNKS[dataset], recorded.settings["chunks"])
    sizes = {"train_size": max(100, 2 * n), "validation_size": n, "chunks": chunks, "seeds": 2}
    methods = {label: _smaller(parts) for label, parts in recorded.settings["methods"].items()}
    settings = {**recorded.settings, **sizes, "methods": methods}
    if "network" in settings:
        settings["network"] = "slim-resnet18:width=2"
    return replace(recorded, settings=settings, short={"train_size": max(50, n), "test_size": n})


def _smaller(parts: dict[str, Any]) -> dict[str, Any]:
    parts = {**parts, **SMALLER.get(parts.get("network", ""), {})}
    for name in parts.keys() & {"learner", "baseline"}:
        parts[name] = re.sub(r"epochs=\d\d+", "epochs=2", parts[name])
    if "memory" in parts:
        parts["memory"] = parts["memory"].replace("dim=10000,limit=10000", "dim=50")
    return parts


def make_small(patch: pytest.MonkeyPatch) -> None:
    """Let every reproduction be small."""
    for name, recorded in REPRODUCTIONS.items():
        patch.setitem(REPRODUCTIONS, name, small(recorded))
