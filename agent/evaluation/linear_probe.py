"""The linear probe: how well a linear classifier does on the features of a learner."""

import time
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from agent.accounting.work import Work
from agent.data.chunk import LabelledInputs
from agent.errors import ContractError
from agent.evaluation.scores import accuracy_of
from agent.learners.protocol import Representing
from agent.memory.softmax_regression import TILE, SoftmaxRegression, Tiles, training_flops

LINEAR_PROBE = "linear-probe"
"""Its name among the measurements."""

STEPS = 100
"""Of the training."""


class Probed(NamedTuple):
    """The result of a linear probe."""

    accuracy: float
    """On the test images, 0 to 1."""
    work: Work


@torch.inference_mode()
def linear_probe(learner: Representing, train: LabelledInputs, test: LabelledInputs) -> Probed:
    """Train a linear classifier on the features of labelled images, and classify test images with it.

    The features of a learner that is flushed stay as they are. Each is standardized by its mean and deviation over the
    training images; one that never changes is only centred. The classifier is a multinomial logistic regression with
    the penalty ‖W‖² / (2 N) on the mean loss over N images, offsets included, after 100 steps of `SoftmaxRegression`
    from 0: nothing is drawn, and no setting is chosen. With D features and C classes it takes the forward passes of
    both sets, the FLOPs of that training, and 2 n (D + 1) C for n test images.

    Args:
        learner: with nothing pending.
        train: one image or more.
        test: one image or more.

    Raises:
        ContractError: features that are not finite.

    References:
        Alain & Bengio 2016, "Understanding intermediate layers using linear classifier probes", arXiv:1610.01644. At
        the end of a stream, on the features of all its images: Soutif-Cormerais et al. 2023, arXiv:2308.10328.
    """
    features, reading = learner.features(train.inputs)
    of_test, looking = learner.features(test.inputs)
    start = time.perf_counter()
    if not bool(torch.isfinite(features).all() and torch.isfinite(of_test).all()):
        raise ContractError(
            "expected finite features of the learner, got NaN or infinity; agent.testing checks learners"
        )
    if features.device.type == "mps":  # which has no float64
        features, of_test = features.cpu(), of_test.cpu()
    mean, scale = _moments(features)
    weights = _trained((features - mean).mul_(scale), train, test)
    logits = torch.addmm(weights[-1], (of_test - mean).mul_(scale), weights[:-1])
    accuracy = accuracy_of(logits, test.labels)
    d, n_classes = weights.shape
    flops = training_flops(len(train), d, n_classes, STEPS) + 2 * len(test) * d * n_classes
    return Probed(accuracy, reading + looking + Work(flops, seconds=time.perf_counter() - start))


def _moments(features: Float[Tensor, "n features"]) -> tuple[Float[Tensor, " features"], Float[Tensor, " features"]]:
    """The mean of each feature, and the inverse of its deviation; 1 where the deviation is within rounding."""
    tiles, n = features.split(TILE), len(features)
    mean = torch.stack([some.double().sum(dim=0) for some in tiles]).sum(dim=0) / n
    variance = torch.stack([(some.double() - mean).square().sum(dim=0) for some in tiles]).sum(dim=0) / n
    deviation = variance.sqrt()
    constant = deviation <= 1e-6 * mean.abs()
    return mean.float(), deviation.masked_fill(constant, 1.0).reciprocal().float()


def _trained(
    features: Float[Tensor, "n features"], train: LabelledInputs, test: LabelledInputs
) -> Float[Tensor, "d classes"]:
    """The weights of the classifier, with those of the offsets in the last row."""
    n_classes = 1 + max(int(train.labels.max()), int(test.labels.max()))
    labels = train.labels.to(features.device)

    def tiles() -> Tiles:
        return zip(features.split(TILE), labels.split(TILE), strict=True)

    regression = SoftmaxRegression(tiles, len(features), features.shape[1], n_classes, STEPS, features.device)
    return regression.weights(regression.gram(), 1 / len(features))
