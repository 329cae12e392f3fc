"""Online Split-CIFAR and i.i.d. streams (Caccia et al. 2022): ER and ER-ACE on the slim ResNet-18."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scenarios.config.reproductions.published import Published, Reproduction, Source

AML = Source(
    "Caccia et al. 2022, arXiv:2104.05025: the search in its repository, pclucas14/AML",
    "https://github.com/pclucas14/AML/blob/1006dfcfbe69fb9ff47370efd7822a83a4a96d39/sweeps/hp_result_final.csv",
)


@dataclass(frozen=True)
class _Found:
    """A row of the search: the learning rate that was best, and the accuracy of its three runs, in percent."""

    lr: float
    runs: tuple[float, ...]


_REHEARSING: dict[str, dict[int, dict[str, _Found]]] = {
    "cifar10": {
        20: {"er": _Found(0.1, (23.02, 23.82, 26.88)), "er-ace": _Found(0.01, (46.18, 44.80, 43.10))},
        50: {"er": _Found(0.1, (37.90, 35.48, 31.22)), "er-ace": _Found(0.1, (44.42, 45.30, 46.66))},
        100: {"er": _Found(0.1, (41.06, 37.60, 41.34)), "er-ace": _Found(0.1, (53.54, 54.06, 53.56))},
    },
    "cifar100": {
        20: {"er": _Found(0.1, (12.08, 11.78, 12.18)), "er-ace": _Found(0.1, (17.56, 18.58, 17.62))},
        50: {"er": _Found(0.01, (16.14, 15.74, 16.62)), "er-ace": _Found(0.01, (21.88, 21.24, 21.34))},
        100: {"er": _Found(0.1, (18.50, 18.46, 15.44)), "er-ace": _Found(0.1, (24.32, 24.24, 25.20))},
    },
}
"""By data set, stored samples a class and method: rows without augmentation (use_augs 0)."""

_IID: dict[str, dict[str, _Found]] = {
    "cifar10": {"iid": _Found(0.01, (64.12, 64.98, 62.22)), "iid++": _Found(0.01, (72.24, 73.18, 71.78))},
    "cifar100": {"iid": _Found(0.01, (20.10, 17.74, 19.78)), "iid++": _Found(0.01, (27.58, 28.20, 27.16))},
}

_NAMES = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100"}
_CLASSES = {"cifar10": 10, "cifar100": 100}
_EXPERIENCES = {"cifar10": 5, "cifar100": 20}
_CHUNKS = {"cifar10": 45, "cifar100": 60}
"""Of as many samples as full batches need, and as many in each experience."""

_ONE_PASS: dict[str, Any] = {
    "train_size": 45_000,
    "validation_size": 5_000,
    "network": "slim-resnet18",
    "shift": 0,
    "mirror": False,
    "evaluate_every": 0,
    "calibrate_every": 0,
    "prequential": False,
    "queries": 0,
    "checkpoint_every": 5,
    "seeds": 3,
}
"""What the settings of `AML` have in common."""

_LEARNED = "static:k=100"
"""The policy: every chunk is learned, so that nothing is in memory."""

_SHORT: dict[str, dict[str, Any]] = {
    "cifar10": {"train_size": 2_000, "validation_size": 200, "test_size": 1_000, "chunks": 10},
    "cifar100": {"train_size": 5_000, "validation_size": 500, "test_size": 2_000, "chunks": 20},
}

_COMMON = (
    "ResNet-18 with 20 channels in its first stage, one pass over 45,000 training images, no augmentation, SGD without "
    "momentum and weight decay, float32",
    "the last tenth of the official training images of each class is not trained on; the learning rate was the best of "
    "0.001, 0.01 and 0.1 on it, and the published accuracy is on it, too",
)
_DIFFERENT = (
    "accuracy here is on the 10,000 official test images; the published one is on the 5,000 images that chose the "
    "learning rate",
    "the 5,000 images that are held out are drawn by the seed here; they are the last of each class in the source",
    "images are normalized by mean and deviation of each channel here, and from 0..1 to -1..1 in the source",
    "initial weights are He normal here, and PyTorch's defaults (uniform, smaller) in the source",
)


def _recipe(found: _Found, batch: int, factor: float) -> str:
    """A recipe with a multiple of the published learning rate."""
    return f"sgd:lr={factor * found.lr:g},momentum=0,weight_decay=0,batch={batch},precision=float32"


def _published(found: Mapping[str, _Found]) -> dict[str, Published]:
    return {label: Published.of_runs(*each.runs, source=AML) for label, each in found.items()}


def _rehearsing(dataset: str, stored_a_class: int) -> Reproduction:
    """Online Split-CIFAR with ER and ER-ACE."""
    found, stored = _REHEARSING[dataset][stored_a_class], stored_a_class * _CLASSES[dataset]
    experiences = _EXPERIENCES[dataset]
    rates = " and ".join(f"{each.lr:g} for {label}" for label, each in found.items())
    methods = {
        label: {
            "learner": f"{label}:stored={stored},apart=true",
            "recipe": _recipe(each, batch=20, factor=2),
            "policy": _LEARNED,
        }
        for label, each in found.items()
    }
    return Reproduction(
        summary=f"online Split-{_NAMES[dataset]}, {experiences} experiences: experience replay and its asymmetric "
        f"form, {stored:,} samples stored",
        settings={
            **_ONE_PASS,
            "dataset": dataset,
            "scenario": f"class-incremental:experiences={experiences}",
            "chunks": _CHUNKS[dataset],
            "methods": methods,
        },
        published=_published(found),
        circumstances=(
            *_COMMON,
            f"each step has 10 new samples and 10 out of a reservoir of {stored:,} ({stored_a_class} a class), which "
            "pass the network one after the other; rehearsal begins with the second step",
            f"published learning rates: {rates}; the loss is the sum of the means over new and rehearsed samples "
            "there, and the mean over both here, at twice the rate",
        ),
        differences=(
            *_DIFFERENT,
            "the seed draws the order of the classes here; it is that of the data set in all runs of the source",
            "rehearsed samples are drawn with replacement here, and without in the source",
            "the first step, which has nothing to rehearse, is taken at twice the rate of the source",
            "er-ace leaves out every class that is known and not in the minibatch; the source keeps the known class of "
            "the highest number",
        ),
        hours={"cifar10": 0.6, "cifar100": 0.9}[dataset],
        short=_SHORT[dataset],
        short_hours={"cifar10": 0.04, "cifar100": 0.12}[dataset],
    )


def _iid(dataset: str) -> Reproduction:
    """All classes in one stream, once, and with the compute of rehearsal."""
    found = _IID[dataset]
    methods = {
        "iid": {
            "learner": "online:epochs=1,rehearsal=0,ema_decay=0",
            "recipe": _recipe(found["iid"], batch=10, factor=1),
            "policy": _LEARNED,
        },
        "iid++": {
            "learner": "refit:epochs=2,schedule=constant",
            "recipe": _recipe(found["iid++"], batch=20, factor=2),
            "policy": _LEARNED,
        },
    }
    return Reproduction(
        summary=f"{_NAMES[dataset]} as one stream of all classes: once, and with the compute of rehearsal",
        settings={
            **_ONE_PASS,
            "dataset": dataset,
            "scenario": "iid",
            "chunks": _CHUNKS[dataset],
            "methods": methods,
        },
        published=_published(found),
        circumstances=(
            *_COMMON,
            "iid: steps of 10 samples, at a learning rate of 0.01",
            "iid++: as many steps of 20 samples, so that each sample is in two of them; the loss is the sum of the "
            "means over two batches of 10 at a rate of 0.01 there, and the mean over all 20 here, at twice the rate",
        ),
        differences=(
            *_DIFFERENT,
            "iid++: one pass comes after the other here; in the source each step takes 10 samples of each of two "
            "passes, which pass the network one after the other",
        ),
        hours=0.4,
        short=_SHORT[dataset],
        short_hours={"cifar10": 0.02, "cifar100": 0.05}[dataset],
    )


ONLINE_SPLIT: dict[str, Reproduction] = {
    **{
        f"er-{dataset}-{stored_a_class}": _rehearsing(dataset, stored_a_class)
        for dataset, by_size in _REHEARSING.items()
        for stored_a_class in by_size
    },
    **{f"iid-{dataset}": _iid(dataset) for dataset in _IID},
}
"""Reproductions by name."""
