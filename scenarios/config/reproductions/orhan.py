"""A cache over the images that a network was trained on (Orhan 2018)."""

from scenarios.config.reproductions.published import Gain, Reproduction, Source

PAPER = Source(
    "Orhan 2018, A simple cache model for image recognition, arXiv:1805.08709: the abstract",
    "https://arxiv.org/abs/1805.08709",
)

ORHAN: dict[str, Reproduction] = {
    "orhan-cifar10": Reproduction(
        summary="a cache over the images that a converged network was trained on, against the network alone",
        settings={
            "dataset": "cifar10",
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
                "resnet20": {
                    "network": "resnet:depth=20,width=16",
                    "recipe": "sgd:lr=0.09,momentum=0.9,weight_decay=1e-4,batch=125,precision=float32",
                    "learner": "refit:epochs=180,schedule=steps",
                    "memory": "cache",
                    "keys": "stage2.block0.relu+stage2.block1.relu+stage2.block2.relu",
                    "pool": False,
                    "both": True,
                    "calibrate_every": 0,
                    "policy": "static:k=100,both=true",
                },
                "airbench": {
                    "network": "airbench:size=94",
                    "recipe": "muon:lr=0.24,batch=500,views=mirror",
                    "learner": "refit:epochs=8,schedule=one-cycle",
                    "memory": "cache",
                    "keys": "group2",
                    "pool": False,
                    "both": True,
                    "calibrate_every": 0,
                    "policy": "static:k=100,both=true",
                },
            },
        },
        published={},
        gains=(Gain("resnet20", None, PAPER), Gain("airbench", None, PAPER)),
        circumstances=(
            "resnet20: 45,000 training images, 180 epochs in batches of 125, SGD with Nesterov momentum 0.9 and L2 "
            "penalty 0.0001, learning rate 0.09, a ninth of it after half and a ninetieth after three quarters, shifts "
            "of up to 4 pixels and mirroring",
            "resnet20: keys are the activations inside the three blocks of the last stage, 12,288 numbers; "
            "theta and the weight of the cache are chosen by accuracy on 5,000 images that the network never saw",
        ),
        differences=(
            "the abstract claims improvements across several architectures and data sets without a number; the error "
            "rates of the paper's tables are not recorded here, so that only the direction is compared",
            "airbench is none of the architectures of the source",
            "the cache holds the 45,000 images that the network learned; the source adds the 5,000 that chose theta "
            "and the weight, and the mirror image of each",
            "pixels are normalized by mean and deviation of each channel of the training images here; in the source "
            "each pixel is standardized, with the test images among those it is computed from",
        ),
        hours=14,
        short={"train_size": 1_000, "validation_size": 500, "test_size": 2_000, "seeds": 2},
        short_hours=0.2,
    )
}
"""Reproductions by name."""
