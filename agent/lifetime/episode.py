"""A lifetime whose decisions come from outside, for those who search through them."""

from collections.abc import Sequence
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
    """Stands for whoever decides from outside.

    Args:
        observes: what they ask to see of a chunk.
    """

    def __init__(self, observes: Observes = "nothing") -> None:
        self.observes = observes

    def decide(self, observation: Observation) -> Action:
        """Never asked."""
        raise InvalidSetting("expected decisions through Episode.act, got a policy asked; live it as an Episode")


class Episode:
    """One lifetime, decided chunk by chunk from outside; `fork` it to try both.

    Args:
        lifetimes: one lifetime about to begin, under an `Undecided` policy; taken over.
    """

    def __init__(self, lifetimes: Lifetimes) -> None:
        self._lifetimes = lifetimes
        self.steps: tuple[Step, ...] = ()
        """Lived so far."""

    @property
    def ended(self) -> bool:
        """Whether there is nothing left to decide."""
        return not self._lifetimes

    def observe(self) -> Observation:
        """What is known of the next chunk before it is decided on; looking is charged once, however often one asks."""
        [observation] = self._lifetimes.observe().values()
        return observation

    def act(self, action: Action) -> Step:
        """Decide on the next chunk, and live it.

        Raises:
            TrainingDiverged: from the learner.
        """
        [step] = self._lifetimes.act(dict.fromkeys(self._lifetimes.observe(), action)).values()
        self.steps = (*self.steps, step)
        return step

    def fork(self) -> "Episode":
        """An episode with the same past; what has been computed of it is not computed again."""
        fork = Episode(self._lifetimes.fork())
        fork.steps = self.steps
        return fork

    def state(self) -> dict[str, Any]:
        """Tensors and plain values from which `load_state` goes on to the bit; before `observe`, after `act`."""
        return {"lifetimes": self._lifetimes.state(), "steps": [step.as_json() for step in self.steps]}

    @staticmethod
    def check_state(state: dict[str, Any], path: Path) -> None:
        """Refuse what is no `state`, before anything is built from it; see `Lifetimes.check_state`."""
        check_shape(state, {"lifetimes": dict, "steps": [dict]}, f"the checkpoint {path}")
        Lifetimes.check_state(state["lifetimes"], path)

    def load_state(self, state: dict[str, Any]) -> None:
        """Become, newly made, the episode whose `state` this is.

        Raises:
            KeyError, TypeError, ValueError: it is none.
        """
        steps: Sequence[Step] = [Step.from_json(values) for values in state["steps"]]
        self._lifetimes.load_state(state["lifetimes"], dict.fromkeys(Lifetimes.lived(state["lifetimes"]), steps))
        self.steps = tuple(steps)
