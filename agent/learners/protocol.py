"""What every learner offers."""

from typing import ClassVar, NamedTuple, Protocol, runtime_checkable

from jaxtyping import Int64, Shaped
from torch import Tensor

from agent.accounting.work import Work
from agent.networks.outputs import Outputs
from agent.networks.protocol import Shape
from agent.version import Version


class LearningEstimate(NamedTuple):
    """What learning will take, without its seconds."""

    at_once: Work
    """Of `learn` itself."""
    later: Work
    """Of the `flush` that follows, for all that will have been admitted by then."""


@runtime_checkable
class Learner(Protocol):
    """A network that learns from labelled inputs of any one shape; what it gives always comes from its current state.

    It may also be `agent.abilities.Forkable` and `Resumable`, and of the abilities below.
    """

    lazy: ClassVar[bool]
    """Whether what it learns waits for the next `flush`, so that looking on the way costs a training."""
    version: Version
    """Of the weights that predict: replaced whenever they change, shared by forks until then."""

    @property
    def n_steps(self) -> int:
        """Gradient steps since initialization."""

    @property
    def pending(self) -> bool:
        """Whether samples were admitted that the next `flush` will learn from."""

    @property
    def nbytes(self) -> int:
        """Bytes of the samples held for rehearsal or training."""

    def learn(self, inputs: Shaped[Tensor, "n ..."], labels: Int64[Tensor, " n"]) -> Work:
        """Learn from samples, at once or at the next `flush`.

        Raises:
            TrainingDiverged: the loss became non-finite.
        """

    def flush(self) -> Work:
        """Bring the network up to date with everything admitted; no work if it is.

        Raises:
            TrainingDiverged: the loss became non-finite.
        """

    def forward(self, inputs: Shaped[Tensor, "n ..."]) -> tuple[Outputs, Work]:
        """Probabilities and keys; nothing may be pending."""

    def forward_flops(self, n: int, shape: Shape) -> int:
        """The FLOPs of `forward` on n inputs of `shape`; nothing is done."""

    def key_length(self, shape: Shape) -> int:
        """Numbers in a key of an input of `shape`; nothing is done."""

    def weights(self) -> dict[str, Tensor]:
        """The weights that predict, by name; what a finished lifetime leaves behind."""


@runtime_checkable
class Estimating(Protocol):
    """A learner that can say beforehand what learning takes."""

    def estimate(self, inputs: Shaped[Tensor, "n ..."]) -> LearningEstimate:
        """What learning from these inputs, and flushing then, would take; nothing is done.

        Of no inputs it is what flushing now would take.
        """


@runtime_checkable
class Preparable(Protocol):
    """A learner whose network is prepared from the first inputs that it meets, whatever is done with them."""

    def prepare(self, inputs: Shaped[Tensor, "n ..."]) -> Work:
        """Prepare the network, if that is called for and has not been done."""
