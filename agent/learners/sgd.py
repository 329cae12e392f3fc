"""Gradient descent: its settings, its schedules, and the one step that both learners take."""

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int32, Int64, UInt8
from torch import Tensor

from agent.data.augmentation import Augmentation, Normalization
from agent.errors import InvalidSetting, TrainingDiverged
from agent.networks.resnet import ResNet

Schedule = Callable[[float], float]
"""From the share of training done (0 to 1) to a factor on the learning rate."""


def constant(done: float) -> float:
    """The same rate throughout."""
    return 1.0


def one_cycle(done: float) -> float:
    """Linear warm-up over the first 30%, then a cosine to zero (Smith & Topin 2017, arXiv:1708.07120)."""
    warm_up = 0.3
    if done < warm_up:
        return 0.04 + 0.96 * done / warm_up
    return 0.5 * (1 + math.cos(math.pi * (done - warm_up) / (1 - warm_up)))


def steps(done: float) -> float:
    """The steps of Orhan 2018 (arXiv:1805.08709): lr, lr/9 after half, lr/90 after three quarters."""
    return 1.0 if done < 0.5 else 1 / 9 if done < 0.75 else 1 / 90


def one_minus_sqrt(done: float) -> float:
    """From 1 down to 0, steeply at first: the cool-down that Hägele et al. 2024 recommend (arXiv:2405.18392)."""
    return 1 - math.sqrt(done)


SCHEDULES: dict[str, Schedule] = {"constant": constant, "one-cycle": one_cycle, "steps": steps}


@dataclass(frozen=True)
class Training:
    """How a network is trained: SGD with Nesterov momentum on augmented batches.

    Raises:
        InvalidSetting: a setting outside its range.
    """

    normalization: Normalization
    augmentation: Augmentation = Augmentation()  # noqa: RUF009 (frozen)
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 1e-4
    batch_size: int = 125
    schedule: Schedule = constant
    device: torch.device = torch.device("cpu")  # noqa: RUF009 (immutable)
    compiled: bool = False
    """Fuse forward and backward pass with `torch.compile`: another order of additions, and so other last digits."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.lr) and self.lr > 0):
            raise InvalidSetting(f"expected a finite learning rate above 0, got {self.lr}")
        if not 0 <= self.momentum < 1:
            raise InvalidSetting(f"expected momentum from 0 to below 1, got {self.momentum}")
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise InvalidSetting(f"expected a finite weight decay of at least 0, got {self.weight_decay}")
        if self.batch_size < 1:
            raise InvalidSetting(f"expected a batch of at least 1 sample, got {self.batch_size}")

    def optimizer(self, network: ResNet) -> torch.optim.SGD:
        """A fresh optimizer of the network's parameters."""
        return torch.optim.SGD(
            network.parameters(),
            lr=self.lr,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            nesterov=self.momentum > 0,
            fused=self.device.type == "cuda" or None,  # one kernel for all parameters
        )

    def rate(self, done: float) -> float:
        """The learning rate after a share `done` of the training."""
        return self.lr * self.schedule(done)

    def step(
        self,
        network: ResNet,
        optimizer: torch.optim.SGD,
        images: UInt8[Tensor, "n 3 height width"],
        labels: Int64[Tensor, " n"],
        moves: Int32[Tensor, "3 n"],
        *,
        done: float = 0.0,
    ) -> Float[Tensor, ""]:
        """One gradient step on a batch; returns the loss, not yet looked at.

        Everything lies on the device already, and nothing is asked of it: a GPU is given the next step while it works.

        Args:
            network: in training mode.
            optimizer: of the network's parameters.
            images: the batch.
            labels: its classes.
            moves: of the augmentation, drawn for the batch.
            done: share of the training done so far, for the schedule.

        Raises:
            InvalidSetting: `compiled`, and the machine cannot.
        """
        optimizer.param_groups[0]["lr"] = self.rate(done)
        inputs = self.normalization(self.augmentation(images, moves))
        loss_of = _compiled_loss if self.compiled else _loss
        with mixed_precision(self.device):
            loss = loss_of(network, inputs, labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return loss.detach()


def _loss(network: ResNet, inputs: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(network(inputs), labels)


@cache
def _compiler() -> Callable[[ResNet, Tensor, Tensor], Tensor]:
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # a CUDA that is not used is no news
    return torch.compile(_loss, dynamic=False)


def _compiled_loss(network: ResNet, inputs: Tensor, labels: Tensor) -> Tensor:
    """Compiled at the first batch of each size, once for all networks of the same shape."""
    from torch._dynamo.exc import TorchDynamoException  # a second of imports that few need

    try:
        return _compiler()(network, inputs, labels)
    except TorchDynamoException as error:
        reason = str(error).strip().splitlines()[0]
        raise InvalidSetting(f"expected torch.compile to work here, got: {reason}; --no-compile does without") from None


def mixed_precision(device: torch.device) -> torch.autocast:
    """bfloat16 products on CUDA, plain float32 elsewhere."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda")


def check_finite(network: ResNet, losses: list[Tensor], rates: Sequence[float], *, first_step: int) -> None:
    """Look at the outcome of several steps at once, so that a GPU need not wait after each.

    Args:
        network: after those steps.
        losses: of consecutive gradient steps.
        rates: their learning rates.
        first_step: number of the first of them.

    Raises:
        TrainingDiverged: naming the first step whose loss, or the last step if its weights, are not finite.
    """
    norms = torch.stack(torch._foreach_norm(list(network.parameters())))
    finite = torch.isfinite(torch.stack([*losses, norms.sum()])).tolist()
    if not all(finite):
        step = min(finite.index(False), len(losses) - 1)
        raise TrainingDiverged(first_step + step, rates[step])


def passes(n: int, n_drawn: int, generator: torch.Generator) -> Int64[Tensor, " n_drawn"]:
    """`n_drawn` rows out of `n`: one random permutation after another, so that none is drawn twice before all are."""
    permutations = [torch.randperm(n, generator=generator) for _ in range(-(-n_drawn // n))]
    return torch.cat(permutations)[:n_drawn]


def even_sizes(n_samples: int, largest: int) -> tuple[int, ...]:
    """The sizes of as few batches as hold `n_samples`, none above `largest`; equal to one sample."""
    n_steps = -(-n_samples // largest)
    return tuple(n_samples // n_steps + (step < n_samples % n_steps) for step in range(n_steps))
