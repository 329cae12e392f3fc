"""What lifetimes together have really computed: each piece once, however many of them are billed for it."""

from collections.abc import Mapping
from typing import Any, Literal, get_args

from agent.accounting.work import Work

Part = Literal["training", "cool-downs", "forward", "memorize", "recall", "calibration"]
"""Parts of what is computed:

- training: gradient steps, and the preparation of the network, of learners with a recipe.
- cool-downs: the gradient steps of the cooldown learner's copies.
- forward: forward passes without training, of learners with a recipe.
- memorize: storing entries and renewing their keys, without forward passes.
- recall: comparing queries with the memory, as the memory bills it.
- calibration: the same for validation images, at every setting, and fitting the mixture, which counts no FLOPs; without
  forward passes.
"""

PARTS: tuple[Part, ...] = get_args(Part)


class Meter:
    """The work that was done, by part. Agents, learners and their forks share one.

    The ledgers of lifetimes add up to more: lifetimes that share work are each billed for all of it.
    """

    def __init__(self) -> None:
        self.work: dict[Part, Work] = dict.fromkeys(PARTS, Work())

    def add(self, part: Part, work: Work) -> None:
        """Count work that has just been done."""
        self.work[part] += work

    def state(self) -> dict[str, dict[str, float]]:
        """Plain values by part for `load_state`: FLOPs, samples and wall-clock seconds."""
        return {
            part: {"flops": work.flops, "samples": work.samples, "seconds": work.seconds}
            for part, work in self.work.items()
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        for part in PARTS:
            of = state[part]
            self.work[part] = Work(of["flops"], seconds=of["seconds"], samples=of["samples"])
