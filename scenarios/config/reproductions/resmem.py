"""A memory of residuals over the images that a network was trained on (Yang et al. 2023)."""

from scenarios.config.reproductions.published import Gain, Reproduction, Source

PAPER = Source(
    "Yang et al. 2023, ResMem: learn what you can and memorize the rest, arXiv:2302.01576",
    "https://arxiv.org/abs/2302.01576",
)

RESMEM: dict[str, Reproduction] = {
    "resmem-cifar100": Reproduction(
        summary="the residuals of a small ResNet on the images that it was trained on, added to its predictions",
        settings={
            "dataset": "cifar100",
            "train_size": 45_000,
            "validation_size": 5_000,
            "chunks": 1,
            "scenario": "iid",
            "shift": 4,
            "mirror": True,
            "evaluate_every": 0,
            "prequential": False,
            "queries": 0,
            "seeds": 3,
            "methods": {
                "resnet8": {
                    "network": "resnet:depth=8,width=16",
                    "recipe": "sgd:lr=0.1,momentum=0.9,weight_decay=1e-4,batch=125,precision=float32",
                    "learner": "refit:epochs=60,schedule=one-cycle",
                    "memory": "residual",
                    "keys": "features",
                    "pool": True,
                    "both": True,
                    "calibrate_every": 0,
                    "policy": "static:k=100,both=true",
                },
            },
        },
        published={},
        gains=(Gain("resnet8", None, PAPER, 1.8),),
        circumstances=(
            "a ResNet-8 on CIFAR-100; residuals are those of training images under the trained network, and the "
            "weighted residuals of the nearest ones are added to its probabilities",
        ),
        differences=(
            "the published gain is about 1.8 points, without a spread",
            "the network is trained for 60 epochs under a one-cycle rate here; the training of the source is not "
            "recorded",
            "k and sigma are chosen by accuracy on 5,000 held-out images here, from the grid of the memory",
        ),
        hours=1.5,
        short={"train_size": 5_000, "validation_size": 1_000, "test_size": 2_000},
        short_hours=0.2,
    )
}
"""Reproductions by name."""
