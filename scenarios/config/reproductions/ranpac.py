"""Nearest mean, ridge regression, and ridge regression on random projections of frozen features (McDonnell et al.)."""

from typing import Any

from scenarios.config.reproductions.published import Gain, Published, Reproduction, Source

TABLE = Source(
    "McDonnell et al. 2023, RanPAC, arXiv:2307.02251: its table for ResNet-50 in the repository RanPAC/RanPAC",
    "https://github.com/RanPAC/RanPAC/blob/e5e21b7893877aa9b63f52752b265fe3a489f7b1/paper_tables/"
    "Table_data_si_cifar224.csv",
)

_FROZEN: dict[str, Any] = {
    "network": "efficientnet-lite0:side=224",
    "recipe": "sgd:lr=0.05,precision=float32",
    "learner": "head:epochs=1",
    "keys": "features",
    "pool": True,
    "calibrate_every": 0,
    "policy": "static:k=0",
}
"""What the methods have in common: nothing is learned, all is memorized."""
_METRIC = "memory_accuracy"


def _published(accuracy: float) -> Published:
    return Published(accuracy, None, 1, TABLE, metric=_METRIC)


RANPAC: dict[str, Reproduction] = {
    "ranpac-cifar100": Reproduction(
        summary="Split-CIFAR-100, 10 experiences, on frozen pretrained features: nearest mean, ridge, and ridge on "
        "random projections",
        settings={
            "dataset": "cifar100",
            "train_size": 45_000,
            "validation_size": 5_000,
            "chunks": 10,
            "scenario": "class-incremental:experiences=10",
            "evaluate_every": 0,
            "prequential": False,
            "queries": 0,
            "seeds": 3,
            "methods": {
                "ncm": {**_FROZEN, "memory": "ncm"},
                "ridge": {**_FROZEN, "memory": "ridge"},
                "projected": {**_FROZEN, "memory": "ridge:dim=10000,limit=10000"},
            },
        },
        published={"ncm": _published(61.5), "ridge": _published(73.3), "projected": _published(75.5)},
        gains=(
            Gain("ridge", "ncm", TABLE, 11.8, metric=_METRIC),
            Gain("projected", "ridge", TABLE, 2.2, metric=_METRIC),
        ),
        circumstances=(
            "the network is frozen, images are resized to 224 pixels, each is met once and adds to sums alone; the "
            "accuracy is that of the memory on the test images of all classes",
            "projected: 10,000 random features, the positive part of a projection with normal weights",
        ),
        differences=(
            "the network is EfficientNet-lite0, pretrained on ImageNet, with 1,280 features; that of the published "
            "figures is a ResNet-50 with 2,048, whose weights this program does not have: levels are not comparable, "
            "and gains only in their direction",
            "the published gains are differences of the table's figures",
            "45,000 images are memorized, and the ridge penalty is chosen by accuracy on 5,000 others at the end; the "
            "source memorizes all 50,000, and chooses the penalty anew after each experience, by the squared error on "
            "a fifth of its images",
            "features have the length 1 and a constant beside them in both ridge regressions here, and neither in the "
            "source",
            "features that are kept on disk are rounded to float16",
        ),
        hours=1,
        short={"train_size": 2_000, "validation_size": 1_000, "test_size": 2_000, "seeds": 1},
        short_hours=0.1,
    )
}
"""Reproductions by name."""
