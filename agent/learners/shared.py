"""A learner that several agents share: it does once what each of them would have it do."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

from jaxtyping import Shaped
from torch import Tensor

from agent.abilities import Resumable, fork_of, state_of
from agent.accounting.work import Bill, Charge, Work
from agent.data.chunk import Chunk
from agent.errors import ContractError
from agent.learners.protocol import Estimating, KeyReading, Learner, LearningEstimate, Preparable
from agent.networks.keys import Columns
from agent.networks.outputs import Outputs
from agent.version import Version

REMEMBERED = 3
"""Inputs whose outputs are remembered, the last ones: a chunk, the validation images and the test images."""


class Admitted(NamedTuple):
    """The samples that the learner has been given since its last flush, and their prices."""

    n_samples: int = 0
    priced: float = 0.0
    """Sum over the samples of the price of compute when each was given."""

    def plus(self, chunk: Chunk) -> "Admitted":
        """With one more chunk."""
        return Admitted(self.n_samples + len(chunk), self.priced + len(chunk) * chunk.price)

    @property
    def price(self) -> float:
        """Price of compute for the flush: the mean over the samples."""
        return self.priced / self.n_samples if self.n_samples else 1.0


@runtime_checkable
class Sharer(Protocol):
    """What takes turns with a shared learner: an agent."""

    keys: Columns | None
    """The part of the learner's keys that it uses; None for all."""


SomeSharer = TypeVar("SomeSharer", bound=Sharer)


class SharedLearner:
    """A learner, with the samples admitted since its last flush, for one agent or several.

    Agents share a learner for as long as they have it do the same. They take turns (`in_turn`): at the first turn the
    learner is prepared, learns and is flushed, as that agent asks; at the next turns the same calls, in the same order,
    return the same bills without doing anything. So each agent is billed for all of it. Several forward passes on one
    tensor are done once, too. An agent that is alone needs no turns.

    Args:
        learner: to share.
        admitted: samples that it has been given since its last flush.
    """

    def __init__(self, learner: Learner, admitted: Admitted = Admitted()) -> None:  # noqa: B008 (immutable)
        self._learner = learner
        self.admitted = admitted
        self._readings: frozenset[Columns | None] = frozenset()  # of the agents that take turns
        self._done: list[_Call] = []  # in this round of turns
        self._n_told = 0  # calls in `_done` that the agent whose turn it is has made
        self._looks: list[_Look] = []

    @property
    def learner(self) -> Learner:
        """The learner itself; only `prepare`, `learn` and `flush` of this class may change it.

        Raises:
            ContractError: the learner is ahead of the agent whose turn it is.
        """
        if self._behind:
            raise ContractError(
                f"expected agents that share a learner to use it after its last change in an operation, got a use "
                f"before `{self._done[self._n_told].name}`; give the operation shares=False"
            )
        return self._learner

    @property
    def pending(self) -> bool:
        """Whether the learner has samples to learn from, after the calls of the agent whose turn it is."""
        return self._done[self._n_told - 1].pending if self._behind and self._n_told else self._learner.pending

    @property
    def _behind(self) -> bool:
        return self._n_told < len(self._done)

    def in_turn(self, agents: Sequence[SomeSharer]) -> Iterator[SomeSharer]:
        """The agents that share the learner, each for its turn.

        Raises:
            ContractError: they had it do different things.
        """
        if len(agents) == 1:
            self._looks = []
            yield agents[0]
            return
        self._readings, self._done = frozenset(agent.keys for agent in agents), []
        n_calls = None
        try:
            for agent in agents:
                self._n_told = 0
                yield agent
                n_calls = self._n_told if n_calls is None else n_calls
                if self._n_told != n_calls:
                    raise ContractError(
                        f"expected agents that share a learner to have it do the same, got {n_calls} calls by one and "
                        f"{self._n_told} by another, out of {', '.join(call.name for call in self._done)}; give the "
                        "operation shares=False"
                    )
        finally:
            self._readings, self._done, self._n_told = frozenset(), [], 0

    def _once(self, name: str, call: Callable[[], Bill]) -> Bill:
        """The bill of a call, which is made unless another agent has made it in this round.

        Calls without a bill have done nothing and are not noted.
        """
        if self._behind:
            done = self._done[self._n_told]
            if done.name != name:  # then the first agent's call did nothing at this point, or it did not come
                if name == "learn" or (name == "flush" and self._n_told and self.pending):
                    raise ContractError(
                        f"expected agents that share a learner to have it do the same, got `{done.name}` by one and "
                        f"`{name}` by another; give the operation shares=False"
                    )
                return []
            self._n_told += 1
            return list(done.bill)
        bill = call()
        if bill and self._readings:
            self._done.append(_Call(name, list(bill), self._learner.pending))
            self._n_told += 1
        return bill

    def prepare(self, chunk: Chunk) -> Bill:
        """Prepare the network, if the learner is `Preparable`; only the first call does anything."""

        def call() -> Bill:
            work = self._learner.prepare(chunk.inputs) if isinstance(self._learner, Preparable) else Work()
            return [Charge("learn", work, chunk.price)] if work != Work() else []

        return self._once("prepare", call)

    def learn(self, chunk: Chunk) -> Bill:
        """Let the learner learn from the chunk."""

        def call() -> Bill:
            work = self._learner.learn(chunk.inputs, chunk.labels)
            if self._learner.pending:
                self.admitted = self.admitted.plus(chunk)
            return [Charge("learn", work, chunk.price)]

        return self._once("learn", call)

    def flush(self) -> Bill:
        """Let the learner learn from all pending samples, at their mean price; an empty bill if there are none."""

        def call() -> Bill:
            if not self._learner.pending:
                return []
            price, self.admitted = self.admitted.price, Admitted()
            return [Charge("learn", self._learner.flush(), price)]

        return self._once("flush", call)

    def estimate(self, inputs: Shaped[Tensor, "n ..."]) -> LearningEstimate:
        """The learner's estimate; no work if it is not `Estimating`."""
        if isinstance(self.learner, Estimating):
            return self.learner.estimate(inputs)
        return LearningEstimate(Work(), Work())

    def forward(
        self, inputs: Shaped[Tensor, "n ..."], keys: Columns | None, *, remembered: bool = True, plain: bool = False
    ) -> tuple[Outputs, Work]:
        """Probabilities and these columns of the keys, with the full work also where another agent has caused it.

        Args:
            inputs: any number of them.
            keys: None for all columns.
            remembered: whether other agents can be expected to pass the same tensor through the network.
            plain: whether keys are all that is needed, so that a learner that is `KeyReading` may `read`.
        """
        learner = self.learner
        forward = learner.read if plain and isinstance(learner, KeyReading) else learner.forward
        if not (remembered and self._readings):
            outputs, work = forward(inputs)
            return _part(outputs, keys), work
        self._looks = [look for look in self._looks if look.version == learner.version]
        for look in self._looks:
            if look.inputs is inputs and look.plain == plain and keys in look.outputs:
                return look.outputs[keys], look.work
        outputs, work = forward(inputs)
        # Parts are cut out for all agents at once, so that the joint keys need not be held beside them.
        parts = {each: _part(outputs, each) for each in self._readings | {keys}}
        self._looks = [*self._looks, _Look(inputs, learner.version, plain, parts, work)][-REMEMBERED:]
        return parts[keys], work

    def fork(self) -> "SharedLearner":
        """An independent learner with the same past; raises InvalidSetting if the learner cannot be forked."""
        return SharedLearner(fork_of(self.learner), self.admitted)

    def state(self) -> dict[str, Any]:
        """Tensors and plain values from which `load_state` restores the learner to the bit."""
        return {"learner": state_of(self.learner), "admitted": list(self.admitted)}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned."""
        assert isinstance(self._learner, Resumable)
        self._learner.load_state(state["learner"])
        n_samples, priced = state["admitted"]
        self.admitted, self._looks = Admitted(n_samples, priced), []


class _Call(NamedTuple):
    """What an agent has had the learner do."""

    name: str
    bill: Bill
    pending: bool
    """Whether the learner had samples to learn from afterwards."""


class _Look(NamedTuple):
    """A forward pass."""

    inputs: Tensor
    version: Version
    """Of the learner."""
    plain: bool
    outputs: dict[Columns | None, Outputs]
    """With the keys of each agent."""
    work: Work


def _part(outputs: Outputs, keys: Columns | None) -> Outputs:
    return outputs if keys is None else Outputs(outputs.probabilities, keys.of(outputs.keys))
