"""What a strategy is given in place of a bare network, an optimizer and a loss."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor, nn

from agent.learners.training import Training
from agent.networks.keys import features_of, tapped
from agent.networks.protocol import Network


class Tally:
    """What has passed through a model and its copies; a deep copy is the same object.

    Args:
        training: the recipe, bound to a data set and a device, which copies of a model share too.
    """

    def __init__(self, training: Training) -> None:
        self.training = training
        self.n_samples = 0
        """Samples that passed through, also those of a strategy's copies of the model."""
        self.n_steps = 0
        """Gradient steps."""

    def __deepcopy__(self, _: dict[int, Any]) -> "Tally":
        return self


class Prepared(nn.Module):
    """A network that takes images as they are stored, and normalizes them; in the precision of the recipe.

    So a strategy keeps, and is billed for, raw images.

    Args:
        network: gives logits.
        tally: counts the samples.
    """

    def __init__(self, network: Network, tally: Tally) -> None:
        super().__init__()
        self.network, self.tally = network, tally

    def forward(self, inputs: Shaped[Tensor, "n ..."]) -> Float[Tensor, "n classes"]:
        """Logits in float32."""
        self.tally.n_samples += len(inputs)
        with self.tally.training.mixed_precision(self.network):
            logits: Tensor = self.network(self.tally.training.normalization(inputs))
        return logits.float()


class Features(nn.Module):
    """The same network up to what its head is given; see `features_of`.

    Args: as `Prepared`.
    """

    def __init__(self, network: Network, tally: Tally) -> None:
        super().__init__()
        self.network, self.tally, self.places = network, tally, features_of(network)

    def forward(self, inputs: Shaped[Tensor, "n ..."]) -> Float[Tensor, "n features"]:
        """Features in float32."""
        self.tally.n_samples += len(inputs)
        with self.tally.training.mixed_precision(self.network):
            _, found = tapped(self.network, self.tally.training.normalization(inputs), self.places.names)
        return self.places.read(found)


class Optimizers:
    """The optimizers of a recipe as one; it counts the steps."""

    def __init__(self, optimizers: Sequence[torch.optim.Optimizer], tally: Tally) -> None:
        self._optimizers, self._tally = optimizers, tally

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Those of all."""
        return [group for optimizer in self._optimizers for group in optimizer.param_groups]

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for optimizer in self._optimizers:
            optimizer.zero_grad(set_to_none=True)

    def step(self) -> None:
        """Take a step with each."""
        for optimizer in self._optimizers:
            optimizer.step()
        self._tally.n_steps += 1


class Criterion:
    """The loss of a recipe, or with the reduction `none` that of each sample alone, as Avalanche asks for it."""

    def __init__(self, loss: Callable[[Tensor, Tensor], Tensor]) -> None:
        self._loss = loss
        self.reduction = "as the recipe says"

    def __call__(self, logits: Float[Tensor, "n classes"], labels: Int64[Tensor, " n"]) -> Tensor:
        """One number, or one for each sample."""
        if self.reduction != "none":
            return self._loss(logits, labels)
        rows = zip(logits.split(1), labels.split(1), strict=True)
        return torch.stack([self._loss(row, label) for row, label in rows])
