"""The predictions that lifetimes keep on request."""

import numpy as np
from jaxtyping import Float, Float32
from torch import Tensor

from agent.evaluation.trajectory import Trajectory
from agent.storage.predictions import Predictions
from scenarios.datasets.load import Dataset


def kept_predictions(trajectory: Trajectory, dataset: Dataset) -> Predictions | None:
    """What a lifetime predicts for the test images of a data set at its end; None if its plan does not keep it.

    Args:
        trajectory: of a lifetime that was evaluated on these test images, in their order.
        dataset: gives their ids and labels.
    """
    kept = trajectory.prediction
    if kept is None:
        return None
    return Predictions(
        dataset.test_ids.numpy(),
        dataset.test.labels.cpu().numpy(),
        _plain(kept.learner),
        None if kept.memory is None else _plain(kept.memory),
        _plain(kept.agent),
        dataset.class_names,
    )


def _plain(probabilities: Float[Tensor, "n classes"]) -> Float32[np.ndarray, "n classes"]:
    return probabilities.detach().float().cpu().numpy()
