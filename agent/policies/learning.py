"""What policies that decide between learning a chunk and memorizing it have in common."""

from agent.operations import Action
from agent.policies.protocol import Policy


class LearningPolicy(Policy):
    """Learns a chunk or memorizes it; members say when.

    Args:
        both: take BOTH in place of LEARN, so that learned chunks are memorized as well; the agent must offer it.
    """

    def __init__(self, *, both: bool) -> None:
        self.both = both
        self.needs_actions = (Action.BOTH.name,) if both else ()

    def action(self, *, learns: bool) -> Action:
        """The action on a chunk that is learned, or else memorized."""
        if not learns:
            return Action.MEMORIZE
        return Action.BOTH if self.both else Action.LEARN
