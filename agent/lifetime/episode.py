"""A lifetime whose actions are given chunk by chunk, for search and policy training."""

from collections.abc import Sequence
from math import inf
from pathlib import Path
from typing import Any

from agent.errors import InvalidSetting
from agent.evaluation.trajectory import Step
from agent.lifetime.loop import Lifetimes
from agent.policies import Action, Policy
from agent.policies.observation import Observation
from agent.policies.protocol import Observes
from agent.storage.checkpoint import check_shape


class Undecided(Policy):
    """The policy of an `Episode`, whose actions come from outside.

    Args:
        observes: which signals observations contain.
    """

    def __init__(self, observes: Observes = "nothing") -> None:
        self.observes = observes

    def decide(self, observation: Observation) -> Action:
        """Always an error."""
        raise InvalidSetting("expected actions through Episode.act, got a call of decide; run it as an Episode")


class Episode:
    """One lifetime whose actions are given chunk by chunk; `fork` it to try several.

    Args:
        lifetimes: one lifetime at its beginning, under an `Undecided` policy; the episode owns it from now on.

    Raises:
        InvalidSetting: a stream that does not wait.
    """

    def __init__(self, lifetimes: Lifetimes) -> None:
        if lifetimes.speed < inf:
            raise InvalidSetting(
                "expected a stream that waits, for actions chunk by chunk, got a speed of the agent; leave it out"
            )
        self._lifetimes = lifetimes
        self.steps: tuple[Step, ...] = ()
        """Past steps."""

    @property
    def ended(self) -> bool:
        """Whether no chunks are left."""
        return not self._lifetimes

    def observe(self) -> Observation:
        """The observation of the next chunk; its work is charged once, however often this is called."""
        [observation] = self._lifetimes.observe().values()
        return observation

    def act(self, action: Action) -> Step:
        """Perform an action on the next chunk, or its fallback if an enforced budget does not last for it.

        Raises:
            TrainingDiverged: from the learner.
        """
        [step] = self._lifetimes.act(dict.fromkeys(self._lifetimes.observe(), action)).values()
        self.steps = (*self.steps, step)
        return step

    def fork(self) -> "Episode":
        """An independent copy; nothing computed so far is computed again."""
        fork = Episode(self._lifetimes.fork())
        fork.steps = self.steps
        return fork

    def state(self) -> dict[str, Any]:
        """Tensors and plain values from which `load_state` continues to the bit; only between `act` and `observe`."""
        return {"lifetimes": self._lifetimes.state(), "steps": [step.as_json() for step in self.steps]}

    @staticmethod
    def check_state(state: dict[str, Any], path: Path) -> None:
        """Check a state before anything is built from it; see `Lifetimes.check_state`."""
        check_shape(state, {"lifetimes": dict, "steps": [dict]}, f"the checkpoint {path}")
        Lifetimes.check_state(state["lifetimes"], path)

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned; only before the first chunk.

        Raises:
            KeyError, TypeError, ValueError: not a state.
        """
        steps: Sequence[Step] = [Step.from_json(values) for values in state["steps"]]
        self._lifetimes.load_state(state["lifetimes"], dict.fromkeys(Lifetimes.n_steps_in(state["lifetimes"]), steps))
        self.steps = tuple(steps)
