"""Experience replay in the survey of Soutif-Cormerais et al. 2023: accuracy, and a linear probe of its features."""

from scenarios.config.reproductions.published import Published, Reproduction, Source

_RUNS = Source(
    "Soutif-Cormerais et al. 2023, arXiv:2308.10328: the logs in its repository, AlbinSou/ocl_survey",
    "https://github.com/AlbinSou/ocl_survey/tree/5a2622aca234b6fcd547e04b3746b86e95b400a3/results/"
    "er_split_cifar100_20_2000",
)

_ER = Reproduction(
    summary="online Split-CIFAR-100, 20 experiences: experience replay with 2,000 samples stored and 3 passes over "
    "each minibatch, and a linear probe of its features",
    settings={
        "dataset": "cifar100",
        "train_size": 47_400,
        "validation_size": 2_500,
        "scenario": "class-incremental:experiences=20",
        "chunks": 60,
        "network": "slim-resnet18",
        "shift": 4,
        "mirror": True,
        "evaluate_every": 0,
        "evaluate": ("linear-probe",),
        "calibrate_every": 0,
        "prequential": False,
        "queries": 0,
        "checkpoint_every": 5,
        "seeds": 5,
        "methods": {
            "er": {
                "learner": "er:stored=2000,passes=3",
                "recipe": "sgd:lr=0.0598728574654861,momentum=0,weight_decay=0,batch=20,precision=float32",
                "policy": "static:k=100",
            }
        },
    },
    published={
        "er": (
            Published.of_runs(28.95, 29.69, 26.98, 28.24, 26.89, source=_RUNS),
            Published.of_runs(45.30, 44.70, 45.23, 45.84, 43.46, source=_RUNS, metric="linear_probe"),
        )
    },
    circumstances=(
        "ResNet-18 with 20 channels in its first stage, SGD without momentum and weight decay at a rate of 0.0599, "
        "float32; random shifts of up to 4 pixels and mirroring of new and rehearsed images; accuracy is on the 10,000 "
        "official test images",
        "minibatches of 10 new samples, on each of which 3 steps are taken, each with 10 samples out of 2,000 stored "
        "ones, which pass the network together; the loss is the mean over all 20",
        "each experience has 237 full minibatches, out of 2,375 images (5% are held out, and 5 images that fill no "
        "minibatch are dropped); the seed draws the order of the classes",
        "the linear probe is multinomial logistic regression on standardized features of all training images, with the "
        "penalty of scikit-learn's default",
    ),
    differences=(
        "stored samples are a uniform sample of all earlier ones here; in the source as many of each class",
        "rehearsed samples are drawn with replacement here, and without in the source",
        "pixels that a shift brings in repeat the edge here; they are black in the source",
        "the head has all 100 classes from the first step here; in the source it grows with the classes that came",
        "initial weights are He normal here, and PyTorch's defaults (uniform, smaller) in the source",
        "the probe is trained on each image once, as it is, in 100 accelerated steps here; in the source on three "
        "augmented copies of each, in up to 200 steps of L-BFGS",
        "the learning rate was found by a search of the source; it was not searched again here",
    ),
    hours=1.8,
    short={"train_size": 4_000, "validation_size": 500, "test_size": 1_000, "chunks": 40},
    short_hours=0.17,
)

OCL_SURVEY: dict[str, Reproduction] = {"er-cifar100-2000": _ER}
"""Reproductions by name."""
