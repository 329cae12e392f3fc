"""What the curve of preset `cifar10-full` costs: all k%-learners of a seed, against one plain training.

`python -m tests.benchmarks full-curve`, with `LIFETIME_CIFAR_FOLDER`; half an hour to an hour. The plain training
passes as often over the same images in batches of the same size, with the same network, optimizers and precision, in a
loop as one would write it for this alone, and predicts the test images. It is timed before the curve and after it.
"""

import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

import scenarios
from agent.learners.precision import precision_of
from agent.learners.recipe import muon
from agent.networks.airbench import Airbench
from scenarios.config.presets import resolve
from scenarios.config.settings import CurveConfig
from scenarios.datasets.load import Dataset
from scenarios.running.process import compute_with
from tests.benchmarks.ratios import Ratio
from tests.scenarios.worlds import load_dataset

CPU = torch.device("cpu")


def shifted_and_mirrored(images: torch.Tensor, epoch: int, generator: torch.Generator, pad: int = 2) -> torch.Tensor:
    """Images shifted by up to 2 pixels each, all of them mirrored in every other epoch."""
    padded = F.pad(images, (pad,) * 4, "reflect")
    height, width = images.shape[2:]
    down, right = torch.randint(0, 2 * pad + 1, (2, len(images)), generator=generator)
    moved = torch.empty_like(images)
    for i in range(2 * pad + 1):
        for j in range(2 * pad + 1):
            here = (down == i) & (right == j)
            moved[here] = padded[here, :, i : i + height, j : j + width]
    return moved.flip(3) if epoch % 2 else moved


def plain_training(config: CurveConfig, dataset: Dataset) -> float:
    """One training on all images, from airbench's rate down to 0; the accuracy on the test images."""
    recipe, passes = muon(lr=0.24, batch=config.recipe.make().batch_size), int(config.learner.spec.settings["epochs"])
    generator = torch.Generator().manual_seed(0)
    network = Airbench(94, n_classes=10, generator=generator).train()
    network.whiten(dataset.normalization(dataset.train.inputs[:2250]))
    coarse = precision_of(recipe.precision, network, CPU) == "bfloat16"
    optimizers = recipe.optimizers(network)
    images, labels = dataset.normalization(dataset.train.inputs), dataset.train.labels
    n_steps, step = passes * len(labels) // recipe.batch_size, 0
    for epoch in range(passes):
        for rows in torch.randperm(len(labels), generator=generator).split(recipe.batch_size):
            for optimizer in optimizers:
                optimizer.zero_grad()
                for group in optimizer.param_groups:
                    group["lr"] = group["initial_lr"] * (1 - step / n_steps)
            batch = shifted_and_mirrored(images[rows], epoch, generator).contiguous(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16, enabled=coarse):
                logits = network(batch)
            F.cross_entropy(logits.float(), labels[rows], label_smoothing=0.2, reduction="sum").backward()
            for optimizer in optimizers:
                optimizer.step()
            step += 1
    network.eval()
    n_right = 0
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=coarse):
        for batch, classes in zip(dataset.test.inputs.split(500), dataset.test.labels.split(500), strict=True):
            inputs = dataset.normalization(batch)
            both = network(inputs).softmax(dim=1) + network(inputs.flip(3)).softmax(dim=1)
            n_right += int((both.argmax(dim=1) == classes).sum())
    return n_right / len(dataset.test)


def timed(function: Callable[..., Any], *args: Any, **named: Any) -> tuple[float, Any]:
    """The seconds that a call took, and its result."""
    start = time.perf_counter()
    result = function(*args, **named)
    return time.perf_counter() - start, result


def measure() -> list[Ratio]:
    """The whole curve over the plain training, and its parts."""
    folder = os.environ.get("LIFETIME_CIFAR_FOLDER")
    if not folder:
        print("full-curve needs real CIFAR-10: set LIFETIME_CIFAR_FOLDER to an image folder of it")
        return []
    settings = {"dataset": f"folder:{folder}", "seeds": 1}
    config = resolve(CurveConfig, "cifar10-full", settings)
    sizes = {"n_train": config.train_size, "n_validation": config.validation_size, "n_test": None}
    dataset = load_dataset(str(config.dataset), seed=0, **sizes)
    compute_with(torch.get_num_threads())  # as the curve does
    before, accuracy = timed(plain_training, config, dataset)
    with tempfile.TemporaryDirectory() as runs:
        whole, found = timed(scenarios.curve, preset="cifar10-full", runs=runs, **settings)
        [path] = Path(runs).glob("curve/*/seed0/seconds.json")
        parts = {name: part["seconds"] for name, part in json.loads(path.read_text()).items()}
    after, _ = timed(plain_training, config, dataset)
    y = found.content["points"][0]["y"]["estimate"]
    detail = f"plain {before:.0f} and {after:.0f} s, {100 * accuracy:.1f}% right; y {100 * y:.1f}%"
    targets = {"curve": "at most 2.3", "calibration": "at most 0.1"}
    return [
        Ratio(
            name,
            "a plain training of as many passes",
            (seconds / before, seconds / after),
            targets.get(name, ""),
            detail if name == "curve" else "",
        )
        for name, seconds in {"curve": whole, **parts}.items()
    ]
