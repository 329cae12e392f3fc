"""How fast the learners learn, against a plain PyTorch loop, Avalanche's strategies and the machine's products.

`python -m tests.benchmarks learning`. Every rival trains the same network on as many samples, in batches of the same
size, with the same optimizer; where ours rehearses, so does it.
"""

import contextlib
import io
import warnings
from collections.abc import Callable
from functools import partial
from statistics import median

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset, TensorDataset

from agent.data.augmentation import Augmentation
from agent.data.chunk import Chunk, LabelledInputs
from agent.learners import Learner, OnlineLearner, RefitLearner
from agent.learners.recipe import sgd
from agent.learners.replay import ReplayLearner
from agent.learners.training import Training
from agent.networks.flops import flops_per_sample
from agent.networks.keys import KeyPlaces
from agent.networks.resnet import ResNet
from scenarios.streams.catalog import iid_stream
from tests.benchmarks.ratios import SGEMM_FLOPS, Ratio, alternately, ratios, sgemm
from tests.scenarios.worlds import load_dataset

LR = 0.05
ROOM = 1000
"""Samples of the stream that Avalanche meets, and places in its buffers."""


def network(depth: int, width: int) -> ResNet:
    """The same at every call."""
    return ResNet(depth, width, n_classes=10, generator=torch.Generator().manual_seed(0))


def some_images(n: int) -> LabelledInputs:
    """Textures."""
    dataset = load_dataset("textures", seed=0, n_train=n, n_validation=1, n_test=1)
    return dataset.train


class Transformed(Dataset):
    """Samples as a torchvision tutorial transforms them, one by one."""

    def __init__(self, images: LabelledInputs) -> None:
        from torchvision.transforms import v2

        self.inputs = images
        crop, flip = v2.RandomCrop(32, padding=4, padding_mode="edge"), v2.RandomHorizontalFlip()
        scale, normalize = v2.ToDtype(torch.float32, scale=True), v2.Normalize((0.5,) * 3, (0.25,) * 3)
        self.transform = v2.Compose([crop, flip, scale, normalize])

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        return self.transform(self.inputs.inputs[i]), int(self.inputs.labels[i])


def plain_loop(samples: Dataset, batch: int, depth: int, width: int) -> None:
    """An epoch of a loop as a tutorial has it: DataLoader, NCHW, SGD."""
    model = network(depth, width).to(memory_format=torch.contiguous_format).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=LR, momentum=0.9, nesterov=True, weight_decay=1e-4)
    for inputs, labels in DataLoader(samples, batch_size=batch, shuffle=True):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), labels)
        loss.backward()
        optimizer.step()


def training(batch: int, augmentation: Augmentation) -> Training:
    """As the rivals are trained."""
    dataset = load_dataset("textures", seed=0, n_train=10, n_validation=1, n_test=1)
    return Training(sgd(lr=LR, batch=batch), dataset.normalization, augmentation)


def of_learners(images: LabelledInputs, batch: int, depth: int, width: int) -> dict[str, Callable[[], Learner]]:
    """An epoch of each of our learners, made anew at each call."""
    how = training(batch, Augmentation(shift=4, mirror=True))

    def trained(learner: Learner) -> Learner:
        learner.learn(images.inputs, images.labels)
        learner.flush()
        return learner

    return {
        "OnlineLearner": lambda: trained(
            OnlineLearner(network(depth, width), how, KeyPlaces(), epochs=1, ema_decay=0.995)
        ),
        "RefitLearner": lambda: trained(RefitLearner(network(depth, width), how, KeyPlaces(), epochs=1)),
    }


def against_a_plain_loop(depth: int, width: int, n: int, batch: int, targets: tuple[str, str]) -> list[Ratio]:
    """Samples/s of both learners over those of the loop, and FLOP/s over those of products.

    Args:
        depth: of the network.
        width: of the network.
        n: samples, a whole number of batches.
        batch: samples in a step.
        targets: of both ratios.
    """
    images = some_images(n)
    still = TensorDataset(images.inputs.float().div(255).sub(0.5).div(0.25), images.labels)
    ours = of_learners(images, batch, depth, width)
    product = sgemm()
    loop, bare, *learners, products = alternately(
        lambda: plain_loop(Transformed(images), batch, depth, width),
        lambda: plain_loop(still, batch, depth, width),
        *ours.values(),
        lambda: [product() for _ in range(4)],
    )
    flops = n * flops_per_sample(network(depth, width), (3, 32, 32)).training
    found = []
    name = f"ResNet-{depth} width {width}, batch {batch}"
    for learner, seconds in zip(ours, learners, strict=True):
        for rival, theirs, target in (
            ("plain NCHW PyTorch loop", loop, targets[0]),
            ("the loop, without augmentation and loading", bare, ""),
        ):
            rates = f"{n / median(seconds):.0f} against {n / median(theirs):.0f} samples/s"
            found.append(Ratio(f"{learner}, {name}", rival, ratios(theirs, seconds), target, rates))
        rates = f"{flops / median(seconds) / 1e9:.0f} of {4 * SGEMM_FLOPS / median(products) / 1e9:.0f} GFLOP/s"
        shares = tuple(
            flops / ours / (4 * SGEMM_FLOPS / theirs) for ours, theirs in zip(seconds, products, strict=True)
        )
        found.append(Ratio(f"{learner}, {name}", "sgemm rate", shares, targets[1], rates))
    return found


def avalanche_stream(n: int, size: int) -> tuple[list[Chunk], list[object]]:
    """The same stream as chunks and as Avalanche's experiences."""
    dataset = load_dataset("textures", seed=0, n_train=n, n_validation=1, n_test=1)
    stream = iid_stream(dataset, n // size, seed=0)
    return list(stream), list(stream.as_avalanche())


def avalanche_strategy(experiences: list[object], buffer: str | None) -> None:
    """One of Avalanche's strategies meets every experience once.

    Args:
        experiences: the stream.
        buffer: None for `Naive`; `default` for `Replay` as it stands, with room for every sample; `reservoir` for the
            buffer that suits streams of many experiences.
    """
    from avalanche.training.plugins import EvaluationPlugin, ReplayPlugin
    from avalanche.training.storage_policy import ReservoirSamplingBuffer
    from avalanche.training.supervised import Naive

    model = network(8, 8).to(memory_format=torch.contiguous_format)
    policy = ReservoirSamplingBuffer(ROOM) if buffer == "reservoir" else None
    plugins = [ReplayPlugin(ROOM, batch_size_mem=10, storage_policy=policy)] if buffer else []
    optimizer = torch.optim.SGD(model.parameters(), lr=LR, momentum=0.9, nesterov=True, weight_decay=1e-4)
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(record=True),  # Avalanche deprecates what it calls itself
    ):
        strategy = Naive(
            model=model,
            optimizer=optimizer,
            criterion=torch.nn.CrossEntropyLoss(),
            train_mb_size=10,
            train_epochs=1,
            evaluator=EvaluationPlugin(),
            plugins=plugins,
        )
        for experience in experiences:
            strategy.train(experience)


def of_a_stream(chunks: list[Chunk], *, rehearsal: bool) -> None:
    """The same with our learner: a step for every ten new samples, with ten rehearsed ones beside them or none."""
    batch = 20 if rehearsal else 10
    epochs, share = (2, 0.5) if rehearsal else (1, 0.0)
    how = training(batch, Augmentation())
    learner = OnlineLearner(network(8, 8), how, KeyPlaces(), epochs=epochs, rehearsal=share, ema_decay=0.0)
    for chunk in chunks:
        learner.learn(chunk.inputs, chunk.labels)


def of_experience_replay(chunks: list[Chunk]) -> None:
    """Steps of ten new samples and of ten out of a reservoir, as Avalanche's buffer has them."""
    learner = ReplayLearner(network(8, 8), training(20, Augmentation()), KeyPlaces(), stored=ROOM)
    for chunk in chunks:
        learner.learn(chunk.inputs, chunk.labels)


def against_avalanche() -> list[Ratio]:
    """Samples/s of the online learner, over experiences of 10 and of 100 samples."""
    found = []
    for size in (10, 100):
        chunks, experiences = avalanche_stream(ROOM, size)
        rivals = {"Naive": None, "Replay": "default", "Replay with a reservoir buffer": "reservoir"}
        for name, buffer in rivals.items():
            ours, theirs = alternately(
                partial(of_a_stream, chunks, rehearsal=bool(buffer)),
                partial(avalanche_strategy, experiences, buffer),
            )
            rates = f"{ROOM / median(ours):.0f} against {ROOM / median(theirs):.0f} new samples/s"
            what = f"OnlineLearner, ResNet-8 width 8, batch 10{' + 10 rehearsed' * bool(buffer)}, experiences of {size}"
            target = {"Naive": "≥ 1.2", "Replay": "≥ 3"}.get(name, "") if size == 10 else ""
            found.append(Ratio(what, f"Avalanche {name}", ratios(theirs, ours), target, rates))
        ours, theirs = alternately(
            partial(of_experience_replay, chunks), partial(avalanche_strategy, experiences, "reservoir")
        )
        rates = f"{ROOM / median(ours):.0f} against {ROOM / median(theirs):.0f} new samples/s"
        what = f"ReplayLearner, ResNet-8 width 8, batch 10 + 10 rehearsed, experiences of {size}"
        rival = "Avalanche Replay with a reservoir buffer"
        found.append(Ratio(what, rival, ratios(theirs, ours), "≥ 1.3" if size == 10 else "", rates))
    return found


def measure() -> list[Ratio]:
    """All of it; about four minutes."""
    return [
        *against_a_plain_loop(32, 16, 500, 125, ("≥ 1.2", "≥ 0.85")),
        *against_a_plain_loop(8, 8, 1984, 64, ("", "")),
        *against_avalanche(),
    ]
