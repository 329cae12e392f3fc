"""What every learner offers, and the forward pass they share."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import UInt8
from torch import Tensor

from agent.accounting.work import Work
from agent.data.chunk import Chunk
from agent.learners.sgd import Training, mixed_precision
from agent.networks.flops import flops_per_sample
from agent.networks.keys import KeyPlaces
from agent.networks.outputs import Outputs
from agent.networks.resnet import ResNet
from agent.version import Version

FORWARD_BATCH = 500
"""Samples in one forward pass: bounds memory, and large enough to fill two cores."""

Progress = Callable[[int], None]
"""Told of work done, in forward passes of one sample (a training step on a sample is three)."""


def unreported(n_forward_passes: int) -> None:
    """The progress of a learner that nobody watches."""


class LearningEstimate(NamedTuple):
    """What learning will take, without its seconds."""

    at_once: Work
    """Of `learn` itself."""
    later: Work
    """Of the `flush` that follows, for all that will have been admitted by then."""


@runtime_checkable
class Learner(Protocol):
    """A network that learns from chunks; prediction and keys always come from its current state."""

    version: Version
    """Of the weights that predict: replaced whenever they change, shared by forks until then."""

    @property
    def n_steps(self) -> int:
        """Gradient steps since birth."""

    @property
    def pending(self) -> bool:
        """Whether samples were admitted that the next `flush` will learn from."""

    @property
    def nbytes(self) -> int:
        """Bytes of the samples held for rehearsal or training."""

    def learn(self, chunk: Chunk) -> Work:
        """Learn from a chunk, at once or at the next `flush`."""

    def flush(self) -> Work:
        """Bring the network up to date with everything admitted; no work if it is."""

    def forward(self, images: UInt8[Tensor, "n 3 height width"]) -> tuple[Outputs, Work]:
        """Probabilities and keys; the network must be up to date."""

    def estimate(self, images: UInt8[Tensor, "n 3 height width"]) -> LearningEstimate:
        """What learning from a chunk of these images, and settling then, would take; nothing is done.

        Of no images it is what settling now would take.
        """

    def forward_flops(self, images: UInt8[Tensor, "n 3 height width"]) -> int:
        """The FLOPs of `forward` on images; nothing is done."""

    def key_length(self, images: UInt8[Tensor, "n 3 height width"]) -> int:
        """Numbers in a key of such images; nothing is done."""

    def weights(self) -> dict[str, Tensor]:
        """The weights that predict, by name."""

    def fork(self) -> "Learner":
        """A learner with the same past, and a future that draws the same numbers."""

    def state(self) -> dict[str, Any]:
        """Tensors and plain values from which `load_state` restores the learner to the bit."""

    def load_state(self, state: dict[str, Any]) -> None:
        """Become the learner whose `state` this is; it must have been built with the same settings."""


@torch.inference_mode()
def look(
    network: ResNet,
    images: UInt8[Tensor, "n 3 height width"],
    training: Training,
    keys: KeyPlaces,
    progress: Progress = unreported,
) -> tuple[Outputs, Work]:
    """One forward pass of a network in evaluation mode, in batches of bounded size."""
    start = time.perf_counter()
    places = keys.of(network)
    probabilities, read = [], []
    for batch in images.split(FORWARD_BATCH):
        with mixed_precision(training.device):
            logits, activations = network.tapped(training.normalization(batch.to(training.device)), places)
        probabilities.append(logits.float().softmax(dim=1))
        read.append(keys.read(activations))
        progress(len(batch))
    n = len(images)
    flops = n * flops_per_sample(network, *images.shape[2:]).forward
    work = Work(flops, seconds=time.perf_counter() - start, samples=n)
    return Outputs(torch.cat(probabilities), torch.cat(read)), work
