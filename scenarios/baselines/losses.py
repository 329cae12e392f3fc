"""What baselines ask of the recipe and the network."""

import torch.nn.functional as F

from agent.errors import InvalidSetting
from agent.learners.training import Training
from agent.networks.protocol import Network, shown


def check_mean_loss(training: Training, name: str) -> None:
    """Check that the recipe has the loss that a baseline replaces, or weighs its own against.

    Raises:
        InvalidSetting: it has another, such as a sum over the batch, for which the learning rates would not be meant.
    """
    if training.recipe.loss is not F.cross_entropy:
        raise InvalidSetting(
            f"expected a recipe with the mean cross-entropy as its loss for the baseline {name}, which has a loss of "
            "its own beside it, got another; --recipe sgd or adamw"
        )


def check_all_trained(training: Training, network: Network, name: str) -> None:
    """Raise InvalidSetting for a network of which some parameters are frozen, now or by the recipe."""
    frozen = [each for each, parameter in network.named_parameters() if not parameter.requires_grad]
    if frozen or training.recipe.prepare is not None:
        raise InvalidSetting(
            f"expected a network of which every parameter is trained for the baseline {name}, which looks ahead by a "
            f"step of each, got {frozen[0] if frozen else 'a recipe that may freeze some'} in {shown(network)}"
        )
