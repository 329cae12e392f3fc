"""What a component may be able to do beyond its contract; asked for where it is needed."""

from typing import Any, Protocol, TypeVar, runtime_checkable

from agent.errors import InvalidSetting

Component = TypeVar("Component")


@runtime_checkable
class Forkable(Protocol):
    """A component of which there can be a second one with the same past.

    Needed where lifetimes share what they have in common, and to evaluate a learner that has work to do.
    """

    def fork(self) -> Any:
        """A component with the same past, and a future that draws the same numbers; neither alters the other."""


@runtime_checkable
class Resumable(Protocol):
    """A component that can be saved and go on elsewhere; needed for checkpoints."""

    def state(self) -> dict[str, Any]:
        """Tensors and plain values from which `load_state` restores the component to the bit."""

    def load_state(self, state: dict[str, Any]) -> None:
        """Become the component whose `state` this is; it must have been built with the same settings."""


def check_forkable(component: object) -> None:
    """Refuse a component that cannot be forked.

    Raises:
        InvalidSetting: such a one.
    """
    if not isinstance(component, Forkable):
        raise InvalidSetting(
            f"expected {type(component).__name__} to be forkable (agent.abilities.Forkable) where lifetimes share an "
            "agent or are evaluated on the way, got one without fork; live one policy, and evaluate at the end alone"
        )


def fork_of(component: Component) -> Component:
    """A fork of a component.

    Raises:
        InvalidSetting: it cannot be forked.
    """
    check_forkable(component)
    return component.fork()  # type: ignore[attr-defined]


def state_of(component: object) -> dict[str, Any]:
    """The state of a component.

    Raises:
        InvalidSetting: it cannot be saved.
    """
    if not isinstance(component, Resumable):
        raise InvalidSetting(
            f"expected {type(component).__name__} to be resumable (agent.abilities.Resumable) for a checkpoint, got "
            "one without state and load_state"
        )
    return component.state()


def missing_members(component: object, contract: type) -> list[str]:
    """What a protocol names and an object lacks."""
    named = {name for name in {*vars(contract), *contract.__annotations__} if not name.startswith("_")}
    return sorted(name for name in named if not hasattr(component, name))
