"""The learner of the cooldown protocol: a trunk at a constant rate, and a short cool-down wherever it is asked."""

import copy
import time
from dataclasses import dataclass, replace
from typing import Any

from jaxtyping import UInt8
from torch import Tensor

from agent.accounting.work import Work
from agent.data.chunk import Chunk
from agent.errors import InvalidSetting
from agent.learners.online import OnlineLearner
from agent.learners.protocol import LearningEstimate, look
from agent.learners.sgd import check_finite, one_minus_sqrt, passes
from agent.networks.flops import flops_per_sample
from agent.networks.outputs import Outputs
from agent.networks.resnet import ResNet
from agent.randomness import named_generator
from agent.version import Lineage, Version


class CooldownLearner:
    """A trunk learns every chunk as it comes, at a constant rate; who asks gets a copy of it that has been cooled down.

    A cool-down takes a share of the steps that the trunk has taken, on batches drawn uniformly from all chunks learned,
    at the trunk's rate times 1 - √t as t goes from 0 to 1 (Hägele et al. 2024, arXiv:2405.18392, equation 1). The trunk
    itself never cools, so that one trunk and its cool-downs give converged networks for every amount of data, at little
    more than the price of one training. Consecutive LEARNs share one cool-down; it draws numbers that follow from the
    seed and the number of steps alone, and forks that ask for the same one find it done.

    Args:
        trunk: an online learner without averaged weights (its EMA decay is 0); the learner takes it over.
        share: length of a cool-down, as a share of the trunk's steps so far; above 0.
        seed: of the streams that cool-downs draw from.
    """

    def __init__(self, trunk: OnlineLearner, *, share: float = 0.1, seed: int = 0) -> None:
        if not share > 0:
            raise InvalidSetting(f"expected a cool-down of more than 0 times the steps so far, got {share}")
        if not trunk.keeps:
            raise InvalidSetting("expected a trunk that keeps its samples for cool-downs, got one that does not")
        if trunk.ema_decay:
            raise InvalidSetting(f"expected an EMA decay of 0 for a learner that cools down, got {trunk.ema_decay:g}")
        self.trunk, self.share, self.seed = trunk, share, seed
        self.cooling = replace(trunk.training, schedule=one_minus_sqrt)
        self.network = copy.deepcopy(trunk.network).eval()
        self.n_cooling_steps = 0
        self.lineage = Lineage()
        self.version = self.lineage.next()
        self._cooled_at: Version | None = trunk.version  # stands for the trunk that `network` was cooled down from
        self._latest: list[_CoolDown] = []  # at most one, of this learner or of any fork, which share the list

    @property
    def n_steps(self) -> int:
        """Gradient steps since birth, those of cool-downs included."""
        return self.trunk.n_steps + self.n_cooling_steps

    def learn(self, chunk: Chunk) -> Work:
        """Train the trunk on the chunk; see `OnlineLearner.learn`."""
        return self.trunk.learn(chunk)

    @property
    def pending(self) -> bool:
        """Whether the trunk has moved on since the last cool-down."""
        return self._cooled_at != self.trunk.version

    def flush(self) -> Work:
        """Cool a copy of the trunk down, if it has moved on; the work is told in full even where a fork has done it.

        Raises:
            TrainingDiverged: the loss became non-finite.
        """
        if not self.pending:
            return Work()
        if not self._latest or self._latest[0].trunk != self.trunk.version:
            self._latest[:] = [self._cool_down()]
        [done] = self._latest
        self.network, self._cooled_at = done.network, done.trunk
        self.version = self.lineage.next()  # its own: what is charged for looking must not depend on what forks did
        self.n_cooling_steps += done.n_steps
        return done.work

    def _plan(self, n_trunk_steps: int, n: int) -> tuple[int, int]:
        """Steps, and samples in each, of a cool-down on n samples."""
        return max(1, round(self.share * n_trunk_steps)), min(self.cooling.batch_size, n)

    def _cool_down(self) -> "_CoolDown":
        start = time.perf_counter()
        trunk = self.trunk
        n_steps, batch = self._plan(trunk.n_steps, len(trunk.learned))
        network, optimizer = copy.deepcopy((trunk.network, trunk.optimizer))
        generator = named_generator(self.seed, f"cool-down at step {trunk.n_steps}")
        losses, rates = [], []
        rows = passes(len(trunk.learned), n_steps * batch, generator).view(n_steps, batch).to(self.cooling.device)
        moves = self.cooling.augmentation.draw(n_steps, batch, generator).to(self.cooling.device)
        for step in range(n_steps):
            images, labels = trunk.learned.batch(rows[step])
            done = step / n_steps
            losses.append(self.cooling.step(network, optimizer, images, labels, moves[step], done=done))
            rates.append(self.cooling.rate(done))
            trunk.progress(3 * batch)
        check_finite(network, losses, rates, first_step=trunk.n_steps)
        flops = n_steps * batch * flops_per_sample(network, *images.shape[2:]).training
        work = Work(flops, seconds=time.perf_counter() - start, samples=n_steps * batch)
        return _CoolDown(trunk.version, network.eval(), n_steps, work)

    def estimate(self, images: UInt8[Tensor, "n 3 height width"]) -> LearningEstimate:
        """The work of `learn`, and of the cool-down after it."""
        at_once, n = self.trunk.estimate(images).at_once, len(self.trunk.learned) + len(images)
        if not (len(images) or self.pending):
            return LearningEstimate(at_once, Work())
        n_steps, batch = self._plan(self.trunk.n_steps + self.trunk.n_steps_for(len(images)), n)
        flops = flops_per_sample(self.network, *images.shape[2:]).training
        return LearningEstimate(at_once, Work(n_steps * batch * flops, samples=n_steps * batch))

    @property
    def nbytes(self) -> int:
        """Bytes of the samples held for rehearsal and cool-downs."""
        return self.trunk.nbytes

    def forward(self, images: UInt8[Tensor, "n 3 height width"]) -> tuple[Outputs, Work]:
        """Probabilities and keys of the network that was cooled down last; nothing may be pending."""
        assert not self.pending, "flush before forward"
        return look(self.network, images, self.cooling, self.trunk.keys, self.trunk.progress)

    def forward_flops(self, images: UInt8[Tensor, "n 3 height width"]) -> int:
        """The FLOPs of `forward`."""
        return self.trunk.forward_flops(images)

    def key_length(self, images: UInt8[Tensor, "n 3 height width"]) -> int:
        """Numbers in a key of such images."""
        return self.trunk.key_length(images)

    def weights(self) -> dict[str, Tensor]:
        """The weights that were cooled down last."""
        return {name: values.cpu() for name, values in self.network.state_dict().items()}

    def fork(self) -> "CooldownLearner":
        """A learner with the same past, and a future that draws the same numbers; cooled weights are shared."""
        fork = copy.copy(self)
        fork.lineage = Lineage()
        fork.trunk = self.trunk.fork()
        return fork

    def state(self) -> dict[str, Any]:
        """Tensors and plain values."""
        return {
            "trunk": self.trunk.state(),
            "network": copy.deepcopy(self.network.state_dict()),
            "n_cooling_steps": self.n_cooling_steps,
            "pending": self.pending,
            "seed": self.seed,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Become the learner whose `state` this is."""
        self.trunk.load_state(state["trunk"])
        self.network = copy.deepcopy(self.network)
        self.network.load_state_dict(state["network"])
        self.n_cooling_steps, self.seed = state["n_cooling_steps"], state["seed"]
        self.version = self.lineage.next()
        self._cooled_at = None if state["pending"] else self.trunk.version
        self._latest = []


@dataclass(frozen=True)
class _CoolDown:
    """What a cool-down came to."""

    trunk: Version
    """Of the trunk that it began at."""
    network: ResNet
    n_steps: int
    work: Work
