"""GDumb (Prabhu et al. 2020): trained from scratch on a class-balanced sample of the stream."""

from typing import Any

from scenarios.config.reproductions.published import Published, Reproduction, Source

_README = Source(
    "Prabhu et al. 2020, GDumb (ECCV): the results in its repository, drimpossible/GDumb",
    "https://github.com/drimpossible/GDumb/blob/3cb96eca6d5a49c8d00295977a7eab6202516fdf/README.md",
)
_PUBLISHED = {
    200: Published(35.0, 0.4, 3, _README),
    500: Published(45.4, 1.9, 3, _README),
    1000: Published(61.2, 1.0, 3, _README),
}
"""By stored samples; ResNet-18 on CIFAR-10."""

_HOURS = {200: (1.0, 0.02), 500: (2.5, 0.03), 1000: (4.8, 0.06)}
"""In full, and shortened."""


def _methods(stored: int, epochs: int) -> dict[str, Any]:
    return {
        "gdumb": {
            "baseline": f"gdumb:mem={stored},epochs={epochs},schedule=warm-restarts",
            "recipe": "sgd:lr=0.05,momentum=0.9,weight_decay=1e-06,batch=16,precision=float32",
        }
    }


def _gdumb(stored: int) -> Reproduction:
    hours, short_hours = _HOURS[stored]
    return Reproduction(
        summary=f"CIFAR-10, {stored:,} samples stored, as many of each class: a network trained on these alone, from "
        "scratch (GDumb)",
        settings={
            "dataset": "cifar10",
            "train_size": 45_000,
            "validation_size": 5_000,
            "scenario": "iid",
            "chunks": 45,
            "network": "resnet18",
            "shift": 4,
            "mirror": True,
            "evaluate_every": 0,
            "prequential": False,
            "queries": 0,
            "seeds": 3,
            "methods": _methods(stored, 256),
        },
        published={"gdumb": _PUBLISHED[stored]},
        circumstances=(
            f"{stored:,} training images are stored, {stored // 10} of each class; the order of the classes decides "
            "nothing, as training begins when the stream has ended, which the source leaves out and this program lives "
            "as one stream of all classes",
            "ResNet-18 with 64 channels in its first stage, 256 passes over what is stored in batches of 16, SGD with "
            "momentum 0.9 and weight decay 1e-6 (the default of the repository's code)",
            "a learning rate of 0.005 in the first pass, and then from 0.05 to 0.0005 along cosines of 1, 2, 4, ... "
            "and 128 passes",
            "random shifts of up to 4 pixels and mirroring; accuracy is on the 10,000 official test images",
        ),
        differences=(
            "accuracy is at the end of training here; the source's code reports the best on the test images after any "
            "of the 256 passes, which is never lower",
            "there is no CutMix here, which the source applies to half of the batches",
            "the seed draws what is stored; the source stores the same images of each class in all runs",
            "momentum is Nesterov's here; gradients are not clipped, which the source does at a norm of 10",
            "the learning rate falls with each step here, and with each pass in the source",
            "the source's residual blocks add after the last ReLU and not before it, and batch normalization follows "
            "its last layer, which has no bias",
            "float32 here, float16 in the source",
            "pixels that a shift brings in repeat the edge here, and are black in the source; images are normalized by "
            "the deviation of all pixels of a channel, and by a smaller one in the source",
        ),
        hours=hours,
        short={
            "train_size": 5_000,
            "validation_size": 500,
            "test_size": 2_000,
            "chunks": 10,
            "network": "slim-resnet18",
            "methods": _methods(stored, 16),
        },
        short_hours=short_hours,
    )


GDUMB: dict[str, Reproduction] = {f"gdumb-cifar10-{stored}": _gdumb(stored) for stored in _PUBLISHED}
"""Reproductions by name."""
