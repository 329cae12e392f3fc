"""The contract of policies."""

import reprlib
from abc import ABC, abstractmethod
from typing import Any, Literal, get_args

import torch

from agent.errors import InvalidSetting, LifetimeError, PolicyError
from agent.operations import Action
from agent.policies.observation import Observation

Observes = Literal["nothing", "learner", "memory"]
"""The signals of a chunk that a policy observes: none; the learner's (one forward pass); or also the memory's (a
comparison with every entry). The agent pays for them."""


class Policy(ABC):
    """Decides for each chunk: learn it, memorize it, or another action of `agent.operations.OPERATIONS`.

    Your own policy overrides `decide`, and sets `observes` to the signals that it reads:

        class Surprised(Policy):
            observes = "learner"

            def decide(self, observation):
                surprised = observation.learner_loss > observation.mean_learner_loss
                return Action.LEARN if surprised else Action.MEMORIZE

    Its state is the attributes of the object: numbers, strings, tensors, torch generators, and lists, tuples and
    dictionaries of them. Checkpoints save them. A policy with other attributes overrides `state` and `load_state` too.
    """

    observes: Observes = "nothing"
    needs_estimates: bool = False
    """Whether it reads the estimates of actions, which not every learner can give."""
    needs_actions: tuple[str, ...] = ()
    """Names of actions that not every agent offers, and that it may choose."""

    @abstractmethod
    def decide(self, observation: Observation) -> Action:
        """The action for the current chunk; called once for each chunk, in order."""

    def state(self) -> dict[str, Any]:
        """Tensors and plain values from which `load_state` restores the policy.

        Raises:
            InvalidSetting: an attribute is neither.
        """
        return {name: _plain(value, f"{type(self).__name__}.{name}") for name, value in vars(self).items()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned, in a policy of the same settings."""
        for name, value in state.items():
            setattr(self, name, _restored(value))


def checked_state(policy: Policy) -> dict[str, Any]:
    """The state of a policy, checked because a user's own policy may return anything.

    Raises:
        InvalidSetting: the state cannot be saved.
        PolicyError: the policy failed.
    """
    name = f"{type(policy).__name__}.state"
    try:
        state = policy.state()
    except LifetimeError:
        raise
    except (Exception, SystemExit) as error:
        raise PolicyError(
            f"expected {name} to give a dictionary, but it raised {type(error).__name__}: {error}"
        ) from error
    if not isinstance(state, dict):
        raise InvalidSetting(f"expected {name} to give a dictionary, got {reprlib.repr(state)}")
    return {key: _plain(value, f"{name}()[{key!r}]") for key, value in state.items()}


def check_policy(policy: Policy) -> None:
    """Check, before a lifetime begins, that an object is a policy and can be saved and restored.

    Raises:
        InvalidSetting: it is not a policy, has an unknown `observes`, or cannot be saved.
        PolicyError: the policy failed.
    """
    if not isinstance(policy, Policy):
        raise InvalidSetting(f"expected an object of a subclass of agent.Policy, got {reprlib.repr(policy)}")
    name = type(policy).__name__
    if policy.observes not in get_args(Observes):
        expected = f"{name}.observes to be one of {', '.join(get_args(Observes))}"
        raise InvalidSetting(f"expected {expected}, got {reprlib.repr(policy.observes)}")
    state = checked_state(policy)
    try:
        policy.load_state(state)
    except Exception as error:
        got = f"{type(error).__name__}: {error}"
        raise PolicyError(f"expected {name}.load_state to take what {name}.state gives, got {got}") from error


_GENERATOR = "state of a torch.Generator"


def _restored(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.clone()
    if isinstance(value, list | tuple):
        return type(value)(_restored(item) for item in value)
    if isinstance(value, dict):
        if value.keys() == {_GENERATOR}:
            return torch.Generator().set_state(value[_GENERATOR])
        return {key: _restored(item) for key, item in value.items()}
    return value


def _plain(value: Any, where: str) -> Any:
    if isinstance(value, torch.Generator):
        return {_GENERATOR: value.get_state()}
    if isinstance(value, torch.Tensor):
        return value.clone()
    if value is None or type(value) in (bool, int, float, str):
        return value
    if type(value) in (list, tuple):
        return type(value)(_plain(item, where) for item in value)
    if type(value) is dict:
        return {key: _plain(item, where) for key, item in value.items()}
    raise InvalidSetting(
        f"expected numbers, strings, tensors and lists of them in {where}, got {type(value).__name__}, which cannot be "
        "checkpointed; override state() and load_state()"
    )
