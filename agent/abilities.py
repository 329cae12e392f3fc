"""Optional abilities of components beyond their contract."""

from typing import Any, Protocol, TypeVar, runtime_checkable

from agent.errors import InvalidSetting

Component = TypeVar("Component")


@runtime_checkable
class Forkable(Protocol):
    """A component that can be forked.

    Lifetimes that share an agent need it, and evaluations of a learner with pending work.
    """

    def fork(self) -> Any:
        """An independent component with the same past, which draws the same random numbers."""


@runtime_checkable
class Resumable(Protocol):
    """A component that can be saved and restored; checkpoints need it."""

    def state(self) -> dict[str, Any]:
        """Tensors and plain values from which `load_state` restores the component to the bit."""

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore what `state` of a component with the same settings returned."""


def check_forkable(component: object) -> None:
    """Raise InvalidSetting for a component that cannot be forked."""
    if not isinstance(component, Forkable):
        raise InvalidSetting(
            f"expected {type(component).__name__} to be forkable (agent.abilities.Forkable) where lifetimes share an "
            "agent or are evaluated on the way, got one without fork; run one policy and, if the learner is lazy, "
            "evaluate only at the end"
        )


def fork_of(component: Component) -> Component:
    """A fork of a component; raises InvalidSetting if it cannot be forked."""
    check_forkable(component)
    return component.fork()  # type: ignore[attr-defined]


def state_of(component: object) -> dict[str, Any]:
    """The state of a component; raises InvalidSetting if it cannot be saved."""
    if not isinstance(component, Resumable):
        raise InvalidSetting(
            f"expected {type(component).__name__} to be resumable (agent.abilities.Resumable) for a checkpoint, got "
            "one without state and load_state"
        )
    return component.state()


def missing_members(component: object, contract: type) -> list[str]:
    """Names of the protocol's public members that an object lacks."""
    named = {name for name in {*vars(contract), *contract.__annotations__} if not name.startswith("_")}
    return sorted(name for name in named if not hasattr(component, name))
