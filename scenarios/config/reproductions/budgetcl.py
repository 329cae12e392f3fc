"""Samplings of the stored samples at an equal number of steps (Prabhu et al. 2023): none beats uniform."""

from typing import Any

from scenarios.config.reproductions.published import Gain, Reproduction, Source

BUDGETCL_PAPER = Source(
    "Prabhu et al. 2023, arXiv:2303.11165: the finding in its abstract; samplings of its code, drimpossible/BudgetCL",
    "https://arxiv.org/abs/2303.11165",
)

_SAMPLINGS = ("uniform", "class-balanced", "recent", "herding")
_NAMES = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100"}
_EXPERIENCES = {"cifar10": 5, "cifar100": 20}
_SHORT = {
    "cifar10": {"train_size": 4_000, "validation_size": 200, "test_size": 1_000, "seeds": 3},
    "cifar100": {"train_size": 5_000, "validation_size": 500, "test_size": 2_000, "seeds": 3},
}

_CIRCUMSTANCES = (
    "all samples are stored, and each time step takes as many SGD steps with every sampling, whose samples are drawn "
    "from all that is stored, the new ones included",
    "20 time steps (here chunks); two samples are drawn for each new one, which makes 90 steps of 50 a chunk in full "
    "(the defaults of the code are 80 steps of 1,500)",
    "uniform and class-balanced draw with replacement, class-balanced with equal probabilities of the classes; recent "
    "takes the last samples (`lastk`); herding takes as many samples of each class, by features of the network",
    "momentum 0.9, no weight decay, images mirrored at random",
)
_DIFFERENCES = (
    "the source learns ImageNet2K and Continual Google Landmarks V2, so that its finding is compared here, not a level "
    "of accuracy",
    "a ResNet-8 of width 16 learns from scratch here; a ResNet-50 that was pretrained on ImageNet in the source",
    "the learning rate is 0.05 throughout here; in the source it falls linearly to 0 in each time step, and momentum "
    "begins anew",
    "images are shifted by up to 4 pixels here, and cropped to random sizes in the source; precision is float32 here, "
    "and bfloat16 in the source",
    "the published code weights a sample by the size of its class, where its comment says the inverse; here it is the "
    "inverse",
    "herding compares features of all that is stored, by the network as it is before the steps; in the published code, "
    "which it says is not cleaned yet, those of the samples stored by the last time step",
    "the forward passes for herding come on top of the steps; the costs in comparison.csv have them",
    "where more is drawn than is stored, recent and herding take everything as often as possible and choose the rest; "
    "the source does so with every sampling, and takes the last samples for the rest",
)


def _reproduction(dataset: str, hours: float, short_hours: float) -> Reproduction:
    experiences = _EXPERIENCES[dataset]
    methods = {
        sampling: {
            "learner": f"er:stored=none,rehearsal=1,passes=2,sampling={sampling}",
            "recipe": "sgd:lr=0.05,momentum=0.9,weight_decay=0,batch=50,precision=float32",
            "policy": "static:k=100",
        }
        for sampling in _SAMPLINGS
    }
    settings: dict[str, Any] = {
        "dataset": dataset,
        "scenario": f"class-incremental:experiences={experiences}",
        "chunks": 20,
        "train_size": 45_000,
        "validation_size": 5_000,
        "network": "resnet:depth=8,width=16",
        "shift": 4,
        "mirror": True,
        "evaluate_every": 0,
        "calibrate_every": 0,
        "prequential": False,
        "queries": 0,
        "checkpoint_every": 5,
        "seeds": 5,
        "methods": methods,
    }
    return Reproduction(
        summary=f"class-incremental {_NAMES[dataset]}, {experiences} experiences, all images stored: samplings of what "
        "is replayed, at an equal number of SGD steps",
        settings=settings,
        published={},
        circumstances=_CIRCUMSTANCES,
        differences=_DIFFERENCES,
        hours=hours,
        short=_SHORT[dataset],
        short_hours=short_hours,
        gains=tuple(
            Gain(sampling, "uniform", BUDGETCL_PAPER, direction="not above 0")
            for sampling in _SAMPLINGS
            if sampling != "uniform"
        ),
    )


BUDGETCL: dict[str, Reproduction] = {
    "budgetcl-cifar10": _reproduction("cifar10", hours=0.6, short_hours=0.03),
    "budgetcl-cifar100": _reproduction("cifar100", hours=0.6, short_hours=0.04),
}
"""Reproductions by name."""
