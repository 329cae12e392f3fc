"""The contract of learners."""

from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from agent.accounting.work import Work
from agent.data.sample_store import SampleStore
from agent.networks.outputs import Outputs
from agent.networks.protocol import Shape
from agent.version import Version


class LearningEstimate(NamedTuple):
    """The work that learning will take, without its seconds."""

    at_once: Work
    """Of `learn` itself."""
    later: Work
    """Of the next `flush`, for all samples admitted by then."""


@runtime_checkable
class Learner(Protocol):
    """A network that learns from labelled inputs, all of one shape, and predicts with its current weights.

    Optional abilities are protocols of their own: `Forkable` and `Resumable` in `agent.abilities`, and those below.
    """

    lazy: ClassVar[bool]
    """Whether learning waits for the next `flush`, so that each prediction after `learn` costs a training."""

    @property
    def version(self) -> Version:
        """Of the weights that predict: replaced when they change, shared by forks until then."""

    @property
    def n_steps(self) -> int:
        """Gradient steps since initialization."""

    @property
    def pending(self) -> bool:
        """Whether the next `flush` has samples to learn from."""

    @property
    def nbytes(self) -> int:
        """Bytes of the samples stored for rehearsal or training."""

    def learn(self, inputs: Shaped[Tensor, "n ..."], labels: Int64[Tensor, " n"]) -> Work:
        """Learn from samples, at once or at the next `flush`.

        Raises:
            TrainingDiverged: the loss became non-finite.
        """

    def flush(self) -> Work:
        """Learn from all samples that are pending; no work if there are none.

        Raises:
            TrainingDiverged: the loss became non-finite.
        """

    def forward(self, inputs: Shaped[Tensor, "n ..."]) -> tuple[Outputs, Work]:
        """Probabilities and keys; nothing may be pending."""

    def forward_flops(self, n: int, shape: Shape) -> int:
        """The FLOPs of `forward` on n inputs of `shape`, without doing it."""

    def key_length(self, shape: Shape) -> int:
        """Numbers in the key of an input of `shape`."""

    def weights(self) -> dict[str, Tensor]:
        """The weights that predict, by name; a finished lifetime saves them."""


@runtime_checkable
class Estimating(Protocol):
    """A learner that can estimate the work of learning."""

    def estimate(self, inputs: Shaped[Tensor, "n ..."]) -> LearningEstimate:
        """The work of learning from these inputs and flushing then, without doing it.

        For zero inputs it is the work of flushing now.
        """


@runtime_checkable
class Answering(Protocol):
    """A learner whose work is known only once it has learned, and that can go on answering as before."""

    def answers(self) -> Any:
        """What it answers with, a copy that learning does not change: weights, and their version."""

    def answer_with(self, answers: Any) -> Any:
        """Answer with what `answers` returned; returns what it answered with until now. Not while it learns."""


@runtime_checkable
class KeyReading(Protocol):
    """A learner whose keys take fewer forward passes than its probabilities, which it averages over several views."""

    def read(self, inputs: Shaped[Tensor, "n ..."]) -> tuple[Outputs, Work]:
        """The keys of `forward`, with the probabilities of the plain inputs alone."""

    def reading_flops(self, n: int, shape: Shape) -> int:
        """The FLOPs of `read` on n inputs of `shape`."""


@runtime_checkable
class Representing(Protocol):
    """A learner that has a representation: the features that the head of its network is given."""

    def features(self, inputs: Shaped[Tensor, "n ..."]) -> tuple[Float[Tensor, "n features"], Work]:
        """The features of inputs in float32, by the weights that predict; nothing may be pending."""


@runtime_checkable
class BoundedStorage(Protocol):
    """A learner that knows the most bytes of samples that it will ever hold between chunks."""

    def most_nbytes(self, inputs: Shaped[Tensor, "n ..."]) -> float:
        """Bytes for samples of the shape and type of `inputs`, whose number does not matter; inf without a bound."""


@runtime_checkable
class Remembering(Protocol):
    """A learner that stores samples it was given, such as for rehearsal."""

    @property
    def samples(self) -> SampleStore:
        """Those that it still has; read only."""


@runtime_checkable
class WarmStarting(Protocol):
    """A learner that can continue from the weights of its last training where it would begin anew."""

    def warmed(self) -> Learner:
        """A fork whose trainings continue from its current weights."""


@runtime_checkable
class Preparable(Protocol):
    """A learner whose network is prepared from the first inputs of the stream, whatever the action on them."""

    def prepare(self, inputs: Shaped[Tensor, "n ..."]) -> Work:
        """Prepare the network, if its recipe says so; only the first call does anything."""
